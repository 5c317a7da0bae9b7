"""How sure a score is, and whether two methods differ: queries of one person are correlated, seeds are few.

A score is a mean over queries and seeds, and three things in it are chance: which people ask (all queries of a person
come together), how each training turned out, and how each training suits each person. Their variances are estimated
one by one, in closed form:

    people       jackknife over people of the mean over seeds; holds the share of the third already
                 (Efron and Tibshirani 1993, chapter 11)
    seeds        variance of the seeds' scores / S, less a share of the third, which it holds too
    both         what is left of the jackknife when the two main effects are taken out (two-way crossed design;
                 Cameron, Gelbach and Miller 2011 add and subtract the same three)

Intervals and p-values come from Student's t with 1 / df = Σ share of the variance / degrees of freedom, over people
(P - 1) and seeds (S - 1). This rule and the share (S - 2) / (S - 1) in `_of_seeds` are our own, chosen by simulation
among textbook ones: with 2 degrees of freedom Welch and Satterthwaite's Σ share² / df is too sure, Cochran's weighted
mean of quantiles too careful. A percentile bootstrap over identities × seeds is out of the question: three seeds drawn
with replacement scatter by √(2/3) of what they should, and where seeds matter it called 1 in 10 useless methods better.
`python -m benchmarks.perf.calibration` measures coverage and false positives; docs/evaluation.md has its table.

With one seed nothing is known about training's chance: the interval is over people alone, and a caption must say so.

Shapes: S seeds, Q queries, P people who ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtr, stdtrit

from datasets.base import IntArray

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8
NOTHING = 1e-12
"""Standard errors below this are rounding: nothing varied."""


@dataclass(frozen=True)
class Sample:
    """A score of every query in every seed, under one protocol."""

    values: FloatArray
    """[S, Q], NaN where a query does not count; a query counts in every seed or in none."""
    person: IntArray
    """[Q] whom the query shows."""

    def by_person(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """[S, P] sums over the queries that count, [P] how many these are, [P] the people."""
        valid = ~np.isnan(self.values[0])
        people, place = np.unique(self.person[valid], return_inverse=True)
        sums = [np.bincount(place, weights=row[valid], minlength=len(people)) for row in self.values]
        return np.stack(sums).astype(np.float64), np.bincount(place).astype(np.float64), people

    @property
    def of_seeds(self) -> FloatArray:
        """[S] the score of each seed."""
        return np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in self.values])


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    deviation: float
    """Standard deviation over the seeds (n - 1); NaN for one seed."""
    seeds: int
    low: float
    high: float
    """95 % interval over people and seeds, within 0 … 1; with one seed over people alone, which a caption must say.
    NaN with fewer than two people. Where every query scores the same it has no width: nothing varied."""


@dataclass(frozen=True)
class Comparison:
    """A method against another one, both asked for the same people."""

    difference: float
    """Of the means over seeds."""
    low: float
    high: float
    """95 % interval over people, who are paired, and seeds, which are not: seed 0 of one method has nothing in common
    with seed 0 of another. Where one method has a single seed, its training is taken to be as much of a gamble as the
    other's; where both have, the interval is over people alone."""
    p: float
    """Two-sided, of Student's t; under 0.05 exactly where the interval leaves out 0."""
    effect: float
    """Cohen's d_z over people: the difference in standard deviations of the people's own differences (Cohen 1988,
    section 2.3.5; Lakens 2013, formula 6). 0.2 is called small, 0.5 medium, 0.8 large. NaN where all differ equally."""
    detectable: float
    """Smallest difference that would have been found in four of five such studies: 80 % power at p < 0.05."""


def estimate(sample: Sample) -> Estimate:
    """Mean, spread over the seeds, and interval of one method's score."""
    scores = sample.of_seeds
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else float("nan")
    mean = float(scores.mean())
    error, freedom = _error(_people(_left_out(sample)), _of_seeds([sample]))
    low, high = _within(mean, _quantile(CONFIDENCE / 2 + 0.5, freedom) * error)
    return Estimate(mean, deviation, len(scores), low, high)


def compare(a: Sample, b: Sample) -> Comparison:
    """`a` minus `b`. Raises ValueError where they were not asked the same queries."""
    if not np.array_equal(a.person, b.person) or not np.array_equal(np.isnan(a.values[0]), np.isnan(b.values[0])):
        raise ValueError("two methods can be compared on the same queries only")
    difference = float(a.of_seeds.mean() - b.of_seeds.mean())
    people = _people(_left_out(a).mean(axis=0, keepdims=True) - _left_out(b).mean(axis=0, keepdims=True))
    error, freedom = _error(people, _of_seeds([a, b]))
    if error < NOTHING:
        error, p = 0.0, 1.0 if abs(difference) < NOTHING else 0.0
    else:
        p = float(2 * stdtr(freedom, -abs(difference) / error))
    half, reach = (_quantile(q, freedom) * error for q in (CONFIDENCE / 2 + 0.5, POWER))
    variance, freedom_of_people = people
    spread = np.sqrt(variance * (freedom_of_people + 1))
    effect = difference / spread if spread > NOTHING else float("nan")
    return Comparison(difference, difference - half, difference + half, p, float(effect), half + reach)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one table, corrected for their number (Holm 1979); monotone, at most 1. NaN, no test, stays NaN."""
    corrected = [float("nan")] * len(values)
    tested = [place for place, value in enumerate(values) if value == value]
    largest = 0.0
    for rank, place in enumerate(sorted(tested, key=lambda place: values[place])):
        largest = max(largest, (len(tested) - rank) * values[place])
        corrected[place] = min(1.0, largest)
    return corrected


# --- variances: (squared standard error, its degrees of freedom) ---

Variance = tuple[float, float]


def _left_out(sample: Sample) -> FloatArray:
    """[S, P] the score of each seed without each of the people."""
    sums, queries, _ = sample.by_person()
    if len(queries) < 2:
        return np.full(sums.shape, np.nan)
    return (sums.sum(axis=1, keepdims=True) - sums) / (queries.sum() - queries)


def _people(left_out: FloatArray) -> Variance:
    """Of the mean over seeds: jackknife, (P - 1) / P · Σ (deviation of a score without one of the people)²."""
    people = left_out.shape[1]
    if people < 2:
        return float("nan"), float("nan")
    return (people - 1) * float(left_out.mean(axis=0).var()), people - 1.0


def _of_seeds(samples: Sequence[Sample]) -> Variance:
    """Of the sum or difference of the samples' means over their own seeds.

    The share (S - 2) / (S - 1) of «both» is taken off: all of it for many seeds; with few, what is left would too often
    come out as 0 by chance. Nothing is taken off where a single training borrows the scatter of the other method's.
    """
    found = [(len(one.values), *_scatter(one)) for one in samples if len(one.values) > 1]
    if not found:
        return 0.0, 1.0
    if len(found) < len(samples):
        ((count, seeds, _),) = found
        return seeds * (1 + count), count - 1.0
    total = sum(max(seeds - both * (count - 2) / (count - 1), 0.0) for count, seeds, both in found)
    squares = sum(seeds**2 / (count - 1) for count, seeds, _ in found)
    freedom = sum(seeds for _, seeds, _ in found) ** 2 / squares if squares > 0 else found[0][0] - 1.0
    return total, freedom


def _scatter(sample: Sample) -> tuple[float, float]:
    """Squared standard errors of one method's mean: of its seeds' scores, and of seeds × people."""
    scores, left_out = sample.of_seeds, _left_out(sample)
    seeds, people = left_out.shape
    if people < 2:
        return float("nan"), float("nan")
    residual = left_out - left_out.mean(axis=1, keepdims=True)
    residual -= residual.mean(axis=0)
    both = (people - 1) / people * float((residual**2).sum()) / (seeds * (seeds - 1))
    return float(scores.var(ddof=1)) / seeds, both


def _error(people: Variance, seeds: Variance) -> tuple[float, float]:
    """Standard error, and the degrees of freedom of its t."""
    total = people[0] + seeds[0]
    if not total > 0:
        return float(np.sqrt(total)), people[1]
    return float(np.sqrt(total)), total / (people[0] / people[1] + seeds[0] / seeds[1])


def _within(mean: float, half: float) -> tuple[float, float]:
    """mean ± half on the scale of log odds, where a share near 0 or 1 scatters evenly: d logit = d mean / m(1 - m)."""
    if not 0 < mean < 1:
        return mean, mean
    wide = half / (mean * (1 - mean))
    return float(expit(logit(mean) - wide)), float(expit(logit(mean) + wide))


def _quantile(probability: float, freedom: float) -> float:
    return float(stdtrit(freedom, probability))
