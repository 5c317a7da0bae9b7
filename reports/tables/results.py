"""Methods beside each other: for each dataset the scores under all protocols, each protocol with its intervals and
differences, and the further scores."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from itertools import product

from benchmarks.comparison import Row
from benchmarks.published import Published, headline, load_published
from benchmarks.selection import marked
from benchmarks.statistics import Comparison, Estimate

from .captions import INTERVALS, ablations_text, caption, protocols_text, remarks, seeds_text, selection_text
from .families import places
from .measured import FURTHER, HEADLINE, SIGNIFICANT, Mark, Measured, Scored
from .published_rows import Footnotes, known, other_images, published_cells, published_numbers, selections_text
from .same_files import on_same_files
from .table import (
    DIFFERENCES,
    MISSING,
    RANKS,
    SCORES,
    Cell,
    Column,
    Table,
    file_name,
    interval_text,
    mean_text,
    p_text,
    percent,
)

KINDS = (SCORES, DIFFERENCES, RANKS)
LONGEST_IN_HEADING = 24
"""Characters of the reference's name that a column's heading takes."""


def result_tables(
    rows: Sequence[Row], published: Sequence[Published] | None = None, kinds: Container[str] = KINDS
) -> list[Table]:
    """All tables of the rows, dataset by dataset: scores, one table of differences per protocol, further scores.

    Rows whose test images differ, such as two synthetic worlds, are never in one table. `published`: what is recorded
    of the papers, by default all of it; `kinds`: of tables, by default all. Raises DataError where a finished run
    lacks its evidence.
    """
    entries = load_published() if published is None else published
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    tables: list[Table] = []
    for dataset, of_dataset in by_dataset.items():
        for label, group in on_same_files(of_dataset):
            measured = Measured(group, [row.name for row in group], places(group))
            tables += _Tables(dataset, label, measured, entries, kinds).all()
    return tables


class _Tables:
    """The tables of one dataset."""

    def __init__(
        self, dataset: str, label: str, measured: Measured, entries: Sequence[Published], kinds: Container[str]
    ):
        self.kinds = kinds
        self.where = f"{dataset} ({label})" if label else dataset
        self.file = file_name(*[part for part in (dataset, label.replace(" ", "-")) if part])
        self.measured = measured
        self.entries = entries
        self.methods = measured.methods
        self.of_paper = cache(lambda method, protocol: headline(entries, method, dataset, protocol))

    def all(self) -> Iterator[Table]:
        if not self.measured.protocols:
            yield self._nothing_finished()
            return
        if SCORES in self.kinds:
            yield self._scores(SCORES, HEADLINE, "mAP and rank-1")
        for protocol in self.measured.protocols if DIFFERENCES in self.kinds else ():
            yield self._differences(protocol)
        if RANKS in self.kinds:
            yield self._scores(RANKS, FURTHER, "rank-5, rank-10 and mINP")

    def _first_cells(self, place: int) -> list[Cell]:
        """Method, selection, seeds."""
        row = self.measured.rows[place]
        total = len(row.runs) + len(row.unfinished)
        seeds = f"{len(row.runs)} of {total}" if row.unfinished else str(total)
        name, selection = self.measured.names[place], ", ".join(map(marked, self.measured.selections[place])) or MISSING
        return [Cell(name, name), Cell(selection, selection), Cell(seeds, len(row.runs))]

    FIRST = (Column("method", align="left"), Column("selection", align="left"), Column("seeds"))

    def _nothing_finished(self) -> Table:
        rows = [tuple(self._first_cells(place)) for place in range(len(self.measured.rows))]
        said = remarks(self.measured)
        text = caption(f"Runs on {self.where}.", selection_text(self.measured.selections), *said)
        name = file_name(self.file, SCORES)
        return Table(
            SCORES, self.file, name, f"{self.where} · no finished run", text, self.FIRST, tuple(rows), (), said
        )

    # --- all protocols side by side ---

    def _scores(self, kind: str, metrics: tuple[str, ...], what: str) -> Table:
        measured, protocols, footnotes = self.measured, self.measured.protocols, Footnotes()
        shown = list(product(protocols, metrics))
        marks = measured.marks(shown)
        rows = []
        for place, method in enumerate(self.methods):
            cells = self._first_cells(place)
            cells += [score_cell(measured, place, protocol, metric, marks) for protocol, metric in shown]
            rows.append(tuple(cells))
            if method not in self.methods[place + 1 :]:  # below the last configuration of the method
                rows += self._published_row(method, metrics, footnotes)
        numbers = measured.numbers(protocols, metrics)
        of_papers = [entry for method in dict.fromkeys(self.methods) for entry in self._of_paper(method, metrics)]
        said = (*remarks(measured), *(other_images(measured.rows) if of_papers else ()))
        text = caption(
            f"Methods on {self.where}: {what}.",
            protocols_text(protocols),
            selection_text(measured.selections),
            seeds_text(measured.rows),
            ablations_text(measured),
            *said,
        )
        return Table(
            kind,
            self.file,
            file_name(self.file, kind),
            f"{self.where} · {what}",
            text,
            (*self.FIRST, *[Column(metric, protocol, unit="%") for protocol, metric in shown]),
            tuple(rows),
            footnotes.listed(),
            said,
            (*numbers, *published_numbers(of_papers, metrics)),
            measured.mixed,
        )

    def _of_paper(self, method: str, metrics: Sequence[str]) -> list[Published]:
        """The method's own entries for the protocols of the table, where a number is known."""
        found = [self.of_paper(method, protocol) for protocol in self.measured.protocols]
        return [entry for entry in found if entry is not None and known(entry, metrics)]

    def _published_row(self, method: str, metrics: Sequence[str], footnotes: Footnotes) -> list[tuple[Cell, ...]]:
        entries = self._of_paper(method, metrics)
        if not entries:
            return []
        at = {entry.protocol: entry for entry in entries}
        name, selection = f"{method}, published", selections_text(entries)
        first = [Cell(name, name, published=True), Cell(selection, selection, published=True), Cell("", published=True)]
        scores = [published_cells(at.get(protocol), metrics, footnotes) for protocol in self.measured.protocols]
        return [(*first, *[cell for cells in scores for cell in cells])]

    # --- one protocol with intervals ---

    def _differences(self, protocol: str) -> Table:
        measured, (metric, second) = self.measured, HEADLINE
        marks = measured.marks([(protocol, metric), (protocol, second)])
        against = measured.against_reference(protocol, metric)
        reference = measured.reference(protocol)
        name = measured.names[reference]
        columns = [*self.FIRST, Column(metric, unit="%"), Column("95 %", unit="%"), Column(second, unit="%")]
        alone = len(measured.rows) == 1
        if not alone:
            to = name if len(name) <= LONGEST_IN_HEADING else "reference"
            columns += [Column(f"{metric} − {to}", unit="points"), Column("95 %", unit="points")]
            columns += [Column("p (Holm)"), Column("detectable", unit="points")]
        rows = []
        for place in range(len(measured.rows)):
            cells = self._first_cells(place)
            cells += [
                score_cell(measured, place, protocol, metric, marks),
                _interval_cell(measured.estimate(place, protocol, metric)),
                score_cell(measured, place, protocol, second, marks),
            ]
            if not alone:
                cells += _reference_cells() if place == reference else _against(against.get(place))
            rows.append(tuple(cells))
        said = remarks(measured)
        text = caption(
            f"{self.where} under the protocol {protocol}" + ("." if alone else f"; differences are to {name}."),
            selection_text(measured.selections),
            seeds_text(measured.rows),
            INTERVALS,
            ablations_text(measured),
            *said,
        )
        return Table(
            DIFFERENCES,
            self.file,
            file_name(self.file, protocol),
            f"{self.where} · {protocol}",
            text,
            tuple(columns),
            tuple(rows),
            (),
            said,
            measured.numbers([protocol], [metric]),
            measured.mixed,
        )


def score_cell(measured: Measured, place: int, protocol: str, metric: str, marks: Mapping[Scored, Mark]) -> Cell:
    """«12.3 ± 0.4», marked as `Measured.marks` says."""
    found, mark = measured.estimate(place, protocol, metric), marks.get((place, protocol, metric), Mark())
    if found is None or math.isnan(found.mean):
        return Cell(MISSING)
    return Cell(mean_text(found), 100 * found.mean, best=mark.best, close=mark.close)


def _interval_cell(found: Estimate | None) -> Cell:
    if found is None or math.isnan(found.low):
        return Cell(MISSING)
    return Cell(interval_text(found.low, found.high), 100 * found.low)


def _reference_cells() -> list[Cell]:
    return [Cell("", 0.0), Cell(), Cell(), Cell()]


def _against(found: tuple[Comparison, float] | None) -> list[Cell]:
    """Difference, its interval, corrected p, detectable difference."""
    if found is None:
        return [Cell(MISSING)] * 4
    difference, p = found
    star = "*" if p < SIGNIFICANT else ""
    return [
        Cell(f"{percent(difference.difference, sign=True)}{star}", 100 * difference.difference),
        Cell(interval_text(difference.low, difference.high, sign=True), 100 * difference.low),
        Cell(p_text(p), None if math.isnan(p) else p),
        Cell(percent(difference.detectable), 100 * difference.detectable),
    ]
