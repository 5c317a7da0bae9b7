"""What configurations are called, everywhere: tables, figures, retrieved images, comparisons.

By the method, the row of its ablations that they are, and in brackets where else they leave the method's recipe:
«differ», «differ: no_camera», «differ (optimiser.lr=0.1)». What all configurations beside each other have in common is
not said. A hash stands where words would be too many.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import DATASETS
from datasets.errors import UsageError
from methods import METHODS

from .ablations import WEIGHTS, loss_terms, row_without, without

KEYS_IN_A_NAME = 3
"""Where configurations differ in more, a hash tells them apart."""

Plain = Mapping[str, Any]


def configuration_names(specs: Mapping[str, Plain]) -> dict[str, str]:
    """{group: spec} → {group: name}. Names of one dataset are unique.

    A group is a run's id without its seed; it names itself where its spec is empty, or is that of a copied folder.
    """
    names = {group: group for group in specs}
    by_method: dict[tuple[str, str], dict[str, Plain]] = {}
    for group, spec in specs.items():
        if spec:
            by_method.setdefault((spec["dataset"]["name"], spec["method"]["name"]), {})[group] = flat(spec)
    for (dataset, method), members in by_method.items():
        found = _beside_the_recipe(method, dataset, members) or _beside_each_other(method, members)
        times = Counter(found.values())
        clear = {
            group: name if name and times[name] == 1 else f"{method} ({group.rpartition('-')[2]})"
            for group, name in found.items()
        }
        times = Counter(clear.values())
        names |= {group: name if times[name] == 1 else group for group, name in clear.items()}
    return names


def recipe_of(method: str, dataset: str) -> Plain | None:
    """Dotted key → value of what the method's recipe makes of the dataset.

    None where one of them is not known here, as without its plugin, and where the method has to be told more.
    """
    from .resolve import resolve  # reads the method's file, and with it torch: only where names are needed
    from .spec import to_plain

    if method not in METHODS.entries or dataset not in DATASETS.entries:
        return None
    try:
        return flat(to_plain(resolve({"method.name": method, "dataset.name": dataset}).spec))
    except UsageError:
        return None


def _beside_the_recipe(method: str, dataset: str, members: Mapping[str, Plain]) -> dict[str, str | None]:
    """Group → name, None where it would be too long; empty where the recipe is not known, or far from all of them."""
    recipe = recipe_of(method, dataset)
    if recipe is None:
        return {}
    rows = {name: _as_stored(changes) for name, changes in METHODS.get(method).ablations.items()}
    varying = set(_apart(*members.values()))
    found: dict[str, str | None] = {}
    for group, spec in members.items():
        name, said = _ablation(spec, recipe, rows | _terms_left_out(method, spec, recipe))
        left = [key for key in sorted(varying - said) if spec.get(key) != recipe.get(key)]
        start = f"{method}: {name}" if name else method
        found[group] = _with_words(start, spec, left) if len(left) <= KEYS_IN_A_NAME else None
    return found if any(found.values()) else {}


def _terms_left_out(method: str, spec: Plain, recipe: Plain) -> dict[str, Plain]:
    """The row that leaves out the loss terms that the recipe has and `spec` has not; empty where there are none."""
    factors = {term: f"{WEIGHTS}.{term}" for term in loss_terms(method)}
    off = [term for term, key in factors.items() if recipe.get(key) and spec.get(key) == 0]
    return {row_without(off): without(off)} if off else {}


def _ablation(spec: Plain, recipe: Plain, rows: Mapping[str, Plain]) -> tuple[str, set[str]]:
    """The ablation row that says most of where `spec` leaves the recipe, and the keys of which it speaks."""
    best: tuple[str, set[str]] = ("", set())
    for name in sorted(rows, key=lambda name: len(rows[name])):
        changes = rows[name]
        if all(key in spec and spec[key] == value for key, value in changes.items()):
            left = {key for key, value in changes.items() if value != recipe.get(key)}
            if len(left) > len(best[1]):
                best = name, left
    return best


def _beside_each_other(method: str, members: Mapping[str, Plain]) -> dict[str, str | None]:
    """Group → name, None where it would be too long.

    Where all differ in a few keys each says its values. Else the most typical one stands for itself, and the others say
    where they depart from it: it is the full model of an ablation.
    """
    keys = _apart(*members.values())
    if len(keys) <= KEYS_IN_A_NAME:
        return {group: _with_words(method, spec, keys) for group, spec in members.items()}
    distance = {group: sum(len(_apart(spec, other)) for other in members.values()) for group, spec in members.items()}
    typical = members[min(distance, key=lambda group: distance[group])]
    found = {group: _apart(typical, spec) for group, spec in members.items()}
    if min(len(keys) for keys in found.values() if keys) > KEYS_IN_A_NAME:
        return dict.fromkeys(members)
    return {
        group: _with_words(method, members[group], own) if len(own) <= KEYS_IN_A_NAME else None
        for group, own in found.items()
    }


def _apart(*specs: Plain) -> list[str]:
    """Keys in which they are not all alike, the seed left out."""
    keys = dict.fromkeys(key for spec in specs for key in spec)
    return sorted(key for key in keys if key != "seed" and any(one.get(key) != specs[0].get(key) for one in specs))


def _with_words(name: str, spec: Plain, keys: Sequence[str]) -> str:
    return f"{name} ({_in_words(spec, keys)})" if keys else name


def _in_words(spec: Plain, keys: Sequence[str]) -> str:
    return ", ".join(f"{key}={_word(spec.get(key))}" for key in keys)


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return re.sub(r"\s+", " ", str(value))


def flat(values: Plain, prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 2}} → {"train.epochs": 2}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _as_stored(changes: Plain) -> Plain:
    """Overrides as a run's spec.yaml gives them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
