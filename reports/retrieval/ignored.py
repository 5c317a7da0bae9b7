"""Where the gallery entries would stand that a protocol hides from a query. The recorded lists do not hold them.

Their distances are computed again from the features that the run kept. These are of half precision; the visible entries
keep their recorded distances, and have to agree with what the features say.
"""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.distances import full_precision, products
from benchmarks.distribution import joined
from benchmarks.pooling import pooled
from benchmarks.protocols import ignored
from benchmarks.ranking import Features
from benchmarks.reopening import Reopened
from benchmarks.run_features import has_features, kept_features
from datasets.base import IntArray
from datasets.errors import DataError, UsageError

from .lists import Lists

ROUNDING = 2e-3
"""Two roundings to half precision, each of 2⁻¹¹ of a number, move a product of two vectors by less than this share of
their lengths' product; a squared distance holds it twice."""


@dataclass(frozen=True)
class HiddenEntries:
    """Distances from one run's queries to its gallery. Raises UsageError or DataError where they cannot be known."""

    lists: Lists
    reopened: Reopened
    query: Features
    gallery: Features

    @classmethod
    def of(cls, lists: Lists, reopened: Reopened) -> "HiddenEntries":
        _refuse_impossible(lists, reopened)
        protocol, selection = lists.protocol, lists.selection
        if not has_features(lists.run, selection, protocol.query, protocol.gallery) and selection == lists.run.headline:
            with joined(reopened.session.device) as world:
                reopened.ensure_features(world)
        query, gallery = (kept_features(lists.run, name, selection) for name in (protocol.query, protocol.gallery))
        if protocol.pool is not None:
            clips = reopened.spec.clips
            query, gallery = pooled(query, protocol.pool, clips), pooled(gallery, protocol.pool, clips)
        return cls(lists, reopened, query, gallery)

    def nearest(self, row: int, k: int) -> tuple[IntArray, np.ndarray]:
        """Of query `row`: gallery rows of the entries that are hidden from it, and their distances, ascending.

        Raises DataError where the features give other distances to the first `k` visible entries than were recorded.
        """
        lists, ranking = self.lists, self.lists.ranking
        distance = self._distances(row, k)
        own = np.flatnonzero(lists.gallery.entries.person == lists.query.entries.person[row])
        if ranking.drawn is not None:
            own = np.intersect1d(own, ranking.drawn[0])
        asked, answers = lists.query.entries, lists.gallery.entries
        hidden = own[ignored(lists.protocol, asked, answers, np.array([[row]]), own[None])[0]]
        hidden = hidden[np.argsort(distance[hidden], kind="stable")]
        return hidden, distance[hidden]

    def _distances(self, row: int, k: int) -> np.ndarray:
        """[gallery]"""
        lists, evaluate = self.lists, self.reopened.spec.evaluate
        query, gallery = self.query.embeddings[row : row + 1], self.gallery.embeddings
        with torch.no_grad(), full_precision():
            block = products(query, gallery, evaluate.metric, evaluate.normalise)(slice(0, 1))
            distance = (block.values + block.shift)[0].numpy().astype(np.float64)
        index, recorded = lists.ranking.top_index[row, :k], lists.ranking.top_distance[row, :k]
        index, recorded = index[index >= 0], recorded[index >= 0]
        squares = 1.0 if evaluate.normalise else _square(query) + _square(gallery[torch.from_numpy(index)])
        allowed = ROUNDING * (squares + 1.0)
        if np.any(np.abs(distance[index] - recorded) > allowed):
            features = lists.run.features(lists.protocol.gallery, lists.selection)
            raise DataError(
                f"{features} gives other distances than {lists.run.ranking(lists.protocol.name, lists.selection)} "
                f"holds: delete the folder {features.parent}, so that it is made again."
            )
        return distance


def _square(embeddings: torch.Tensor) -> np.ndarray:
    """[N] squared lengths."""
    return embeddings.double().square().sum(dim=1).numpy()


def _refuse_impossible(lists: Lists, reopened: Reopened) -> None:
    evaluate, run = reopened.spec.evaluate, lists.run
    if evaluate.rerank.method != "none":
        raise UsageError(
            f"{run.run_id} was re-ranked, so that the distances of ignored entries cannot be known from its features: "
            f"leave out show_ignored=true."
        )
    if lists.protocol.pool is not None and evaluate.normalise:
        raise UsageError(
            f"{lists.protocol.name} pools tracklets before their features are scaled, and {run.run_id} kept scaled "
            f"ones, so that the distances of ignored tracklets cannot be known: leave out show_ignored=true."
        )
    if lists.selection != run.headline and not has_features(
        run, lists.selection, lists.protocol.query, lists.protocol.gallery
    ):
        raise UsageError(
            f"{run.run_id} kept the features of selection={run.headline} only: leave out show_ignored=true, or "
            f"selection={lists.selection}."
        )
