"""The cumulative match characteristic: how far down the list one has to look for the person.

Shapes: K ranks, S seeds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import Row
from benchmarks.evidence import RANKS, Ranking

from .names import file_name, in_words, label, lines_of
from .style import COLOURS, LINES, MARKERS, SINGLE, Picture, in_percent, paper_style, save

FloatArray = npt.NDArray[np.float64]


def cumulative_matches(ranking: Ranking, ranks: int) -> FloatArray:
    """[K] share of the queries whose first match is among the nearest 1, 2, …; NaN without valid queries."""
    valid = ranking.matches > 0
    if not valid.any():
        return np.full(ranks, np.nan)
    return np.array([ranking.hits(rank)[valid].mean() for rank in range(1, ranks + 1)])


def cmc_of(row: Row, protocol: str, ranks: int) -> FloatArray:
    """[S, K]"""
    rankings = [Ranking.load(run.ranking(protocol, run.headline)) for run in row.runs]
    return np.stack([cumulative_matches(ranking, ranks) for ranking in rankings])


def cmc(rows: Sequence[Row], protocol: str, folder: Path, ranks: int = 20) -> Picture:
    """Identification rate over ranks: mean over the seeds, with a band from the worst to the best seed."""
    from matplotlib import pyplot

    curves = {number: cmc_of(row, protocol, ranks) for number, row in enumerate(rows)}
    names = [label(row, 24) for row in rows]
    order = sorted(curves, key=lambda number: -curves[number].mean(axis=0)[0])
    with paper_style():
        lines_of_legend = -(-len(rows) // 2) * lines_of(names)
        figure, axes = pyplot.subplots(figsize=(SINGLE, 2.4 + 0.16 * lines_of_legend))
        at = np.arange(1, ranks + 1)
        for number in order:
            curve, colour = curves[number], COLOURS[number % len(COLOURS)]
            axes.plot(
                at,
                curve.mean(axis=0),
                LINES[number // len(COLOURS) % len(LINES)],
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markevery=[rank - 1 for rank in RANKS if rank <= ranks],
                label=names[number],
            )
            if len(curve) > 1:
                axes.fill_between(at, curve.min(axis=0), curve.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel="rank", ylabel="queries with a match (%)", xlim=(0.5, ranks + 0.5))
        axes.set_xticks([rank for rank in (1, 5, 10, 15, 20, 30, 40, 50) if rank <= ranks])
        in_percent(axes.yaxis)
        figure.legend(loc="outside upper left", ncols=2, borderaxespad=0.2, columnspacing=1.2)
        dataset = rows[0].dataset
        caption = (
            f"Cumulative match characteristic on {dataset}, {protocol} protocol: share of the queries with a match "
            f"among the nearest entries; mean over the seeds, band from the worst to the best seed. {in_words(rows)}"
        )
        name = file_name(dataset, protocol, "cmc")
        return save(figure, folder, name, f"Cumulative matches, {dataset}, {protocol}", caption)
