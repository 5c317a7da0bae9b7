"""Are the intervals and p-values honest, and how long does a table's statistics take?

    python -m benchmarks.perf.calibration                 2,000 simulated studies in each world, then the clock
    python -m benchmarks.perf.calibration --studies 300 --worlds "3 seeds" "R1, low"

A world draws people, queries and trainings, scores them, and knows the true mean. In each study one method's 95 %
interval holds the truth or not (coverage: 95 % of the studies), and two methods without a difference are told apart or
not (false positives: 5 %, nominally). A world's score of one query in one training is a squashed sum of

    how hard the person and the query are, the same for both methods     · how the person suits the method
    how the training turned out                                           · how it suits the person, and the query

so that queries of one person are correlated and scores are skewed and bounded, as average precision is; R1 is 0 or 1.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtr

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that the file can also be run by its path

from benchmarks.statistics import CONFIDENCE, Sample, compare, estimate, holm

SIZES = {"LTCC": (493, 75), "Market": (3368, 750), "LaST": (10_176, 5_806)}
"""Queries and people who ask."""
METHODS, SEEDS = 10, 3


@dataclass(frozen=True)
class World:
    """What chance a study meets. Standard deviations are on the scale that `_squashed` takes."""

    seeds: tuple[int, int] = (3, 3)
    """Of the first and the second method."""
    people: int = 75
    queries: float = 7.0
    """Of a person, on average: 1 + a geometric number where they are uneven."""
    uneven: bool = True
    level: float = -0.5
    """How good the methods are: 0 is half of all points."""
    person: float = 1.2
    query: float = 1.0
    liking: float = 0.5
    """How a person suits a method, in all its trainings."""
    training: float = 0.08
    """A whole training: 0.08 is 1.5 points of mAP, about what seeds differ by on LTCC."""
    suits: float = 0.3
    noise: float = 0.5
    hits: bool = False
    """Scores are 0 or 1, as rank-1 is; else between, as average precision is."""

    def study(self, generator: np.random.Generator) -> list[Sample]:
        """Two methods without a difference, on the same queries."""
        extra = self.queries - 1
        number = generator.geometric(1 / (1 + extra), self.people) if self.uneven else np.full(self.people, 1 + extra)
        person = np.repeat(np.arange(self.people), number.astype(np.int64))
        hard = generator.normal(self.level, self.person, self.people)[person]
        hard += generator.normal(0, self.query, len(person))
        return [self._method(generator, seeds, person, hard) for seeds in self.seeds]

    def _method(self, generator: np.random.Generator, seeds: int, person: np.ndarray, hard: np.ndarray) -> Sample:
        people = generator.normal(0, self.liking, self.people) + generator.normal(0, self.suits, (seeds, self.people))
        values = generator.normal(0, self.noise, (seeds, len(person))) + people[:, person] + hard
        values += generator.normal(0, self.training, (seeds, 1))
        return Sample((values > 0).astype(np.float64) if self.hits else _squashed(values), person)

    @property
    def truth(self) -> float:
        """The mean over all people, queries and trainings: of a normal number, squashed."""
        parts = (self.person, self.query, self.liking, self.training, self.suits, self.noise)
        spread = float(np.sqrt(sum(part**2 for part in parts)))
        if self.hits:
            return float(ndtr(self.level / spread))
        grid = np.linspace(-8, 8, 20_001)
        weight = np.exp(-(grid**2) / 2)
        return float((_squashed(self.level + spread * grid) * weight).sum() / weight.sum())


def _squashed(values: np.ndarray) -> np.ndarray:
    return expit(1.5 * values)


WORLDS = {
    "3 seeds": World(),
    "3 seeds, trainings alike": World(training=0.0),
    "3 seeds, large seed noise": World(training=0.25),
    "3 seeds, seeds are all": World(training=0.6),
    "3 seeds, all people alike": World(person=0.1, query=0.1, liking=0.0, suits=0.1, noise=0.1, training=0.05),
    "3 seeds, even queries": World(uneven=False),
    "3 seeds, one query each": World(uneven=False, queries=1.0, people=200),
    "3 seeds, many people": World(people=400, queries=3.0),
    "3 seeds, 20 people": World(people=20, queries=5.0),
    "3 seeds, low mAP": World(level=-2.5),
    "R1": World(hits=True),
    "R1, low": World(hits=True, level=-2.8),
    "R1, high": World(hits=True, level=3.2),
    "5 seeds": World(seeds=(5, 5)),
    "5 seeds, large seed noise": World(seeds=(5, 5), training=0.25),
    "2 seeds": World(seeds=(2, 2)),
    "2 seeds, large seed noise": World(seeds=(2, 2), training=0.25),
    "5 and 2 seeds, large seed noise": World(seeds=(5, 2), training=0.25),
    "3 and 1 seeds, large seed noise": World(seeds=(3, 1), training=0.25),
    "1 seed, trainings alike": World(seeds=(1, 1), training=0.0),
    "1 seed": World(seeds=(1, 1)),
}
"""The last one cannot be honest: with one seed nothing is known about training's chance, and the interval is narrower
than the truth about methods would need."""


@dataclass(frozen=True)
class Honesty:
    coverage: float
    """Share of the studies whose interval of the first method holds the truth; nominally 0.95."""
    false_positives: float
    """Share of the studies that tell two equal methods apart; nominally 0.05."""


def honesty(world: World, studies: int, seed: int = 0) -> Honesty:
    """What `studies` simulated studies say. The standard error of a share of 5 % is 0.5 % with 2,000 studies."""
    generator = np.random.default_rng(seed)
    truth, held, told = world.truth, 0, 0
    for _ in range(studies):
        one, other = world.study(generator)
        found = estimate(one)
        held += found.low <= truth <= found.high
        told += compare(one, other).p < 1 - CONFIDENCE
    return Honesty(held / studies, told / studies)


def seconds_of_a_table(queries: int, people: int) -> float:
    """All intervals and all pairs of METHODS methods with SEEDS seeds each, two metrics, and Holm's correction."""
    generator = np.random.default_rng(0)
    person = np.sort(generator.integers(0, people, queries))
    tables = [[Sample(generator.random((SEEDS, queries)), person) for _ in range(METHODS)] for _ in ("mAP", "R1")]
    start = time.perf_counter()
    for samples in tables:
        for sample in samples:
            estimate(sample)
        holm([compare(one, other).p for one, other in combinations(samples, 2)])
    return time.perf_counter() - start


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--worlds", nargs="*", choices=WORLDS, default=list(WORLDS), metavar="WORLD")
    options = parser.parse_args(words)
    print(f"{options.studies:,} studies each{'':<22}truth  coverage  false positives")
    for name in options.worlds:
        found = honesty(WORLDS[name], options.studies)
        truth, coverage, told = (100 * share for share in (WORLDS[name].truth, found.coverage, found.false_positives))
        print(f"{name:<36}{truth:6.1f} %  {coverage:6.1f} %  {told:13.1f} %", flush=True)
    pairs = METHODS * (METHODS - 1) // 2
    for name, (queries, people) in SIZES.items():
        what = f"{name}: {METHODS} methods × {SEEDS} seeds × {queries:,} queries of {people:,} people"
        print(f"{what}, 2 metrics, {pairs} pairs: {seconds_of_a_table(queries, people):.3f} s")


if __name__ == "__main__":
    main()
