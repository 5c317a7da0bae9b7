"""What `list suites` and `show suite=NAME` print. Imports no torch."""

from collections.abc import Iterator, Mapping
from textwrap import fill

from benchmarks.published import load_published
from benchmarks.suite import Row, load_suite, published_of, suites

WIDTH = 118


def list_suites(values: Mapping[str, str]) -> Iterator[str]:
    for suite in suites():
        yield f"{suite.name:<20} {suite.title}"


def show_suite(name: str) -> Iterator[str]:
    """Columns, and each row with what is run and what was published."""
    suite, entries = load_suite(name), load_published()
    yield f"{name}: {suite.title}"
    yield _wrapped(f"rows and columns: {suite.source}")
    if suite.note:
        yield _wrapped(suite.note)
    yield f"  seeds: {', '.join(map(str, suite.seeds))}"
    if suite.set:
        yield _wrapped(f"every row: {_words(suite.set)}")
    if suite.reduced:
        rows = ", ".join(row.name for row in suite.reduced.rows)
        yield _wrapped(f"reduced=true: {rows}; {_words(suite.reduced.set)}")
    yield ""
    yield "columns"
    for column in suite.columns:
        yield f"  {column.dataset:<20} {column.protocol:<20} {', '.join(column.metrics)}"
    yield ""
    yield "rows"
    for row in suite.rows:
        yield f"  {row.name:<24} {_run(row)}"
        for (dataset, protocol), entry in published_of(suite, row, entries).items():
            scores = f"mAP {entry.printed('mAP'):>7} · R1 {entry.printed('R1'):>7}"
            yield f"    {dataset:<20} {protocol:<20} {scores} [{entry.certainty}: {entry.source}]"


def _run(row: Row) -> str:
    if row.method is None:
        return "published only"
    ablation = {"ablation": row.ablation} if row.ablation else {}
    return _words({"method": row.method, **ablation, **row.set})


def _words(changes: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in changes.items())


def _wrapped(text: str) -> str:
    return fill(" ".join(text.split()), WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
