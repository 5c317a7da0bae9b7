"""Which studies a report, a list or the mirror is about."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records import RunFolder, RunStore
from benchmarks.studies import Study, studies
from datasets.errors import DataError, UsageError

from ..choosing import chosen_runs

TRIAL, CONFIRM = "sweep-trial", "confirm"
"""Types of jobs."""


def chosen_studies(values: Mapping[str, Any]) -> tuple[list[Study], list[str]]:
    """Those in the folder of runs, or of the methods and datasets that are named; and why one cannot be read.

    None where `run` names runs.
    """
    if "run" in values:
        return [], []
    found, problems = [], []
    for folder in studies(RunStore.of(values).root):
        try:
            study = folder.load()
        except DataError as error:
            problems.append(str(error))
            continue
        if all(_named(values, key, of) for key, of in (("method.name", study.method), ("dataset.name", study.dataset))):
            found.append(study)
    return found, problems


def runs_beside(values: Mapping[str, Any], studies: Sequence[Study]) -> list[RunFolder]:
    """The chosen runs; none, without an error, where there are studies at least.

    Raises UsageError where there is neither.
    """
    try:
        return chosen_runs(values)
    except UsageError:
        if studies:
            return []
        raise


def trial_runs(values: Mapping[str, Any], studies: Sequence[Study]) -> list[RunFolder]:
    """The runs of trials and confirmations that are there."""
    store = RunStore.of(values)
    named = dict.fromkeys(run_id for study in studies for run_id in run_ids(study))
    return [store.open(run_id) for run_id in named if (store.root / run_id / "spec.yaml").is_file()]


def run_ids(study: Study) -> dict[str, str]:
    """Run id → the type of its job: of a trial, or, which says more, of a confirmation."""
    found = {run_id: TRIAL for trial in study.trials for run_id in trial.runs}
    confirmed = study.confirmation.rows if study.confirmation else ()
    return found | {run_id: CONFIRM for row in confirmed for run_id in row.runs}


def _named(values: Mapping[str, Any], key: str, name: str) -> bool:
    return key not in values or name in str(values[key]).split(",")
