"""Sweeps on a planted objective, whose optimum and seed noise are known: does the confirmed choice deserve its name?"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.studies import Confirmation, StudyFolder, Value
from datasets.errors import DataError, UsageError
from sweeps.confirmation import DEFAULTS, Score, confirm
from sweeps.plan import SweepPlan, read_plan
from sweeps.snapshot import snapshot
from sweeps.storage import open_storage
from sweeps.study import open_study
from sweeps.trial import Measured, Watch
from sweeps.worker import work

WORDS = {
    "method.name": "differ",
    "dataset.name": "synthetic",
    "space.method.weights.identity": "off",
    "space.method.weights.biometric": "off",
    "space.method.reversal_strength": "off",
    "space.method.camera_strength": "off",
    "space.method.temperature": "off",
}
OPTIMUM = {"method.weights.triplet": 0.6, "method.weights.non_biometric": 2.0}
BEST, CURVATURE, NOISE, EPOCHS = 0.30, 0.04, 0.01, 16
STUDIES = 20


def worth(params: Mapping[str, Value]) -> float:
    """What a configuration scores without noise: a paraboloid in the logarithms of two weights."""
    return BEST - CURVATURE * sum(float(np.log10(float(params[key] or 0) / at)) ** 2 for key, at in OPTIMUM.items())


def scored(params: Mapping[str, Value], seed: int, world: int) -> float:
    """The score of one training: what it is worth and the luck of its seed, the same whenever it is repeated."""
    digest = hashlib.sha256(repr((sorted(params.items()), seed, world)).encode()).digest()
    return worth(params) + NOISE * float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())


@dataclass
class Planted:
    """Measures in no time; counts what it did."""

    world: int
    epochs: int = 0

    def __call__(self, params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        value = scored(params, seed, self.world)
        for epoch in range(1, EPOCHS + 1):
            self.epochs += 1
            watch.idle()
            if watch.epoch(epoch, value * (1 - 0.5**epoch)):
                return Measured("pruned")
        return Measured("finished", (value,), seconds=1.0)


def begin(tmp_path: Path, **words: str) -> tuple[SweepPlan, StudyFolder, optuna.Study, object]:
    plan = read_plan({**WORDS, "runs": str(tmp_path), **{key.replace("__", "."): word for key, word in words.items()}})
    folder = StudyFolder(tmp_path, plan.name)
    storage = open_storage(folder, None, 60)
    return plan, folder, open_study(plan, storage), storage


def swept(tmp_path: Path, world: int, **words: str) -> tuple[SweepPlan, optuna.Study, Planted]:
    plan, _, study, storage = begin(tmp_path, sampler_seed=str(world), **words)
    planted = Planted(world)
    work(plan, study, storage, planted, lambda event: None)  # pyright: ignore[reportArgumentType]
    return plan, study, planted


def confirmed(plan: SweepPlan, study: optuna.Study, world: int) -> Confirmation:
    def measure(asked: Sequence[tuple[Mapping[str, Value], int]]) -> list[Score]:
        return [("run", scored(params, seed, world), "") for params, seed in asked]

    found = confirm(plan, study, measure)
    assert found is not None
    return found


@pytest.mark.slow
def test_the_confirmed_choice_is_near_the_optimum_and_the_shrinkage_is_right(tmp_path: Path) -> None:
    """In 18 of 20 studies at least. Tuned values flatter on the average, and the confirmation says by how much."""
    near, right, luck, told = 0, 0, [], []
    for world in range(STUDIES):
        plan, study, _ = swept(tmp_path / str(world), world, trials="40")
        found = confirmed(plan, study, world)
        near += worth(found.row(found.chosen).params) >= BEST - NOISE
        first = found.rows[0]
        assert first.tuned is not None
        shrinkage = found.shrinkage[first.name]
        true = first.tuned - worth(first.params)
        right += shrinkage.low <= true <= shrinkage.high
        luck.append(true)
        told.append(shrinkage.mean)
    assert near >= 18, f"{near} of {STUDIES} choices are within the noise of the optimum"
    assert right >= 18, f"{right} of {STUDIES} intervals hold the true shrinkage"
    assert np.mean(luck) > 0, "the best of many was chosen for its luck"
    assert abs(np.mean(told) - np.mean(luck)) < NOISE / 2


def test_the_first_trial_is_the_configuration_without_a_sweep(tmp_path: Path) -> None:
    plan, study, _ = swept(tmp_path, 0, trials="3")
    picture = snapshot(plan, study)
    assert [trial.is_default for trial in picture.trials] == [True, False, False]
    assert picture.trials[0].params == {dimension.key: dimension.default for dimension in plan.space}
    assert all(trial.state == "complete" for trial in picture.trials)


def test_a_trial_is_worth_the_mean_over_its_seeds(tmp_path: Path) -> None:
    plan, study, _ = swept(tmp_path, 0, trials="3", seed="0,1,5")
    for trial in snapshot(plan, study).trials:
        assert list(trial.by_seed) == [0, 1, 5]
        assert trial.values[0] == pytest.approx(np.mean([scored(trial.params, seed, 0) for seed in (0, 1, 5)]))


def test_hopeless_trials_are_pruned_by_epoch_and_by_seed_and_never_too_early(tmp_path: Path) -> None:
    """Pruning saves epochs; it begins where all terms are on and a quarter is over, in every seed, not before."""
    plan, study, planted = swept(tmp_path, 1, trials="30")
    picture = snapshot(plan, study)
    pruned = [trial for trial in picture.trials if trial.state == "pruned"]
    assert plan.first_pruned_epoch == EPOCHS // 4
    assert {1, 2} == {1 + (max(trial.course) - 1) // EPOCHS for trial in pruned}, "in the first seed and in the second"
    for trial in pruned:
        assert (max(trial.course) - 1) % EPOCHS + 1 >= plan.first_pruned_epoch
        assert "median" in trial.reason
        assert trial.values == ()
    assert planted.epochs < 0.9 * 30 * 2 * EPOCHS
    best = picture.best
    assert best is not None
    assert best.state == "complete"


def test_no_trial_is_pruned_before_a_late_term_is_switched_on(tmp_path: Path) -> None:
    """CAL's adversarial loss comes late: until then two configurations of its weight are the same."""
    plan = read_plan(
        {
            "method.name": "cal",
            "dataset.name": "synthetic",
            "runs": str(tmp_path),
            "method.adversarial_start": "11",
            "prune_from": "2",
        }
    )
    assert plan.first_pruned_epoch == 12


def test_pruner_none_trains_every_trial_to_its_end(tmp_path: Path) -> None:
    plan, study, planted = swept(tmp_path, 1, trials="20", pruner="none")
    assert {trial.state for trial in snapshot(plan, study).trials} == {"complete"}
    assert planted.epochs == 20 * 2 * EPOCHS


def test_the_same_words_give_the_same_trials_also_when_they_are_said_in_two_pieces(tmp_path: Path) -> None:
    """One worker: what is drawn depends on the study's seed and its trials, not on when the command was started."""
    whole, study, _ = swept(tmp_path / "a", 3, trials="14")
    swept(tmp_path / "b", 3, trials="6")
    again, other, _ = swept(tmp_path / "b", 3, trials="14")
    assert [trial.params for trial in study.trials] == [trial.params for trial in other.trials]
    assert snapshot(whole, study).trials == snapshot(again, other).trials


def test_more_trials_go_on_with_the_study_and_fewer_begin_none(tmp_path: Path) -> None:
    for trials, expected in (("4", 4), ("7", 7), ("5", 7), ("7", 7)):
        _, study, _ = swept(tmp_path, 0, trials=trials)
        assert len(study.trials) == expected


@dataclass
class Failing:
    """Measures, but diverges where a weight is large."""

    inner: Planted

    def __call__(self, params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        if float(params["method.weights.triplet"] or 0) > 1:
            loss = params["method.weights.triplet"]
            return Measured("failed", run_id="run", reason=f"Training diverged in epoch 2: {loss}", seconds=0.5)
        return self.inner(params, seed, watch)


def test_a_failure_is_its_trials_own_with_the_reason_and_the_study_goes_on(tmp_path: Path) -> None:
    plan, _, study, storage = begin(tmp_path, trials="20", pruner="none")
    work(plan, study, storage, Failing(Planted(0)), lambda event: None)  # pyright: ignore[reportArgumentType]
    picture = snapshot(plan, study)
    failed = [trial for trial in picture.trials if trial.state == "failed"]
    assert failed
    assert len(picture.trials) == 20, "a failure counts: what diverges once does so again"
    for trial in failed:
        assert trial.reason.startswith("seed 0: Training diverged in epoch 2")
        assert trial.runs == ("run",)
    found = confirmed(plan, study, 0)
    assert {row.name for row in found.rows}.isdisjoint({f"trial {trial.number}" for trial in failed})


def test_seeds_may_be_a_range(tmp_path: Path) -> None:
    assert read_plan({**WORDS, "runs": str(tmp_path), "seed": "0..2"}).seeds == (0, 1, 2)
    for word in ("0..", "none", "1,1"):
        with pytest.raises(UsageError, match="seed="):
            read_plan({**WORDS, "runs": str(tmp_path), "seed": word})


@pytest.mark.parametrize(("begins", "allowed"), [(0, 3), (2, 5)])
def test_failures_in_a_row_for_one_reason_stop_the_sweep(begins: int, allowed: int, tmp_path: Path) -> None:
    """A full disk or a broken installation is not the parameters' fault: most of the budget is left for later."""
    plan, _, study, storage = begin(tmp_path, trials="20", pruner="none")
    planted = Planted(0)

    def measure(params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        broken = len(study.trials) > begins
        return Measured("failed", reason="No space left on device") if broken else planted(params, seed, watch)

    with pytest.raises(
        DataError, match=r"last 3 trials failed, the last one in seed 0: No space left on device\. Mend"
    ):
        work(plan, study, storage, measure, lambda event: None)  # pyright: ignore[reportArgumentType]
    assert len(study.trials) == allowed
    work(plan, study, storage, planted, lambda event: None)  # pyright: ignore[reportArgumentType]
    assert snapshot(plan, study).best is not None
    assert len(study.trials) == 20


def test_several_objectives_give_the_trials_that_none_beats_in_all(tmp_path: Path) -> None:
    plan, _, study, storage = begin(tmp_path, trials="12", objective="cloth-changing,seconds")

    def measure(params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        cost = 10 * float(params["method.weights.triplet"] or 0)
        assert not watch.epoch(1, 0.0), "trials of several objectives are not pruned"
        return Measured("finished", (scored(params, seed, 0), cost))

    work(plan, study, storage, measure, lambda event: None)  # pyright: ignore[reportArgumentType]
    picture = snapshot(plan, study)
    assert picture.objectives == ("cloth-changing mAP", "seconds")
    assert picture.minimised == (False, True)
    front = [trial for trial in picture.trials if trial.number in picture.pareto]
    assert front
    for trial in front:
        beaten = [
            other
            for other in picture.trials
            if other.values[0] >= trial.values[0]
            and other.values[1] <= trial.values[1]
            and other.values != trial.values
        ]
        assert not beaten


def test_a_grid_tries_each_combination_once(tmp_path: Path) -> None:
    steps = {"space__method__weights__triplet": "0.1|0.6|2.0", "space__method__weights__non_biometric": "0.5..1.5/0.5"}
    plan, _, study, storage = begin(tmp_path, sampler="grid", pruner="none", **steps)
    assert plan.trials == 9
    work(plan, study, storage, Planted(0), lambda event: None)  # pyright: ignore[reportArgumentType]
    tried = [tuple(trial.params.values()) for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(tried) == len(set(tried)) == 9


@pytest.mark.parametrize("sampler", ["gp", "qmc", "random"])
def test_the_other_samplers_work(sampler: str, tmp_path: Path) -> None:
    plan, study, _ = swept(tmp_path, 0, trials="12", sampler=sampler)
    assert len({str(trial.params) for trial in snapshot(plan, study).trials}) == 12


def test_confirmation_pools_the_scatter_and_leaves_failed_seeds_out(tmp_path: Path) -> None:
    """By hand: two rows with scatter over (1, 1) and (2, 0) degrees of freedom, one of which lost a seed."""
    plan, study, _ = swept(tmp_path, 0, trials="2", pruner="none", confirm="1", confirm_seeds="2")
    answers = iter([("a", 0.20, ""), ("b", 0.24, ""), ("c", 0.10, ""), ("d", None, "killed")])
    found = confirm(plan, study, lambda asked: [next(answers) for _ in asked])
    assert found is not None
    assert found.seeds == (2, 3)
    tuned, defaults = found.rows
    assert found.chosen == tuned.name == "trial 1"
    assert defaults.name == DEFAULTS
    assert defaults.failures == ("seed 3: killed",)
    assert tuned.tuned is not None
    shrinkage = found.shrinkage[tuned.name]
    assert shrinkage.mean == pytest.approx(tuned.tuned - 0.22)
    half = 12.706204736 * np.sqrt(0.0008 / 1) / np.sqrt(2)  # t with one degree of freedom
    assert (shrinkage.low, shrinkage.high) == pytest.approx((shrinkage.mean - half, shrinkage.mean + half))
    assert confirm(replace(plan, confirm=0), study, lambda asked: []) is None


def test_the_configuration_without_a_sweep_is_confirmed_even_where_the_space_leaves_it_out(tmp_path: Path) -> None:
    plan, study, _ = swept(tmp_path, 0, trials="3", space__method__weights__triplet="0.5..2:log")
    assert not any(trial.is_default for trial in snapshot(plan, study).trials)
    row = confirmed(plan, study, 0).row(DEFAULTS)
    assert row.tuned is None
    assert row.params["method.weights.triplet"] == 0.1
