"""Strips as pictures: one to look at on a screen, or a page of them for a paper.

Images are brought to the size of the output's pixels and laid on whole pixels, so that they are not resampled again;
text stays text in PDF.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.names import font_families
from reports.figures.style import CORRECT, GREY, WRONG, paper_style

from .captions import number
from .layout import FRAME, GAP, HEADER, LEADING, MARGIN, NAME, SMALL, SWATCH, TINY, Layout
from .lettering import fitted, shrunk
from .strips import Entry, Line, Strip, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

PRINT_DPI = 300
SCREEN_DPI, SCREEN_WIDTH = 225, 1600
INK, PALE = "#222222", "#666666"
FRAMES = {Verdict.QUERY: INK, Verdict.CORRECT: CORRECT, Verdict.WRONG: WRONG, Verdict.IGNORED: GREY}
MARKS = {Verdict.QUERY: "", Verdict.CORRECT: "✓ ", Verdict.WRONG: "✗ ", Verdict.IGNORED: ""}
"""The frames' colours are also told apart by these."""


def draw_image(strips: Sequence[Strip], across: int = SCREEN_WIDTH) -> "Image":
    """RGB, strips below each other, up to `across` pixels wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    with paper_style():
        dpi = min(SCREEN_DPI, across * 72 / Layout.of(strips, SCREEN_DPI).width)
        while Layout.of(strips, dpi).width * dpi / 72 > across:  # pixels are whole, so that widths come in steps
            dpi *= 0.99
        canvas = FigureCanvasAgg(draw_page(strips, dpi))
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def draw_page(strips: Sequence[Strip], dpi: float = PRINT_DPI) -> "Figure":
    """Strips below each other. Call it, and save the figure with this `dpi`, inside `paper_style`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    layout = Layout.of(strips, dpi)
    across, down = layout.width, layout.height(strips)
    nothing = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)  # everything has its place
    figure = Figure(figsize=(across / 72, down / 72), dpi=dpi, layout=nothing, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    pen = Pen(axes, layout)
    top = MARGIN + layout.header
    if not layout.ranks_in_lines:
        pen.header()
    for order, strip in enumerate(strips):
        if order and layout.names:
            axes.plot([MARGIN, across - MARGIN], [top + layout.separation / 2 - 2] * 2, color="#DDDDDD", linewidth=0.5)
        top += layout.separation * (order > 0)
        pen.strip(strip, top)
        top += len(strip.lines) * layout.line
    pen.legend(strips, down - MARGIN - layout.legend_height(strips) + 3)
    axes.set(xlim=(0, across), ylim=(down, 0), aspect="auto")
    return figure


@dataclass(frozen=True)
class Pen:
    """Draws on axes whose units are points."""

    axes: "Axes"
    layout: Layout

    def header(self) -> None:
        """«query» and the ranks above their columns."""
        middle, at = self.layout.cell / 2, MARGIN + HEADER / 2 - 1
        self._text("query", self.layout.left(-1) + middle, at, SMALL, INK, va="center")
        for place in range(self.layout.k):
            self._text(str(place + 1), self.layout.left(place) + middle, at, SMALL, INK, va="center")

    def strip(self, strip: Strip, top: float) -> None:
        lines, step = strip.lines, self.layout.line
        alone = len(lines) == 1
        self._entry(strip, strip.query, -1, top + (len(lines) - 1) * step / 2, lines[0].score if alone else "")
        for order, line in enumerate(lines):
            if not alone:
                self._name(line, top + order * step)
            for place, entry in enumerate(line.entries):
                distance = f"{MARKS[entry.verdict]}{distance_text(entry.distance)}"
                heading = distance if self.layout.labelled else MARKS[entry.verdict].strip()
                self._entry(strip, entry, place, top + order * step, heading)

    def _entry(self, strip: Strip, entry: Entry, place: int, top: float, heading: str) -> None:
        layout, colour = self.layout, FRAMES[entry.verdict]
        left, top = layout.left(place), layout.snap(top + layout.over)
        middle = left + layout.cell / 2
        if layout.ranks_in_lines:
            above = "query" if place < 0 else str(entry.rank) if entry.rank is not None else "–"
            self._text(above, middle, top - 1, SMALL, INK, va="bottom")
        self._picture(strip.read(entry.path), left, top, colour, greyed=entry.verdict is Verdict.IGNORED)
        below = top + layout.inner[1] + 2 * layout.snap(FRAME) + 1.5
        strong = colour if entry.verdict is not Verdict.IGNORED else PALE
        if heading:
            self._text(heading, middle, below, SMALL, strong, va="top", weight="bold")
            below += SMALL * LEADING
        if layout.labelled:
            labels = f"{entry.person}/{number(entry.clothes)}/{number(entry.camera)}"
            text, size = shrunk(labels, layout.cell + GAP - 1, SMALL, TINY)
            self._text(text, middle, below, size, PALE, va="top")

    def _picture(self, image: np.ndarray, left: float, top: float, colour: str, *, greyed: bool) -> None:
        """Inside a frame; scaled to the output's pixels here, once and well."""
        from matplotlib.patches import Rectangle
        from PIL import Image

        layout, frame = self.layout, self.layout.snap(FRAME)
        across, down = layout.inner
        pixels = (round(across * layout.dpi / 72), round(down * layout.dpi / 72))
        shown = np.asarray(Image.fromarray(image).resize(pixels, Image.Resampling.LANCZOS))
        if greyed:
            grey = shown.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
            shown = np.repeat((255 - 0.5 * (255 - grey)).astype(np.uint8)[..., None], 3, axis=2)
        x, y = left + frame, top + frame
        box = Rectangle((left, top), across + 2 * frame, down + 2 * frame, facecolor=colour, linewidth=0, zorder=1)
        self.axes.add_patch(box)
        extent = (x, x + across, y + down, y)
        self.axes.imshow(shown, extent=extent, origin="upper", interpolation="none", aspect="auto", zorder=2)

    def _name(self, line: Line, top: float) -> None:
        """Method, what sets the run apart, average precision: beside the middle of the run's images."""
        room, layout = self.layout.names, self.layout
        right = layout.left(0) - 1.5 * GAP
        texts = [(text, NAME, INK, "bold") for text in fitted(line.name, room, NAME, bold=True, lines=3)]
        texts.append((line.score, SMALL, PALE, "normal"))
        height = sum(size * LEADING for _, size, _, _ in texts)
        at = top + layout.over + layout.inner[1] / 2 + FRAME - height / 2
        for text, size, colour, weight in texts:
            self._text(text, right, at, size, colour, va="top", ha="right", weight=weight)
            at += size * LEADING

    def legend(self, strips: Sequence[Strip], top: float) -> None:
        """What frames and numbers mean, below the strips."""
        for order, items in enumerate(self.layout.legend(strips)):
            x, at = self.layout.left(-1), top + (order + 0.5) * SMALL * 1.5
            for item in items:
                colour, text = item
                if colour is not None:
                    self._swatch(x, at, colour)
                start = x + SWATCH if colour is not None else x
                text, size = shrunk(text, self.layout.width - MARGIN - start, SMALL, TINY)
                self._text(text, start, at, size, INK if colour is not None else PALE, va="center", ha="left")
                x += self.layout.legend_width(item)

    def _swatch(self, x: float, y: float, colour: str) -> None:
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x + 0.5, y - 2.3), 4, 4.6, facecolor="none", edgecolor=colour, linewidth=1.2))

    def _text(self, text: str, x: float, y: float, size: float, colour: str, **how: Any) -> None:
        how = {"ha": "center", "family": font_families(), "parse_math": False, **how}
        if how["va"] == "top":  # the line's own height counts, so that lines without descenders stand on one level
            y += size * 0.93
            how.update(va="baseline")
        self.axes.text(x, y, text, fontsize=size, color=colour, zorder=3, **how)


def distance_text(distance: float) -> str:
    """Three decimals of a small distance, four digits of a large one; rounding leaves no «-0»."""
    if distance != distance:
        return "–"
    return f"{round(distance, 3) + 0.0:.3f}" if abs(distance) < 10 else f"{distance:.4g}"
