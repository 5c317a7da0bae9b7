"""`suite=NAME` runs what is missing of a paper's table and shows ours beside the published numbers; `report suite=NAME`
shows what is there."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import is_finished
from benchmarks.comparison import Row, rows_of
from benchmarks.on_disk import what_is_missing
from benchmarks.suite_plans import Cell, SuitePlan
from datasets.errors import DataError

from .console import Reporter
from .running import recorded, run_missing, tell_failures
from .tables import suite_table, write

if TYPE_CHECKING:
    from benchmarks.resolve import Resolved

FOLDER = "suites"


def on_disk(planned: SuitePlan) -> "tuple[list[Resolved], list[str]]":
    """What is finished or can be tried, and a sentence for each dataset, or some rows on it, that is left out."""
    to_do = {cell: plans[0] for cell, plans in planned.plans.items() if not all(map(is_finished, plans))}
    missing = {cell: sentence for cell, plan in to_do.items() if (sentence := what_is_missing(plan))}
    there = [plan for cell, plans in planned.plans.items() if cell not in missing for plan in plans]
    return list({plan.run_id: plan for plan in there}.values()), list(_left_out(planned, missing))


def require_some(planned: SuitePlan, plans: "Sequence[Resolved]") -> None:
    """Raise DataError where nothing of the suite can be run."""
    if not plans:
        name = planned.suite.name
        raise DataError(
            f"suite={name} has nothing to run, since none of its data is here: say data=DIR, or set CCREID_DATA."
        )


def _left_out(planned: SuitePlan, missing: Mapping[Cell, str]) -> Iterator[str]:
    rows_of_sentence: dict[tuple[str, str], list[str]] = {}
    for (row, dataset), sentence in missing.items():
        rows_of_sentence.setdefault((dataset, sentence), []).append(row)
    for (dataset, sentence), rows in rows_of_sentence.items():
        everything = len(rows) == sum(of == dataset for _, of in planned.plans)
        who = dataset if everything else f"{', '.join(rows)} on {dataset}"
        yield f"{who}: left out. {sentence}"


def carry_out_suite(
    planned: SuitePlan, plans: "Sequence[Resolved]", jobs: int | None, out: Path, formats: Sequence[str]
) -> int:
    """Run what is missing of `plans` and show the table; the exit code of the first run that failed.

    Raises DataError at the end, where there are none.
    """
    failures = run_missing(plans, jobs)
    show_suite(planned, out, formats)
    require_some(planned, plans)
    return tell_failures(failures, len(plans))


def show_suite(planned: SuitePlan, out: Path, formats: Sequence[str]) -> None:
    """Print the table, dataset by dataset so that it fits, and write it as a whole to OUT/suites/NAME/."""
    suite, folder = planned.suite, out / FOLDER / planned.suite.name
    with Reporter() as reporter:
        if not reporter.leads:
            return
        results: dict[Cell, Row] = {}
        for cell in planned.plans:
            try:
                results |= _result(planned, cell)
            except DataError as error:
                reporter.say(f"{cell[0]} on {cell[1]} is in no table: {error}")
        measured = {dataset for _, dataset in results} or set(suite.datasets)
        shown = [dataset for dataset in suite.datasets if dataset in measured]
        reporter.tables([suite_table(suite.only([dataset]), results) for dataset in shown])
        table = suite_table(suite, results)
        write([table], folder, formats)
        reporter.say(table.caption)
        reporter.say(str(folder))


def _result(planned: SuitePlan, cell: Cell) -> dict[Cell, Row]:
    """The seeds of one configuration on the files that most of them saw; nothing where none was started.

    Raises DataError where the evidence of one is damaged.
    """
    rows = rows_of(recorded(planned.plans[cell]))
    if not rows:
        return {}
    row = max(rows, key=lambda row: len(row.runs))
    for column in planned.suite.columns_of(cell[1]):
        for metric in column.metrics:
            if column.protocol in row.protocols():
                row.sample(column.protocol, metric)
    return {cell: row}
