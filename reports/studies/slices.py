"""The value of every trial against each searched key: what papers print to show how sensitive a method is to its λs."""

from pathlib import Path

from benchmarks.studies import Study

from ..figures.names import shortened
from ..figures.style import DOUBLE, Picture, paper_style, save
from .axes import drawn_at, set_axis, spread
from .points import DEFAULT, draw_points, legend_marks, marked_text, need_complete
from .words import by_importance, objectives, short_names, study_text

MOST, PANEL = 5, 1.55
"""Panels beside each other at most, and how high each is, in inches."""
LETTERS = 24


def slices(study: Study, folder: Path) -> Picture:
    """A panel for each searched key, the most important first. Raises NothingToShowError where no trial is complete."""
    from matplotlib import pyplot

    need_complete(study, "values against the searched keys")
    goal, space = objectives(study)[0], by_importance(study)
    names = short_names([dimension.key for dimension in study.space])
    lines = -(-len(space) // MOST)
    columns = -(-len(space) // lines)
    with paper_style():
        figure, grid = pyplot.subplots(
            lines, columns, figsize=(DOUBLE, 0.35 + PANEL * lines), sharey=True, squeeze=False
        )
        for axes, dimension in zip(grid.flat, space, strict=False):
            with_key = [trial for trial in study.trials if dimension.key in trial.params]
            values = [trial.params[dimension.key] for trial in with_key]
            places = drawn_at(dimension, study.trials, values) + spread(dimension, with_key)
            set_axis(axes, "x", dimension, study)
            axes.axvline(
                float(drawn_at(dimension, study.trials, [dimension.default])[0]),
                color=DEFAULT,
                linewidth=0.9,
                linestyle="--",
                zorder=1,
            )
            at = {trial.number: float(place) for trial, place in zip(with_key, places, strict=True)}
            draw_points(axes, study, at, goal, 9)
            axes.set_xlabel(shortened(names[dimension.key], LETTERS))
        for axes in grid.flat[len(space) :]:
            axes.remove()
        figure.supylabel(shortened(goal.label, 26), fontsize=8)
        marks = legend_marks(study)
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), columnspacing=1.4)
        caption = (
            f"{study.objectives[0]} against each of the {len(space)} searched keys, all others varying too. "
            f"{marked_text(study)} Dashed: the default. {study_text(study)}"
        )
        return save(figure, folder, "slices", "Values against each searched key", caption)
