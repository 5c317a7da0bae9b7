"""CSV: one line per row, dataset, protocol and metric, with the numbers as they are, not as they are printed."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields

from .table import Number, Table, clean


def to_csv(table: Table) -> str:
    """The numbers of one table; in percent, a missing one is an empty field."""
    return csv_of(table.numbers)


def csv_of(numbers: Iterable[Number]) -> str:
    """RFC 4180 with line feeds: fields with commas, quotes or line breaks are quoted."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Number)], lineterminator="\n")
    writer.writeheader()
    for number in numbers:
        writer.writerow({key: clean(one) if isinstance(one, str) else one for key, one in asdict(number).items()})
    return file.getvalue()
