"""A searched key as an axis: numbers, linear or logarithmic, or choices beside each other. N trials."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.studies import Dimension, Study, Trial, Value

from ..figures.names import shortened
from .words import value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FloatArray = npt.NDArray[np.float64]

JITTER = 0.22
"""How far points of one choice are spread."""
LOG_LABELS = (1, 2, 5)
CHOICE_LETTERS = 14
LEVEL = 16
"""Letters of all labels of an axis beyond which they are slanted."""
MOST_STEPS = 8


def has_range(dimension: Dimension) -> bool:
    """Whether its values are numbers of a range, and no choices."""
    return dimension.low is not None and dimension.high is not None and not dimension.choices


def is_log(dimension: Dimension) -> bool:
    return dimension.log and has_range(dimension) and (dimension.low or 0) > 0


def choices_of(dimension: Dimension, trials: Sequence[Trial]) -> list[Value]:
    """Those of the space, and what trials hold beyond them."""
    found = list(dimension.choices)
    for trial in trials:
        value = trial.params.get(dimension.key)
        if dimension.key in trial.params and not any(_same(value, one) for one in found):
            found.append(value)
    return found


def _same(one: Value, other: Value) -> bool:
    """True is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def ends_of(dimension: Dimension, trials: Sequence[Trial]) -> tuple[float, float]:
    """Lowest and highest value: of the range, the default and the trials; never equal."""
    own = [trial.params.get(dimension.key) for trial in trials]
    values = [
        one for one in map(_number, (dimension.low, dimension.high, dimension.default, *own)) if math.isfinite(one)
    ]
    if is_log(dimension):
        values = [value for value in values if value > 0]
    low, high = min(values), max(values)
    if low == high:
        low, high = (low / 1.5, high * 1.5) if is_log(dimension) else (low - 0.5, high + 0.5)
    return low, high


def _number(value: Value) -> float:
    """NaN for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def positions(dimension: Dimension, trials: Sequence[Trial], values: Sequence[Value]) -> FloatArray:
    """[N] places of `values` between the ends of the axis, 0 and 1; NaN where one has none."""
    if not has_range(dimension):
        known = choices_of(dimension, trials)
        places = [next((n for n, one in enumerate(known) if _same(value, one)), math.nan) for value in values]
        return (
            np.array(places, dtype=np.float64) / max(len(known) - 1, 1) if len(known) > 1 else np.full(len(values), 0.5)
        )
    low, high = ends_of(dimension, trials)
    numbers = np.array([_number(value) for value in values], dtype=np.float64)
    if is_log(dimension):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(numbers / low) / math.log(high / low)
    return (numbers - low) / (high - low)


def drawn_at(dimension: Dimension, trials: Sequence[Trial], values: Sequence[Value]) -> FloatArray:
    """[N] where `values` stand on an axis that `set_axis` laid out."""
    if has_range(dimension):
        return np.array([_number(value) for value in values], dtype=np.float64)
    known = choices_of(dimension, trials)
    return positions(dimension, trials, values) * max(len(known) - 1, 1) if len(known) > 1 else np.zeros(len(values))


def spread(dimension: Dimension, trials: Sequence[Trial]) -> FloatArray:
    """[N] by how much each trial's point is moved aside, so that equal choices are not on top of each other."""
    if has_range(dimension):
        return np.zeros(len(trials))
    golden = (np.array([trial.number for trial in trials], dtype=np.float64) * 0.618034) % 1
    return JITTER * (2 * golden - 1)


def set_axis(axes: "Axes", which: str, dimension: Dimension, study: Study, *, letters: int = CHOICE_LETTERS) -> None:
    """Scale, limits and tick labels of the x or y axis of `axes` for a searched key."""
    axis: Axis = getattr(axes, f"{which}axis")
    set_limits = getattr(axes, f"set_{which}lim")
    if not has_range(dimension):
        known = choices_of(dimension, study.trials)
        labels = [shortened(value_text(one), letters) for one in known]
        slanted = which == "x" and sum(map(len, labels)) > LEVEL
        axis.set_ticks(
            range(len(known)), labels, **({"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {})
        )
        set_limits(-0.5, max(len(known), 1) - 0.5)
        return
    low, high = ends_of(dimension, study.trials)
    if is_log(dimension):
        getattr(axes, f"set_{which}scale")("log")
        margin = (high / low) ** 0.05
        set_limits(low / margin, high * margin)
        axis.set_ticks(log_ticks(low, high), [value_text(tick) for tick in log_ticks(low, high)])
        axis.set_ticks([], minor=True)
        return
    margin = 0.05 * (high - low)
    set_limits(low - margin, high + margin)
    if dimension.step is not None and (high - low) / dimension.step <= MOST_STEPS:
        axis.set_ticks(np.arange(low, high + dimension.step / 2, dimension.step).tolist())
    elif dimension.whole:
        whole_ticks(axis)


def whole_ticks(axis: "Axis") -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def log_ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers within the ends: powers of ten, and more where these are too few; the ends at worst."""
    for parts in ((1,), (1, 3), LOG_LABELS):
        ticks = _round_numbers(low, high, parts)
        if len(ticks) >= 2 and ticks[-1] / ticks[0] > (high / low) ** 0.55:
            break
    if len(ticks) < 2:
        return [low, high]
    return ticks[:: -(-len(ticks) // 5)]


def _round_numbers(low: float, high: float, parts: Sequence[int]) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [n * 10.0**e for e in exponents for n in parts if low * 0.999 <= n * 10.0**e <= high * 1.001]
