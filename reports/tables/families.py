"""Which row of its method's ablation table a configuration is, going by its spec alone.

An ablation row is the full model with some keys changed (`benchmarks/ablations.py`). A configuration is the row R of a
full model F when its spec is F's with R's overrides and nothing else; one that is F with loss terms switched off is a
row too, named after these. F is one of the configurations, or one of them with the recipe's values in the keys that
ablations change: so that rows are recognised where the full model was not run, and a recipe that agrees with some
override (camera_strength=1) does not turn the full model into that row.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.ablations import WEIGHTS, Changes, ablation_rows, loss_terms, row_without
from benchmarks.comparison import Row
from benchmarks.configuration_names import recipe_of
from benchmarks.records import RunFolder
from datasets.errors import DataError
from methods import METHODS

Plain = dict[str, Any]
Flat = dict[str, str]
"""Dotted key → value as JSON."""
Content = frozenset[tuple[str, str]]
OFF = "0.0"


@dataclass(frozen=True)
class Place:
    """Where a configuration stands in its method's ablation table."""

    name: str
    order: int
    """Position in `Method.ablations`; behind these the rows that leave out terms, those with the most terms first."""
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


def named_families(rows: Sequence[Row], rows_of_runs: Mapping[str, str]) -> list[Family]:
    """One family for each method and dataset, whose rows are known by the ids of their runs.

    `rows_of_runs`: run id → name of the row, in the order of the table, the full model first.
    """
    names = list(dict.fromkeys(rows_of_runs.values()))
    members: dict[tuple[str, str], list[tuple[int, Place]]] = {}
    for position, row in enumerate(rows):
        name = rows_of_runs[runs_of(row)[0].run_id]
        place = Place(name, names.index(name), is_full=name == names[0])
        members.setdefault((method_of(row), row.dataset), []).append((position, place))
    return [Family(method, dataset, tuple(of_it)) for (method, dataset), of_it in members.items()]


# --- matching ---


def _families(
    method: str, dataset: str, specs: Mapping[int, Plain], overrides: Mapping[str, Changes], recipe: Plain
) -> Iterable[Family]:
    flat = {position: _flat(spec) for position, spec in specs.items()}
    known = _Known(flat, {name: _flat_changes(changes) for name, changes in overrides.items()}, loss_terms(method))
    from_recipe = _flat_changes(recipe)
    # Of candidates that explain as much the recipe's counts; one that explains nothing but a full model is none.
    candidates = [known.members(spec | from_recipe) for spec in flat.values()]
    candidates += [known.members(spec) for spec in flat.values()]
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


class _Known:
    """The configurations of one method on one dataset, to be looked up."""

    def __init__(self, flat: Mapping[int, Flat], rows: Mapping[str, Flat], terms: Sequence[str]):
        self.rows, self.terms = rows, terms
        self._by_content: dict[Content, list[int]] = {}
        self._by_rest: dict[Content, dict[Content, list[int]]] = {}
        """What is not a term's factor → factors that are not 0 → configurations."""
        for position, spec in flat.items():  # one configuration is several rows where its files changed in between
            self._by_content.setdefault(frozenset(spec.items()), []).append(position)
            rest, on = _split(spec)
            self._by_rest.setdefault(rest, {}).setdefault(on, []).append(position)

    def members(self, full: Flat) -> dict[int, Place]:
        """The configurations that `full` explains.

        Of two rows with the same effect the one with fewer overrides counts; the method's own count first of all.
        """
        members: dict[int, Place] = {}
        for name in sorted(self.rows, key=lambda name: len(self.rows[name])):
            place = Place(name, list(self.rows).index(name), is_full=not self.rows[name])
            for position in self._by_content.get(frozenset((full | self.rows[name]).items()), ()):
                members.setdefault(position, place)
        rest, on = _split(full)
        for other, positions in self._by_rest.get(rest, {}).items():
            if other < on:
                place = self._left_out({key.removeprefix(f"{WEIGHTS}.") for key, _ in on - other})
                members |= {position: place for position in positions if position not in members}
        return members

    def _left_out(self, off: set[str]) -> Place:
        names = [term for term in self.terms if term in off]
        pattern = sum(1 << number for number, term in enumerate(self.terms) if term in off)
        return Place(row_without(names), len(self.rows) + (len(names) << len(self.terms)) + pattern, is_full=False)


def _split(spec: Flat) -> tuple[Content, Content]:
    """What is not a term's factor, and the factors that are not 0."""
    factors = {(key, value) for key, value in spec.items() if key.startswith(f"{WEIGHTS}.")}
    return frozenset(spec.items() - factors), frozenset((key, value) for key, value in factors if value != OFF)


def _overrides(method: str) -> dict[str, Changes]:
    """Ablation row → dotted keys and plain values; the full model is one of them. Empty for an unknown method."""
    return ablation_rows(method) if method in METHODS.entries else {}


def _recipe(method: str, dataset: str, overrides: Mapping[str, Changes]) -> Plain:
    """What the method's recipe says of the keys that ablations change; nothing where it names no full model."""
    recipe = recipe_of(method, dataset) or {}
    factors = [f"{WEIGHTS}.{term}" for term in loss_terms(method)]
    named = [*factors, *(key for changes in overrides.values() for key in changes)]
    return {key: recipe[key] for key in named if key in recipe}


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


def _flat_changes(changes: Changes) -> Flat:
    return {key: json.dumps(_normal(value)) for key, value in changes.items()}


def _normal(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_normal(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
