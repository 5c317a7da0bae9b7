"""Per query, the best match in the same clothes against the best one in others: what changing clothes costs.

Shapes: Q queries.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import Row
from benchmarks.evidence import Ranking
from benchmarks.records import RunFolder
from datasets.base import Ignore

from .evidence import partner, protocols_of
from .names import file_name, in_words, label, lines_of
from .style import DOUBLE, NothingToShowError, Picture, paper_style, save

FloatArray = npt.NDArray[np.float64]

MOST, BESIDE = 8, 4
"""Panels of one figure, and of one line of it."""


def ranks_by_clothes(run: RunFolder) -> tuple[FloatArray, FloatArray] | None:
    """[Q] ranks of the best match in the same clothes and in others, each among the images of other people.

    Of the queries that have both. None where the run has no pair of protocols that tell the two.
    """
    for name, protocol in protocols_of(run).items():
        if Ignore.OTHER_CLOTHES in protocol.ignore and not protocol.draws:
            other = partner(run, protocol, protocol.ignore & ~Ignore.OTHER_CLOTHES | Ignore.SAME_CLOTHES)
            if other is not None:
                same, changed = (Ranking.load(run.ranking(each, run.headline)).first_match for each in (name, other))
                both = (same > 0) & (changed > 0)
                return same[both].astype(np.float64), changed[both].astype(np.float64)
    return None


def rank_bins(largest: float) -> FloatArray:
    """Edges of bins that grow with the rank, between whole numbers, up to at least `largest`."""
    firsts = np.unique(np.floor(np.logspace(0, np.log10(max(10.0, largest) * 1.4), 26)))
    return firsts - 0.5


def clothing_ranks(rows: Sequence[Row], folder: Path) -> Picture:
    """How far the best match in other clothes falls behind the best one in the same clothes, queries of all seeds.

    Raises NothingToShowError where no pair of protocols tells the two.
    """
    from matplotlib import pyplot
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, NullLocator

    dataset = rows[0].dataset
    shown: list[tuple[Row, np.ndarray]] = []
    for row in rows:
        pairs = [np.stack(pair) for run in row.runs if (pair := ranks_by_clothes(run)) is not None]
        if pairs and sum(pair.shape[1] for pair in pairs):
            shown.append((row, np.concatenate(pairs, axis=1)))
    if not shown:
        raise NothingToShowError(
            f"{dataset}: no ranks by clothing, since no two protocols ask the same queries for matches in the same and "
            f"in other clothes."
        )
    left_out = len(shown) - MOST
    shown = shown[:MOST]
    names = [label(row, 24) for row, _ in shown]
    edges = rank_bins(max(float(ranks.max()) for _, ranks in shown))
    counted = [np.histogram2d(*ranks, bins=(edges, edges))[0] / ranks.shape[1] for _, ranks in shown]
    with paper_style():
        columns = 3 if len(shown) in (5, 6) else min(BESIDE, len(shown))
        lines = -(-len(shown) // columns)
        side = min(2.4, (DOUBLE - 1.2) / columns)
        figure, grid = pyplot.subplots(
            lines,
            columns,
            figsize=(1.2 + side * columns, 0.45 + (side + 0.15 + 0.1 * lines_of(names)) * lines),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        smallest = min(count[count > 0].min() for count in counted)
        norm = LogNorm(smallest / 2.5, max(count.max() for count in counted))
        colours = ScalarMappable(norm, "Blues")
        for axes, name, (_, ranks), count in zip(grid.flat, names, shown, counted, strict=False):
            shares = np.ma.masked_equal(count.T, 0)
            axes.pcolormesh(edges, edges, shares, norm=norm, cmap=colours.cmap, rasterized=True)
            axes.plot(edges[[0, -1]], edges[[0, -1]], color="black", linewidth=0.7)
            axes.set(xscale="log", yscale="log", aspect="equal", xlim=edges[[0, -1]], ylim=edges[[0, -1]])
            axes.tick_params(labelbottom=True)
            above = float((ranks[1] > ranks[0]).mean())
            axes.set_title(f"{name}\n{100 * above:.1f} % above", fontsize=7)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
                axis.set_minor_locator(NullLocator())
        for axes in list(grid.flat)[len(shown) :]:
            axes.remove()
        figure.supxlabel("rank of the best match in the same clothes", fontsize=8)
        figure.supylabel("rank of the best match in other clothes", fontsize=8)
        bar = figure.colorbar(colours, ax=list(grid.flat)[: len(shown)], label="queries (%)", shrink=0.8)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}")
        bar.ax.minorticks_off()
        only = f" Shown are the first {MOST} of {MOST + left_out} configurations." if left_out > 0 else ""
        caption = (
            f"Ranks of the best match in the query's clothes and in others on {dataset}, each counted among images of "
            f"other people, all seeds together. Above the diagonal the outfit brought the person nearer; on it both "
            f"are equally near.{only} {in_words([row for row, _ in shown])}"
        )
        return save(figure, folder, file_name(dataset, "clothing-ranks"), f"Ranks by clothing, {dataset}", caption)
