"""Features and protocols → the evidence of every query: exact, one block of queries after another, on the CPU or a GPU.

What a protocol ignores always has the query's own identity. So the negatives, the gallery entries of other people, are
the same for every protocol and are counted once; the k-th visible match then has the rank «negatives ahead of it» + k.

Shapes: Q queries, G gallery entries, D dimensions, B queries of one block, P most images that one of them has in the
gallery, K length of the kept lists.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np
import torch
from torch import Tensor

from datasets.base import IntArray, Protocol
from datasets.errors import DataError

from .counting import count
from .distances import Blocks, Matrix, Metric, copies, full_precision, products
from .evidence import Ranking, average, columns_of
from .protocols import BoolArray, LabelRows, Labels, draw_single_shot, ignored
from .reranking import NO_RERANKING, RerankConfig, reranked


@dataclass(frozen=True)
class Features:
    """What a split's images became, and whom they show. N images."""

    embeddings: Tensor
    """[N, D] float32; its device is where distances are computed."""
    person: IntArray
    camera: IntArray
    clothes: IntArray
    tracklet: IntArray | None = None

    def __post_init__(self) -> None:
        columns = (self.person, self.camera, self.clothes, self.tracklet)
        lengths = {len(column) for column in columns if column is not None}
        if self.embeddings.ndim != 2 or lengths != {len(self.embeddings)}:
            raise ValueError(f"{tuple(self.embeddings.shape)} embeddings with label columns of lengths {lengths}")


@overload
def rank(
    query: Features,
    gallery: Features,
    protocols: Protocol,
    *,
    metric: Metric = ...,
    normalise: bool = ...,
    rerank: RerankConfig = ...,
    keep: int = ...,
    chunk: int = ...,
) -> Ranking: ...
@overload
def rank(
    query: Features,
    gallery: Features,
    protocols: Sequence[Protocol],
    *,
    metric: Metric = ...,
    normalise: bool = ...,
    rerank: RerankConfig = ...,
    keep: int = ...,
    chunk: int = ...,
) -> dict[str, Ranking]: ...
def rank(
    query: Features,
    gallery: Features,
    protocols: Protocol | Sequence[Protocol],
    *,
    metric: Metric = "cosine",
    normalise: bool = True,
    rerank: RerankConfig = NO_RERANKING,
    keep: int = 50,
    chunk: int = 1024,
) -> Ranking | dict[str, Ranking]:
    """Rank `gallery` for every query under one protocol, or under several at the price of one.

    Ascending distance, ties by gallery row. `metric` and `normalise` are explained at `distances.products`, `rerank` at
    `reranking.reranked`; each single-shot gallery is re-ranked on its own. `keep` is the length of the lists of nearest
    entries, `chunk` the number of queries whose distances are in memory at once.
    Raises DataError where features are not finite or labels are missing, UsageError for an unknown metric.
    """

    def blocks(rows: IntArray | None) -> Blocks:
        embeddings = gallery.embeddings if rows is None else gallery.embeddings[torch.from_numpy(rows)]
        if rerank.method == "none":
            return products(query.embeddings, embeddings, metric, normalise)
        return reranked(query.embeddings, embeddings, rerank, metric, normalise)

    threads = torch.get_num_threads() if query.embeddings.is_cpu else 1
    return _rank(blocks, query, gallery, protocols, keep, chunk, threads)


@overload
def rank_distances(
    distances: Matrix, query: Labels, gallery: Labels, protocols: Protocol, *, keep: int = ..., chunk: int = ...
) -> Ranking: ...
@overload
def rank_distances(
    distances: Matrix,
    query: Labels,
    gallery: Labels,
    protocols: Sequence[Protocol],
    *,
    keep: int = ...,
    chunk: int = ...,
) -> dict[str, Ranking]: ...
def rank_distances(
    distances: Matrix,
    query: Labels,
    gallery: Labels,
    protocols: Protocol | Sequence[Protocol],
    *,
    keep: int = 50,
    chunk: int = 1024,
) -> Ranking | dict[str, Ranking]:
    """As `rank`, from a matrix of distances [Q, G]: those of another code base, or after re-ranking."""

    def blocks(rows: IntArray | None) -> Blocks:
        return copies(distances if rows is None else distances[:, rows])

    return _rank(blocks, query, gallery, protocols, keep, chunk, torch.get_num_threads())


def _rank(
    blocks: Callable[[IntArray | None], Blocks],
    query: Labels,
    gallery: Labels,
    protocols: Protocol | Sequence[Protocol],
    keep: int,
    chunk: int,
    threads: int,
) -> Ranking | dict[str, Ranking]:
    """`blocks`: distances to the given gallery rows, or to all of them."""
    for name, labels in (("query", query), ("gallery", gallery)):
        if len(labels.person) == 0 or labels.person.min() < 0:
            raise DataError(f"The {name} split is empty or holds images of nobody (person -1): leave such images out.")
    chosen = [protocols] if isinstance(protocols, Protocol) else list(protocols)
    rankings = {}
    if whole := [protocol for protocol in chosen if not protocol.draws]:
        rankings = _rank_gallery(blocks(None), query, gallery, whole, keep, chunk, threads)
    for protocol in chosen:
        if protocol.draws:
            drawn = draw_single_shot(gallery.person, protocol.draws)
            each = [
                _rank_gallery(blocks(rows), query, LabelRows.of(gallery, rows), [protocol], keep, chunk, threads)
                for rows in drawn
            ]
            rankings[protocol.name] = average([found[protocol.name] for found in each], drawn)
    if isinstance(protocols, Protocol):
        return rankings[protocols.name]
    return {protocol.name: rankings[protocol.name] for protocol in chosen}


def _rank_gallery(
    blocks: Blocks,
    query: Labels,
    gallery: Labels,
    protocols: Sequence[Protocol],
    keep: int,
    chunk: int,
    threads: int,
) -> dict[str, Ranking]:
    order = np.argsort(gallery.person, kind="stable")

    @torch.no_grad()
    def evidence(part: slice) -> list[dict[str, np.ndarray]]:
        """Of the queries in `part`, for each protocol."""
        block = blocks(part)
        rows = np.arange(part.start, part.stop)
        own, present = _own(query.person[rows], gallery.person, order)
        counts = count(block.values, own, present, keep)
        found = []
        for protocol in protocols:
            hidden = ignored(protocol, query, gallery, rows[:, None], counts.own) & counts.present
            columns = columns_of(counts, counts.present & ~hidden, block.shift.cpu().numpy(), protocol.area)
            found.append(columns | {"ignored": hidden.sum(axis=1)})
        return found

    with full_precision(), _workers(threads) as pool:
        parts = list(pool.map(evidence, _parts(len(query.person), chunk, threads)))
    rankings = {}
    for protocol, found in zip(protocols, zip(*parts, strict=True), strict=True):
        rankings[protocol.name] = Ranking(**{name: np.concatenate([part[name] for part in found]) for name in found[0]})
    return rankings


@contextlib.contextmanager
def _workers(threads: int) -> Iterator[Executor]:
    """Threads that multiply and count each on its own.

    A product spread over all threads, and then the counting, would take longer: Python's part of it is not shared.
    """
    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        try:
            torch.set_num_threads(max(1, before // threads))
            yield pool
        finally:
            torch.set_num_threads(before)


def _parts(queries: int, chunk: int, threads: int) -> list[slice]:
    """Equal shares of the queries, so small that `threads` of them hold `chunk` queries at most, or one each."""
    number = min(queries, threads * -(-queries // max(chunk, threads)))
    bounds = [queries * part // number for part in range(number + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _own(person: IntArray, gallery_person: IntArray, order: IntArray) -> tuple[IntArray, BoolArray]:
    """[B, P] gallery rows, in ascending order, that show the query's `person` [B]; which of them are not padding.

    `order` [G] sorts `gallery_person`.
    """
    ordered = gallery_person[order]
    start, stop = ordered.searchsorted(person), ordered.searchsorted(person, side="right")
    place = start[:, None] + np.arange(max(1, (stop - start).max()))
    return order[np.minimum(place, len(order) - 1)], place < stop[:, None]
