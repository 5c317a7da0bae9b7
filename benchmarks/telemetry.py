"""What an epoch of training says about itself: loss terms, speed, waiting, and who pulls on the features."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Meter:
    """Sums over the steps of one epoch; plain numbers, so that a checkpoint in mid-epoch can hold them."""

    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    """Seconds spent waiting for a batch."""
    terms: dict[str, float] = field(default_factory=dict)
    """Weighted loss terms."""
    pulls: dict[str, float] = field(default_factory=dict)
    """Gradient norms of the weighted terms on the features."""

    def add(self, terms: Mapping[str, float], images: int, seconds: float, waiting: float) -> None:
        self.steps += 1
        self.images += images
        self.seconds += seconds
        self.waiting += waiting
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value

    def add_pulls(self, norms: Mapping[str, float]) -> None:
        for name, value in norms.items():
            self.pulls[name] = self.pulls.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: value / max(1, self.steps) for name, value in self.terms.items()}

    def gradient_shares(self) -> dict[str, float]:
        """Each term's share of the summed gradient norms; empty when nothing was measured."""
        total = sum(self.pulls.values())
        return {name: value / total for name, value in self.pulls.items()} if total else {}


def gradient_norms(weighted: Mapping[str, Tensor], features: Tensor | None) -> dict[str, float]:
    """‖∂ term / ∂ features‖ of each weighted term, Frobenius norm over the batch; a term that does not use them: 0."""
    if features is None or not features.requires_grad:
        return {}
    norms = {}
    for name, term in weighted.items():
        (gradient,) = torch.autograd.grad(term, features, retain_graph=True, allow_unused=True)
        norms[name] = 0.0 if gradient is None else float(gradient.float().norm())
    return norms


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed
