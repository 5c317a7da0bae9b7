"""Text in strips: as wide as it is measured to be, shortened where it does not fit."""

from functools import cache
from typing import TYPE_CHECKING

from reports.figures.names import drawable, font_families

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg

MEASURED_AT = 720
"""Dots per inch at which text is measured: fine enough that hinting hardly matters."""


def width(text: str, size: float, *, bold: bool = False) -> float:
    """In points."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=font_families(), size=size, weight="bold" if bold else "normal")
    pixels, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)
    return pixels * 72 / MEASURED_AT


def fitted(text: str, room: float, size: float, *, bold: bool = False, lines: int = 1) -> list[str]:
    """`text` in at most `lines` lines of at most `room` points; what does not fit ends in «…».

    Broken before the bracket that ends a name, else behind a space, hyphen, underscore, dot, slash or equals sign that
    is not near the line's beginning.
    """
    rest, found = drawable(text).strip(), []
    while rest and len(found) < lines - 1 and width(rest, size, bold=bold) > room:
        fits = _longest(rest, room, size, bold)
        breaks = [place + 1 for place in range(fits) if rest[place] in " -_./="]
        if 0 < (bracket := rest.find(" (")) < fits:
            breaks.append(bracket + 1)
        cut = breaks[-1] if breaks and breaks[-1] * 4 > fits else fits
        found.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if width(rest, size, bold=bold) > room:
        room -= width("…", size, bold=bold)
        rest = rest[: _longest(rest, room, size, bold)].rstrip() + "…"
    return [*found, rest]


def shrunk(text: str, room: float, size: float, smallest: float) -> tuple[str, float]:
    """`text` and the size at which it fits in one line; shortened at the smallest one."""
    text = drawable(text)
    while width(text, size) > room and size > smallest:
        size = max(smallest, size - 0.1)  # widths of hinted letters are not quite in proportion
    return fitted(text, room, size)[0], size


def _longest(text: str, room: float, size: float, bold: bool) -> int:
    """How many of the first letters fit; at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle], size, bold=bold) <= room:
            low = middle
        else:
            high = middle - 1
    return low


@cache
def _renderer() -> "RendererAgg":
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, MEASURED_AT)
