"""The page of many runs: tables, retrievals, figures, and every run with its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .page import Gallery, write_page
from .run_facts import RunFacts
from .run_page import page_name
from .tables.captions import INTERVALS
from .wording import counted

if TYPE_CHECKING:
    from .studies.page import StudyLink
    from .tables import Table

READING = (
    "Scores are in percent: mean ± standard deviation over seeds.",
    INTERVALS,
    "A protocol says which gallery images are hidden from a query; a selection says which epoch is reported. Scores "
    "under different protocols or selections cannot be compared.",
    "† marks an epoch that was chosen on the test set: such scores flatter the method. Beside others they are neither "
    "bold nor underlined, and no row is compared with them as its reference.",
    "`python run.py report` makes every number again from the run folders. Beside this page lie the tables as "
    "Markdown, LaTeX and CSV, the figures and retrievals as PNG and PDF.",
)
SECTIONS = ("Results", "Ablations", "Retrieval", "Comparisons", "Figures", "Sweeps", "Runs", "How to read this")
"""Headings of the page, in the order of its template."""


@dataclass(frozen=True)
class ShownTable:
    title: str
    html: Markup
    """Made by `reports.tables`, which escapes every cell."""
    latex: str


@dataclass(frozen=True)
class TableSection:
    title: str
    tables: tuple[ShownTable, ...]
    further: tuple[ShownTable, ...] = ()
    """Folded away: fewer readers ask for them."""


def table_sections(results: Sequence["Table"], ablations: Sequence["Table"]) -> list[TableSection]:
    """Results, ablations and comparisons, each under its heading; those without a table are left out."""
    from .tables.table import DIFFERENCES, RANKS

    parts = {
        "Results": [table for table in results if table.kind != DIFFERENCES],
        "Ablations": list(ablations),
        "Comparisons": [table for table in results if table.kind == DIFFERENCES],
    }
    return [
        TableSection(
            title,
            tuple(_shown(table) for table in tables if table.kind != RANKS),
            tuple(_shown(table) for table in tables if table.kind == RANKS),
        )
        for title, tables in parts.items()
        if tables
    ]


def _shown(table: "Table") -> ShownTable:
    from .tables import to_html, to_latex

    return ShownTable(table.title, Markup(to_html(table)), to_latex(table))  # noqa: S704 (escaped by its renderer)


def write_overview(
    file: Path,
    runs: Sequence[RunFacts],
    tables: Sequence[TableSection],
    retrieval: Sequence[Gallery],
    figures: Sequence[Gallery],
    problems: Sequence[str],
    remarks: Sequence[str],
    studies: "Sequence[StudyLink]" = (),
) -> Path:
    """`problems`: what could not be made; `remarks`: what does not apply to these runs."""
    datasets = list(dict.fromkeys(run.dataset for run in runs if run.spec))
    context: dict[str, Any] = {
        "title": _title(datasets),
        "lead": _lead(runs, datasets),
        "runs": [{"facts": run, "page": page_name(run)} for run in runs],
        "tables": tables,
        "retrieval": retrieval,
        "figures": figures,
        "problems": problems,
        "remarks": remarks,
        "studies": studies,
        "reading": READING,
    }
    return write_page(file, "overview.html", context | {"sections": _sections(context)})


def _title(datasets: Sequence[str]) -> str:
    if not datasets:
        return "Runs"
    named = ", ".join(datasets[:-1]) + " and " + datasets[-1] if len(datasets) > 1 else datasets[0]
    return f"Results on {named}"


def _lead(runs: Sequence[RunFacts], datasets: Sequence[str]) -> str:
    finished = [run for run in runs if run.counts]
    configurations = {run.configuration for run in finished}
    methods = list(dict.fromkeys(run.method for run in finished))
    parts = [
        counted(len(methods), "method") + (f" ({', '.join(methods)})" if methods else ""),
        counted(len(configurations), "configuration"),
        f"{len(finished)} of {counted(len(runs), 'run')} finished",
    ]
    return " · ".join(parts)


def _sections(context: Mapping[str, Any]) -> list[str]:
    """Headings, in the order of the template."""
    there = {section.title for section in context["tables"]}
    there |= {name for name in ("Retrieval", "Figures") if context[name.lower()]} | {"Runs", "How to read this"}
    there |= {"Sweeps"} if context["studies"] else set()
    return [name for name in SECTIONS if name in there]
