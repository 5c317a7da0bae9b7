"""One trial: its parameters trained with each seed, reported epoch by epoch, and given up when it has no prospect.

What is reported at step = finished seeds × epochs + epoch is the best guess of the trial's value by then: the mean of
the finished seeds' scores and of this seed's best epoch so far. So a trial can be pruned by epoch and by seed, and
trials are compared at the same point of the same seed.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import optuna
from optuna.trial import TrialState

from benchmarks.interruption import StoppedError
from benchmarks.studies import Value
from datasets.errors import DataError, UsageError

from .plan import SweepPlan
from .storage import Storage
from .study import REASON, release

BY_SEED, RUNS, SECONDS = "by_seed", "runs", "seconds"
"""Attributes of a trial."""


@dataclass(frozen=True)
class Measured:
    """What became of one seed."""

    state: Literal["finished", "pruned", "failed"]
    values: tuple[float, ...] = ()
    """One for each objective, when finished."""
    run_id: str = ""
    reason: str = ""
    seconds: float = 0.0


class Watch(Protocol):
    """Looks at a training while it goes on."""

    def epoch(self, epoch: int, value: float) -> bool:
        """The first objective after an epoch; True: give it up."""
        ...

    def idle(self) -> None:
        """Called several times a second. Raises StoppedError when the worker is to stop."""
        ...


Measure = Callable[[Mapping[str, Value], int, Watch], Measured]
"""Trains and validates parameters with a seed. Raises StoppedError, having left a checkpoint, when the watch does, and
DataError where something is wrong that no parameter has to do with."""


@dataclass
class TrialWatch:
    plan: SweepPlan
    storage: Storage
    trial: optuna.Trial
    stop: Callable[[], StoppedError | None]
    finished: dict[int, tuple[float, ...]] = field(default_factory=dict)
    best: float = float("-inf")
    why: str = ""

    def begin(self) -> None:
        self.best = float("-inf")

    def epoch(self, epoch: int, value: float) -> bool:
        if len(self.plan.objectives) > 1:
            return False
        self.best = max(self.best, value)
        scores = [values[0] for values in self.finished.values()] + [self.best]
        estimate, step = sum(scores) / len(scores), len(self.finished) * self.plan.base.spec.train.epochs + epoch
        self.storage.patiently(lambda: self.trial.report(estimate, step))
        if epoch < self.plan.first_pruned_epoch or not self.storage.patiently(self.trial.should_prune):
            return False
        self.why = f"below the median of the others in epoch {epoch} of seed number {len(self.finished) + 1}"
        return True

    def idle(self) -> None:
        self.storage.patiently(lambda: self.storage.beat(self.trial))
        if error := self.stop():
            raise error


def carry_out(
    plan: SweepPlan,
    study: optuna.Study,
    storage: Storage,
    trial: optuna.Trial,
    measure: Measure,
    stop: Callable[[], StoppedError | None] = lambda: None,
) -> None:
    """Bring a trial to its end and tell the study; give it up where it was taken for lost, since another one replaces
    it and goes on from its runs' checkpoints.

    Raises StoppedError when `stop` does, and DataError where the data are wrong; the trial is given back.
    """
    watch = TrialWatch(plan, storage, trial, stop)
    notes: dict[str, Any] = {RUNS: [], SECONDS: 0.0}
    state, reason = TrialState.COMPLETE, ""
    try:
        for seed in plan.seeds:
            watch.begin()
            measured = _measured(measure, trial.params, seed, watch)
            notes[RUNS] += [measured.run_id] * bool(measured.run_id)
            notes[SECONDS] += measured.seconds
            if measured.state != "finished":
                state = TrialState.PRUNED if measured.state == "pruned" else TrialState.FAIL
                reason = watch.why if measured.state == "pruned" else f"seed {seed}: {measured.reason}"
                break
            watch.finished[seed] = measured.values
    except (StoppedError, DataError):  # not the trial's fault
        release(study, storage, trial)
        raise
    except optuna.exceptions.UpdateFinishedTrialError:  # taken for lost: it was out of reach for too long
        return
    notes[BY_SEED] = {str(seed): list(values) for seed, values in watch.finished.items()}
    if reason:
        notes[REASON] = reason
    values = _means(watch.finished) if state == TrialState.COMPLETE else None
    storage.patiently(lambda: _tell(study, trial, notes, state, values))


def _measured(measure: Measure, params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
    try:
        return measure(params, seed, watch)
    except UsageError as error:  # parameters that do not go together
        return Measured("failed", reason=str(error))


def _means(finished: Mapping[int, tuple[float, ...]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*finished.values(), strict=True)]


def _tell(
    study: optuna.Study, trial: optuna.Trial, notes: Mapping[str, Any], state: TrialState, values: list[float] | None
) -> None:
    """Write down what was found; nothing where the trial was taken for lost meanwhile, and another one replaces it."""
    if study.get_trials(deepcopy=False)[trial.number].state != TrialState.RUNNING:
        return
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # just now
        for name, value in notes.items():
            trial.set_user_attr(name, value)
        study.tell(trial.number, values, state=state, skip_if_finished=True)
