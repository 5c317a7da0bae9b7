"""Which studies a report, a list or the mirror is about."""

from collections.abc import Mapping
from typing import Any

from benchmarks.records import RunStore
from benchmarks.studies import Study, studies
from datasets.errors import DataError


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


def _named(values: Mapping[str, Any], key: str, name: str) -> bool:
    return key not in values or name in str(values[key]).split(",")
