"""What figures of a study share: how a trial's state looks, and an axis of values that low outliers do not squeeze."""

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.studies import Study, Trial

from ..figures.style import COLOURS, GREY, NothingToShowError
from .words import Objective, complete, default_of, objectives, states_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

COMPLETE, DEFAULT, BEST, PRUNED, FAILED = COLOURS[0], COLOURS[4], "black", GREY, COLOURS[1]
MAP = "cividis"
"""Of values: dark is low, light is high, for every kind of colour vision."""
WORST = 3.0
ROOM = 0.08
"""Of the axis of values, above and below."""
MARKS = {"default": ("D", DEFAULT, 5.5), "best": ("*", BEST, 8.5)}


def need_complete(study: Study, what: str) -> list[Trial]:
    """The complete trials. Raises NothingToShowError where there is none."""
    found = complete(study)
    if not found:
        raise NothingToShowError(f"{study.name}: no {what}, since no trial is complete ({states_text(study)[:-1]}).")
    return found


def ends(study: Study, objective: Objective) -> tuple[float, float]:
    """Lowest and highest value that figures tell apart, as they are labelled; far outliers must not squeeze the others.

    The best complete trial, and the worst one, or what lies WORST times as far from the best as the median does, where
    that is nearer; the defaults are always between them.
    """
    sign = -1 if objective.minimised else 1
    values = sorted(sign * objective.shown(trial.values[objective.place]) for trial in complete(study))
    floor = max(values[0], values[-1] - WORST * (values[-1] - float(np.median(values))))
    default = default_of(study)
    if default is not None:
        floor = min(floor, sign * objective.shown(default.values[objective.place]))
    low, high = sorted((sign * floor, sign * values[-1]))
    return low, high


def value_limits(study: Study, objective: Objective) -> tuple[float, float]:
    """Ends of an axis of values: the above with some room."""
    low, high = ends(study, objective)
    room = ROOM * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def colour_limits(study: Study, objective: Objective) -> tuple[float, float]:
    """Ends of a scale of colours: the above, never equal."""
    low, high = ends(study, objective)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def draw_points(axes: "Axes", study: Study, at: dict[int, float], objective: Objective, size: float = 14) -> None:
    """Trials at `at` (number → place on the x axis): complete ones full, pruned ones hollow, failed ones crosses.

    What is off the axis stands on its edge as a triangle; the default is a diamond, the best a star.
    """
    low, high = value_limits(study, objective)
    axes.set_ylim(low, high)
    inset = 0.015 * (high - low)
    edge, marker = (high - inset, "^") if objective.minimised else (low + inset, "v")
    looks = {
        "complete": {"color": COMPLETE, "alpha": 0.8, "linewidths": 0, "zorder": 2.5},
        "pruned": {"facecolors": "white", "edgecolors": PRUNED, "linewidths": 0.9, "zorder": 3},
        "failed": {"color": FAILED, "linewidths": 1.1, "zorder": 3},
    }
    for state, look in looks.items():
        trials = [trial for trial in study.trials if trial.state == state and np.isfinite(at.get(trial.number, np.nan))]
        values = [objective.of(trial) for trial in trials]
        told = [(at[t.number], objective.shown(v)) for t, v in zip(trials, values, strict=True) if v is not None]
        inside = [(x, y) for x, y in told if low <= y <= high]
        outside = [(x, edge) for x, y in told if not low <= y <= high]
        failed = [(at[trial.number], edge) for trial in trials if state == "failed"]
        for places, shape in ((inside, "o"), (outside, marker), (failed, "x")):
            if places:
                axes.scatter(
                    *zip(*places, strict=True), s=size + 3 * (shape != "o"), marker=shape, clip_on=False, **look
                )
    for name, trial in (("default", default_of(study)), ("best", study.best if objective.place == 0 else None)):
        if trial is not None and np.isfinite(at.get(trial.number, np.nan)):
            under = name == "default" and trial is study.best and objective.place == 0
            mark(axes, name, at[trial.number], objective.shown(trial.values[objective.place]), 1.7 if under else 1.0)


def mark(axes: "Axes", name: str, x: float, y: float, scale: float = 1.0) -> None:
    """The defaults as a diamond, the best trial as a star."""
    shape, colour, size = MARKS[name]
    look = {"markeredgecolor": "white", "markeredgewidth": 0.5, "zorder": 4 if name == "best" else 3.5}
    axes.plot(x, y, shape, color=colour, markersize=scale * size, clip_on=False, **look)


def legend_marks(study: Study) -> "list[Line2D]":
    """What `draw_points` drew, for a legend: only what occurs."""
    first, states = objectives(study)[0], {trial.state for trial in study.trials}
    low, high = value_limits(study, first)
    values = [first.shown(value) for value in map(first.of, study.trials) if value is not None]
    found = [sign("complete", "o", COMPLETE, 4)]
    found += [sign("pruned", "o", PRUNED, 4, hollow=True)] * ("pruned" in states)
    beyond = "^" if first.minimised else "v"
    found += [sign("off the axis", beyond, PRUNED, 4, hollow=True)] * any(not low <= one <= high for one in values)
    found += [sign("failed", "x", FAILED, 4)] * ("failed" in states)
    found += [sign("defaults", *MARKS["default"])] * (default_of(study) is not None)
    return [*found, sign("best", *MARKS["best"])]


def sign(label: str, marker: str, colour: str, size: float, *, hollow: bool = False) -> "Line2D":
    """A mark for a legend."""
    from matplotlib.lines import Line2D

    lined = hollow or marker == "x"
    look: dict[str, Any] = {
        "markerfacecolor": "white" if hollow else colour,
        "markeredgecolor": colour if lined else "white",
    }
    width = 0.9 if lined else 0.0
    return Line2D([], [], linestyle="", marker=marker, markersize=size, markeredgewidth=width, label=label, **look)


def marked_text(study: Study) -> str:
    """What the marks mean, of those that occur."""
    states = {trial.state for trial in study.trials}
    parts = ["Full circles: complete trials"]
    if "pruned" in states:
        parts.append("hollow: pruned ones, at their last estimate")
    if "failed" in states:
        parts.append("crosses: failed ones")
    if default_of(study) is not None:
        parts.append("diamond: the defaults")
    return f"{'; '.join(parts)}; star: the best. Triangles on the edge are off the axis."
