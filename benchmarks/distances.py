"""Distances from features, a block of queries at a time, in full fp32 precision.

Shapes: Q queries, G gallery entries, D dimensions, B queries of one block.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.config import did_you_mean
from datasets.errors import DataError, UsageError

Metric = Literal["cosine", "euclidean"]
Matrix = np.ndarray | Tensor


@dataclass(frozen=True)
class Block:
    rows: slice
    """Which queries."""
    values: Tensor
    """[B, G] ordered as the distances are. The receiver may overwrite it, and the next block will."""
    shift: Tensor
    """[B, 1] values + shift are the distances. Left out of the values, where adding it would round differences away."""


def products(query: Tensor, gallery: Tensor, metric: Metric, normalise: bool, chunk: int) -> Iterator[Block]:
    """Distances between `query` [Q, D] and `gallery` [G, D], `chunk` rows at a time, on the query's device.

    cosine: 1 - cosine, or without `normalise` 1 - dot product. euclidean: the squared Euclidean distance.
    `normalise` scales rows to unit length; a row of zeros stays as it is, at cosine 0 from everything.
    Raises DataError where a feature is not finite, UsageError for an unknown metric.
    """
    if metric not in get_args(Metric):
        known = get_args(Metric)
        raise UsageError(f"Unknown metric {metric}.{did_you_mean(metric, known)} Available: {', '.join(known)}.")
    query, gallery = _checked(query, "query", normalise), _checked(gallery.to(query.device), "gallery", normalise)
    buffer = torch.empty(min(chunk, len(query)), len(gallery), device=query.device)
    gallery_square = gallery.square().sum(dim=1) if metric == "euclidean" else None
    for start in range(0, len(query), chunk):
        part = query[start : start + chunk]
        values = buffer[: len(part)]
        with full_precision(), torch.autocast(query.device.type, enabled=False):
            if gallery_square is None:
                torch.mm(-part, gallery.T, out=values)
                shift = torch.ones(len(part), 1, device=query.device)
            else:  # |q - g|² = |q|² + |g|² - 2 q·g
                torch.addmm(gallery_square, part, gallery.T, alpha=-2, out=values)
                shift = part.square().sum(dim=1, keepdim=True)
        yield Block(slice(start, start + len(part)), values, shift)


def copies(distances: Matrix, chunk: int) -> Iterator[Block]:
    """A matrix of distances [Q, G], `chunk` rows at a time. Raises DataError where a distance is not finite."""
    for start in range(0, len(distances), chunk):
        values = torch.as_tensor(distances[start : start + chunk]).clone()
        values = values if values.is_floating_point() else values.double()
        low, high = values.amin(dim=1), values.amax(dim=1)
        _refuse_unless_finite(high - low, "distances", start)
        yield Block(slice(start, start + len(values)), values, torch.zeros(len(values), 1, device=values.device))


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


def _checked(features: Tensor, name: str, normalise: bool) -> Tensor:
    """`features` [N, D] in fp32, all finite; of unit length with `normalise`."""
    features = features.detach().float()
    _refuse_unless_finite(torch.linalg.vector_norm(features, dim=1), f"{name} features", 0)
    return F.normalize(features) if normalise else features


def _refuse_unless_finite(size: Tensor, name: str, start: int) -> None:
    """Raise DataError for the first of the rows from `start` on whose `size` [N] shows that it cannot be ranked."""
    bad = (~size.isfinite()).nonzero()
    if len(bad):
        raise DataError(
            f"Row {start + int(bad[0])} of the {name} holds NaN, infinity or numbers too large to compare: "
            "look for the training step that diverged."
        )
