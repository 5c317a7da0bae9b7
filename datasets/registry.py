"""A registry that can be listed without importing what it lists.

Names and titles are read from the source files, so that `--help` and `list` never import torch; a class's file is
imported when the class is asked for; a typo gets «did you mean». mmengine's Registry would do the middle part only, and
takes 0.9 s to import.
"""

import ast
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    name: str
    module: str
    title: str
    """First line of the module's docstring."""


class Registry:
    """The classes that the files of one package register with `@REGISTRY.register("name")`."""

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._classes: dict[str, Any] = {}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Name → entry, in alphabetical order of the names, found by reading the source files."""
        folder = Path(__file__).parent.parent / self.package
        found = [entry for file in folder.glob("*.py") for entry in _registered(file, f"{self.package}.{file.stem}")]
        return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: make the class known as `name`."""

        def add(kind: type[T]) -> type[T]:
            known = self._classes.setdefault(name, kind)
            if known.__qualname__ != kind.__qualname__ or known.__module__ != kind.__module__:
                raise ValueError(f"{self.kind} {name} is registered twice: {known} and {kind}")
            return kind

        return add

    def get(self, name: str) -> Any:
        """The class registered as `name`. Raises UsageError for an unknown name."""
        if name not in self._classes:
            if name not in self.entries:
                available = ", ".join(self.entries)
                raise UsageError(
                    f"Unknown {self.kind} {name}.{did_you_mean(name, self.entries)} Available: {available}."
                )
            importlib.import_module(self.entries[name].module)
        return self._classes[name]


def _registered(file: Path, module: str) -> list[Entry]:
    """The classes in `file` that carry a `@….register("name")` decorator.

    Each has the first line of the file's docstring as its title, or of its own where there are several.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [
        (str(decorator.args[0].value), node)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "register"
        and isinstance(decorator.args[0], ast.Constant)
    ]
    return [
        Entry(name, module, (ast.get_docstring(tree if len(found) == 1 else node) or "").partition("\n")[0])
        for name, node in found
    ]
