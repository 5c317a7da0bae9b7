"""Which runs a report, a picture or the mirror is about."""

from collections.abc import Mapping
from typing import Any

from benchmarks.records import RunFolder, RunStore
from datasets.errors import DataError, UsageError

KEYS = ("run", "runs", "method.name", "dataset.name")


def chosen_runs(values: Mapping[str, Any]) -> list[RunFolder]:
    """The runs that `run=ID,ID` names, in that order; else all of `runs`, or those of some methods and datasets.

    Runs of which the test split stayed closed, the trials of sweeps, are only chosen by name.
    Raises UsageError where there are none.
    """
    store = RunStore.of(values)
    if "run" in values:
        return [store.get(name) for name in dict.fromkeys(str(values["run"]).split(","))]
    found = [run for run in store if is_tested(run)]
    for key in ("method", "dataset"):
        if f"{key}.name" in values:
            wanted = str(values[f"{key}.name"]).split(",")
            found = [run for name in wanted for run in found if _named(run, key) == name]
    if not found:
        raise UsageError(f"No such runs in {store.root}: {store.hint}")
    return found


def is_tested(run: RunFolder) -> bool:
    """Whether the run is one that scores the test split, or will; a damaged status tells of no other intent."""
    try:
        return run.status().get("test", True)
    except DataError:
        return True


def _named(run: RunFolder, key: str) -> str | None:
    """The run's method or dataset; None where its configuration is damaged, so that it is nobody's."""
    try:
        return run.spec()[key]["name"]
    except (DataError, KeyError, TypeError):
        return None
