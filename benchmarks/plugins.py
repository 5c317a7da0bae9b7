"""A method or a dataset from a Python file that lies anywhere: `plugin=FILE` on the command line.

The file registers its class as those of this project do, `@METHODS.register("mine")`, and is from then on one of them.
It is read once: the bytes that run are the bytes whose SHA-256 the run's data.json holds, and a run goes on, or is
evaluated, only with those. What the file itself imports is not watched.
"""

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import DATASETS
from datasets.base import ReIDDataset
from datasets.errors import CCReIDError, UsageError
from datasets.registry import Entry
from methods import METHODS
from methods.base import Method, MethodConfig

from .records import RunFolder

REGISTRIES = (METHODS, DATASETS)


@dataclass(frozen=True)
class Plugin:
    file: Path
    sha256: str
    provides: frozenset[tuple[str, str]]
    """("method" or "dataset", name) of each class that it registers."""


_loaded: dict[str, Plugin] = {}
LONGEST_NAME = 80
"""Bytes: a run's folder is called by the dataset, the method, a hash and the seed."""
"""By the name of the module."""


class _Bytes(importlib.abc.SourceLoader):
    """Runs bytes that are already read; never a compiled file of an older version."""

    def __init__(self, file: Path, content: bytes):
        self.file, self.content = file, content

    def get_filename(self, fullname: str) -> str:
        return str(self.file)

    def get_data(self, path: str | bytes) -> bytes:
        return self.content


def load_plugin(file: Path) -> Plugin:
    """Import `file` and make known what it registers. Raises UsageError where that is not possible, or nothing."""
    if not file.is_file() or file.suffix != ".py":
        raise UsageError(f"plugin={file}: there is no such Python file (.py).")
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name = f"plugin_{digest[:16]}"
    if name not in _loaded:
        try:
            _loaded[name] = Plugin(file, digest, _registered(name, file, content))
        except BaseException:
            _forget(name)
            raise
    return _loaded[name]


def loaded_files() -> list[Path]:
    """Of the plugins that are loaded: another process of this program loads them, too."""
    return [plugin.file.resolve() for plugin in _loaded.values()]


def _registered(name: str, file: Path, content: bytes) -> frozenset[tuple[str, str]]:
    """Run the file as module `name`; what it registered."""
    loader = _Bytes(file.resolve(), content)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=str(loader.file))
    spec.has_location = True  # so that the module has a __file__, where pydantic finds the documentation of fields
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's code raises, sys.exit() too
        raise UsageError(f"{_place(file, error)} fails to import: {_reason(error)}.") from None
    provides = set()
    for registry in REGISTRIES:
        for key, kind in _classes(registry, name).items():
            if key in registry.entries:
                raise UsageError(f"plugin={file}: there is a {registry.kind} {key} already, choose another name.")
            of_kind = _problem_of_method if registry is METHODS else _problem_of_dataset
            if problem := _problem_of_name(key) or of_kind(kind):
                raise UsageError(f"plugin={file}: the {registry.kind} {key} {problem}.")
            title = (kind.__doc__ or module.__doc__ or "").strip().partition("\n")[0]
            registry.entries[key] = Entry(key, name, title)
            provides.add((registry.kind, key))
    if not provides:
        raise UsageError(
            f'plugin={file} registers nothing: write @METHODS.register("name") or @DATASETS.register("name") above a '
            "class."
        )
    return frozenset(provides)


def _problem_of_name(name: str) -> str:
    """Why a name can't stand in a run's folder and on a command line, as the rest of a sentence; empty where it can."""
    if not name.isprintable() or set(name) & set("/\\,=") or name.strip(" .") != name or not name:
        return (
            "has a name that cannot be a folder's or an item of a list: leave out / \\ , = and a dot or space at an end"
        )
    if len(name.encode()) > LONGEST_NAME:
        return f"has a name that is too long for a folder's: use at most {LONGEST_NAME} bytes"
    return ""


def _problem_of_method(kind: type) -> str:
    """Why a class cannot serve as a method, as the rest of a sentence; empty where it can."""
    if not issubclass(kind, Method):
        return f"is no subclass of methods.base.Method: write class {kind.__name__}(Method)"
    if not (isinstance(kind.Config, type) and issubclass(kind.Config, MethodConfig)):
        return "has a Config that is no subclass of methods.base.MethodConfig"
    if kind.embed is Method.embed:
        return "has no embed, whose features are compared at test: write embed(self, images, cameras=None, **extras)"
    if kind.phases and kind.losses is Method.losses:
        return 'has no losses: write losses(self, batch, phase="model"), or phases = () where nothing is trained'
    try:
        inspect.signature(kind).bind(None, None)
    except TypeError:
        return "cannot be built from a configuration and the facts: write __init__(self, config, facts)"
    return ""


def _problem_of_dataset(kind: type) -> str:
    """The same for a dataset."""
    if not issubclass(kind, ReIDDataset):
        return f"is no subclass of datasets.base.ReIDDataset: write class {kind.__name__}(ReIDDataset)"
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    return f"lacks what datasets.base.ReIDDataset asks for: write {', '.join(missing)}" if missing else ""


def _classes(registry: Any, module: str) -> dict[str, type]:
    """What `module` registered there, and not what it imported."""
    return {key: kind for key, kind in registry._classes.items() if kind.__module__ == module}


def _forget(name: str) -> None:
    sys.modules.pop(name, None)
    for registry in REGISTRIES:
        for key in _classes(registry, name):
            del registry._classes[key]
            if key in registry.entries and registry.entries[key].module == name:
                del registry.entries[key]


def failing_plugin(error: BaseException) -> UsageError | None:
    """The sentence for an error that passed through a plugin's code, with the line; None where it did not."""
    if isinstance(error, CCReIDError):
        return None
    passed = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    for plugin in _loaded.values():
        if str(plugin.file.resolve()) in passed:
            return UsageError(f"{_place(plugin.file, error)} fails: {_reason(error)}.")
    return None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}"


def _place(file: Path, error: BaseException) -> str:
    """The plugin and, where it is known, the line that fails."""
    own = str(file.resolve())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == own else (lines or [None])[-1]
    return f"plugin={file}" if line is None else f"plugin={file}, line {line},"


# --- what a run was made with ---


def plugin_facts(method: str, dataset: str) -> dict[str, Any]:
    """What data.json says of the plugin that `method` or `dataset` comes from; empty where they come from none."""
    wanted = {("method", method), ("dataset", dataset)}
    used = [plugin for plugin in _loaded.values() if plugin.provides & wanted]
    return {"plugins": [{"file": plugin.file.name, "sha256": plugin.sha256} for plugin in used]} if used else {}


def require_same_plugins(run: RunFolder) -> None:
    """Raise UsageError unless the plugins that `run` was made with are loaded, unchanged."""
    recorded = run.data().get("plugins", []) if (run.path / "data.json").exists() else []
    loaded = {plugin.sha256 for plugin in _loaded.values()}
    for plugin in recorded:
        if plugin["sha256"] in loaded:
            continue
        if plugin["file"] not in {other.file.name for other in _loaded.values()}:
            raise UsageError(f"{run.run_id} was made with the plugin {plugin['file']}: say plugin={plugin['file']}.")
        raise UsageError(
            f"{plugin['file']} is not as it was when {run.run_id} was made: restore it (SHA-256 "
            f"{plugin['sha256'][:12]}…), or delete the run's folder to start again."
        )
