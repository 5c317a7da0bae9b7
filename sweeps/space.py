"""What a sweep searches: ranges from the method's own tunables, a file, or the command line.

Every loss weight and tunable carries its range beside its default (`datasets.config.tune`), so that a sweep needs no
file. A range is written LOW..HIGH, with /STEP for a grid and :log for a logarithmic scale; values are written a|b|c;
off takes a key out of the search.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.resolve import Resolved, keys
from benchmarks.spec import to_plain
from benchmarks.studies import Dimension, Value
from datasets.errors import UsageError, did_you_mean

OFF = "off"
PREFIX = "space."
RANGE = re.compile(r"(?P<low>[^|]+?)\.\.(?P<high>[^/:|]+)(?:/(?P<step>[^:|]+))?(?P<log>:log)?")
NOT_SEARCHED = ("dataset.", "select.", "evaluate.", "clips.test_")
"""Beginnings of the keys that say what is measured, and on whom: trials that differ in them cannot be compared."""
EXAMPLE = "write 0.1..3, 0.1..3:log, 0..1/0.25, a|b|c, or off"


def build_space(base: Resolved, own: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The searched keys in the order of the Spec. `own`: key → range as written, over the method's own ranges.

    A loss term that is switched off stays off unless `own` names it. A default outside of the method's range widens it;
    a range of `own` is taken as it is. Raises UsageError for an unknown key, an empty range, values that the key does
    not take, and where nothing is left to search.
    """
    known = dict(keys(type(base.spec)))
    for key in own:
        if key not in known:
            raise UsageError(f"Unknown key {key} in the space.{did_you_mean(key, known)}")
        if key == "seed":
            raise UsageError("space.seed: seeds are not searched, every trial is trained with each of seed=0,1,….")
        if key.startswith(NOT_SEARCHED):
            raise UsageError(
                f"space.{key} would change what is measured, and trials could not be compared: leave it out."
            )
    defaults = {key: _at(to_plain(base.spec), key) for key in known}
    found = []
    for key, field in known.items():
        if key in own:
            dimension = read_range(key, own[key], field, defaults[key])
        else:
            dimension = _own_range(key, field, defaults[key])
        if dimension is not None:
            found.append(dimension)
    if not found:
        raise UsageError(
            f"There is nothing to search: {base.spec.method.name} has no tunables that are on; say space.KEY=LOW..HIGH."
        )
    return tuple(found)


def _own_range(key: str, field: Any, default: Any) -> Dimension | None:
    """The range that stands beside the default; None where there is none, or the term is off."""
    search = (field.json_schema_extra or {}).get("search") if isinstance(field.json_schema_extra, dict) else None
    if search is None or (key.startswith("method.weights.") and default == 0):
        return None
    low, high = min(search["low"], default), max(search["high"], default)
    if search["log"] and low <= 0:
        return None
    return Dimension(key=key, low=low, high=high, log=search["log"], default=default)


def read_range(key: str, text: Any, field: Any, default: Any) -> Dimension | None:
    """A range as it is written; None for off. Raises UsageError with the key and the mend."""
    written = str(text).strip()
    if written == OFF or text is False:
        return None
    if isinstance(text, Sequence) and not isinstance(text, str):
        return _choices(key, list(text), default)
    match = RANGE.fullmatch(written)
    if match is None:
        if "|" not in written:
            raise UsageError(f"space.{key}={written}: {EXAMPLE}.")
        return _choices(key, [_value(part.strip()) for part in written.split("|")], default)
    low, high, step = (_number(key, written, match[name]) for name in ("low", "high", "step"))
    if low is None or high is None or not low < high:
        raise UsageError(f"space.{key}={written} is empty: the first number has to be the smaller one.")
    log, whole = match["log"] is not None, _is_whole(field.annotation)
    if log and (low <= 0 or step is not None):
        raise UsageError(f"space.{key}={written}: a logarithmic range begins above 0 and has no step.")
    if step is not None and not 0 < step <= high - low:
        raise UsageError(f"space.{key}={written}: the step has to be above 0 and fit into the range.")
    if whole and any(number is not None and number != int(number) for number in (low, high, step)):
        raise UsageError(f"space.{key}={written}: {key} takes whole numbers.")
    return Dimension(key=key, low=low, high=high, log=log, step=step, whole=whole, default=default)


def _choices(key: str, values: list[Value], default: Any) -> Dimension:
    if len(values) < 2 or len(set(map(repr, values))) < len(values):
        raise UsageError(f"space.{key}: name at least two values, each once, such as a|b.")
    return Dimension(key=key, choices=tuple(values), default=default)


def _number(key: str, written: str, word: str | None) -> float | None:
    if word is None:
        return None
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"space.{key}={written}: {word} is not a number; {EXAMPLE}.")
    return number


def _value(word: str) -> Value:
    """A choice as YAML reads it: numbers, true, false, null, else the word."""
    value = yaml.safe_load(word)
    if isinstance(value, str):  # YAML 1.1 leaves 1e-3 a word
        try:
            return float(value)
        except ValueError:
            return value
    return value if value is None or isinstance(value, bool | int | float) else word


def _is_whole(annotation: Any) -> bool:
    return annotation is int or (bool(get_args(annotation)) and get_args(annotation)[0] is int)


def _at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def read_space(file: str | None, values: Mapping[str, str]) -> dict[str, Any]:
    """Ranges by key: of a YAML file, nested or with dotted keys, and over them the words space.KEY=RANGE."""
    ranges: dict[str, Any] = {}
    if file is not None:
        path = Path(file)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"space={path} cannot be read: {' '.join(str(error).split())}.") from None
        if not isinstance(content, dict):
            raise UsageError(f"space={path} should hold keys with their ranges, such as method.weights.triplet: 0.1..3")
        ranges |= _flat(content)
    return ranges | {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)}


def _flat(content: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


# --- for Optuna ---


def distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(list(dimension.choices))
    if dimension.low is None or dimension.high is None:
        raise ValueError(f"{dimension.key} has neither choices nor a range")
    if dimension.whole:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return IntDistribution(low, high, log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def contains(dimension: Dimension, value: Any) -> bool:
    """Whether a value can be chosen. Optuna only warns of one that cannot, and breaks later."""
    if dimension.choices:
        return any(value == choice and type(value) is type(choice) for choice in dimension.choices)
    if not isinstance(value, int | float) or dimension.low is None or dimension.high is None:
        return False
    if not dimension.low <= value <= dimension.high:
        return False
    steps = (value - dimension.low) / (dimension.step or 1)
    return dimension.step is None or math.isclose(steps, round(steps), abs_tol=1e-9)


def defaults_in(space: Sequence[Dimension]) -> dict[str, Value] | None:
    """The configuration without a sweep as parameters; None where the space leaves it out."""
    if not all(contains(dimension, dimension.default) for dimension in space):
        return None
    return {dimension.key: dimension.default for dimension in space}


def check_ends(base: Resolved, space: Sequence[Dimension], make: Any) -> None:
    """Raise UsageError where a key does not take an end of its range or a choice. `make`: params → Resolved."""
    for dimension in space:
        for value in dimension.choices or (dimension.low, dimension.high):
            whole = int(value) if dimension.whole and isinstance(value, float) else value
            try:
                make({dimension.key: whole})
            except UsageError as error:
                raise UsageError(f"space.{dimension.key}: {error}") from None


def grid_size(space: Sequence[Dimension]) -> int | None:
    """How many configurations a grid has; None where some range has no step."""
    size = 1
    for dimension in space:
        if dimension.choices:
            size *= len(dimension.choices)
        elif dimension.step is None and not (dimension.whole and not dimension.log):
            return None
        elif dimension.low is not None and dimension.high is not None:
            size *= int((dimension.high - dimension.low) / (dimension.step or 1) + 1 + 1e-9)
    return size
