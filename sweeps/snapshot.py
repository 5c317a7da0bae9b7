"""A picture of a study for whoever shows it: from Optuna's storage to `benchmarks.studies.Study`."""

import math
import warnings
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.studies import Confirmation, Study, Trial
from datasets import DATASETS

from .plan import SweepPlan
from .study import IS_DEFAULT, REASON, REPLACES, is_lost
from .trial import BY_SEED, RUNS, SECONDS

FEWEST_FOR_IMPORTANCE = 10
State = Literal["waiting", "running", "complete", "pruned", "failed", "lost"]
STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def snapshot(plan: SweepPlan, study: optuna.Study, confirmation: Confirmation | None = None) -> Study:
    """Everything that is known of the study now."""
    trials = study.get_trials(deepcopy=False)
    spec = plan.base.spec
    several = len(plan.objectives) > 1
    return Study(
        name=plan.name,
        method=spec.method.name,
        dataset=spec.dataset.name,
        base=plan.words,
        command=plan.command,
        objectives=tuple(objective.name for objective in plan.objectives),
        minimised=tuple(objective.minimise for objective in plan.objectives),
        protocol=_protocol(plan),
        seeds=plan.seeds,
        epochs=spec.train.epochs,
        sampler=plan.sampler,
        pruner=plan.pruner,
        first_pruned_epoch=plan.first_pruned_epoch,
        budget=plan.trials,
        space=plan.space,
        trials=tuple(map(_trial, trials)),
        importance=_importance(study),
        pareto=tuple(sorted(trial.number for trial in study.best_trials)) if several and _complete(study) else (),
        confirmation=confirmation,
    )


def _protocol(plan: SweepPlan) -> str:
    spec = plan.base.spec
    headline = DATASETS.get(spec.dataset.name)(Path(), spec.dataset).protocols()[0]
    return f"{headline.name}, between training identities that are held out"


def _trial(trial: FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    return Trial(
        number=trial.number,
        state="lost" if is_lost(trial) else STATES[trial.state],
        params=trial.params,
        values=tuple(trial.values) if trial.state == TrialState.COMPLETE else (),
        by_seed={int(seed): tuple(values) for seed, values in attributes.get(BY_SEED, {}).items()},
        course={step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)},
        is_default=attributes.get(IS_DEFAULT, False),
        replaces=attributes.get(REPLACES),
        runs=tuple(attributes.get(RUNS, ())),
        reason=attributes.get(REASON, ""),
        seconds=attributes.get(SECONDS),
    )


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _importance(study: optuna.Study) -> dict[str, float]:
    """Of each key for the first objective; empty where few trials are complete, or all are worth the same."""
    complete = _complete(study)
    if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.values[0] for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), target=lambda trial: trial.values[0]
        )
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
