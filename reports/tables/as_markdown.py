"""Markdown as GitHub shows it: bold **, underline <ins> (it drops <u>), and published values in italics, because it
drops every colour."""

import re

from .table import Cell, Table, clean

SPECIAL = re.compile(r"([\\`*_{}\[\]~|#])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}
"""A dollar begins a formula, and a backslash before it does not stop that."""
BREAK = "\ue000"
"""Private use: stands for <br> while a heading is escaped."""
RULES = {"left": ":---", "right": "---:", "center": ":---:"}


def escaped(text: str) -> str:
    plain = SPECIAL.sub(r"\\\1", clean(text))
    return "".join(ENTITIES.get(one, one) for one in plain)


def to_markdown(table: Table) -> str:
    """The caption above, the footnotes below. A column's group stands in its heading, in a line of its own."""
    headings = [escaped(heading).replace(BREAK, "<br>") for heading in table.headings(BREAK)]
    lines = [headings, [RULES[column.align] for column in table.columns]]
    lines += [[_cell(cell) for cell in row] for row in table.rows]
    notes = "".join(f"\n<sup>{mark}</sup> {escaped(text)}  " for mark, text in table.footnotes)
    legend = table.legend("Italic")
    return (
        f"**{escaped(table.title)}**\n\n{escaped(table.caption)}{' ' * bool(legend)}{escaped(legend)}\n\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + (f"{notes}\n" if notes else "")
    )


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if not text:
        return ""
    if cell.published:
        text = f"*{text}*"
    if cell.close:
        text = f"<ins>{text}</ins>"
    if cell.best:
        text = f"**{text}**"
    return text + (f"<sup>{','.join(cell.notes)}</sup>" if cell.notes else "")
