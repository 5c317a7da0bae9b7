"""Distances from features, a block of queries at a time.

Shapes: Q queries, G gallery entries, D dimensions, B queries of one block.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from datasets.errors import DataError, UsageError, did_you_mean

Metric = Literal["cosine", "euclidean"]
Matrix = np.ndarray | Tensor


@dataclass(frozen=True)
class Block:
    """Distances of B queries."""

    values: Tensor
    """[B, G] ordered as the distances are, contiguous. The receiver may overwrite it; the thread's next block will."""
    shift: Tensor
    """[B, 1] values + shift are the distances. Left out of the values, where adding it would round differences away."""


Blocks = Callable[[slice], Block]
"""Distances of the queries in a slice; several threads may ask at once."""


def products(query: Tensor, gallery: Tensor, metric: Metric, normalise: bool) -> Blocks:
    """Distances between `query` [Q, D] and `gallery` [G, D], on the query's device.

    cosine: 1 - cosine, or without `normalise` 1 - dot product. euclidean: the squared Euclidean distance.
    `normalise` scales rows to unit length; a row of zeros stays as it is, at cosine 0 from everything.
    Raises DataError where a feature is not finite, UsageError for an unknown metric.
    """
    refuse_unknown(metric)
    query, gallery = checked(query, "query", normalise), checked(gallery.to(query.device), "gallery", normalise)
    gallery_square = gallery.square().sum(dim=1) if metric == "euclidean" else None
    memory = threading.local()

    def block(rows: slice) -> Block:
        part = query[rows]
        if not hasattr(memory, "buffer") or len(memory.buffer) < len(part):
            memory.buffer = _empty(len(part), len(gallery), query.device)
        values = memory.buffer[: len(part)]
        with torch.autocast(query.device.type, enabled=False):
            if gallery_square is None:
                torch.mm(-part, gallery.T, out=values)
                return Block(values, torch.ones(len(part), 1, device=query.device))
            torch.addmm(gallery_square, part, gallery.T, alpha=-2, out=values)  # |q - g|² = |q|² + |g|² - 2 q·g
            return Block(values, part.square().sum(dim=1, keepdim=True))

    return block


def copies(distances: Matrix) -> Blocks:
    """A matrix of distances [Q, G]. Raises DataError where a distance is not finite."""

    def block(rows: slice) -> Block:
        values = torch.as_tensor(distances[rows]).clone(memory_format=torch.contiguous_format)
        values = values if values.is_floating_point() else values.double()
        _refuse_unless_finite(values.amax(dim=1) - values.amin(dim=1), "distances", rows.start)
        return Block(values, torch.zeros(len(values), 1, device=values.device))

    return block


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products without TF32 or bf16 shortcuts, whatever the training has switched on."""
    switches = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def refuse_unknown(metric: str) -> None:
    known = get_args(Metric)
    if metric not in known:
        raise UsageError(f"Unknown metric {metric}.{did_you_mean(metric, known)} Available: {', '.join(known)}.")


def checked(features: Tensor, name: str, normalise: bool) -> Tensor:
    """`features` [N, D] in fp32, all finite; of unit length with `normalise`."""
    features = features.detach().float()
    length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    _refuse_unless_finite(length, f"{name} features", 0)
    if not normalise:
        return features
    return torch.div(features, length.clamp_min(1e-12), out=_empty(len(features), features.shape[1], features.device))


def _empty(rows: int, columns: int, device: torch.device) -> Tensor:
    """fp32 memory. On a CPU numpy's, which asks for huge pages: filling it for the first time is ten times faster."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty((rows, columns), dtype=np.float32))
    return torch.empty(rows, columns, device=device)


def _refuse_unless_finite(size: Tensor, name: str, start: int) -> None:
    """Raise DataError for the first of the rows from `start` on whose `size` shows that it cannot be ranked."""
    bad = (~size.flatten().isfinite()).nonzero()
    if len(bad):
        raise DataError(
            f"Row {start + int(bad[0])} of the {name} holds NaN, infinity or numbers too large to compare: "
            "look for the training step that diverged."
        )
