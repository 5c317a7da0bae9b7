"""Layers that two or more methods share: gradient reversal, the batch-norm neck, classifiers, projections."""

from typing import Any, Literal, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(features: Tensor, strength: float = 1.0) -> Tensor:
    """The identity whose gradient is multiplied by -strength (Ganin and Lempitsky 2015, arXiv 1409.7495)."""
    return cast(Tensor, _ReverseGradient.apply(features, strength))


class ReversedHeads(nn.Module):
    """Several heads behind one gradient reversal: the heads learn their task, what is below unlearns it."""

    def __init__(self, heads: list[nn.Module], strength: float):
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.strength = strength

    def forward(self, features: Tensor) -> Tensor:
        """[B, W] → [B, heads, D]."""
        features = reverse_gradient(features, self.strength)
        return torch.stack([head(features) for head in self.heads], dim=1)


class BNNeck(nn.BatchNorm1d):
    """Batch norm between the triplet's feature and the classifier's, its bias fixed at 0 (Luo et al. 2019)."""

    def __init__(self, width: int):
        super().__init__(width)
        self.bias.requires_grad_(False)


def classifier(width: int, classes: int, *, std: float, bias: bool = True) -> nn.Linear:
    """[B, width] → [B, classes], weights drawn from N(0, std²), bias 0."""
    linear = nn.Linear(width, classes, bias=bias)
    nn.init.normal_(linear.weight, std=std)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def projection(
    width: int, out: int, kind: Literal["linear", "mlp"] = "linear", *, hidden: int = 512, bias: bool = True
) -> nn.Module:
    """[B, width] → [B, out]: one linear layer, or two with a GELU between them (these always have biases)."""
    if kind == "linear":
        return classifier(width, out, std=0.02, bias=bias)
    return nn.Sequential(classifier(width, hidden, std=0.02), nn.GELU(), classifier(hidden, out, std=0.02))


def pool_max_avg(maps: Tensor) -> Tensor:
    """[B, C, *] → [B, 2C]: the maximum of each channel over all positions, then its mean, side by side (CAL, FIRe)."""
    flat = maps.flatten(2)  # [B, C, positions]
    return torch.cat([flat.amax(dim=2), flat.mean(dim=2)], dim=1)


class GeM(nn.Module):
    """[B, C, *] → [B, C]: generalised mean over all positions, (mean max(x, ε)^p)^(1/p), with a learned p.

    Radenović, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019, arXiv 1711.02512.
    p = 1 is the mean, p → ∞ the maximum.
    """

    def __init__(self, p: float = 3.0, epsilon: float = 1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))
        self.epsilon = epsilon

    def forward(self, maps: Tensor) -> Tensor:
        return maps.clamp(min=self.epsilon).pow(self.p).flatten(2).mean(dim=2).pow(1 / self.p)


class PooledHead(nn.Module):
    """Batch norm and average pooling of a map; `norm` says what is normalised, the map or the pooled vector."""

    def __init__(self, width: int, norm: Literal["map", "vector"]):
        super().__init__()
        self.norm = nn.BatchNorm2d(width) if norm == "map" else nn.BatchNorm1d(width)

    def forward(self, maps: Tensor, weights: Tensor | None = None) -> Tensor:
        """[B, width, h, w] → [B, width], the mean over the cells, weighted by `weights` [B, 1, h, w]."""
        if isinstance(self.norm, nn.BatchNorm2d):
            return _pooled(self.norm(maps), weights)
        return self.norm(_pooled(maps, weights))


def _pooled(maps: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return maps.mean(dim=(2, 3))
    return (weights * maps).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1e-6)  # 0 where no cell weighs


class CosineClassifier(nn.Module):
    """[B, width] → [B, classes] cosines with a learned direction per class; these start uniform, at unit length."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width).uniform_(-1, 1))
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight, dim=1))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """The rows [B, …] of all processes in rank order [processes · B, …], and where those of this process start.

    Every process hands over equally many. A gradient reaches this process's rows through their own place alone: what
    the losses of other processes would add is left out, as CAL's released code does.
    """
    if not dist.is_available() or not dist.is_initialized():
        return rows, 0
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    parts[dist.get_rank()] = rows
    return torch.cat(parts), dist.get_rank() * len(rows)


def full_precision(features: Tensor) -> Tensor:
    """The same in float32 where autocast left it in half precision; float64 stays what it is."""
    return features.to(torch.promote_types(features.dtype, torch.float32))
