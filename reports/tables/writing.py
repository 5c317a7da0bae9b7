"""Tables into files: one per dataset and ablation as Markdown, HTML and CSV, one per table as LaTeX."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.comparison import Row
from datasets.errors import UsageError, did_you_mean
from datasets.files import write_text

from . import as_html, as_latex
from .ablation import ablation_tables
from .as_csv import csv_of, to_csv
from .as_markdown import to_markdown
from .results import result_tables
from .table import Table

Document = tuple[str, list[Table]]


def read_formats(word: str | None) -> tuple[str, ...]:
    """The formats in `format=md,tex`; all where nothing is said. Raises UsageError for an unknown one."""
    wanted = tuple(dict.fromkeys(word.split(","))) if word else tuple(FORMATS)
    for name in wanted:
        if name not in FORMATS:
            raise UsageError(f"Unknown format={name}.{did_you_mean(name, FORMATS)} Available: {', '.join(FORMATS)}.")
    return wanted


def write_tables(rows: Sequence[Row], folder: Path, formats: Iterable[str]) -> list[Path]:
    """Write every table of `rows`: DATASET.md, .html and .csv hold all of a dataset, DATASET-METHOD-ablation.… those of
    an ablation."""
    return write([*result_tables(rows), *ablation_tables(rows)], folder, formats)


def write(tables: Iterable[Table], folder: Path, formats: Iterable[str]) -> list[Path]:
    """Write `tables` in each of the `formats`; the files, in the order of the formats.

    DOCUMENT.md, .html and .csv hold all tables of a document; NAME.tex holds one table, and tables.tex shows them all.
    """
    documents: dict[str, list[Table]] = {}
    for table in tables:
        documents.setdefault(table.document, []).append(table)
    files = []
    for name in read_formats(",".join(formats)):
        for file, text in FORMATS[name](documents):
            write_text(folder / file, text)
            files.append(folder / file)
    return files


def _markdown(documents: dict[str, list[Table]]) -> Iterable[tuple[str, str]]:
    for name, tables in documents.items():
        yield f"{name}.md", "\n".join(map(to_markdown, tables))


def _latex(documents: dict[str, list[Table]]) -> Iterable[tuple[str, str]]:
    tables = [table for of_document in documents.values() for table in of_document]
    for table in tables:
        yield f"{table.name}.tex", as_latex.to_latex(table)
    yield "tables.tex", as_latex.to_document([table.name for table in tables])


def _csv(documents: dict[str, list[Table]]) -> Iterable[tuple[str, str]]:
    for name, tables in documents.items():
        numbers = dict.fromkeys(number for table in tables for number in table.numbers)
        yield f"{name}.csv", csv_of(numbers) if numbers else "".join(map(to_csv, tables))


def _html(documents: dict[str, list[Table]]) -> Iterable[tuple[str, str]]:
    for name, tables in documents.items():
        yield f"{name}.html", as_html.to_document(name, tables)


FORMATS: dict[str, Callable[[dict[str, list[Table]]], Iterable[tuple[str, str]]]] = {
    "md": _markdown,
    "tex": _latex,
    "csv": _csv,
    "html": _html,
}
"""Word of `format=` → (file name, content) of every file."""
