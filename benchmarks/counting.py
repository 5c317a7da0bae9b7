"""How many other people lie ahead of each image of the query's person: exact, without sorting what does not decide.

Shapes: B queries of one block, G gallery entries, P most images that one of the queries has in the gallery, K nearest.
«Negatives» are the gallery entries of other people. Order: ascending distance, equal distances by gallery row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datasets.base import IntArray

from .protocols import BoolArray, FloatArray

VALUES_AT_A_TIME = 2**19
"""Distances that are counted in one go, so that they stay in the processor's cache."""
VALUES_PER_BUCKET = 4
"""On average. Fewer: more buckets to add up; more: more values to sort. Measured: flat between 2 and 8."""


@dataclass(frozen=True)
class Counts:
    """The images of the query's own person, nearest first, and the negatives around them.

    Padding comes last; there `distance` is infinite and the counts mean nothing.
    """

    own: IntArray
    """[B, P] gallery rows."""
    present: BoolArray
    """[B, P] False in padding."""
    distance: FloatArray
    """[B, P]"""
    ahead: IntArray
    """[B, P] negatives ranked ahead."""
    nearer: IntArray
    """[B, P] negatives strictly nearer."""
    as_near: IntArray
    """[B, P] negatives nearer or equally near."""
    nearest: IntArray
    """[B, K] gallery rows of the nearest negatives; -1 where there are no more."""
    nearest_distance: FloatArray
    """[B, K] infinite where there are no more."""


def count(block: Tensor, own: IntArray, present: BoolArray, keep: int) -> Counts:
    """Count in `block` [B, G], finite distances, which is overwritten.

    `own` [B, P]: gallery rows of the query's person, ascending, the `present` ones before the padding; `keep`: K.
    """
    row, place = np.nonzero(present)
    distance = np.full(own.shape, np.inf, dtype=np.float64 if block.dtype == torch.float64 else np.float32)
    distance[row, place] = block[torch.from_numpy(row), torch.from_numpy(own[row, place])].cpu().numpy()
    order = distance.argsort(axis=1, kind="stable")
    own, distance = np.take_along_axis(own, order, axis=1), np.take_along_axis(distance, order, axis=1)
    if not block.is_cpu:
        return count_by_sorting(block, own, present, distance, keep)
    values = block.numpy()
    step = max(1, VALUES_AT_A_TIME // values.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(values), step)]
    counted = [count_by_buckets(values[part], own[part], present[part], distance[part], keep) for part in parts]
    columns = zip(*(vars(part).values() for part in counted), strict=True)
    return Counts(*(np.concatenate(column) for column in columns))


def count_by_sorting(block: Tensor, own: IntArray, present: BoolArray, distance: FloatArray, keep: int) -> Counts:
    """For a GPU, where sorting everything is cheap."""
    row, place = np.nonzero(present)
    block[torch.from_numpy(row), torch.from_numpy(own[row, place])] = torch.inf  # only negatives stay finite
    values, columns = block.sort(dim=1, stable=True)
    thresholds = torch.from_numpy(distance).to(values)
    nearer, as_near = (torch.searchsorted(values, thresholds, right=right).cpu().numpy() for right in (False, True))
    ahead = nearer.copy()
    for tied in zip(*np.nonzero(present & (as_near > nearer)), strict=True):
        equal = columns[tied[0], nearer[tied] : as_near[tied]].cpu().numpy()
        ahead[tied] += equal.searchsorted(own[tied])
    missing = ((0, 0), (0, max(0, keep - values.shape[1])))
    nearest_distance = np.pad(values[:, :keep].cpu().numpy(), missing, constant_values=np.inf)
    nearest = np.pad(columns[:, :keep].cpu().numpy(), missing)
    nearest[np.isinf(nearest_distance)] = -1
    return Counts(own, present, distance, ahead, nearer, as_near, nearest, nearest_distance)


def count_by_buckets(block: FloatArray, own: IntArray, present: BoolArray, distance: FloatArray, keep: int) -> Counts:
    """For a CPU, where sorting everything would cost as much as the distances did.

    Each row is cut into buckets of equal width. Only the values that decide something are sorted: those that share a
    bucket with an image of the query's person, and those in the buckets of the nearest negatives. Of the other buckets
    it is enough to know how many negatives they hold.
    """
    rows, width = block.shape
    row, place = np.nonzero(present)
    entries = row * width + own[row, place]
    asked = distance[row, place]
    decisive, skipped = _decisive(block, entries, keep)
    values = block.reshape(-1)[decisive]
    starts = decisive.searchsorted(np.arange(rows + 1) * width)
    firsts = row.searchsorted(np.arange(rows + 1))

    left, right = np.empty_like(entries), np.empty_like(entries)
    nearest = np.full((rows, keep), -1)
    nearest_distance = np.full((rows, keep), np.inf, dtype=block.dtype)
    bounds = np.stack([starts[:-1], starts[1:], firsts[:-1], firsts[1:]], axis=1).tolist()
    for index, (start, stop, first, last) in enumerate(bounds):
        part, ours = values[start:stop], asked[first:last]
        ordered = np.sort(part)
        left[first:last] = ordered.searchsorted(ours)
        right[first:last] = ordered.searchsorted(ours, "right")
        if kept := min(keep, width - (last - first)):
            near = (part <= ordered[kept - 1]).nonzero()[0]
            near = near[part[near].argsort(kind="stable")[:kept]]
            nearest[index, :kept] = decisive[start + near] - index * width
            nearest_distance[index, :kept] = part[near]
    before = left.copy()
    for tied in np.flatnonzero(right > left):
        part = slice(starts[row[tied]], starts[row[tied] + 1])
        equal = decisive[part][values[part] == asked[tied]]
        before[tied] += equal.searchsorted(entries[tied])

    ahead, nearer, as_near = (np.zeros(own.shape, dtype=np.int64) for _ in range(3))
    ahead[row, place], nearer[row, place], as_near[row, place] = before + skipped, left + skipped, right + skipped
    return Counts(own, present, distance, ahead, nearer, as_near, nearest, nearest_distance)


def _decisive(block: FloatArray, entries: IntArray, keep: int) -> tuple[IntArray, IntArray]:
    """What has to be sorted in `block` [B, G], and what may be skipped, for the N flat places `entries` [N].

    Makes the entries infinite. Returns the flat places of the decisive values, the entries among them, in ascending
    order, and for each entry how many negatives lie in buckets ahead of it that are not decisive [N].
    """
    buckets = max(1, block.shape[1] // VALUES_PER_BUCKET)
    bucket = torch.from_numpy(_buckets(block, buckets).reshape(-1))  # torch counts and looks up int32, numpy int64 only
    block.reshape(-1)[entries] = np.inf
    asked = bucket.numpy()[entries]
    size = bucket.bincount(minlength=len(block) * buckets).numpy()
    size -= np.bincount(asked, minlength=len(size))
    size = size.reshape(len(block), buckets)
    is_decisive = size.cumsum(axis=1) - size < keep
    is_decisive.reshape(-1)[asked] = True
    size[is_decisive] = 0
    sorted_out = torch.from_numpy(is_decisive.reshape(-1)).index_select(0, bucket)
    return np.flatnonzero(sorted_out.numpy()), size.cumsum(axis=1).reshape(-1)[asked]


def _buckets(block: FloatArray, buckets: int) -> npt.NDArray[np.int32]:
    """[B, G] number of each value's bucket, counted on from row to row; never smaller for a larger value of one row."""
    low = block.min(axis=1, keepdims=True)
    span = block.max(axis=1, keepdims=True) - low
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = (buckets - 1) / span
    scale[~np.isfinite(scale)] = 0  # all values equal, or nearly: one bucket
    place = block - low
    place *= scale
    place += np.arange(len(block), dtype=block.dtype)[:, None] * buckets  # exact enough: far below 2**24
    return place.astype(np.int32)
