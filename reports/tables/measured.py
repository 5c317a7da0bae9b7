"""What the tables of one dataset are filled from: every estimate and every comparison of its rows, computed once."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from benchmarks.comparison import Row, configuration, fair
from benchmarks.statistics import Comparison, Estimate, Sample, compare, estimate, holm

from .families import Place, method_of, runs_of
from .table import Number

HEADLINE = ("mAP", "R1")
FURTHER = ("R5", "R10", "mINP")
SIGNIFICANT = 0.05
"""Corrected p below which a difference is called one."""


Scored = tuple[int, str, str]
"""Position of a row, protocol, metric."""


@dataclass(frozen=True)
class Mark:
    """How a score stands to the best of its column."""

    best: bool = False
    close: bool = False


class Measured:
    """Rows that were scored on the same files, by their position.

    Differences are to the `reference`; to the first row that may be one where that one may not, or has no score. Rows
    whose epochs were chosen on the test set are neither the reference nor marked, unless all are such rows.
    """

    def __init__(self, rows: Sequence[Row], names: Sequence[str], places: Sequence[Place | None], reference: int = 0):
        self.rows = tuple(rows)
        self.names = tuple(names)
        self.places = tuple(places)
        self.methods = [method_of(row) for row in rows]
        self.selections = [row.selections for row in rows]
        self._reference = reference
        self._protocols = [row.protocols() for row in rows]
        self._comparisons: dict[tuple[int, int, str, str], Comparison | None] = {}
        self.sample = cache(self._sample)
        self.estimate = cache(self._estimate)

    @property
    def dataset(self) -> str:
        return self.rows[0].dataset

    @cached_property
    def protocols(self) -> list[str]:
        """Those of any row, in the order in which they first occur."""
        return list(dict.fromkeys(name for names in self._protocols for name in names))

    def scored(self, protocol: str) -> list[int]:
        """Positions of the rows that have scores under `protocol`."""
        return [place for place, names in enumerate(self._protocols) if protocol in names]

    def fair(self, protocol: str) -> list[int]:
        """Of these the rows that may be marked, or be the reference."""
        scored = self.scored(protocol)
        allowed = fair([self.rows[place] for place in scored])
        return [place for place in scored if self.rows[place] in allowed]

    @cached_property
    def mixed(self) -> bool:
        """Whether some rows, not all, are of epochs that were chosen on the test set."""
        return len({row.is_oracle for row in self.rows if row.runs}) == 2

    def _sample(self, place: int, protocol: str, metric: str) -> Sample:
        return self.rows[place].sample(protocol, metric)

    def _estimate(self, place: int, protocol: str, metric: str) -> Estimate | None:
        """None where the row has no score."""
        return estimate(self.sample(place, protocol, metric)) if place in self.scored(protocol) else None

    def compare(self, a: int, b: int, protocol: str, metric: str) -> Comparison | None:
        """Row `a` minus row `b`, paired by identity; None where they were asked different queries."""
        key = (a, b, protocol, metric)
        if key not in self._comparisons:
            one, other = self.sample(a, protocol, metric), self.sample(b, protocol, metric)
            paired = np.array_equal(one.person, other.person) and np.array_equal(
                np.isnan(one.values[0]), np.isnan(other.values[0])
            )
            self._comparisons[key] = compare(one, other) if paired else None
        return self._comparisons[key]

    def unpaired(self) -> list[str]:
        """Sentences about rows that could not be compared with the reference."""
        return [
            f"{self.names[a]} was asked other queries than {self.names[b]} under {protocol}: they are not compared."
            for (a, b, protocol, metric), found in self._comparisons.items()
            if found is None and metric == HEADLINE[0]
        ]

    # --- against the reference ---

    def reference(self, protocol: str) -> int:
        allowed = self.fair(protocol)
        return self._reference if self._reference in allowed else allowed[0]

    def against_reference(self, protocol: str, metric: str) -> dict[int, tuple[Comparison, float]]:
        """Position → difference to the reference, and its p corrected for the number of these differences."""
        reference = self.reference(protocol)
        found = {place: self.compare(place, reference, protocol, metric) for place in self.scored(protocol)}
        known = {place: one for place, one in found.items() if one is not None and place != reference}
        corrected = holm([one.p for one in known.values()])
        return {place: (one, p) for (place, one), p in zip(known.items(), corrected, strict=True)}

    # --- against the best ---

    def marks(self, columns: Iterable[tuple[str, str]]) -> dict[Scored, Mark]:
        """(position, protocol, metric) → mark, for the columns (protocol, metric) of one table.

        Every other `fair` row is compared with the best of its column; p is corrected for all comparisons of the
        table, or, where the best is the reference, is the one that stands beside the difference: one comparison has one
        p. A column whose scores are all equal, or one, has no best.
        """
        found: dict[Scored, Mark] = {}
        others: dict[Scored, float] = {}
        for protocol, metric in columns:
            means = {
                place: one.mean
                for place in self.fair(protocol)
                if (one := self.estimate(place, protocol, metric)) and not math.isnan(one.mean)
            }
            highest = max(means.values(), default=0.0)
            best = [place for place, mean in means.items() if mean == highest]
            if len(best) == len(means):
                continue
            found |= {(place, protocol, metric): Mark(best=True) for place in best}
            for place in means.keys() - set(best):
                against = self.compare(best[0], place, protocol, metric)
                if against is not None:
                    others[place, protocol, metric] = against.p
        corrected = dict(zip(others, holm(list(others.values())), strict=True))
        for place, protocol, metric in others:
            if found.get((self.reference(protocol), protocol, metric), Mark()).best:  # the p that the table prints
                corrected[place, protocol, metric] = self.against_reference(protocol, metric)[place][1]
        close = {key for key, p in corrected.items() if p >= SIGNIFICANT}
        return found | dict.fromkeys(close, Mark(close=True))

    # --- lines of the CSV ---

    def numbers(self, protocols: Iterable[str], metrics: Iterable[str]) -> tuple[Number, ...]:
        metrics = tuple(metrics)
        return tuple(
            number for protocol in protocols for metric in metrics for number in self._numbers(protocol, metric)
        )

    def _numbers(self, protocol: str, metric: str) -> Iterable[Number]:
        against = self.against_reference(protocol, metric)
        reference = self.names[self.reference(protocol)] if against else ""
        for place, row in enumerate(self.rows):
            found = self.estimate(place, protocol, metric)
            difference, p = against.get(place, (None, None))
            where = self.places[place]
            yield Number(
                dataset=row.dataset,
                protocol=protocol,
                metric=metric,
                method=self.methods[place],
                configuration=configuration(runs_of(row)[0]),
                name=self.names[place],
                ablation=where.name if where else "",
                kind="measured",
                selection=", ".join(self.selections[place]),
                seeds=len(row.runs),
                unfinished=len(row.unfinished),
                mean=_in_percent(found and found.mean),
                deviation=_in_percent(found and found.deviation),
                low=_in_percent(found and found.low),
                high=_in_percent(found and found.high),
                reference=reference if difference else "",
                difference=_in_percent(difference and difference.difference),
                difference_low=_in_percent(difference and difference.low),
                difference_high=_in_percent(difference and difference.high),
                p=_known(difference and difference.p),
                p_holm=_known(p),
                effect=_known(difference and difference.effect),
                detectable=_in_percent(difference and difference.detectable),
            )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _in_percent(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else 100 * value
