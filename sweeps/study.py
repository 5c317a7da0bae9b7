"""The trials of a study: how many are left, who begins which, and which were lost with their worker.

budget     trials that ended (complete, pruned, failed for a reason) and that run or wait; lost ones do not count
lost       ended without a reason: its worker died. A waiting trial with the same parameters replaces it, and goes on
           from its runs' checkpoints; but parameters with which MOST_DEATHS workers died have failed
"""

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, BruteForceSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from benchmarks.studies import Value
from datasets.errors import UsageError

from .plan import SweepPlan
from .space import defaults_in, distribution
from .storage import Storage

DEFINITION, REASON, REPLACES, IS_DEFAULT = "definition", "reason", "replaces", "is_default"
FIXED = "fixed_params"
"""Optuna's attribute of a queued trial: what it was queued with, also when its worker died before it took them."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
GIVEN_BACK = "given_back"
"""Attribute of a lost trial whose worker did not die, but had to stop."""
MOST_DEATHS = 5
STARTUP_TRIALS = 10
"""Drawn at random before a sampler learns from them; and complete ones before any is pruned: half as many."""


def open_study(plan: SweepPlan, storage: Storage) -> optuna.Study:
    """The study of this name, begun now if there is none, with the configuration without a sweep as its first trial.

    Raises UsageError where a study of this name searches something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def opened() -> optuna.Study:
        with storage.exclusive():
            names = optuna.get_all_study_names(storage.backend)
            directions = [
                StudyDirection.MINIMIZE if objective.minimise else StudyDirection.MAXIMIZE
                for objective in plan.objectives
            ]
            study = optuna.create_study(
                study_name=plan.name, storage=storage.backend, directions=directions, load_if_exists=plan.name in names
            )
            if (known := study.user_attrs.get(DEFINITION)) is None:
                study.set_user_attr(DEFINITION, plan.definition)
            elif known != plan.definition:
                raise UsageError(_difference(plan, known))
            defaults = defaults_in(plan.space)
            if defaults is not None and not study.get_trials(deepcopy=False):
                study.enqueue_trial(_plain(plan, defaults), user_attrs={IS_DEFAULT: True})
            return study

    study = storage.patiently(opened)
    if plan.pruner == "median":
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS // 2, n_warmup_steps=0)
    else:
        study.pruner = optuna.pruners.NopPruner()
    return study


def _difference(plan: SweepPlan, known: dict[str, Any]) -> str:
    own = plan.definition
    parts = [key for key in own if own[key] != known.get(key)]
    what = {"spec": "another configuration", "space": "another space", "seeds": "other seeds"}
    said = " and ".join(what.get(part, f"other {part}") for part in parts)
    return f"study={plan.name} exists and has {said}: choose another study=NAME, or repeat the words it was begun with."


def _plain(plan: SweepPlan, params: dict[str, Value]) -> dict[str, Any]:
    """Values as Optuna keeps them: whole numbers as such, others as floats."""
    ranged = {dimension.key: dimension.whole for dimension in plan.space if not dimension.choices}
    return {
        key: (int(value) if ranged[key] else float(value))
        if key in ranged and isinstance(value, int | float)
        else value
        for key, value in params.items()
    }


# --- beginning trials ---


def next_trial(plan: SweepPlan, study: optuna.Study, storage: Storage) -> optuna.Trial | None:
    """A trial for this worker; None where none is left to begin (others may still run)."""

    def begun() -> optuna.Trial | None:
        with storage.exclusive():
            storage.fail_stale(study)
            replace_lost(study)
            trials = study.get_trials(deepcopy=False)
            under_way = [one for one in trials if one.state == TrialState.RUNNING]
            if len(counted(trials)) + len(under_way) >= plan.trials:
                return None
            study.sampler = sampler_of(plan, len(trials))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                warnings.filterwarnings("ignore", message="Heartbeat of storage")  # ours go by ask and tell, too
                trial = study.ask({dimension.key: distribution(dimension) for dimension in plan.space})
            storage.claim(trial)
            study.sampler = RandomSampler()  # what is told later concerns no sampler, and brute force would object
            return trial

    return storage.patiently(begun)


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that ended, but for the lost ones."""
    return [trial for trial in trials if trial.state in ENDED and not is_lost(trial)]


def is_lost(trial: FrozenTrial) -> bool:
    """Whether it ended because its worker died, not because of what it tried."""
    return trial.state == TrialState.FAIL and REASON not in trial.user_attrs


def replace_lost(study: optuna.Study) -> None:
    """Queue each lost trial's parameters again, once, unless another trial has them; within `exclusive`.

    A failed trial stands for them instead, where their workers died again and again.
    """
    trials = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs.get(REPLACES) for trial in trials}
    tried = [trial.params for trial in trials if not is_lost(trial)]
    for trial in trials:
        params = {**trial.system_attrs.get(FIXED, {}), **trial.params}
        if is_lost(trial) and trial.number not in replaced and params and params not in tried:
            attributes: dict[str, Any] = {REPLACES: trial.number}
            if trial.user_attrs.get(IS_DEFAULT):
                attributes[IS_DEFAULT] = True
            if _deaths(trial, trials) < MOST_DEATHS:
                study.enqueue_trial(params, user_attrs=attributes)
            else:
                attributes[REASON] = f"its worker died {MOST_DEATHS} times in a row, each time with these parameters"
                study.add_trial(_failed(trial, attributes))


def _deaths(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How many workers died of `trial` and those that it replaces."""
    died, number = 0, trial.number
    while number is not None:
        attributes = trials[number].user_attrs
        died += GIVEN_BACK not in attributes
        number = attributes.get(REPLACES)
    return died


def _failed(trial: FrozenTrial, attributes: dict[str, Any]) -> FrozenTrial:
    """A failed trial with the parameters of a lost one."""
    return optuna.trial.create_trial(
        state=TrialState.FAIL, params=trial.params, distributions=trial.distributions, user_attrs=attributes
    )


def release(study: optuna.Study, storage: Storage, trial: optuna.Trial) -> None:
    """Give a trial back that this worker can't finish: it is lost, and the next one to begin a trial repeats it."""

    def given_back() -> None:
        if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
            trial.set_user_attr(GIVEN_BACK, True)
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    storage.patiently(given_back)


def sampler_of(plan: SweepPlan, trials: int) -> BaseSampler:
    """A sampler for one trial; its chance depends on the study's seed and how many trials there are, on no process."""
    seed = plan.sampler_seed * 100_003 + trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if plan.sampler == "tpe":
            return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS)
        if plan.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        if plan.sampler == "qmc":
            return QMCSampler(seed=plan.sampler_seed, scramble=True, warn_independent_sampling=False)
        if plan.sampler == "grid":
            return BruteForceSampler(seed=seed)
        return RandomSampler(seed=seed)
