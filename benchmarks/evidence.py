"""What is known of every query under one protocol, and the formulas: average precision, CMC, mINP, nearest entries.

Shapes: Q queries, B queries of one block, P most images that one of them has in the gallery, K length of the lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from datasets.base import IntArray

from .arrays import RUN_AGAIN, read_arrays, write_arrays
from .protocols import BoolArray, FloatArray

if TYPE_CHECKING:  # reading what a run found needs no torch, which counting does
    from .counting import Counts

RANKS = (1, 5, 10, 20)
"""Where the cumulative match characteristic is read off for `scores`."""


@dataclass(frozen=True)
class Ranking:
    """The evidence of Q queries under one protocol, aligned with the query split.

    A query without a valid match has NaN, or -1 in integer columns. Ranks count from 1, after ignoring. Under a
    single-shot protocol columns are averaged over the draws; `matches` and `ignored` are the most of any draw, the
    lists those of the first draw.
    """

    average_precision: FloatArray
    """[Q] float64: mean over the matches of (matches up to it) / (its rank), or of trapezoids; see `columns_of`."""
    lowest_average_precision: FloatArray
    """[Q] if every tie with a non-match fell against the query."""
    highest_average_precision: FloatArray
    """[Q] if every tie with a non-match fell in its favour."""
    inverse_negative_penalty: FloatArray
    """[Q] matches / rank of the last match."""
    first_match: IntArray
    """[Q] rank of the first match; [Q, draws] under a single-shot protocol."""
    matches: IntArray
    """[Q] valid matches in the gallery; 0: the query does not count."""
    ignored: IntArray
    """[Q] gallery entries that the protocol hides from the query."""
    tied: BoolArray
    """[Q] whether a match is exactly as near as a non-match: then the gallery's order decided."""
    top_index: IntArray
    """[Q, K] gallery rows of the nearest visible entries; -1 where there are no more."""
    top_distance: FloatArray
    """[Q, K] NaN where there are no more; fp32, so that rounding can leave a little less than 0."""
    top_correct: BoolArray
    """[Q, K]"""
    drawn: IntArray | None = None
    """[draws, identities] gallery rows of each single-shot gallery."""

    def hits(self, rank: int) -> FloatArray:
        """[Q] 1 where the first match is within `rank`, else 0; the share of draws under a single-shot protocol."""
        first = self.first_match.reshape(len(self.first_match), -1)
        valid = first > 0
        return _divide((valid & (first <= rank)).sum(axis=1), valid.sum(axis=1))

    def scores(self) -> dict[str, float]:
        """mAP, R1 … R20 and mINP as fractions over the queries that have a match; how many these are."""
        valid = self.matches > 0
        values = {"mAP": self.average_precision}
        values |= {f"R{rank}": self.hits(rank) for rank in RANKS}
        values |= {"mINP": self.inverse_negative_penalty}
        scores = {name: float(value[valid].mean()) if valid.any() else float("nan") for name, value in values.items()}
        return scores | {"queries": int(valid.sum())}

    def save(self, path: Path) -> None:
        """Write `path`, an npz file of the columns."""
        write_arrays(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises DataError where `path` is not a saved ranking."""
        return read_arrays(path, lambda columns: cls(**columns), "a ranking of this version", RUN_AGAIN)


def columns_of(counts: "Counts", visible: BoolArray, shift: FloatArray, area: str) -> dict[str, np.ndarray]:
    """Columns of `Ranking` where `visible` [B, P] of the person's own images are matches; `shift` as in `Block`.

    `area`: the k-th match, at rank r, adds k / r («steps»), or the mean of that and (k - 1) / (r - 1), the precision
    just before it, which is 1 at rank 1 («trapezoids»: layumi's evaluator and the official one of Celeb-reID).
    """
    matches = visible.sum(axis=1)
    kth = visible.cumsum(axis=1)
    position = counts.ahead + kth

    def average_precision(negatives: IntArray) -> FloatArray:
        precision = np.divide(kth, negatives + kth, out=np.zeros(kth.shape), where=visible)
        if area == "trapezoids":
            before = np.divide(kth - 1, negatives + kth - 1, out=np.ones(kth.shape), where=negatives + kth > 1)
            precision = (precision + np.where(visible, before, 0)) / 2
        total = precision.cumsum(axis=1)[:, -1]  # one by one, so that the amount of padding cannot change the rounding
        return _divide(total, matches)

    first = np.where(visible, position, np.iinfo(np.int64).max).min(axis=1)
    top_index, top_distance, top_correct = _top(counts, visible, position)
    return {
        "average_precision": average_precision(counts.ahead),
        "lowest_average_precision": average_precision(counts.as_near),
        "highest_average_precision": average_precision(counts.nearer),
        "inverse_negative_penalty": _divide(matches, np.where(visible, position, 0).max(axis=1)),
        "first_match": np.where(matches > 0, first, -1),
        "matches": matches,
        "tied": np.any(visible & (counts.as_near > counts.nearer), axis=1),
        "top_index": top_index,
        "top_distance": np.where(top_index >= 0, top_distance + shift, np.nan),
        "top_correct": top_correct,
    }


def _top(counts: "Counts", visible: BoolArray, position: IntArray) -> tuple[IntArray, FloatArray, BoolArray]:
    """[B, K] gallery row, distance and correctness of the nearest visible entries.

    Each match stands at its `position`, the nearest negatives fill the places between.
    """
    keep = counts.nearest.shape[1]
    row, place = np.nonzero(visible & (position <= keep))
    column = position[row, place] - 1
    correct = np.zeros(counts.nearest.shape, dtype=bool)
    correct[row, column] = True
    negative = np.maximum((~correct).cumsum(axis=1) - 1, 0)
    index = np.take_along_axis(counts.nearest, negative, axis=1)
    distance = np.take_along_axis(counts.nearest_distance, negative, axis=1)
    index[row, column], distance[row, column] = counts.own[row, place], counts.distance[row, place]
    return index, distance, correct


def average(rankings: Sequence[Ranking], drawn: IntArray) -> Ranking:
    """One ranking from those of the galleries `drawn` [draws, identities].

    For each query the draws count in which it has a match.
    """

    def mean(name: str) -> FloatArray:
        values = np.stack([getattr(ranking, name) for ranking in rankings])
        return _divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))

    first = rankings[0]
    return Ranking(
        average_precision=mean("average_precision"),
        lowest_average_precision=mean("lowest_average_precision"),
        highest_average_precision=mean("highest_average_precision"),
        inverse_negative_penalty=mean("inverse_negative_penalty"),
        first_match=np.stack([ranking.first_match for ranking in rankings], axis=1),
        matches=np.max([ranking.matches for ranking in rankings], axis=0),
        ignored=np.max([ranking.ignored for ranking in rankings], axis=0),
        tied=np.any([ranking.tied for ranking in rankings], axis=0),
        top_index=np.where(first.top_index >= 0, drawn[0][first.top_index], -1),
        top_distance=first.top_distance,
        top_correct=first.top_correct,
        drawn=drawn,
    )


def _divide(total: np.ndarray, number: np.ndarray) -> FloatArray:
    """NaN where `number` is 0."""
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
