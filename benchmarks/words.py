"""The words of a command line: `key=value`, comma lists as a product. Light to import: no torch."""

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets.errors import UsageError

NAMES = {"method": "method.name", "dataset": "dataset.name"}
"""What every experiment has to name, and the key it is short for."""
SHORT = NAMES | {"protocols": "evaluate.protocols"}
"""Keys that may be written short."""
LISTS = frozenset({"evaluate.protocols"})
"""Keys whose commas separate the words of one list, instead of several runs."""
RANGES = frozenset({"seed"})
"""Keys whose lists may hold 0..9."""
FOLDERS = {"data", "caption_folder", "mask_folder", "runs", "cache"}
ENVIRONMENT = {"CCREID_DATA": "data", "CCREID_CACHE": "cache", "CCREID_RUNS": "runs"}
"""Variables that say where things are when the command line does not."""
PATHS = frozenset(FOLDERS | {"features", "checkpoint", "plugin", "method.weights_file"})
"""Keys whose values are never lists: a comma may stand in a path."""


def parse_words(words: Sequence[str]) -> dict[str, str]:
    """["a.b=1", …] → {"a.b": "1"}. Raises UsageError for a word without «=» and for a key given twice."""
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"Cannot read {shlex.quote(word)}: write key=value, without spaces around «=».")
        key = SHORT.get(key, key)
        if key in values:
            raise UsageError(f"{key} is given twice: keep one of {key}={values[key]} and {key}={value}.")
        values[key] = value
    return values


def product(values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every combination of the comma lists in `values`; a value in brackets is one value.

    In the lists of RANGES, 0..9 is ten numbers. Raises UsageError for a range that has no end or runs backwards.
    """
    choices = [
        [value] if key in PATHS | LISTS or value[:1] in ("[", "{") else _listed(key, value)
        for key, value in values.items()
    ]
    for combination in itertools.product(*choices):
        yield {key: read_value(key, word.strip()) for key, word in zip(values, combination, strict=True)}


def _listed(key: str, value: str) -> list[str]:
    words = value.split(",")
    return [number for word in words for number in _range(key, word)] if key in RANGES else words


def _range(key: str, word: str) -> list[str]:
    first, dots, last = word.strip().partition("..")
    if not dots:
        return [word]
    if not (first.isdecimal() and last.isdecimal()):
        raise UsageError(f"{key}={word} is no range: write it as {key}=0..9, both ends included.")
    if int(first) > int(last):
        raise UsageError(f"{key}={word} runs backwards: write {key}={last}..{first}.")
    return [str(number) for number in range(int(first), int(last) + 1)]


def read_value(key: str, word: str) -> Any:
    """A word of the command line: [..] and {..} are YAML, none is nothing, the rest is left to the field's type."""
    if word.lower() in ("none", "null"):
        return None
    if word[:1] in ("[", "{"):
        import yaml  # 40 ms that `list` does not need

        try:
            return yaml.safe_load(word)
        except yaml.YAMLError:
            raise UsageError(f"Cannot read {key}={word}: the brackets do not close or hold something else.") from None
    return [part.strip() for part in word.split(",")] if key in LISTS else word


def read_switch(key: str, word: str | None) -> bool:
    """true or false; false where nothing is said. Raises UsageError for anything else."""
    if word not in (None, "true", "false"):
        raise UsageError(f"{key}={word}: write {key}=true or {key}=false.")
    return word == "true"


def read_names(word: str | None) -> list[str]:
    """The names in a comma list."""
    return [name.strip() for name in word.split(",")] if word else []
