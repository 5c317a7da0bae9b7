"""How sure a score is, and whether two methods differ: queries of one person are correlated, seeds are few.

A score is a mean over queries and seeds. What varies is drawn twice: identities (all queries of a person together) and
seeds (whole trainings). Intervals are percentiles of a bootstrap over both; two methods are compared on the same drawn
identities, so that a hard person is hard for both. Percentile bootstrap: Efron and Tibshirani 1993, chapter 13.

Shapes: S seeds, Q queries, P people who ask, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasets.base import IntArray

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """A score of every query in every seed, under one protocol."""

    values: FloatArray
    """[S, Q], NaN where a query does not count."""
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
    """95 % interval over identities × seeds."""


@dataclass(frozen=True)
class Comparison:
    """A method against another one."""

    difference: float
    """Of the means over seeds."""
    low: float
    high: float
    """95 % interval over identities × seeds, both methods on the same identities."""
    p: float
    """Two-sided: twice the share of resamples on the other side of 0, 2 / (R + 1) at least."""
    detectable: float
    """Smallest difference that would have been found with 80 % power: 2.8 standard errors."""


def estimate(sample: Sample, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Mean, spread over the seeds, and interval of one method's score."""
    scores = sample.of_seeds
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else float("nan")
    drawn = _resampled([sample], seed, resamples)[0]
    low, high = _interval(drawn)
    return Estimate(float(scores.mean()), deviation, len(scores), low, high)


def compare(a: Sample, b: Sample, *, seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """`a` minus `b`. Raises ValueError where they were not asked the same queries."""
    if not np.array_equal(a.person, b.person) or not np.array_equal(np.isnan(a.values[0]), np.isnan(b.values[0])):
        raise ValueError("two methods can be compared on the same queries only")
    one, other = _resampled([a, b], seed, resamples)
    drawn = one - other
    low, high = _interval(drawn)
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    difference = float(a.of_seeds.mean() - b.of_seeds.mean())
    return Comparison(difference, low, high, p, 2.8 * float(drawn.std(ddof=1)))


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one table, corrected for their number (Holm 1979); monotone, at most 1."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable").tolist()):
        largest = max(largest, (len(values) - rank) * values[place])
        corrected[place] = min(1.0, largest)
    return corrected


def _resampled(samples: Sequence[Sample], seed: int, resamples: int) -> list[FloatArray]:
    """[R] scores of each sample on resampled identities, the same for all, and resampled seeds of its own."""
    generator = np.random.default_rng(seed)
    people = len(samples[0].by_person()[2])
    if not people:
        return [np.full(resamples, np.nan) for _ in samples]
    drawn = generator.multinomial(people, np.full(people, 1 / people), size=resamples).astype(np.float64)  # [R, P]
    found = []
    for sample in samples:
        sums, queries, _ = sample.by_person()
        seeds = len(sums)
        share = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds  # [R, S]
        found.append(((drawn @ sums.T) * share).sum(axis=1) / (drawn @ queries))
    return found


def _interval(drawn: FloatArray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
