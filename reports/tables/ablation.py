"""The ablation table of a paper: which loss terms and switches are on in each row, and what it scores."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmarks.ablations import WEIGHTS
from benchmarks.comparison import Row, configuration
from benchmarks.published import Published, find, load_published
from benchmarks.selection import marked

from .captions import NOT_RETUNED, caption, protocols_text, remarks, seeds_text, selection_text
from .families import Family, Place, families, named_families, runs_of, spec_of, value_at
from .measured import HEADLINE, Measured
from .published_rows import Footnotes, known, published_cells, published_numbers, selections_text
from .results import score_cell
from .same_files import on_same_files
from .table import ABLATION, CHECK, MISSING, Cell, Column, Table, file_name

SELECTION = "select.rule"
"""Stands in the column of the selection, not among the switches."""


def ablation_tables(
    rows: Sequence[Row],
    published: Sequence[Published] | None = None,
    tuning: str = NOT_RETUNED,
    rows_of_runs: Mapping[str, str] | None = None,
) -> list[Table]:
    """One table for each method and dataset of which two or more rows of the ablation table are among `rows`.

    In the order of the method's `ablations`; the full model is the reference of the differences in the CSV. `tuning`:
    what the caption says of the rows' hyper-parameters. `rows_of_runs`: run id → its row, where the configurations
    alone do not tell, since they were tuned.
    """
    entries = load_published() if published is None else published
    tables: list[Table] = []
    for family in families(rows) if rows_of_runs is None else named_families(rows, rows_of_runs):
        members = dict(family.members)
        if len(members) < 2:
            continue
        # One family has one dataset configuration; files that changed between its runs still must not mix.
        at = {id(rows[position]): place for position, place in members.items()}
        for label, group in on_same_files([rows[position] for position in members]):
            if len(group) > 1:
                taken = {table.name for table in tables}
                tables.append(_table(family, label, group, [at[id(row)] for row in group], entries, tuning, taken))
    return tables


def _table(
    family: Family,
    label: str,
    rows: list[Row],
    places: list[Place],
    entries: Sequence[Published],
    tuning: str,
    taken: set[str],
) -> Table:
    names = [place.name for place in places]
    full = next((number for number, place in enumerate(places) if place.is_full), 0)
    measured = Measured(rows, names, places, reference=full)
    specs = [spec_of(row) for row in rows]
    terms, switches = _terms(specs), _switches(specs)
    shows_selection = len({tuple(rules) for rules in measured.selections}) > 1
    protocols, footnotes = measured.protocols, Footnotes()
    shown = list(product(protocols, HEADLINE))
    marks = measured.marks(shown)
    columns = [
        Column("configuration", align="left"),
        *[Column(term, "loss terms", "center") for term in terms],
        *[Column(_short(key), "switches", "center") for key in switches],
        *[Column("selection", align="left")] * shows_selection,
        Column("seeds"),
        *[Column(metric, protocol, unit="%") for protocol, metric in shown],
    ]
    papers = _published(family, protocols, entries)
    lines = []
    for number, (row, place, spec) in enumerate(zip(rows, places, specs, strict=True)):
        selection = ", ".join(map(marked, measured.selections[number])) or MISSING
        total = len(row.runs) + len(row.unfinished)
        lines.append(
            (
                Cell(place.name, place.order),
                *[_term_cell(specs, spec, term, tuned=tuning != NOT_RETUNED) for term in terms],
                *[_switch_cell(value_at(spec, key)) for key in switches],
                *[Cell(selection, selection)] * shows_selection,
                Cell(f"{len(row.runs)} of {total}" if row.unfinished else str(total), len(row.runs)),
                *[score_cell(measured, number, protocol, metric, marks) for protocol, metric in shown],
            )
        )
        if place.name in papers:
            lines.append(
                _published_line(papers.pop(place.name), f"{place.name}, published", columns, protocols, footnotes)
            )
    lines += [_published_line(of, f"{name}, published", columns, protocols, footnotes) for name, of in papers.items()]
    said = remarks(measured)
    parts = (family.dataset, family.method, "ablation", label.replace(" ", "-"))
    document = file_name(*[part for part in parts if part])
    if document in taken:  # the same ablation around another full model
        document = file_name(document, _hash(rows[0]))
    where = f"{family.dataset} ({label})" if label else family.dataset
    text = caption(
        f"Ablation of {family.method} on {where}; {CHECK}: the term is part of the loss.",
        protocols_text(protocols) if protocols else "",
        selection_text(measured.selections),
        seeds_text(rows),
        tuning,
        *said,
    )
    published = [entry for of in _published(family, protocols, entries).values() for entry in of]
    return Table(
        ABLATION,
        document,
        document,
        f"{family.method} on {where} · ablation",
        text,
        tuple(columns),
        tuple(lines),
        footnotes.listed(),
        said,
        (*measured.numbers(protocols, HEADLINE), *published_numbers(published, HEADLINE)),
        measured.mixed,
    )


def _hash(row: Row) -> str:
    return configuration(runs_of(row)[0]).rpartition("-")[2]


# --- what is on ---


def _terms(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Loss terms that are on in some row, in the method's order."""
    weights = [spec["method"]["weights"] for spec in specs]
    return [term for term in weights[0] if any(of_row.get(term, 0) > 0 for of_row in weights)]


def _term_cell(specs: Sequence[Mapping[str, Any]], spec: Mapping[str, Any], term: str, *, tuned: bool) -> Cell:
    """A check mark; the weight itself where it was tuned, or rows differ in it and not only in whether it is 0."""
    weight = spec["method"]["weights"].get(term, 0)
    if not weight > 0:
        return Cell("", 0.0)
    positive = {other for one in specs if (other := one["method"]["weights"].get(term, 0)) > 0}
    return Cell(CHECK if len(positive) == 1 and not tuned else f"{weight:.3g}", float(weight))


def _switches(specs: Sequence[dict[str, Any]]) -> list[str]:
    """Dotted keys, other than the terms' weights, in which rows differ."""
    keys = dict.fromkeys(key for spec in specs for key in _leaves(spec))
    left_out = (SELECTION, "seed")
    return [
        key
        for key in keys
        if key not in left_out
        and not key.startswith(f"{WEIGHTS}.")
        and any(value_at(spec, key) != value_at(specs[0], key) for spec in specs)
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found


def _short(key: str) -> str:
    return key.removeprefix("method.")


def _switch_cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return Cell(CHECK if value else "", float(value))
    if value is None:
        return Cell(MISSING)
    if isinstance(value, list):
        return Cell(", ".join(map(str, value)) or "none")
    if isinstance(value, float):
        return Cell(f"{value:.3g}", value)
    return Cell(str(value), float(value) if isinstance(value, int) else str(value))


# --- the paper's own ablation ---


def _published(family: Family, protocols: Sequence[str], entries: Sequence[Published]) -> dict[str, list[Published]]:
    """Row → what the paper reports of it. The method as proposed is its full model."""
    full = next((place.name for _, place in family.members if place.is_full), "full")
    found: dict[str, dict[str, Published]] = {}
    for entry in find(entries, method=family.method, dataset=family.dataset):
        if entry.protocol in protocols and known(entry, HEADLINE):
            of_row = found.setdefault(entry.row or full, {})
            if entry.row or entry.protocol not in of_row:
                of_row[entry.protocol] = entry
    return {name: list(of_row.values()) for name, of_row in found.items()}


def _published_line(
    entries: Sequence[Published], name: str, columns: Sequence[Column], protocols: Sequence[str], footnotes: Footnotes
) -> tuple[Cell, ...]:
    at = {entry.protocol: entry for entry in entries}
    scores = [cell for protocol in protocols for cell in published_cells(at.get(protocol), HEADLINE, footnotes)]
    between = columns[1 : len(columns) - len(scores)]
    filled = [
        Cell(selections_text(entries) if column.title == "selection" else "", published=True) for column in between
    ]
    return (Cell(name, name, published=True), *filled, *scores)
