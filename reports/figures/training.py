"""Training curves: every loss term and its part in the gradient, the learning rate, and how the epoch was chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.comparison import Row
from benchmarks.records import RunFolder
from benchmarks.selection import marked
from datasets.errors import DataError

from .course import Course, FloatArray, course_of, mean_over
from .names import file_name, shortened
from .style import COLOURS, DOUBLE, NothingToShowError, Picture, in_percent, left_out_text, paper_style, readable, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
"""Panels beside each other."""
TITLE = 30
"""Characters of a panel's title."""
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def training_curves(source: Row | RunFolder, folder: Path) -> Picture:
    """Each loss term, its share of the gradient, the learning rate and the score that chose the epoch, over epochs.

    Thin: one seed each, dashed where it did not finish; thick: their mean. A seed whose record is damaged is left out.
    Raises NothingToShowError without training, DataError where every record is damaged.
    """
    from matplotlib import pyplot

    runs = source.runs if isinstance(source, Row) else (source,)
    unfinished = source.unfinished if isinstance(source, Row) else ()
    told, left_out = readable((*runs, *unfinished), course_of)
    courses = [course for run, course in told if course and run in runs]
    broken = [course for run, course in told if course and run not in runs]
    every = [*courses, *broken]
    title = source.name if isinstance(source, Row) else source.run_id
    if left_out and not every:
        raise DataError(left_out[0])
    if not every:
        raise NothingToShowError(f"{title}: no training curves, since nothing was trained for an epoch.")
    terms = list(dict.fromkeys(name for course in every for name in course.terms))
    colour_of = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(terms)}
    scored = [course for course in every if len(course.validation[0])]
    shared = any(course.shares for course in every)
    panels = len(terms) + (len(terms) > 1) + shared + 1 + bool(scored)
    with paper_style():
        columns = 3 if panels in (3, 5, 6) else min(COLUMNS, panels)  # so that the last line is full, or nearly
        lines = -(-panels // columns)
        figure, grid = pyplot.subplots(lines, columns, figsize=(DOUBLE, 0.15 + 1.4 * lines), squeeze=False, sharex=True)
        free = iter(grid.flat)

        def panel(title: str, colour: str = "black") -> "Axes":
            axes = next(free)
            axes.set_title(shortened(title, TITLE), color=colour, loc="left")
            return axes

        if len(terms) > 1:
            _draw(
                panel("loss, weighted sum"), [(c.epochs, c.loss) for c in courses], [(c.epochs, c.loss) for c in broken]
            )
        for name in terms:
            axes = panel(name, colour_of[name])
            curves = [[(c.epochs, c.terms[name]) for c in part if name in c.terms] for part in (courses, broken)]
            _draw(axes, curves[0], curves[1], colour_of[name])
        if shared:
            _draw_shares(panel("share of the gradient (%)"), every, colour_of)
        exponent = _exponent(every)
        axes = panel("learning rate" + (f" (× 10{str(exponent).translate(SUPERSCRIPT)})" if exponent else ""))
        rates = [[(c.epochs, c.rate / 10.0**exponent) for c in part] for part in (courses, broken)]
        _draw(axes, rates[0], rates[1])
        axes.set_ylim(bottom=0)
        if scored:
            rule = marked(scored[0].rule)
            axes = panel(f"{rule} mAP (%)")
            kinds = [[c.validation for c in part if len(c.validation[0])] for part in (courses, broken)]
            _draw(axes, kinds[0], kinds[1])
            for course in scored:
                here = course.validation[0] == course.chosen
                axes.plot(course.validation[0][here], course.validation[1][here], "*", color=COLOURS[1], markersize=7)
            in_percent(axes.yaxis)
        for axes in free:
            axes.remove()
        figure.supxlabel("epoch", fontsize=8)
        for axes in grid.flat[:panels]:
            axes.tick_params(labelbottom=True)
            axes.xaxis.get_major_locator().set_params(integer=True)
        name = file_name(_group(source), "training")
        caption = _training_caption(title, courses, broken, scored, shared)
        caption = " ".join([caption, *left_out_text(left_out)])
        return save(figure, folder, name, f"Training of {title}", caption, left_out)


def _draw(
    axes: "Axes",
    curves: Sequence[tuple[FloatArray, FloatArray]],
    broken: Sequence[tuple[FloatArray, FloatArray]],
    colour: str = "black",
) -> None:
    """Every seed thin, their mean thick."""
    alone = len(curves) + len(broken) == 1
    marker = "o" if max(len(at) for at, _ in [*curves, *broken]) == 1 else None
    for style, part in (("-", curves), ("--", broken)):
        for at, values in part:
            axes.plot(
                at,
                values,
                style,
                color=colour,
                linewidth=1.2 if alone else 0.6,
                alpha=1 if alone else 0.55,
                marker=marker,
            )
    if len(curves) > 1:
        axes.plot(*mean_over(curves), color=colour, linewidth=1.5)


def _exponent(courses: Sequence[Course]) -> int:
    """Of ten, so that the largest learning rate is 1 to 10 of it."""
    largest = max(float(np.nanmax(course.rate)) for course in courses)
    return int(np.floor(np.log10(largest))) if largest > 0 else 0


def _draw_shares(axes: "Axes", courses: Sequence[Course], colour_of: dict[str, str]) -> None:
    means = {
        name: mean_over([(c.epochs, c.shares.get(name, np.full(len(c.epochs), np.nan))) for c in courses])
        for name in colour_of
    }
    epochs = next(iter(means.values()))[0]
    heights = [np.nan_to_num(values) for _, values in means.values()]
    axes.stackplot(epochs, heights, colors=list(colour_of.values()), linewidth=0, alpha=0.85)
    axes.set_ylim(0, 1)
    in_percent(axes.yaxis)


def _group(source: Row | RunFolder) -> str:
    """The run's id, or what the ids of a row's runs share."""
    if isinstance(source, RunFolder):
        return source.run_id
    return next(iter((*source.runs, *source.unfinished))).run_id.rpartition("-s")[0]


def _training_caption(
    title: str, courses: Sequence[Course], broken: Sequence[Course], scored: Sequence[Course], shared: bool
) -> str:
    parts = [f"Training of {title}: each loss term before its weight"]
    if len(courses) > 1:
        parts.append(f"; thin lines are the {len(courses)} seeds, the thick line is their mean")
    if broken:
        parts.append(f"; dashed: {len(broken)} not finished")
    parts.append(".")
    if shared:
        parts.append(" The gradient's shares, on the features, are stacked in the colours of the terms.")
    if scored:
        chosen = ", ".join(str(course.chosen) for course in scored if course.chosen is not None)
        parts.append(
            f" Stars: the reported epochs ({chosen}), chosen by {marked(scored[0].rule)} mAP." if chosen else ""
        )
    elif chosen := ", ".join(str(course.chosen) for course in courses if course.chosen is not None):
        parts.append(f" Reported epochs: {chosen}.")
    return "".join(parts)
