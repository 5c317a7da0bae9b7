"""k-reciprocal encoding: how alike two images' neighbourhoods are, in memory that grows with N and not with N².

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding. CVPR 2017. arXiv 1701.08398.
Re-ranking (`benchmarks/reranking.py`) and clustering inside an identity ask for the same vectors with other numbers.

Shapes: N images, D dimensions, K length of the lists of neighbours. An image's list begins with the image itself, then
come the others by ascending squared Euclidean distance, equal distances by row: so lists of K hold K - 1 others.
Sparse matrices are scipy's, [N, N].
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from datasets.base import IntArray

FloatArray = npt.NDArray[np.float32]

VALUES_AT_A_TIME = 2**23
"""Distances, or coordinates, that are in memory at once while neighbours are looked for: 32 MB."""
ENTRIES_AT_A_TIME = 2**22
"""Entries of a sparse product that are in memory at once."""


@dataclass(frozen=True)
class Encoding:
    vectors: sparse.csr_array
    """[N, N] fp32: row i is V_i, the weights of the images in i's neighbourhood, which sum to 1."""
    farthest: FloatArray
    """[N] largest squared distance of image i to any other; never 0."""


def encode(features: Tensor, *, neighbours: int, half: int, average: int, scaled: bool) -> Encoding:
    """V of equation (7), after the local query expansion of equation (11), of finite `features` [N, D] in fp32.

    `neighbours` is K of the mutual sets R(i, k), `half` that of the smaller sets which extend them, `average` how many
    vectors are averaged; each counts the image itself, and N where it is more. Weights are exp(-d) of the squared
    distance d, `scaled`: of d over the row's largest, as the paper's code has it.
    """
    index, farthest = nearest(features, max(neighbours, half, average))
    sets = neighbourhoods(index[:, :neighbours], index[:, :half])
    weights = np.exp(-_squared_distances(features, sets, farthest if scaled else None))
    vectors = sparse.csr_array((weights, sets.indices, sets.indptr), shape=sets.shape)
    vectors.data /= np.repeat(vectors.sum(axis=1), np.diff(vectors.indptr))
    if average > 1:
        nearby = index[:, :average]
        vectors = sparse.csr_array(_rows_to_columns(nearby).astype(np.float32) @ vectors)  # the type of V stays fp32
        vectors.data /= nearby.shape[1]
    return Encoding(vectors, farthest)


def jaccard(vectors: sparse.csr_array, others: sparse.csc_array) -> FloatArray:
    """[B, M] Jaccard distances of equation (10) between rows of V: `vectors` [B, N] and `others` [M, N].

    Both have unit sums, so that the sum of the larger of two weights is 2 minus the sum of the smaller.
    """
    entries: int = others.shape[0]  # type: ignore[index] # scipy lets a shape be None
    distances = np.empty((len(vectors.indptr) - 1, entries), dtype=np.float32)
    for row, (start, stop) in enumerate(zip(vectors.indptr, vectors.indptr[1:], strict=False)):
        columns = vectors.indices[start:stop]
        first, length = others.indptr[columns], others.indptr[columns + 1] - others.indptr[columns]
        end = length.cumsum()
        place = np.repeat(first - end + length, length) + np.arange(end[-1])
        smaller = np.minimum(others.data[place], np.repeat(vectors.data[start:stop], length))
        shared = np.bincount(others.indices[place], smaller, minlength=entries)
        np.minimum(shared, 1, out=shared)  # rounding; the distance to oneself would be a little less than 0
        distances[row] = 1 - shared / (2 - shared)
    return distances


def nearest(features: Tensor, count: int) -> tuple[IntArray, FloatArray]:
    """Lists of neighbours [N, min(count, N)], and the largest squared distance in each row [N], never 0."""
    number = len(features)
    count = min(count, number)
    square = features.square().sum(dim=1)
    index = np.empty((number, count), dtype=np.int64)
    farthest = np.empty(number, dtype=np.float32)
    step = max(1, VALUES_AT_A_TIME // number)
    for start in range(0, number, step):
        part = features[start : start + step]
        rows = slice(start, start + len(part))
        with torch.autocast(features.device.type, enabled=False):
            values = torch.addmm(square, part, features.T, alpha=-2)  # |a - b|² without |a|², which orders nothing
        farthest[rows] = (values.amax(dim=1) + square[rows]).cpu().numpy()
        values.diagonal(offset=start).fill_(-torch.inf)
        limit = values.topk(count, largest=False, sorted=False).values.amax(dim=1, keepdim=True)
        row, column = (values <= limit).nonzero(as_tuple=True)
        near = values[row, column].cpu().numpy()
        row, column = row.cpu().numpy(), column.cpu().numpy()
        order = np.lexsort((column, near, row))
        first = row.searchsorted(np.arange(len(part)))  # more than `count` where the last place is tied
        index[rows] = column[order[first[:, None] + np.arange(count)]]
    return index, np.maximum(farthest, np.finfo(np.float32).tiny)


def neighbourhoods(lists: IntArray, shorter: IntArray) -> sparse.csr_array:
    """The sets R* of equation (5), as a pattern, from lists of neighbours [N, K] and shorter ones.

    R(i, k): who is in i's list and has i in its own. To it each member c adds its R(c, k/2), of the shorter lists, if
    more than two thirds of that are in R(i, k) already.
    """
    mutual, small = _mutual(lists), _mutual(shorter)
    size = np.diff(small.indptr)
    step = max(1, ENTRIES_AT_A_TIME // (lists.shape[1] * shorter.shape[1]))
    parts = []
    for start in range(0, len(lists), step):
        own = mutual[start : start + step]
        members = sparse.csr_array(own.multiply(own @ small.T))  # [i, c] = |R(i, k) ∩ R(c, k/2)|
        members.data = (3 * members.data > 2 * size[members.indices]).astype(np.int32)
        members.eliminate_zeros()
        parts.append(own + members @ small)
    return sparse.csr_array(sparse.vstack(parts))


def _mutual(index: IntArray) -> sparse.csr_array:
    lists = _rows_to_columns(index)
    return sparse.csr_array(lists.multiply(sparse.csr_array(lists.T)))


def _rows_to_columns(index: IntArray) -> sparse.csr_array:
    """[N, N] with 1 where `index` [N, K] names a column."""
    number, count = index.shape
    columns, starts = np.sort(index, axis=1).reshape(-1), np.arange(0, number * count + 1, count)
    ones = np.ones(index.size, dtype=np.int32)
    return sparse.csr_array((ones, columns.astype(np.int32), starts.astype(np.int32)), shape=(number, number))


def _squared_distances(features: Tensor, pattern: sparse.csr_array, scale: FloatArray | None) -> FloatArray:
    """At the entries of `pattern`, in its order; over `scale` [N], the largest of each row, where it is given."""
    row = np.repeat(np.arange(len(pattern.indptr) - 1), np.diff(pattern.indptr))
    found = np.empty(len(row), dtype=np.float32)
    step = max(1, VALUES_AT_A_TIME // features.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        left = features[torch.from_numpy(row[part]).to(features.device)]
        right = features[torch.from_numpy(pattern.indices[part]).to(features.device)]
        found[part] = left.sub_(right).square_().sum(dim=1).cpu().numpy()
    if scale is None:
        return found
    return np.minimum(found / scale[row], 1)  # more only by rounding, where all features are nearly equal
