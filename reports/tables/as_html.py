"""HTML: a figure with the table, its caption and its footnotes. Classes say what is best, close and published; a cell's
data-sort is what its column is sorted by."""

from html import escape
from itertools import groupby

from .table import MISSING, Cell, Column, Table, clean

STYLE = """\
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a }
.result-table { margin: 0 0 3rem; overflow-x: auto }
.result-table table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.result-table caption { text-align: left; padding-bottom: .6rem; font-size: .92rem; position: sticky; left: 0;
  max-width: min(60rem, calc(100vw - 2.5rem)) }
.result-table .title { display: block; font-weight: 600; font-size: 1.05rem }
.result-table th, .result-table td { padding: .2rem .7rem; text-align: right; white-space: nowrap; font-weight: 400 }
.result-table .left { text-align: left }
.result-table .center { text-align: center }
.result-table th[scope=row] { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; max-width: 22rem }
.result-table thead tr:first-child > * { border-top: 2px solid }
.result-table thead tr:last-child > * { border-bottom: 1px solid }
.result-table tbody tr:last-child > * { border-bottom: 2px solid }
.result-table .group { text-align: center; border-bottom: 1px solid #999 }
.result-table .published { color: #6b6b6b }
.result-table .close { text-underline-offset: .2em }
.result-table .footnotes { max-width: 60rem; font-size: .85rem; margin: .4rem 0 0; padding: 0; list-style: none }
"""


def escaped(text: str) -> str:
    return escape(clean(text), quote=True)


def to_html(table: Table) -> str:
    """A <figure>, to stand anywhere in a page."""
    rows = "".join(f"<tr{_published(row)}>{''.join(map(_cell, row, table.columns))}</tr>\n" for row in table.rows)
    legend = table.legend("Grey")
    notes = "".join(
        f'<li id="{table.name}-{mark}"><sup>{mark}</sup> {escaped(text)}</li>\n' for mark, text in table.footnotes
    )
    return (
        f'<figure class="result-table {table.kind}" id="{table.name}">\n<table>\n'
        f'<caption><span class="title">{escaped(table.title)}</span> {escaped(table.caption)}'
        f"{' ' * bool(legend)}{escaped(legend)}</caption>\n"
        f"<thead>\n{_heading(table)}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        + (f'<ul class="footnotes">\n{notes}</ul>\n' if notes else "")
        + "</figure>\n"
    )


def to_document(title: str, tables: list[Table]) -> str:
    """A file that a browser opens, with all of them."""
    body = "".join(map(to_html, tables))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _heading(table: Table) -> str:
    """One row of headings, or two where columns are grouped."""
    titles = "".join(f"<th{_attributes(column)}>{escaped(column.title)}</th>" for column in table.columns)
    if not any(column.group for column in table.columns):
        return f"<tr>{titles}</tr>\n"
    upper, lower = "", ""
    for group, columns in groupby(table.columns, key=lambda column: column.group):
        members = list(columns)
        if group:
            upper += f'<th class="group" scope="colgroup" colspan="{len(members)}">{escaped(group)}</th>'
            lower += "".join(f"<th{_attributes(column)}>{escaped(column.title)}</th>" for column in members)
        else:
            upper += "".join(f'<th rowspan="2"{_attributes(column)}>{escaped(column.title)}</th>' for column in members)
    return f"<tr>{upper}</tr>\n<tr>{lower}</tr>\n"


def _attributes(column: Column) -> str:
    unit = f' title="{escaped({"%": "percent"}.get(column.unit, column.unit))}"' if column.unit else ""
    return f' class="{column.align}" scope="col"{unit}'


def _published(row: tuple[Cell, ...]) -> str:
    return ' class="published"' if all(cell.published for cell in row) else ""


def _cell(cell: Cell, column: Column) -> str:
    """The first column, aligned left, is a row's heading where it names a method."""
    classes = [column.align, *["best"] * cell.best, *["close"] * cell.close, *["published"] * cell.published]
    text = escaped(cell.text)
    if cell.close:
        text = f"<u>{text}</u>"
    if cell.best:
        text = f"<strong>{text}</strong>"
    if cell.notes:
        text += f"<sup>{','.join(cell.notes)}</sup>"
    tag = 'th scope="row"' if column.title in ("method", "configuration") else "td"
    return f'<{tag} class="{" ".join(classes)}" data-sort="{_sort_value(cell)}">{text}</{tag[:2]}>'


def _sort_value(cell: Cell) -> str:
    if cell.value is None:
        return "" if cell.text == MISSING else escaped(cell.text)
    return escaped(cell.value) if isinstance(cell.value, str) else f"{cell.value:.10g}"
