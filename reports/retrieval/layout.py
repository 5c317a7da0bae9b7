"""Where things stand in a picture of strips. All lengths are points (1/72 inch) from the upper left corner."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.selection import ORACLE
from reports.figures.names import drawable
from reports.figures.style import CORRECT, GREY, WRONG

from .lettering import width
from .strips import Strip

PAGE_WIDTH = 496.8
"""6.9 inches, both columns of a conference paper."""
MARGIN, GAP, FRAME = 3.0, 3.0, 1.7
CELL = (34.0, 44.0)
"""Smallest and largest width of a framed image."""
ASPECT = 2.0
"""Height over width of every image, as in the field's pictures; crops are stretched to it."""
HEADER, SEPARATION = 10.0, 9.0
SWATCH, BETWEEN = 7.0, 9.0
"""Of the legend: room for a coloured frame, and between two explanations."""
NAME, SMALL, TINY = 6.5, 5.4, 3.6
"""Sizes of letters: a method's name, everything else, and the smallest that numbers are shrunk to."""
LEADING = 1.22
NAME_WIDTH = (30.0, 70.0)


@dataclass(frozen=True)
class Layout:
    """Where things stand on a page of strips that are alike: number of runs, k and options."""

    dpi: float
    k: int
    labelled: bool
    ranks_in_lines: bool
    """Ranks stand above each image, because ignored entries take places; else once above each column."""
    names: float
    """Width of the column of method names; 0 without it."""

    @classmethod
    def of(cls, strips: Sequence[Strip], dpi: float) -> "Layout":
        options, lines = strips[0].options, [line for strip in strips for line in strip.lines]
        names = 0.0
        if len(strips[0].lines) > 1:
            needed = max(max(width(drawable(line.name), NAME, bold=True), width(line.score, SMALL)) for line in lines)
            names = min(max(needed + 1, NAME_WIDTH[0]), NAME_WIDTH[1])
        return cls(dpi, options.k, options.labels, options.show_ignored, names)

    def snap(self, length: float) -> float:
        """The nearest whole number of pixels, in points."""
        return round(length * self.dpi / 72) * 72 / self.dpi

    @property
    def cell(self) -> float:
        """Width of a framed image."""
        room = PAGE_WIDTH - 2 * MARGIN - self._before_ranks - (self.k - 1) * GAP
        return self.snap(min(max(room / (self.k + 1), CELL[0]), CELL[1]))

    @property
    def _before_ranks(self) -> float:
        """Between the query and rank 1."""
        return self.names + 3.5 * GAP if self.names else 3 * GAP

    def left(self, place: int) -> float:
        """Of the entry at `place`, counted from 0; -1 is the query."""
        if place < 0:
            return self.snap(MARGIN)
        return self.snap(MARGIN + self.cell + self._before_ranks + place * (self.cell + GAP))

    @property
    def inner(self) -> tuple[float, float]:
        """Width and height of an image inside its frame."""
        across = self.snap(self.cell - 2 * FRAME)
        return across, self.snap(ASPECT * across)

    @property
    def over(self) -> float:
        """Height of what stands above an image in its line."""
        return SMALL * LEADING + 1 if self.ranks_in_lines else 0.0

    @property
    def under(self) -> float:
        return (2 if self.labelled else 1) * SMALL * LEADING + 1.5

    @property
    def line(self) -> float:
        """Height of one run's line."""
        return self.snap(self.over + self.inner[1] + 2 * FRAME + self.under + 4)

    @property
    def header(self) -> float:
        return 0.0 if self.ranks_in_lines else HEADER

    @property
    def separation(self) -> float:
        """Between strips; several lines of one query are set apart from the next query's."""
        return SEPARATION if self.names else 2.0

    def height(self, strips: Sequence[Strip]) -> float:
        lines = sum(len(strip.lines) for strip in strips) * self.line
        return self.snap(
            2 * MARGIN + self.header + lines + (len(strips) - 1) * self.separation + self.legend_height(strips)
        )

    @property
    def width(self) -> float:
        return self.snap(self.left(self.k - 1) + self.cell + MARGIN)

    def legend_height(self, strips: Sequence[Strip]) -> float:
        return len(self.legend(strips)) * SMALL * 1.5 + 3

    def legend(self, strips: Sequence[Strip]) -> list[list[tuple[str | None, str]]]:
        """Lines of (colour of a frame or None, what it means) that fit into the picture's width."""
        items: list[tuple[str | None, str]] = [(CORRECT, "✓ same person"), (WRONG, "✗ another person")]
        if self.ranks_in_lines:
            items.append((GREY, "ignored by the protocol"))
        if self.labelled:
            items.append((None, "below: distance, person/clothes/camera"))
        items.append((None, "AP: average precision of the query, %"))
        if any(line.selection == ORACLE for strip in strips for line in strip.lines):
            items.append((None, "†: epoch chosen on the test set"))
        lines: list[list[tuple[str | None, str]]] = [[]]
        room = self.width - 2 * MARGIN
        left = room
        for item in items:
            needed = self.legend_width(item)
            if lines[-1] and needed - BETWEEN > left:
                lines.append([])
                left = room
            lines[-1].append(item)
            left -= needed
        return lines

    def legend_width(self, item: tuple[str | None, str]) -> float:
        """Of one explanation and the gap behind it."""
        return (SWATCH if item[0] else 0.0) + width(item[1], SMALL) + BETWEEN
