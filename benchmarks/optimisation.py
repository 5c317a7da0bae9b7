"""Optimisers and learning-rate schedules; the rate is a closed form of the epoch: resuming needs nothing else."""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from datasets.config import Strict

Fraction = Annotated[float, Field(ge=0, le=1)]


class OptimiserConfig(Strict):
    """How one optimiser step moves the parameters."""

    name: Literal["sgd", "adam", "adamw"] = "adam"
    """sgd and adam add the weight decay to the gradient, adamw shrinks the weights directly."""
    lr: PositiveFloat = 3.5e-4
    """Learning rate after the warm-up."""
    weight_decay: NonNegativeFloat = 5e-4
    """Applied to every parameter unless `decay_vectors` is false."""
    decay_vectors: bool = True
    """false: no weight decay on parameters of one dimension (biases and normalisation)."""
    momentum: Fraction = 0.9
    """sgd only; no Nesterov, no dampening."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """adam and adamw only."""
    bias_lr_factor: PositiveFloat = 1.0
    """Multiplies the learning rate of parameters whose name contains «bias»."""
    head_lr_factor: PositiveFloat = 1.0
    """Multiplies the learning rate of everything outside the backbone."""


class ScheduleConfig(Strict):
    """The learning rate over the epochs.

    With t = epoch - 1, W = warmup_epochs, T = train.epochs, floor = min_factor · optimiser.lr:
    Warm-up (t < W): linear from its start to the rate of the group.
    constant, multistep (t ≥ W): rate · decay^(number of milestones ≤ t).
    cosine (t ≥ W): floor + (rate - floor) · (1 + cos(π (t - W) / (T - W))) / 2.
    unshifted_cosine (DIFFER, MADE): t = epoch, and a cosine that runs from epoch 0 as if there were no warm-up, so that
    the rate jumps down where the warm-up ends.
    """

    name: Literal["constant", "multistep", "cosine", "unshifted_cosine"] = "multistep"
    """Shape after the warm-up."""
    warmup_epochs: NonNegativeInt = 0
    """Length of the linear warm-up; 0: none."""
    warmup_factor: Fraction = 0.1
    """Start of the warm-up as a fraction of each group's rate."""
    warmup_lr: NonNegativeFloat | None = None
    """Start of the warm-up as a rate, the same for every group; goes before `warmup_factor`."""
    milestones: tuple[NonNegativeInt, ...] = (40, 70)
    """multistep: number of epochs after which the rate falls."""
    decay: Fraction = 0.1
    """multistep: factor at each milestone."""
    restart_after: NonNegativeInt = 0
    """Epochs after which the schedule starts again, for methods that train in two stages; 0: it does not."""
    min_factor: Fraction = 0.0
    """Cosine shapes: the lowest rate as a fraction of optimiser.lr, the same for every group."""


def learning_rate(
    optimiser: OptimiserConfig, schedule: ScheduleConfig, epoch: float, epochs: int, factor: float = 1.0
) -> float:
    """The rate in `epoch` (counted from 1; 3.5 is the middle of the third) of `epochs`, for a group's lr `factor`."""
    if schedule.restart_after and epoch > schedule.restart_after:
        epoch, epochs = epoch - schedule.restart_after, epochs - schedule.restart_after
    elif schedule.restart_after:
        epochs = schedule.restart_after
    rate = optimiser.lr * factor
    floor = optimiser.lr * schedule.min_factor
    unshifted = schedule.name == "unshifted_cosine"
    elapsed = epoch if unshifted else epoch - 1
    if elapsed < schedule.warmup_epochs:
        start = rate * schedule.warmup_factor if schedule.warmup_lr is None else schedule.warmup_lr
        return start + elapsed * ((rate - start) / schedule.warmup_epochs)
    if schedule.name == "constant":
        return rate
    if schedule.name == "multistep":
        return rate * schedule.decay ** sum(milestone <= elapsed for milestone in schedule.milestones)
    begin = 0 if unshifted else schedule.warmup_epochs
    if elapsed >= epochs:
        return floor
    return floor + 0.5 * (rate - floor) * (1 + math.cos(math.pi * (elapsed - begin) / (epochs - begin)))


def build_optimiser(
    named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimiserConfig
) -> torch.optim.Optimizer:
    """One parameter group per combination of learning-rate factor and weight decay; frozen parameters are left out.

    Each group carries its `lr_factor`. Names are a method's own: the backbone's start with «backbone.».
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        factor = config.bias_lr_factor if "bias" in name else 1.0
        factor *= 1.0 if name.startswith("backbone.") else config.head_lr_factor
        decay = config.weight_decay if config.decay_vectors or parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "lr": config.lr * factor, "lr_factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    if config.name == "sgd":
        return torch.optim.SGD(described, lr=config.lr, momentum=config.momentum)
    if config.name == "adam":
        return torch.optim.Adam(described, lr=config.lr, betas=config.betas)
    return torch.optim.AdamW(described, lr=config.lr, betas=config.betas)


def set_learning_rates(
    optimizer: torch.optim.Optimizer, optimiser: OptimiserConfig, schedule: ScheduleConfig, epoch: float, epochs: int
) -> None:
    """Give every group of `optimizer` its rate for `epoch`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(optimiser, schedule, epoch, epochs, group["lr_factor"])
