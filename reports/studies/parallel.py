"""Every complete trial as a line through the axes of all searched keys to the value that it reached."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.studies import Dimension, Study

from ..figures.names import shortened
from ..figures.style import DOUBLE, NothingToShowError, Picture, paper_style, save
from .axes import choices_of, ends_of, has_range, is_log, log_ticks, positions
from .points import DEFAULT, MAP, colour_limits, need_complete
from .words import Objective, by_importance, default_of, objectives, short_names, study_text, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = 15
MOST_LEVEL = 6
"""Keys whose names stand level; those of more are slanted."""
MANY = 60
"""From so many lines on each is thinner, and the worse ones fainter."""
CHOICE_LETTERS = 12


def parallel_coordinates(study: Study, folder: Path) -> Picture:
    """The most important key first, the value last. Raises NothingToShowError where no trial is complete."""
    from matplotlib import colormaps, pyplot

    trials = need_complete(study, "parallel coordinates")
    goal, space = objectives(study)[0], by_importance(study)
    trials = [trial for trial in trials if all(dimension.key in trial.params for dimension in space)]
    if not trials or not space:
        raise NothingToShowError(f"{study.name}: no parallel coordinates, since no complete trial has every key.")
    names = short_names([dimension.key for dimension in study.space])
    values = np.array([goal.shown(trial.values[0]) for trial in trials])
    low, high = colour_limits(study, goal)
    share = np.clip((values - low) / (high - low), 0, 1)
    columns = [positions(dimension, study.trials, [t.params[dimension.key] for t in trials]) for dimension in space]
    heights = np.column_stack([*columns, share])
    good = 1 - share if goal.minimised else share
    across = np.arange(len(space) + 1)
    default = default_of(study)
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(DOUBLE, 2.9))
        colour = colormaps[MAP]
        width, faintest = (0.6, 0.12) if len(trials) >= MANY else (0.9, 0.4)
        for place in np.argsort(good, kind="stable"):
            look = {
                "color": colour(share[place]),
                "alpha": faintest + (0.95 - faintest) * good[place] ** 2,
                "linewidth": width,
            }
            axes.plot(across, heights[place], zorder=2 + good[place], solid_joinstyle="round", **look)
        if default in trials:
            axes.plot(across, heights[trials.index(default)], "--", color=DEFAULT, linewidth=1.6, zorder=4)
        best = int(np.argmax(good))
        axes.plot(across, heights[best], color="black", linewidth=1.8, zorder=5)
        for place, dimension in enumerate(space):
            _axis(axes, place, *_ticks(dimension, study))
            _title(axes, place, shortened(names[dimension.key], LETTERS), len(space))
        _axis(axes, len(space), [0.0, 0.5, 1.0], _value_labels(goal, values, low, high), bold=True)
        value = shortened(goal.label, 28)
        _title(axes, len(space), value if len(space) > MOST_LEVEL else "\n".join(wrap(value, LETTERS)), len(space))
        axes.set_xlim(-0.35, len(space) + 0.45)
        axes.set_ylim(-0.04, 1.04)
        axes.axis("off")
        axes.plot([], [], color="black", linewidth=1.8, label="best")
        if default in trials:
            axes.plot([], [], "--", color=DEFAULT, linewidth=1.6, label="defaults")
        figure.legend(loc="outside lower center", ncols=2)
        scales = ", logarithmic where the search is" * any(map(is_log, space))
        caption = (
            f"Each line is a complete trial ({len(trials)}), through its value of every searched key{scales}, to "
            f"{study.objectives[0]}; light is high, dark is low. {study_text(study)}"
        )
        return save(figure, folder, "parallel", "Parallel coordinates", caption)


def _value_labels(goal: Objective, values: np.ndarray, low: float, high: float) -> list[str]:
    """Of the lowest, middle and highest place of the last axis; ≤ or ≥ where trials lie beyond."""
    shown = [low + part * (high - low) for part in (0, 0.5, 1)]
    labels = [f"{value:,.0f}" if goal.minimised and abs(value) >= 100 else f"{value:.1f}" for value in shown]
    labels[0] = "≤ " * bool(values.min() < low) + labels[0]
    labels[2] = "≥ " * bool(values.max() > high) + labels[2]
    return labels


def _ticks(dimension: Dimension, study: Study) -> tuple[list[float], list[str]]:
    """Places between 0 and 1 and what stands there."""
    if not has_range(dimension):
        known = choices_of(dimension, study.trials)
        places = positions(dimension, study.trials, known).tolist()
        return places, [shortened(value_text(one), CHOICE_LETTERS) for one in known]
    low, high = ends_of(dimension, study.trials)
    inner = log_ticks(low, high) if is_log(dimension) else [(low + high) / 2]
    values = [low, *[one for one in inner if _apart(dimension, study, one)], high]
    return positions(dimension, study.trials, values).tolist(), [value_text(float(f"{one:.3g}")) for one in values]


def _apart(dimension: Dimension, study: Study, value: float) -> bool:
    """Whether a tick is far enough from both ends for its label."""
    return 0.12 < float(positions(dimension, study.trials, [value])[0]) < 0.88


def _axis(axes: "Axes", place: int, heights: Sequence[float], labels: Sequence[str], *, bold: bool = False) -> None:
    axes.plot([place, place], [0, 1], color="#444444", linewidth=1.2 if bold else 0.7, zorder=6)
    for height, label in zip(heights, labels, strict=True):
        axes.plot([place - 0.03, place + 0.03], [height, height], color="#444444", linewidth=0.7, zorder=6)
        box = {"boxstyle": "square,pad=0.12", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        axes.text(place + 0.06, height, label, fontsize=6, va="center", zorder=7, bbox=box)


def _title(axes: "Axes", place: int, text: str, keys: int) -> None:
    """Level where there is room, else slanted."""
    slanted = keys > MOST_LEVEL
    axes.annotate(
        text,
        (place, 1),
        xytext=(0, 6),
        textcoords="offset points",
        fontsize=7,
        ha="left" if slanted else "center",
        va="bottom",
        rotation=25 if slanted else 0,
        rotation_mode="anchor",
        annotation_clip=False,
    )
