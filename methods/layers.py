"""Layers that two or more methods share: gradient reversal, the batch-norm neck, classifiers, projections."""

from typing import Any, Literal, cast

import torch
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
