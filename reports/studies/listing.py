"""Studies in a few words: a line of `list studies` and of the report's first page, and `show study=NAME`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.records import RunStore
from benchmarks.studies import Study, get_study

from ..wording import counted
from .choosing import chosen_studies
from .words import MISSING, default_of, objectives, range_text, states_text, study_text, value_text

if TYPE_CHECKING:
    pass

TOP = 10
"""Trials that `show` prints."""


@dataclass(frozen=True)
class Line:
    name: str
    method: str
    dataset: str
    trials: str
    best: str
    confirmed: str


def line_of(study: Study) -> Line:
    goal, best, found = objectives(study)[0], study.best, study.confirmation
    confirmed = MISSING
    if found is not None and any(row.by_seed for row in found.rows):
        chosen = found.row(found.chosen)
        confirmed = f"{goal.text(chosen.mean)} ({chosen.name})"
        defaults = next((row for row in found.rows if row.name == "defaults" and row.by_seed), None)
        if defaults is not None and defaults is not chosen:
            confirmed += f", defaults {goal.text(defaults.mean)}"
    return Line(
        study.name,
        study.method,
        study.dataset,
        states_text(study).replace(" asked for.", ""),
        MISSING if best is None else f"{goal.name} {goal.text(best.values[0])} (trial {best.number})",
        confirmed,
    )


def list_studies(values: Mapping[str, str]) -> Iterator[str]:
    """Every study: what was tried, the best, what fresh seeds say of it."""
    found, problems = chosen_studies(values)
    for study in found:
        line = line_of(study)
        result = f"best {line.best} · confirmed {line.confirmed}"
        yield f"{line.name:<32} {line.method} on {line.dataset} · {line.trials} · {result}"
    yield from problems
    if not found and not problems:
        yield f"No studies in {RunStore.of(values).root}: `python run.py sweep` makes them."


def show_study(values: Mapping[str, str]) -> Iterator[str]:
    """What was searched and found, the confirmation, the best trials, and how to go on."""
    import sys

    from rich.console import Console

    from ..console import PIPE_WIDTH
    from ..tables import to_console
    from .commands import go_on, train_chosen
    from .tables import CONFIRMATION, study_tables, without_keys

    root = RunStore.of(values).root
    study = get_study(root, values["study"]).load()
    goal, default, best = objectives(study)[0], default_of(study), study.best
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)

    def lines(*shown: object) -> Iterator[str]:
        with console.capture() as caught:
            for one in shown:
                console.print(one, markup=False)
        yield from (line.rstrip() for line in caught.get().rstrip().split("\n"))

    yield from lines(study_text(study))
    yield ""
    yield f"{counted(len(study.space), 'searched key')} (default · importance)"
    for key in study.space:
        share = f"{100 * study.importance[key.key]:.0f} %" if key.key in study.importance else MISSING
        yield f"  {key.key:<40} {range_text(key):<28} {value_text(key.default)} · {share}"
    yield ""
    if best is not None:
        of_default = "" if default is None else f", defaults {goal.text(default.values[0])}"
        yield f"best {goal.name}: {goal.text(best.values[0])} (trial {best.number}){of_default}"
    for table in study_tables(study, most=TOP):
        yield from lines(to_console(without_keys(table) if table.kind == CONFIRMATION else table))
        yield ""
    for trial in study.trials:
        if trial.state == "failed":
            yield f"trial {trial.number} failed: {trial.reason or 'no reason is known'}"
    yield f"To go on: {go_on(study, root)}"
    if best is not None:
        yield f"To train it and open the test split: {train_chosen(study, root)}"
