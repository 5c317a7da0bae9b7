"""A suite's table: our scores, below each what was published, and below that the difference."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

from benchmarks import suite as suites
from benchmarks.comparison import Row
from benchmarks.published import Published, load_published
from benchmarks.selection import ORACLE, marked
from benchmarks.suite import Suite, published_of

from .captions import caption, remarks, seeds_text, selection_text
from .measured import Mark, Measured, Scored
from .published_rows import Footnotes, known, other_images, published_cells, published_numbers, selections_text
from .results import score_cell
from .same_files import on_same_files
from .table import MISSING, SUITE, Cell, Column, Number, Table, file_name, percent

Results = Mapping[tuple[str, str], Row]
"""(name of a row, dataset) → its seeds, of those that were started."""

MINUS_PUBLISHED = ", ours − published"
OTHER_EPOCH = (
    f"Published under {marked(ORACLE)} is the best epoch on the test set, ours is not: "
    f"select.rule={ORACLE} chooses as they do."
)
DIFFERENCE = "Differences are ours − published, in points; *: the published number lies outside of our 95 % interval."


def suite_table(suite: Suite, results: Results, published: Sequence[Published] | None = None) -> Table:
    """One block for each row of the suite, one column for each dataset, protocol and metric.

    Raises DataError where a finished run lacks its evidence.
    """
    return _SuiteTable(suite, results, load_published() if published is None else published).table()


@dataclass(frozen=True)
class _OfDataset:
    """What was measured on one dataset."""

    measured: Measured
    place: Mapping[str, int]
    """Name of a row → its position in `measured`."""
    marks: Mapping[Scored, Mark]
    remarks: tuple[str, ...]


class _SuiteTable:
    def __init__(self, suite: Suite, results: Results, published: Sequence[Published]):
        self.suite, self.results = suite, results
        self.published = {row.name: published_of(suite, row, published) for row in suite.rows}
        self.footnotes = Footnotes()

    @cached_property
    def shown(self) -> list[tuple[suites.Column, str]]:
        """Each column of scores: the protocol of a dataset, and a metric."""
        return [(column, metric) for column in self.suite.columns for metric in column.metrics]

    @cached_property
    def parts(self) -> dict[str, _OfDataset]:
        """Dataset → what was measured there, of those where something was started."""
        found = ((dataset, self._part(dataset)) for dataset in self.suite.datasets)
        return {dataset: part for dataset, part in found if part is not None}

    def _part(self, dataset: str) -> _OfDataset | None:
        names = [row.name for row in self.suite.rows if (row.name, dataset) in self.results]
        if not names:
            return None
        rows = [self.results[name, dataset] for name in names]
        measured = Measured(rows, names, [None] * len(rows))
        columns = [
            (column.protocol, metric)
            for column in self.suite.columns_of(dataset)
            for metric in column.metrics
            if column.protocol in measured.protocols
        ]
        if len(on_same_files(rows)) > 1:
            said: tuple[str, ...] = ("rows were scored on different files and cannot be compared with each other.",)
            marks: Mapping[Scored, Mark] = {}
        else:
            said, marks = (), measured.marks(columns)
        several = f"{dataset}: " if len(self.suite.datasets) > 1 else ""
        said = tuple(
            f"{several}{sentence}"
            for sentence in (*said, *remarks(measured), *(other_images(rows) if any(self.published.values()) else ()))
        )
        return _OfDataset(measured, dict(zip(names, range(len(names)), strict=True)), marks, said)

    def table(self) -> Table:
        lines = [line for row in self.suite.rows for line in self._lines(row)]
        rows = [row for part in self.parts.values() for row in part.measured.rows]
        absent = [dataset for dataset in self.suite.datasets if dataset not in self.parts]
        said = tuple(sentence for part in self.parts.values() for sentence in part.remarks)
        document, title = file_name("suite", self.suite.name), self.suite.title
        alone = len(self.suite.datasets) == 1
        if alone:
            title = f"{title} · {self.suite.datasets[0]}"
        text = caption(
            f"{self.suite.title}. Rows and columns: {self.suite.source}.",
            self.suite.note or "",
            selection_text(row.selections for row in rows) if rows else "",
            seeds_text(rows),
            *self._about_differences(rows, lines),
            f"Not run here: {', '.join(absent)}." if absent and any(row.method for row in self.suite.rows) else "",
            *said,
        )
        columns = (
            Column("method", align="left"),
            Column("selection", align="left"),
            Column("seeds"),
            *[
                Column(metric, f"{'' if alone else f'{column.dataset} · '}{column.protocol}", unit="%")
                for column, metric in self.shown
            ],
        )
        return Table(
            SUITE,
            document,
            document,
            title,
            text,
            columns,
            tuple(lines),
            self.footnotes.listed(),
            said,
            tuple(self._numbers()),
        )

    def _about_differences(self, rows: Sequence[Row], lines: Sequence[tuple[Cell, ...]]) -> Iterator[str]:
        if not any(line[0].text.endswith(MINUS_PUBLISHED) for line in lines):
            return
        yield DIFFERENCE
        compared = [entry for row in self.suite.rows if row.method for entry in self.published[row.name].values()]
        ours = {rule for row in rows for rule in row.selections}
        if ORACLE not in ours and any(entry.selection == ORACLE for entry in compared):
            yield OTHER_EPOCH

    # --- the lines of a row ---

    def _lines(self, row: suites.Row) -> Iterator[tuple[Cell, ...]]:
        of_paper = self.published[row.name]
        if row.method:
            yield self._ours(row.name)
        entries = [entry for entry in of_paper.values() if known(entry, get_args(suites.Metric))]
        if entries:
            name = f"{row.name}, published" if row.method else row.name
            selection = selections_text(entries)
            first = [Cell(name, name, published=True), Cell(selection, published=True), Cell("", published=True)]
            cells = [
                cell
                for column in self.suite.columns
                for cell in published_cells(
                    of_paper.get((column.dataset, column.protocol)), column.metrics, self.footnotes
                )
            ]
            yield (*first, *cells)
        if row.method and entries:
            differences = [self._difference_cell(row.name, column, metric) for column, metric in self.shown]
            if any(cell.value is not None for cell in differences):
                name = f"{row.name}{MINUS_PUBLISHED}"
                yield (Cell(name, name), Cell(), Cell(), *differences)

    def _ours(self, name: str) -> tuple[Cell, ...]:
        rows = [row for (of, _), row in self.results.items() if of == name]
        selection = ", ".join(dict.fromkeys(marked(rule) for row in rows for rule in row.selections)) or MISSING
        scores = []
        for column, metric in self.shown:
            part = self.parts.get(column.dataset)
            found = part and name in part.place
            scores.append(
                score_cell(part.measured, part.place[name], column.protocol, metric, part.marks)
                if part and found
                else Cell(MISSING)
            )
        return (Cell(name, name), Cell(selection, selection), _seeds_cell(rows), *scores)

    def _difference(self, name: str, column: suites.Column, metric: str) -> tuple[float, bool] | None:
        """Ours minus the published number, in percent, and whether that lies outside of our interval."""
        part, entry = self.parts.get(column.dataset), self.published[name].get((column.dataset, column.protocol))
        theirs = getattr(entry, metric, None)
        if part is None or name not in part.place or theirs is None:
            return None
        ours = part.measured.estimate(part.place[name], column.protocol, metric)
        if ours is None or math.isnan(ours.mean):
            return None
        return 100 * ours.mean - theirs, not 100 * ours.low <= theirs <= 100 * ours.high

    def _difference_cell(self, name: str, column: suites.Column, metric: str) -> Cell:
        found = self._difference(name, column, metric)
        if found is None:
            return Cell(MISSING)
        difference, outside = found
        return Cell(f"{percent(difference / 100, sign=True)}{'*' * outside}", difference)

    # --- the CSV ---

    def _numbers(self) -> Iterator[Number]:
        for column in self.suite.columns:
            if part := self.parts.get(column.dataset):
                protocols = [column.protocol] if column.protocol in part.measured.protocols else []
                for number in part.measured.numbers(protocols, column.metrics):
                    yield self._against_published(number, column)
        for row in self.suite.rows:
            for column in self.suite.columns:
                entry = self.published[row.name].get((column.dataset, column.protocol))
                for number in published_numbers([entry] if entry else [], column.metrics):
                    yield replace(number, name=row.name, ablation=entry.row or "" if entry else "")

    def _against_published(self, number: Number, column: suites.Column) -> Number:
        """The difference is to what was published, where in other tables it is to another row."""
        found = self._difference(number.name, column, number.metric)
        nothing = dict.fromkeys(("difference_low", "difference_high", "p", "p_holm", "effect", "detectable"))
        return replace(
            number,
            reference=f"{number.name}, published" if found else "",
            difference=found[0] if found else None,
            **nothing,
        )


def _seeds_cell(rows: Sequence[Row]) -> Cell:
    """«3», «2 of 3» where runs are not finished, «1 to 3» where datasets differ."""
    counts = [len(row.runs) for row in rows]
    if not counts:
        return Cell("0", 0)
    totals = [len(row.runs) + len(row.unfinished) for row in rows]
    fewest, most = min(counts), max(counts)
    number = f"{fewest} to {most}" if fewest != most else str(most)
    return Cell(number if counts == totals else f"{number} of {max(totals)}", fewest)
