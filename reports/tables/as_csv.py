"""CSV: one line per row, dataset, protocol and metric, with the numbers as they are, not as they are printed."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields

from .table import MISSING, Number, Table, clean


def to_csv(table: Table) -> str:
    """The numbers of one table, or the values of its cells where it has none; in percent, a missing one is empty."""
    return csv_of(table.numbers) if table.numbers else _of_cells(table)


def _of_cells(table: Table) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([clean(heading) for heading in table.headings(" ")])
    for row in table.rows:
        values = [("" if cell.text == MISSING else cell.text) if cell.value is None else cell.value for cell in row]
        writer.writerow([clean(one) if isinstance(one, str) else one for one in values])
    return file.getvalue()


def csv_of(numbers: Iterable[Number]) -> str:
    """RFC 4180 with line feeds: fields with commas, quotes or line breaks are quoted."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Number)], lineterminator="\n")
    writer.writeheader()
    for number in numbers:
        writer.writerow({key: clean(one) if isinstance(one, str) else one for key, one in asdict(number).items()})
    return file.getvalue()
