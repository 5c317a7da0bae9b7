"""Whether two configurations can be compared at all, and what a reader of their comparison must keep in mind."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.comparison import Row, fingerprints
from benchmarks.configuration_names import flat
from benchmarks.selection import ORACLE, marked
from datasets.errors import DataError

WITHOUT_EFFECT = {"protocols", "every", "initial"}
"""Keys of `evaluate` that do not change a protocol's score."""
NOT_A_RULE = {"source", "reported"}
"""Of a protocol's description."""


def shared_protocols(a: Row, b: Row) -> list[str]:
    """Raises DataError where there are none, or the test images differ."""
    protocols = [name for name in a.protocols() if name in b.protocols()]
    if not protocols:
        raise DataError(
            f"{a.name} and {b.name} were scored under no common protocol: `python run.py evaluate run=ID "
            f"protocols=NAME` shows single runs under another, training them again with evaluate.protocols=NAME makes "
            f"them comparable."
        )
    one, other = fingerprints(a.runs[0]), fingerprints(b.runs[0])
    used = {str(_described(a, name).get(part)) for name in protocols for part in ("query", "gallery")}
    if changed := sorted(split for split in used if split in one and split in other and one[split] != other[split]):
        raise DataError(
            f"{a.runs[0].run_id} and {b.runs[0].run_id} were tested on different files ({', '.join(changed)}): "
            f"run one of them again on the other's."
        )
    return protocols


def _described(row: Row, protocol: str) -> dict[str, Any]:
    return next((one for one in row.runs[0].data().get("protocols", []) if one["name"] == protocol), {})


def warnings(a: Row, b: Row, protocols: list[str]) -> Iterator[str]:
    """Sentences; none where the two differ in nothing but their method and its hyper-parameters."""
    yield from _about_selections(a, b)
    for protocol in protocols:
        if said := _changes(*({key: one[key] for key in one.keys() - NOT_A_RULE} for one in _both(a, b, protocol))):
            yield f"{protocol} does not mean the same for both: {said}."
    rules = [flat(row.runs[0].spec().get("evaluate", {})) for row in (a, b)]
    if said := _changes(*({key: one[key] for key in one.keys() - WITHOUT_EFFECT} for one in rules)):
        yield f"they were evaluated differently: {said}."
    one, other = (fingerprints(row.runs[0]).get("train") for row in (a, b))
    if one != other:
        yield "they were trained on different files."
    yield from _about_seeds(a, b)


def _both(a: Row, b: Row, protocol: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return _described(a, protocol), _described(b, protocol)


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    changed = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return "; ".join(f"{key} is {one.get(key)} for A and {other.get(key)} for B" for key in changed)


def _about_selections(a: Row, b: Row) -> Iterator[str]:
    if set(a.selections) != set(b.selections):
        said = [", ".join(marked(selection) for selection in row.selections) for row in (a, b)]
        flattered = [letter for letter, row in (("A", a), ("B", b)) if ORACLE in row.selections]
        more = (
            f", which flatters {flattered[0]}: {marked(ORACLE)} is the best epoch on the test set" if flattered else ""
        )
        yield f"their epochs were chosen differently, by {said[0]} for A and by {said[1]} for B{more}."
    elif ORACLE in a.selections:
        yield f"{marked(ORACLE)}: both are the best epochs on the test set, so that both scores are too good."


def _about_seeds(a: Row, b: Row) -> Iterator[str]:
    counts = [len(row.runs) for row in (a, b)]
    if counts == [1, 1]:
        yield (
            "with one seed each nothing is known about training's chance: intervals and p are over people alone, and "
            "tell of these two trainings, not of the methods. Three seeds or more would."
        )
    elif 1 in counts:
        single, several = ("A", "B") if counts[0] == 1 else ("B", "A")
        doubt = " Of two seeds that is little to go by, and p is too sure." if max(counts) == 2 else ""
        yield f"{single} has one seed: its training is taken to be as much of a gamble as {several}'s.{doubt}"
