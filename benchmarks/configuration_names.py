"""Names that tell the configurations of one method apart by what a person changed, not by a hash."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

KEYS_IN_A_NAME = 3
"""Where configurations differ in more, a hash tells them apart."""

Plain = Mapping[str, Any]


def configuration_names(specs: Mapping[str, Plain]) -> dict[str, str]:
    """{group: spec} → {group: name}: the method, and in brackets what sets a configuration apart on its dataset.

    A group is a run's id without its seed; it names itself where its spec is empty.
    """
    names = {group: group for group in specs}
    by_method: dict[tuple[str, str], dict[str, Plain]] = {}
    for group, spec in specs.items():
        if spec:
            by_method.setdefault((spec["dataset"]["name"], spec["method"]["name"]), {})[group] = flat(spec)
    for (_, method), members in by_method.items():
        said = _differences(members)
        for group in members:
            alike = [other for other in members if said[other] == said[group]]
            what = said[group] if said[group] is not None and len(alike) == 1 else group.rpartition("-")[2]
            names[group] = f"{method} ({what})" if len(members) > 1 and what else method
    return names


def _differences(members: Mapping[str, Plain]) -> dict[str, str | None]:
    """Group → the keys in which configurations differ, with their values; None where these are too many to read.

    Where all differ in a few keys each says its values. Else the most typical one stands for itself, and the others say
    where they depart from it: it is the full model of an ablation.
    """

    def apart(one: Plain, other: Plain) -> list[str]:
        return [key for key in sorted({*one, *other}) if key != "seed" and one.get(key) != other.get(key)]

    first = next(iter(members.values()))
    keys = sorted({key for spec in members.values() for key in apart(first, spec)})
    if len(keys) <= KEYS_IN_A_NAME:
        return {group: _in_words(spec, keys) for group, spec in members.items()}
    distance = {group: sum(len(apart(spec, other)) for other in members.values()) for group, spec in members.items()}
    typical = members[min(distance, key=lambda group: distance[group])]
    found = {group: apart(typical, spec) for group, spec in members.items()}
    if min(len(keys) for keys in found.values() if keys) > KEYS_IN_A_NAME:
        return dict.fromkeys(members)
    return {
        group: _in_words(members[group], own) if len(own) <= KEYS_IN_A_NAME else None for group, own in found.items()
    }


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
