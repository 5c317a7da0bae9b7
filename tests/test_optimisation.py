"""Learning rates and optimiser steps: the official numbers exactly, and the conventions of the other schedules."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.optimisation import (
    OptimiserConfig,
    ScheduleConfig,
    build_optimiser,
    learning_rate,
    set_learning_rates,
)

SGD = OptimiserConfig(name="sgd", lr=2e-6, momentum=0.9, weight_decay=0.05, bias_lr_factor=2.0)
UNSHIFTED = ScheduleConfig(name="unshifted_cosine", warmup_epochs=20, warmup_lr=7.8125e-7, min_factor=0.1)


@pytest.mark.parametrize(("case", "lr"), [("ltcc", 2e-6), ("ltcc_mlp", 2e-6), ("prcc", 2e-6), ("Celeb_light", 2e-5)])
def test_unshifted_cosine_gives_the_official_rates(golden: Path, case, lr):
    optimiser = SGD.model_copy(update={"lr": lr})
    with np.load(golden / "differ/lr.npz", allow_pickle=False) as arrays:
        for factor, official in ((1.0, arrays[f"{case}/lr_weight"]), (2.0, arrays[f"{case}/lr_bias"])):
            ours = [learning_rate(optimiser, UNSHIFTED, epoch, 60, factor) for epoch in arrays[f"{case}/epoch"]]
            np.testing.assert_array_max_ulp(np.array(ours), official, maxulp=1)


def test_sgd_moves_weights_and_biases_as_the_official_optimiser(golden: Path):
    with np.load(golden / "differ/sgd.npz", allow_pickle=False) as arrays:
        steps = {key: torch.from_numpy(arrays[key]) for key in arrays}
    names = [key.removeprefix("p0/") for key in steps if key.startswith("p0/")]
    parameters = {name: nn.Parameter(steps[f"p0/{name}"].clone()) for name in names}
    optimizer = build_optimiser(parameters.items(), SGD)
    for step in (1, 2, 3):
        for name in names:
            parameters[name].grad = steps[f"g/{name}"].clone()
        optimizer.step()
        for name in names:
            torch.testing.assert_close(parameters[name].detach(), steps[f"p{step}/{name}"], rtol=1e-6, atol=1e-7)


def test_multistep_with_warm_up_follows_the_bag_of_tricks():
    """Ten epochs up from a tenth, then a tenth after 40 and 70 epochs."""
    optimiser, schedule = OptimiserConfig(lr=1.0), ScheduleConfig(warmup_epochs=10, warmup_factor=0.1)
    rates = {epoch: learning_rate(optimiser, schedule, epoch, 120) for epoch in (1, 2, 10, 11, 40, 41, 70, 71, 120)}
    expected = {1: 0.1, 2: 0.19, 10: 0.91, 11: 1.0, 40: 1.0, 41: 0.1, 70: 0.1, 71: 0.01, 120: 0.01}
    assert rates == pytest.approx(expected)


def test_cosine_falls_from_the_end_of_the_warm_up_to_the_floor():
    optimiser = OptimiserConfig(lr=1.0)
    schedule = ScheduleConfig(name="cosine", warmup_epochs=4, warmup_factor=0.0, min_factor=0.2)
    assert learning_rate(optimiser, schedule, 1, 24) == 0
    assert learning_rate(optimiser, schedule, 5, 24) == 1
    assert learning_rate(optimiser, schedule, 15, 24) == pytest.approx(0.6)
    assert learning_rate(optimiser, schedule, 25, 24) == pytest.approx(0.2)
    rates = [learning_rate(optimiser, schedule, epoch, 24) for epoch in range(5, 25)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("name", ["constant", "multistep", "cosine", "unshifted_cosine"])
def test_a_warm_up_longer_than_training_is_no_error(name):
    schedule = ScheduleConfig(name=name, warmup_epochs=10, warmup_factor=0.5)
    rates = [learning_rate(OptimiserConfig(lr=1.0), schedule, epoch, 3) for epoch in range(1, 12)]
    assert all(0 <= rate <= 1 for rate in rates)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


def test_groups_follow_bias_head_and_decay_options():
    config = OptimiserConfig(
        name="adamw", lr=1.0, weight_decay=0.1, decay_vectors=False, bias_lr_factor=2.0, head_lr_factor=10.0
    )
    model = Tiny()
    optimizer = build_optimiser(model.named_parameters(), config)
    lr_of = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert {name: lr_of.get(id(parameter)) for name, parameter in model.named_parameters()} == {
        "backbone.weight": (1.0, 0.1),
        "backbone.bias": (2.0, 0.0),
        "head.weight": (10.0, 0.1),
        "head.bias": (20.0, 0.0),
        "frozen": None,
    }
    set_learning_rates(optimizer, config, ScheduleConfig(name="constant", warmup_epochs=2, warmup_factor=0.5), 1, 9)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.5, 1.0, 5.0, 10.0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_resuming_needs_the_epoch_and_the_optimisers_state_alone(name, tmp_path):
    """Four epochs in one go end with the same bits as two, a save, a load without unpickling, and two more."""
    config, schedule = OptimiserConfig(name=name, lr=0.1), ScheduleConfig(name="cosine", warmup_epochs=2)

    def train(model: Tiny, optimizer: torch.optim.Optimizer, epochs: range) -> None:
        for epoch in epochs:
            set_learning_rates(optimizer, config, schedule, epoch, 4)
            optimizer.zero_grad()
            model.head(model.backbone(torch.full((1, 2), float(epoch)))).square().sum().backward()
            optimizer.step()

    def fresh() -> tuple[Tiny, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = Tiny()
        return model, build_optimiser(model.named_parameters(), config)

    whole, optimizer = fresh()
    train(whole, optimizer, range(1, 5))
    first, optimizer = fresh()
    train(first, optimizer, range(1, 3))
    torch.save({"model": first.state_dict(), "optimiser": optimizer.state_dict()}, tmp_path / "state.pt")
    resumed, optimizer = fresh()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimiser"])
    train(resumed, optimizer, range(3, 5))
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
