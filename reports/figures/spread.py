"""How far the seeds of each configuration lie apart, and how sure their mean is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.comparison import Row
from benchmarks.statistics import estimate

from .names import file_name, in_words, label, lines_of
from .style import COLOURS, DOUBLE, Picture, in_percent, paper_style, save


def seed_spread(rows: Sequence[Row], protocol: str, folder: Path, metrics: Sequence[str] = ("mAP", "R1")) -> Picture:
    """Every seed's score as a dot, the mean as a diamond with its 95 % interval over identities × seeds."""
    from matplotlib import pyplot

    names = [label(row) for row in rows]
    with paper_style():
        size = (DOUBLE, 0.75 + (0.24 + 0.1 * lines_of(names)) * len(rows))
        figure, panels = pyplot.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False)
        for axes, metric in zip(panels.flat, metrics, strict=True):
            for place, row in enumerate(rows):
                sample = row.sample(protocol, metric)
                found, colour = estimate(sample), COLOURS[place % len(COLOURS)]
                scores = sample.of_seeds
                apart = np.linspace(-0.12, 0.12, len(scores)) if len(scores) > 1 else np.zeros(1)
                axes.plot([found.low, found.high], [place, place], color=colour, linewidth=1, solid_capstyle="butt")
                axes.plot([found.low, found.high], [place, place], "|", color=colour, markersize=7)
                axes.scatter(
                    scores, place + apart, s=16, facecolors="white", edgecolors=colour, linewidths=0.9, zorder=3
                )
                axes.plot(found.mean, place, "D", color=colour, markersize=5, zorder=2.5)
                axes.annotate(
                    _number(found.mean, found.deviation),
                    (1.02, place),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=7,
                    annotation_clip=False,
                )
            axes.set_xlabel(f"{metric} (%)")
            in_percent(axes.xaxis)
            axes.grid(visible=False, axis="y")
        panels[0, 0].set_yticks(range(len(rows)), names)
        panels[0, 0].set_ylim(len(rows) - 0.5, -0.5)
        dataset = rows[0].dataset
        caption = (
            f"Spread over the seeds on {dataset}, {protocol} protocol. Circles: one seed each. Diamonds: their mean, "
            f"with its 95 % interval over identities and seeds. At the right: mean ± standard deviation. "
            f"{in_words(rows)}"
        )
        name = file_name(dataset, protocol, "seeds")
        return save(figure, folder, name, f"Seeds, {dataset}, {protocol}", caption)


def _number(mean: float, deviation: float) -> str:
    if np.isnan(mean):
        return "–"
    return f"{100 * mean:.1f}" + ("" if np.isnan(deviation) else f" ± {100 * deviation:.1f}")
