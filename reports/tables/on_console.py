"""The same tables on the terminal."""

from typing import TYPE_CHECKING

from .table import Cell, Table, clean

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

NARROWEST_NAME = 16
"""Characters that the first column keeps on a narrow terminal."""


def to_console(table: Table) -> "RichTable":
    """Title above; what must not be overlooked, the footnotes and the legend below."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    below = [*table.remarks, table.legend("Grey"), *[f"{mark} {text}" for mark, text in table.footnotes]]
    shown = RichTable(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(clean(table.title)),
        title_justify="left",
        title_style="",
        caption=Text("\n".join(clean(line) for line in below if line)) if any(below) else None,
        caption_justify="left",
        caption_style="",
    )
    for number, (column, heading) in enumerate(zip(table.columns, table.headings("\n"), strict=True)):
        shortest = min(max((len(row[0].text) for row in table.rows), default=0), NARROWEST_NAME) if not number else None
        title = Text("\n".join(map(clean, heading.split("\n"))))
        shown.add_column(title, justify=column.align, overflow="fold", min_width=shortest)
    for row in table.rows:
        shown.add_row(*[_text(cell) for cell in row])
    return shown


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    style = " ".join(["bold"] * cell.best + ["underline"] * cell.close + ["bright_black"] * cell.published)
    return Text(clean(cell.text) + (f" {','.join(cell.notes)}" if cell.notes else ""), style=style)
