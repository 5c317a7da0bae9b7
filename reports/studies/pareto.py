"""Two objectives against each other, and the trials that no other one beats in all of them."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.studies import Study, Trial

from ..figures.names import shortened
from ..figures.style import COLOURS, DOUBLE, SINGLE, NothingToShowError, Picture, paper_style, save
from ..wording import counted
from .points import COMPLETE, MARKS, mark, need_complete, sign, value_limits
from .words import Objective, default_of, objectives, study_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = 36
APART = 0.06
"""Share of the axes that two numbers keep between them."""


def _places(across: Objective, up: Objective, trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    """x and y of trials."""
    x, y = ([goal.shown(trial.values[goal.place]) for trial in trials] for goal in (across, up))
    return x, y


def _limits(study: Study, goal: Objective, front: Sequence[Trial]) -> tuple[float, float]:
    """Ends of an axis: without far outliers, but with all of the front."""
    low, high = value_limits(study, goal)
    values = [goal.shown(trial.values[goal.place]) for trial in front]
    room = 0.05 * (high - low)
    return min([low, *(value - room for value in values)]), max([high, *(value + room for value in values)])


def _is_inside(trial: Trial, study: Study, goals: Sequence[Objective], front: Sequence[Trial]) -> bool:
    limits = [(goal.shown(trial.values[goal.place]), *_limits(study, goal, front)) for goal in goals]
    return all(low <= value <= high for value, low, high in limits)


def _number(axes: "Axes", front: Sequence[Trial], x: Sequence[float], y: Sequence[float]) -> None:
    """Numbers beside the trials of the front, but where one would stand on another."""
    taken: list[tuple[float, float]] = []
    to_axes = axes.transData + axes.transAxes.inverted()
    for trial, across, up in sorted(zip(front, x, y, strict=True), key=lambda one: one[0].number):
        place = to_axes.transform((across, up))
        if all(max(abs(place[0] - one[0]), abs(place[1] - one[1])) > APART for one in taken):
            taken.append((float(place[0]), float(place[1])))
            axes.annotate(str(trial.number), (across, up), (-3, 3), textcoords="offset points", fontsize=6, ha="right")


def pareto_front(study: Study, folder: Path) -> Picture:
    """A panel for each pair of objectives. Raises NothingToShowError for a single one, or without a complete trial."""
    from matplotlib import pyplot

    goals = objectives(study)
    if len(goals) < 2:
        raise NothingToShowError(f"{study.name}: no Pareto front, since there is one objective.")
    trials = need_complete(study, "Pareto front")
    front = [trial for trial in trials if trial.number in study.pareto]
    others = [trial for trial in trials if trial.number not in study.pareto]
    pairs = list(combinations(goals, 2))
    with paper_style():
        size = (SINGLE, 2.7) if len(pairs) == 1 else (DOUBLE, 2.4 * -(-len(pairs) // 3))
        columns = min(3, len(pairs))
        figure, grid = pyplot.subplots(-(-len(pairs) // columns), columns, figsize=size, squeeze=False)
        for axes, (up, across) in zip(grid.flat, pairs, strict=False):
            at = partial(_places, across, up)
            axes.scatter(*at(others), s=13, facecolors="white", edgecolors=COMPLETE, linewidths=0.8, label="complete")
            line = sorted(front, key=lambda trial: trial.values[across.place])
            if len(goals) == 2:
                where = "steps-post" if across.minimised else "steps-pre"
                axes.plot(*at(line), color=COLOURS[1], linewidth=0.9, drawstyle=where, zorder=1.5)
            axes.scatter(*at(front), s=20, color=COLOURS[1], linewidths=0, zorder=3, label="Pareto front")
            default = default_of(study)
            if default is not None:
                (x,), (y,) = at([default])
                mark(axes, "default", x, y)
            axes.set_xlim(*_limits(study, across, front))
            axes.set_ylim(*_limits(study, up, front))
            _number(axes, front, *at(front))
            axes.set_xlabel(shortened(across.label, LETTERS))
            axes.set_ylabel(shortened(up.label, LETTERS))
        for axes in grid.flat[len(pairs) :]:
            axes.remove()
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if default_of(study) is not None:
            handles, labels = [*handles, sign("defaults", *MARKS["default"])], [*labels, "defaults"]
        figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1.2, handletextpad=0.3)
        beyond = sum(not _is_inside(trial, study, goals, front) for trial in trials)
        outside = f" {counted(beyond, 'trial')} lie{'s' * (beyond == 1)} beyond the axes." if beyond else ""
        aims = ", ".join(f"{goal.name} is {'minimised' if goal.minimised else 'maximised'}" for goal in goals)
        caption = (
            f"{' against '.join(study.objectives)}: {aims}. Filled: the {len(front)} complete trials that no other one "
            f"beats in every objective; a number is a trial's.{outside} {study_text(study)}"
        )
        return save(figure, folder, "pareto", "Pareto front", caption)
