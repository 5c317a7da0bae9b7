"""What the sweep promised and what fresh seeds kept: the difference is luck."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.studies import Confirmation, Confirmed, Study

from ..figures.names import shortened
from ..figures.style import COLOURS, DOUBLE, NothingToShowError, Picture, paper_style, save
from .points import DEFAULT
from .words import Objective, interval_of, objectives, signed, study_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = 20
LINE = 0.36
"""Inches for a configuration."""


def confirmation(study: Study, folder: Path) -> Picture:
    """A line for each configuration that was run again. Raises NothingToShowError where none has a score."""
    from matplotlib import pyplot

    found, goal = study.confirmation, objectives(study)[0]
    rows = [row for row in found.rows if row.by_seed] if found else []
    if found is None or not rows:
        why = "nothing was run again on fresh seeds" if found is None else "no fresh seed gave a score"
        raise NothingToShowError(f"{study.name}: no confirmation, since {why}.")
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(DOUBLE, 0.95 + LINE * len(rows)))
        for place, row in enumerate(rows):
            _draw(axes, place, row, goal)
            axes.annotate(
                _numbers(row, found, goal), (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7
            )
        axes.annotate(
            "tuned → confirmed, shrinkage [95 %]",
            (1.02, -0.62),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color="#555555",
        )
        names = [f"{shortened(row.name, LETTERS)}{' ★' if row.name == found.chosen else ''}" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.45, -0.85)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(shortened(goal.label, 60))
        axes.margins(x=0.06)
        figure.legend(handles=_legend(rows), loc="outside upper left", ncols=4, columnspacing=1.4)
        caption = (
            f"{study.objectives[0]}: what the sweep saw, and the same configurations on fresh seeds "
            f"({', '.join(map(str, found.seeds))}). Arrow: shrinkage, from the tuned value to the mean of the fresh "
            f"seeds; in brackets its 95 % interval. ★: the highest mean over the fresh seeds.{_missing(rows, found)} "
            f"{study_text(study)}"
        )
        return save(figure, folder, "confirmation", "Tuned and confirmed", caption)


def _draw(axes: "Axes", place: int, row: Confirmed, goal: Objective) -> None:
    colour = DEFAULT if row.name == "defaults" else COLOURS[0]
    mean, seeds = goal.shown(row.mean or 0.0), [goal.shown(value) for value in row.by_seed.values()]
    if row.tuned is not None:
        tuned = goal.shown(row.tuned)
        axes.plot(tuned, place, "D", markerfacecolor="white", markeredgecolor=colour, markersize=6, zorder=3)
        if abs(tuned - mean) > 1e-9:
            arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.9, "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", (mean, place), (tuned, place), arrowprops=arrow, zorder=2)
    axes.plot(mean, place, "D", color=colour, markersize=6, zorder=3)
    axes.scatter(seeds, [place + 0.24] * len(seeds), s=12, facecolors="white", edgecolors=colour, linewidths=0.9)


def _numbers(row: Confirmed, found: Confirmation, goal: Objective) -> str:
    text = f"{goal.text(row.tuned)} → {goal.text(row.mean)}"
    shrinkage = found.shrinkage.get(row.name)
    if shrinkage is None:
        return text
    return f"{text}, {signed(goal, shrinkage.mean)} [{interval_of(goal, shrinkage)}]"


def _missing(rows: list[Confirmed], found: Confirmation) -> str:
    failed = [f"{row.name}, {why.rstrip('.')}" for row in found.rows for why in row.failures]
    without = [row.name for row in found.rows if row not in rows]
    parts = [f" Without a score: {'; '.join(failed)}."] if failed else []
    return "".join(
        [*parts, *([f" Not shown: {', '.join(without)}, no fresh seed of which gave a score."] if without else [])]
    )


def _legend(rows: list[Confirmed]) -> list:
    from matplotlib.lines import Line2D

    def mark(label: str, marker: str, size: float, face: str) -> Line2D:
        look = {"markeredgecolor": COLOURS[0], "markerfacecolor": face, "markersize": size, "linestyle": ""}
        return Line2D([], [], marker=marker, label=label, **look)

    found = [mark("tuned", "D", 6, "white")] * any(row.tuned is not None for row in rows)
    return [*found, mark("confirmed: mean of fresh seeds", "D", 6, COLOURS[0]), mark("a fresh seed", "o", 3.5, "white")]
