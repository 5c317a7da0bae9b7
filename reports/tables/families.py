"""Which row of its method's ablation table a configuration is, going by its spec alone.

An ablation row is the full model with some keys changed (`Method.ablations`). A configuration is the row R of a full
model F when its spec is F's with R's overrides and nothing else. F is one of the configurations, or one of them with
the recipe's values in the keys that ablations change: so that rows are recognised where the full model was not run,
and a recipe that agrees with some override (camera_strength=1) does not turn the full model into that row.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison import Row
from benchmarks.configuration_names import recipe_of
from benchmarks.records import RunFolder
from datasets.errors import DataError
from methods import METHODS

Plain = dict[str, Any]
Flat = dict[str, str]
"""Dotted key → value as JSON."""
Content = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Place:
    """Where a configuration stands in its method's ablation table."""

    name: str
    order: int
    """Position in `Method.ablations`."""
    is_full: bool


@dataclass(frozen=True)
class Family:
    """Configurations of one method on one dataset that differ in nothing but the overrides of its ablation rows."""

    method: str
    dataset: str
    members: tuple[tuple[int, Place], ...]
    """(position among the rows, place), in the order of the method's `ablations`."""


def runs_of(row: Row) -> tuple[RunFolder, ...]:
    """The finished ones first."""
    return (*row.runs, *row.unfinished)


def spec_of(row: Row) -> Plain:
    """The configuration; empty where every run of the row is unfinished and damaged."""
    for run in runs_of(row):
        try:
            return run.spec()
        except DataError:
            if run in row.runs:
                raise
    return {}


def method_of(row: Row) -> str:
    """Name in the registry; the row's own where no run can tell."""
    return spec_of(row).get("method", {}).get("name", row.name)


def families(rows: Sequence[Row]) -> list[Family]:
    """The largest families of each method and dataset; every row is a member of one at most.

    A configuration that stands alone is a family where it is an ablation of the recipe's model. A method whose file is
    not loaded (plugin=FILE) has none.
    """
    groups: dict[tuple[str, str], dict[int, Plain]] = {}
    for position, row in enumerate(rows):
        groups.setdefault((row.dataset, method_of(row)), {})[position] = spec_of(row)
    found = []
    for (dataset, method), specs in groups.items():
        overrides = _overrides(method)
        if overrides:
            found += _families(method, dataset, specs, overrides, _recipe(method, dataset, overrides))
    return found


def places(rows: Sequence[Row]) -> list[Place | None]:
    """The ablation row that each row is; None where it is none."""
    found = {position: place for family in families(rows) for position, place in family.members}
    return [found.get(position) for position in range(len(rows))]


# --- matching ---


def _families(
    method: str, dataset: str, specs: Mapping[int, Plain], overrides: Mapping[str, Plain], recipe: Plain
) -> Iterable[Family]:
    flat = {position: _flat(spec) for position, spec in specs.items()}
    by_content: dict[Content, list[int]] = {}
    for position, spec in flat.items():  # one configuration is several rows where its files changed in between
        by_content.setdefault(frozenset(spec.items()), []).append(position)
    rows = {name: _flat_changes(changes) for name, changes in overrides.items()}
    from_recipe = _flat_changes(recipe)
    # Of candidates that explain as much the recipe's counts; one that explains nothing but a full model is none.
    candidates = [_members(spec | from_recipe, by_content, rows) for spec in flat.values()]
    candidates += [_members(spec, by_content, rows) for spec in flat.values()]
    candidates = [members for members in candidates if not all(place.is_full for place in members.values())]
    while candidates:
        best = max(candidates, key=len)
        if not best:
            return
        yield Family(method, dataset, tuple(sorted(best.items(), key=lambda member: member[1].order)))
        candidates = [_without(members, best) for members in candidates]


def _without(members: Mapping[int, Place], taken: Mapping[int, Place]) -> dict[int, Place]:
    """What is left of a candidate; nothing where that is a single row, which has lost what it was a row of."""
    left = {position: place for position, place in members.items() if position not in taken}
    return {} if len(left) == 1 and len(members) > 1 else left


def _members(full: Flat, by_content: Mapping[Content, list[int]], rows: Mapping[str, Flat]) -> dict[int, Place]:
    """The configurations that `full` explains. Of two rows with the same effect the one with fewer overrides counts."""
    members: dict[int, Place] = {}
    for name in sorted(rows, key=lambda name: len(rows[name])):
        place = Place(name, list(rows).index(name), is_full=not rows[name])
        for position in by_content.get(frozenset((full | rows[name]).items()), ()):
            members.setdefault(position, place)
    return members


def _overrides(method: str) -> dict[str, Plain]:
    """Ablation row → dotted keys and plain values; the full model is one of them. Empty for an unknown method."""
    if method not in METHODS.entries:
        return {}
    rows = METHODS.get(method).ablations
    return dict(rows) if not rows or any(not changes for changes in rows.values()) else {"full": {}, **rows}


def _recipe(method: str, dataset: str, overrides: Mapping[str, Plain]) -> Plain:
    """What the method's recipe for the dataset says of the keys that ablations change; nothing where it names none."""
    recipe = recipe_of(method, dataset) or {}
    return {key: recipe[key] for changes in overrides.values() for key in changes if key in recipe}


def value_at(spec: Plain, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    value: Any = spec
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Flat:
    """Dotted key → value; without the seed. 0 and 0.0, [] and () are the same value."""
    found: Flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "seed":
            found[f"{prefix}{name}"] = json.dumps(_normal(value))
    return found


def _flat_changes(changes: Plain) -> Flat:
    return {key: json.dumps(_normal(value)) for key, value in changes.items()}


def _normal(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_normal(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
