"""The value over pairs of searched keys, shaded between the trials that were made and nowhere else. N trials."""

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.studies import Dimension, Study

from ..figures.names import shortened
from ..figures.style import DOUBLE, NothingToShowError, Picture, paper_style, save
from .axes import drawn_at, ends_of, has_range, is_log, positions, set_axis
from .points import MAP, colour_limits, mark, need_complete
from .words import by_importance, default_of, objectives, short_names, study_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

FloatArray = npt.NDArray[np.float64]

KEYS = 3
WIDTH = 0.12
"""Of the Gaussian weights, as a share of an axis."""
GRID = 121
LEVELS = 12
LETTERS = 24


def contours(study: Study, folder: Path) -> Picture:
    """Pairs of the three most important keys that have a range.

    Raises NothingToShowError where there are fewer than two of these, or no trial is complete.
    """
    from matplotlib import cm, colors, pyplot

    keys = [dimension for dimension in by_importance(study) if has_range(dimension)][:KEYS]
    if len(keys) < 2:
        raise NothingToShowError(f"{study.name}: no contours, since fewer than two searched keys have a range.")
    trials = [one for one in need_complete(study, "contours") if all(key.key in one.params for key in keys)]
    if not trials:
        raise NothingToShowError(f"{study.name}: no contours, since no complete trial has {keys[0].key}.")
    goal, names = objectives(study)[0], short_names([dimension.key for dimension in study.space])
    values = np.array([goal.shown(trial.values[0]) for trial in trials])
    pairs = list(combinations(keys, 2))
    with paper_style():
        size = (DOUBLE, 2.35) if len(pairs) > 1 else (DOUBLE / 2, 2.5)
        figure, panels = pyplot.subplots(1, len(pairs), figsize=size, squeeze=False)
        norm = colors.Normalize(*colour_limits(study, goal))
        for axes, (one, other) in zip(panels.flat, pairs, strict=True):
            set_axis(axes, "x", one, study)
            set_axis(axes, "y", other, study)
            at = [drawn_at(key, study.trials, [trial.params[key.key] for trial in trials]) for key in (one, other)]
            places = [positions(key, study.trials, [trial.params[key.key] for trial in trials]) for key in (one, other)]
            _shade(axes, study, (one, other), np.column_stack(places), values, norm)
            axes.scatter(*at, c=values, cmap=MAP, norm=norm, s=13, edgecolors="white", linewidths=0.5, zorder=3)
            for name, trial in (("default", default_of(study)), ("best", study.best)):
                if trial in trials:
                    place = trials.index(trial)
                    mark(axes, name, at[0][place], at[1][place])
            axes.set_xlabel(shortened(names[one.key], LETTERS))
            axes.set_ylabel(shortened(names[other.key], LETTERS))
            axes.grid(visible=False)
        bar = figure.colorbar(
            cm.ScalarMappable(norm, MAP), ax=panels.ravel().tolist(), pad=0.02, aspect=28, extend=_beyond(values, norm)
        )
        bar.set_label(shortened(goal.label, 28))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        which = "the most important" if study.importance else "the first"
        caption = (
            f"{study.objectives[0]} over pairs of {which} searched keys that have a range. Circles: complete trials "
            f"({len(trials)}); diamond: the defaults; star: the best. Shaded: their mean with Gaussian weights "
            f"({100 * WIDTH:.0f} % of an axis wide), between trials only; the other keys vary too. {study_text(study)}"
        )
        return save(figure, folder, "contours", "Values over pairs of keys", caption)


def smoothed(places: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """[M] Gaussian-weighted means of `values` [N] at `places` [N, 2], asked `at` [M, 2]; all between 0 and 1."""
    squared = ((at[:, None, :] - places[None]) ** 2).sum(axis=2) / WIDTH**2
    weights = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / 2)
    return weights @ values / weights.sum(axis=1)


def hull(places: FloatArray) -> FloatArray | None:
    """[H, 2] corners of the convex hull of `places` [N, 2]; None where they span no area."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return places[ConvexHull(places).vertices]
    except (QhullError, ValueError):  # too few, or all on one line
        return None


def _shade(
    axes: "Axes",
    study: Study,
    keys: tuple[Dimension, Dimension],
    places: FloatArray,
    values: FloatArray,
    norm: "Normalize",
) -> None:
    from matplotlib.patches import Polygon

    corners = hull(places)
    if corners is None:
        return
    ticks = np.linspace(0, 1, GRID)
    at = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    field = smoothed(places, np.clip(values, norm.vmin, norm.vmax), at).reshape(GRID, GRID)
    levels = np.linspace(norm.vmin or 0.0, norm.vmax or 1.0, LEVELS + 1)
    across, up = (_numbers(key, study, ticks) for key in keys)
    shades = axes.contourf(across, up, field, levels=levels, cmap=MAP, norm=norm, alpha=0.85, zorder=1, extend="both")
    edge = np.column_stack([_numbers(key, study, corners[:, side]) for side, key in enumerate(keys)])
    shades.set_clip_path(Polygon(edge, closed=True, transform=axes.transData))


def _beyond(values: FloatArray, norm: "Normalize") -> Literal["min", "max", "neither"]:
    """At which end of the scale of colours there are values beyond it."""
    if values.min() < (norm.vmin or 0.0):
        return "min"
    return "max" if values.max() > (norm.vmax or 0.0) else "neither"


def _numbers(dimension: Dimension, study: Study, shares: FloatArray) -> FloatArray:
    """Shares of an axis as values of its key."""
    low, high = ends_of(dimension, study.trials)
    return low * (high / low) ** shares if is_log(dimension) else low + (high - low) * shares
