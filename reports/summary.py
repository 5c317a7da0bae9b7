"""Several runs in one table: mean ± standard deviation over seeds, and each row against the first."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from benchmarks.comparison import METRICS, Row, rows_of
from benchmarks.records import RunFolder
from benchmarks.selection import marked
from benchmarks.statistics import Comparison, Estimate, compare, estimate, holm

SIGNIFICANT = 0.05


def summary_tables(runs: Sequence[RunFolder]) -> Iterator[tuple[str, Table]]:
    """(caption, table) for each dataset and protocol that the runs share; scores in percent."""
    by_dataset: dict[str, list[Row]] = {}
    for row in rows_of(runs):
        by_dataset.setdefault(row.dataset, []).append(row)
    for dataset, rows in by_dataset.items():
        for protocol in rows[0].protocols():
            shared = [row for row in rows if protocol in row.protocols()]
            yield f"{dataset} · {protocol}", _table(shared, protocol)


def _table(rows: list[Row], protocol: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    first, *others = rows
    table.add_column("method")
    table.add_column("selection")
    for column in ("seeds", "mAP", "95 %", "R1"):
        table.add_column(column, justify="right")
    if others:
        table.add_column(f"mAP − {first.name}", justify="right")
        table.add_column("95 %", justify="right")
        table.add_column("p (Holm)", justify="right")
        table.add_column("detectable", justify="right")
    samples = {row.name: row.sample(protocol, "mAP") for row in rows}
    differences = [compare(samples[row.name], samples[first.name]) for row in others]
    corrected = holm([difference.p for difference in differences])
    for number, row in enumerate(rows):
        mAP, R1 = (estimate(row.sample(protocol, metric)) for metric in METRICS)  # noqa: N806 (the field's names)
        against = _against(differences[number - 1], corrected[number - 1]) if number else [""] * 4 * bool(others)
        selection = ", ".join(marked(selection) for selection in row.selections)
        cells = [str(mAP.seeds), _mean(mAP), f"{100 * mAP.low:.1f} … {100 * mAP.high:.1f}", _mean(R1)]
        table.add_row(row.name, selection, *cells, *against)
    return table


def _mean(estimated: Estimate) -> str:
    """«12.3 ± 0.4», without the spread for a single seed."""
    spread = f" ± {100 * estimated.deviation:.1f}" if estimated.seeds > 1 else ""
    return f"{100 * estimated.mean:.1f}{spread}"


def _against(difference: Comparison, p: float) -> list[str]:
    star = "*" if p < SIGNIFICANT else ""
    return [
        f"{100 * difference.difference:+.1f}{star}",
        f"{100 * difference.low:+.1f} … {100 * difference.high:+.1f}",
        f"{p:.3f}" if p >= 0.001 else "< 0.001",
        f"{100 * difference.detectable:.1f}",
    ]
