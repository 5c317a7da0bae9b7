"""Ablation rows with an equal budget each: every row's own tunables are searched before it is compared.

A row that leaves a term out may do worse only because the other weights were tuned with that term. So each row, the
full model too, gets a study of as many trials over the tunables that it does not itself set, on one seed that no row is
reported with; its best trial on held-out identities is what is run for the table.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.ablation_plans import Ablation
from benchmarks.resolve import Layer, Resolved, resolve
from benchmarks.spec import to_plain
from benchmarks.studies import Study
from benchmarks.words import NAMES, read_value
from datasets.errors import CCReIDError, UsageError

from .command import sweep
from .plan import as_typed
from .worker import Listener


def retuned(
    study: Ablation, trials: int, own: Mapping[str, str], config: Path | None, jobs: int, listen: Listener
) -> Ablation:
    """The ablation with the best of `trials` configurations in the place of each row.

    `own`: space.KEY=RANGE words for every row. A row that has nothing to tune stays as it is, and a remark says so;
    raises what `sweep` raises, and UsageError where a row's study has no complete trial.
    """
    plans: dict[str, Resolved] = {}
    rows: dict[str, str] = {}
    remarks = list(study.remarks)
    seeds = sorted({plan.spec.seed for plan in study.plans})
    for of_row in _by_row(study):
        row = study.rows[of_row[0].run_id]
        try:
            best = _tuned(of_row[0], row, trials, max(seeds) + 1, own, config, jobs, listen)
        except NothingToTuneError as error:
            best = {}
            remarks.append(f"{row}: not re-tuned. {error}")
        words = _of_command_line(of_row[0])
        layer = Layer(f"ablation {row}", _changes(of_row[0], row))
        for plan in of_row:
            typed = {key: read_value(key, word) for key, word in words.items()}
            found = resolve({**typed, **best, "seed": plan.spec.seed}, config, row=layer)
            plans[found.run_id], rows[found.run_id] = found, row
    return replace(study, plans=tuple(plans.values()), rows=rows, remarks=tuple(remarks), trials=trials)


class NothingToTuneError(UsageError):
    """A row sets every tunable that its method has."""


def _by_row(study: Ablation) -> list[list[Resolved]]:
    """The seeds of one row of one model together."""
    groups: dict[str, list[Resolved]] = {}
    for plan in study.plans:
        groups.setdefault(plan.run_id.rpartition("-s")[0], []).append(plan)
    return list(groups.values())


def _tuned(
    plan: Resolved,
    row: str,
    trials: int,
    seed: int,
    own: Mapping[str, str],
    config: Path | None,
    jobs: int,
    listen: Listener,
) -> dict[str, Any]:
    """The searched keys of the row's best trial."""
    changes = _changes(plan, row)
    words = {**_of_command_line(plan), **{key: as_typed(value) for key, value in changes.items()}}
    words |= {**own, **{f"space.{key}": "off" for key in changes}}
    words |= {"trials": str(trials), "seed": str(seed), "confirm": "0", "workers": str(jobs)}
    words |= {"config": str(config)} if config else {}
    short = {full: name for name, full in NAMES.items()}
    typed = [f"{short.get(key, key)}={value}" for key, value in words.items()]
    listen({"event": "note", "message": f"{row}: {trials} trials on seed {seed}"})
    try:
        found: Study = sweep(words, typed, listen).study
    except CCReIDError as error:
        if "nothing to search" in str(error):
            raise NothingToTuneError(str(error)) from None
        raise
    if found.best is None:
        raise UsageError(f"{row}: no trial of study={found.name} came to an end; see `show study={found.name}`.")
    return dict(found.best.params)


def _changes(plan: Resolved, row: str) -> dict[str, Any]:
    """What the row sets, and the command line does not."""
    return {key: _value(plan, key) for key, origin in plan.origins.items() if origin == f"ablation {row}"}


def _of_command_line(plan: Resolved) -> dict[str, Any]:
    """The words of the runs, as they are typed, without their seed."""
    keys = [key for key, origin in plan.origins.items() if origin == "command line" and key != "seed"]
    return {key: as_typed(_value(plan, key)) for key in keys}


def _value(plan: Resolved, key: str) -> Any:
    values: Any = {**to_plain(plan.session), **to_plain(plan.spec)}
    for name in key.split("."):
        values = values[name]
    return values
