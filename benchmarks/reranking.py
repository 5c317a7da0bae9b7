"""Re-ranking by k-reciprocal encoding, as distances like any others, a block of queries at a time.

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding. CVPR 2017. arXiv 1701.08398.
Both splits take part: the other queries and the whole gallery decide about each distance (transductive).

Shapes: Q queries, G gallery entries, N = Q + G, D dimensions, B queries of one block.
"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from datasets.config import Strict
from datasets.errors import UsageError
from methods.k_reciprocal import encode, jaccard

from .distances import Block, Blocks, Metric, checked, full_precision, products, refuse_unknown


class RerankConfig(Strict):
    method: Literal["none", "k-reciprocal"] = "none"
    """k-reciprocal: rank by shared neighbours (Zhong et al., CVPR 2017); scores get a column of their own, because the
    other queries and the gallery take part in each distance."""
    k1: int = Field(default=20, ge=1)
    """Neighbours among which two images have to find each other; DIFFER's and MADE's codes ask for 50."""
    k2: int = Field(default=6, ge=1)
    """Nearest images, the image itself included, whose encodings are averaged; DIFFER's and MADE's codes ask for 15."""
    weight: float = Field(default=0.3, ge=0, le=1)
    """Share λ of the original distance in the final one; 1 ranks as without re-ranking."""

    @model_validator(mode="after")
    def _in_use(self) -> Self:
        if self.method == "none" and (self.k1, self.k2, self.weight) != (20, 6, 0.3):
            raise ValueError(
                "k1, k2 and weight do nothing without re-ranking: set evaluate.rerank.method=k-reciprocal as well"
            )
        return self


NO_RERANKING = RerankConfig()


def reranked(query: Tensor, gallery: Tensor, config: RerankConfig, metric: Metric, normalise: bool) -> Blocks:
    """Distances of equation (12) between `query` [Q, D] and `gallery` [G, D]: (1 - λ) Jaccard + λ original.

    The original distance is squared Euclidean over the query's largest to any of the N images, as in the paper's code.
    On unit features the cosine distance over its largest is the same, so that there `metric` makes no difference.
    All N images are encoded before the first block. Memory grows with N k1 k2 and with B G, never with N².
    Raises DataError where a feature is not finite, UsageError for an unknown metric and for the dot product.
    """
    refuse_unknown(metric)
    if metric == "cosine" and not normalise:
        raise UsageError(
            "Re-ranking needs distances that cannot be negative, which 1 - dot product can: "
            "choose evaluate.normalise=true or evaluate.metric=euclidean."
        )
    query, gallery = checked(query, "query", normalise), checked(gallery.to(query.device), "gallery", normalise)
    originals = products(query, gallery, "euclidean", normalise=False)
    queries, everything = len(query), torch.cat([query, gallery])
    half = round(config.k1 / 2)
    with torch.no_grad(), full_precision():
        encoding = encode(everything, neighbours=config.k1 + 1, half=half + 1, average=config.k2, scaled=True)
    del everything
    asking, answering = encoding.vectors[:queries], encoding.vectors[queries:].tocsc()
    farthest = torch.from_numpy(encoding.farthest[:queries, None])

    def block(rows: slice) -> Block:
        original = originals(rows)
        distances = (original.values + original.shift).cpu().div_(farthest[rows]).clamp_(0, 1)  # beyond: rounding
        shared = torch.from_numpy(jaccard(asking[rows], answering))
        values = shared.mul_(1 - config.weight).add_(distances, alpha=config.weight)
        return Block(values, torch.zeros(len(values), 1))

    return block
