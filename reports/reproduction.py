"""How a run is repeated: each of its keys, where the value came from, and the command line that asks for them again."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.records import RunFolder
from benchmarks.words import LISTS, read_value
from datasets.errors import CCReIDError

DEFAULT, RECIPE, CHOSEN, UNKNOWN = "default", "recipe", "chosen", "not of this version"
"""Origins: the program's default, the method's recipe for the dataset, whoever started the run; no key of today."""
NAMED = ("method.name", "dataset.name", "seed")
"""Keys that every command line says, whatever their defaults are."""


@dataclass(frozen=True)
class Setting:
    """One key of a run's configuration."""

    key: str
    value: Any
    usual: Any
    """What it is when the command line says nothing of it; None where that is not known."""
    origin: str
    doc: str

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]


@dataclass(frozen=True)
class Command:
    """What to type for the same run."""

    text: str
    commit: str | None
    """Of the run's last start; «+» at its end: files differed from it."""
    remark: str
    """Why the text may not be enough; empty where it names the same run id in this version of the program."""


def settings(spec: Mapping[str, Any]) -> list[Setting]:
    """Every key of a run's `spec` (what spec.yaml holds), in its order.

    Where the method or the dataset is unknown here, as without its plugin, nothing is known of defaults.
    """
    method, dataset = spec["method"]["name"], spec["dataset"]["name"]
    try:
        known, recipe = _known(method, dataset)
    except CCReIDError:
        known, recipe = {}, {}
    return [_setting(key, value, known, recipe) for key, value in _leaves(spec, known)]


def _known(method: str, dataset: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Fields of a Spec by key, and the recipe that `resolve` would use."""
    from benchmarks.resolve import keys, spec_class
    from methods import METHODS

    recipes = METHODS.get(method).recipes
    return dict(keys(spec_class(method, dataset))), recipes.get(dataset, recipes.get("*", {}))


def _setting(key: str, value: Any, known: Mapping[str, Any], recipe: Mapping[str, Any]) -> Setting:
    if key not in known:
        return Setting(key, value, None, CHOSEN if key in NAMED else UNKNOWN, "")
    default = _plain(known[key].get_default(call_default_factory=True))
    usual = _plain(recipe.get(key, default))
    if key in LISTS and isinstance(usual, str):
        usual = [usual]
    origin = RECIPE if key in recipe else DEFAULT
    doc = " ".join((known[key].description or "").split())
    return Setting(key, value, usual, origin if value == usual and key not in NAMED else CHOSEN, doc)


def _leaves(values: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value); a dictionary that is itself a value of a known key stays whole."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in known:
            yield from _leaves(value, known, f"{key}.")
        else:
            yield key, value


def _plain(value: Any) -> Any:
    """A default as YAML would give it back."""
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return value


def as_word(key: str, value: Any) -> str:
    """A value as the command line takes it, without loss."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if key in LISTS and isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, list):
        return f"[{','.join(as_word('', item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {as_word('', item)}" for name, item in value.items()) + "}"
    return repr(value) if isinstance(value, float) else str(value)


def command(run: RunFolder, chosen: list[Setting]) -> Command:
    """The words that make `run` again, from its `settings`. Folders are left to whoever types it."""
    spec, starts = run.spec(), run.starts()
    plugins = [plugin["file"] for plugin in run.data().get("plugins", [])] if _has_data(run) else []
    values = {"method": spec["method"]["name"], "dataset": spec["dataset"]["name"], "seed": spec.get("seed", 0)}
    changed = {s.key: s.value for s in chosen if s.origin in (CHOSEN, UNKNOWN) and s.key not in NAMED}
    words = {key: as_word(key, value) for key, value in {**values, **changed}.items()}
    folders = [*(f"plugin={file}" for file in plugins), *(["data=DIR"] if needs_files(values["dataset"]) else [])]
    text = shlex.join(["python", "run.py", *folders, *(f"{key}={word}" for key, word in words.items())])
    commit = starts[-1].get("commit") if starts else None
    return Command(text, commit, _remark(run, words, commit))


def _has_data(run: RunFolder) -> bool:
    return (run.path / "data.json").exists()


def needs_files(dataset: str) -> bool:
    """Whether a folder must be named for the dataset."""
    from datasets import DATASETS

    try:
        return bool(DATASETS.get(dataset).folder)
    except CCReIDError:  # of a plugin that is not loaded: it may well need some
        return True


def _remark(run: RunFolder, words: Mapping[str, str], commit: str | None) -> str:
    """What `resolve` makes of the words, where that is not the run's id."""
    from benchmarks.resolve import resolve
    from benchmarks.words import NAMES

    try:
        values = {NAMES.get(key, key): read_value(key, word) for key, word in words.items()}
        found = resolve(values).spec.run_id
    except CCReIDError as error:
        return f"This version of the program refuses these words ({error}): check out the run's commit."
    if found != run.run_id:
        return f"This version of the program calls the result {found}: its defaults or recipes are others by now."
    if commit and commit.endswith("+"):
        return "Files differed from the commit when the run was started."
    return ""
