"""One configuration against another, query by query: a mean hides whether both fail on the same people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import Row

from .names import file_name, in_words, label, shortened
from .style import COLOURS, DOUBLE, GREY, NothingToShowError, Picture, in_percent, paper_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

MOST_DOTS = 2000
"""More queries are counted in hexagons."""
IN_ONE_LINE = 44
"""Letters below an axis."""
EQUAL = 0.001
"""Average precisions nearer than a tenth of a percent are equal to a reader."""


@dataclass(frozen=True)
class Paired:
    """Average precision of the queries that count, mean over the seeds."""

    a: FloatArray
    """[Q]"""
    b: FloatArray
    """[Q]"""

    @property
    def difference(self) -> FloatArray:
        return self.a - self.b

    def shares(self) -> tuple[float, float, float]:
        """Of the queries on which A is better, both are equal, B is better."""
        better, worse = (self.difference > EQUAL).mean(), (self.difference < -EQUAL).mean()
        return float(better), float(1 - better - worse), float(worse)


def paired(a: Row, b: Row, protocol: str) -> Paired:
    """Raises NothingToShowError where the two were not asked the same queries, or none has a match."""
    one, other = a.sample(protocol, "mAP"), b.sample(protocol, "mAP")
    counts = ~np.isnan(one.values[0])
    if not np.array_equal(one.person, other.person) or not np.array_equal(counts, ~np.isnan(other.values[0])):
        raise NothingToShowError(
            f"{a.dataset}, {protocol}: {a.name} and {b.name} are not compared query by query, since they were not "
            f"asked the same queries: run both on the same files."
        )
    if not counts.any():
        raise NothingToShowError(f"{a.dataset}, {protocol}: no query has a match, so there is nothing to compare.")
    return Paired(one.values[:, counts].mean(axis=0), other.values[:, counts].mean(axis=0))


def average_precision_against(a: Row, b: Row, protocol: str, folder: Path) -> Picture:
    """Average precision of every query under `a` over that under `b`, and how the differences are distributed."""
    from matplotlib import pyplot

    found = paired(a, b, protocol)
    names = label(a), label(b)
    with paper_style():
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(DOUBLE, 3.1), width_ratios=(1, 1.15))
        _draw_queries(left, found)
        left.set(xlabel=f"average precision (%)\n{names[1]}", ylabel=f"{names[0]}\naverage precision (%)")
        better, equal, worse = (f"{100 * share:.1f} %" for share in found.shares())
        left.set_title(f"above the diagonal {better} · on it {equal} · below {worse}", fontsize=7)
        _draw_differences(right, found.difference)
        right.set(xlabel=f"{_difference(a, b)} (points)", ylabel="queries")
        dataset = a.dataset
        caption = (
            f"Average precision of each of {len(found.a)} queries, mean over the seeds, on {dataset}, {protocol} "
            f"protocol: {a.name} against {b.name}. {a.name} is better on {better}, equal on {equal} (within 0.1 "
            f"points), worse on {worse}. Right: the differences, with their mean. {in_words([a, b])}"
        )
        name = file_name(dataset, protocol, a.name, "against", b.name, "ap")
        return save(figure, folder, name, f"{a.name} against {b.name}, query by query, {dataset}, {protocol}", caption)


def _difference(a: Row, b: Row) -> str:
    """«A − B», in two lines where one is too short."""
    names = [shortened(row.name, IN_ONE_LINE) for row in (a, b)]
    return ("\n− " if len("".join(names)) > IN_ONE_LINE else " − ").join(names)


def _draw_queries(axes: "Axes", found: Paired) -> None:
    from matplotlib.colors import LogNorm

    widest = min(1.0, np.ceil(10 * max(found.a.max(), found.b.max())) / 10 or 0.1)
    if len(found.a) > MOST_DOTS:
        hexagons = axes.hexbin(
            found.b,
            found.a,
            gridsize=36,
            extent=(0, widest, 0, widest),
            mincnt=1,
            cmap="Blues",
            linewidths=0.1,
        )
        most = float(np.asarray(hexagons.get_array()).max())
        hexagons.set_norm(LogNorm(0.3, max(2.0, most)))  # a single query is not white
        bar = axes.figure.colorbar(hexagons, ax=axes, shrink=0.8)
        bar.ax.set_title("queries", fontsize=7)
        bar.ax.set_ylim(bottom=1)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        bar.ax.minorticks_off()
    else:
        axes.scatter(found.b, found.a, s=9, color=COLOURS[0], alpha=0.45, linewidths=0)
    axes.plot([0, widest], [0, widest], color="black", linewidth=0.7)
    margin = 0.02 * widest
    axes.set(xlim=(-margin, widest + margin), ylim=(-margin, widest + margin), aspect="equal")
    in_percent(axes.xaxis)
    in_percent(axes.yaxis)


def _draw_differences(axes: "Axes", difference: FloatArray) -> None:
    widest = max(0.05, float(np.abs(difference).max()))
    edges = np.linspace(-widest, widest, 42)  # an odd number of bins: one of them is centred on 0
    counts, _ = np.histogram(difference, edges)
    middles = (edges[1:] + edges[:-1]) / 2
    colours = [COLOURS[0] if middle > 1e-9 else COLOURS[1] if middle < -1e-9 else GREY for middle in middles]
    axes.bar(middles, counts, width=np.diff(edges), color=colours, edgecolor="white", linewidth=0.3)
    mean = float(difference.mean())
    axes.axvline(0, color="black", linewidth=0.7)
    axes.axvline(mean, color="black", linewidth=0.9, linestyle="--")
    axes.set_title(f"mean difference {100 * mean:+.1f} points (dashed)".replace("-", "−"), fontsize=7)
    in_percent(axes.xaxis)
    axes.grid(visible=False, axis="x")
