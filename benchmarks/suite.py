"""A paper's table as data, `suites/NAME.yaml`: which rows, under which protocols of which datasets, and what was
published of each. Light to import: no torch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from datasets import DATASETS
from datasets.config import Strict
from datasets.errors import DataError, UsageError, did_you_mean
from methods import METHODS

from .published import Name, Published, Text, find

FOLDER = Path(__file__).parent / "suites"
PUBLISHED = "published"
"""Name of the file beside the suites that holds the published numbers."""

Metric = Literal["mAP", "R1", "R5", "R10", "R20", "mINP"]
Changes = dict[str, Any]
"""Dotted keys of the Spec → values."""


class Column(Strict):
    """One protocol of one dataset."""

    dataset: Name
    """Name in the registry."""
    protocol: Name
    """Name that the dataset's adapter gives to it."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("mAP", "R1")
    """In the order of the table."""


class Reference(Strict):
    """Where the published numbers of a row stand in published.yaml; the numbers themselves stand only there."""

    method: Name
    row: Text | None = None
    """Row of the paper's ablation table; None: the method as the paper proposes it."""


class Row(Strict):
    """A line of the table: run here, published, or both."""

    name: Text
    """As the table prints it."""
    method: Name | None = None
    """Name in the registry; None: the row is only published."""
    ablation: Text | None = None
    """Row of the method's ablation table, or `without_TERM`."""
    set: Changes = {}
    """What else the row changes of the method's recipe."""
    published: Reference | None = None

    @model_validator(mode="after")
    def _run_or_published(self) -> Self:
        if self.method is None and (self.ablation or self.set):
            raise ValueError("ablation and set change a method: name one")
        if self.method is None and self.published is None:
            raise ValueError("a row has a method, published numbers, or both")
        return self


class Size(Strict):
    """What a smaller version of a suite has instead."""

    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    set: Changes = {}


class Suite(Strict):
    """A table: its rows are methods and configurations, its columns protocols."""

    name: str = ""
    """Of the file; not written in it."""
    title: Text
    source: Text
    """The paper and its table, or who put the table together."""
    note: Text | None = None
    """What a reader should know before comparing."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Of every row that is run here, unless the command line says otherwise."""
    set: Changes = {}
    """What all rows change of their recipes."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    reduced: Size | None = None
    """The same table in a minute or two, `reduced=true`: it shows that everything works, and nothing else."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, names in (
            ("row", [row.name for row in self.rows]),
            ("column", [f"{column.dataset} {column.protocol}" for column in self.columns]),
        ):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"the {what} {twice[0]} is there twice")
        return self

    @property
    def datasets(self) -> list[str]:
        """In the order of the columns."""
        return list(dict.fromkeys(column.dataset for column in self.columns))

    def columns_of(self, dataset: str) -> list[Column]:
        return [column for column in self.columns if column.dataset == dataset]

    def at_reduced_size(self) -> "Suite":
        """Raises UsageError where the suite has none."""
        if self.reduced is None:
            raise UsageError(f"suite={self.name} has no reduced size: leave out reduced=true.")
        said = {"name": f"{self.name}-reduced", "title": f"{self.title}, reduced", "reduced": None}
        return self.model_copy(update={**dict(self.reduced), **said})

    def only(self, datasets: Sequence[str] = (), methods: Sequence[str] = ()) -> "Suite":
        """The part with these datasets, and of the rows that are run those of these methods; () takes all.

        Raises UsageError for a name that the suite does not have.
        """
        for what, wanted, there in (
            ("dataset", datasets, self.datasets),
            ("method", methods, list(dict.fromkeys(row.method for row in self.rows if row.method))),
        ):
            for name in wanted:
                if name not in there:
                    hint = did_you_mean(name, there)
                    raise UsageError(f"suite={self.name} has no {what} {name}.{hint} It has: {', '.join(there)}.")
        columns = tuple(column for column in self.columns if not datasets or column.dataset in datasets)
        rows = tuple(row for row in self.rows if not methods or row.method is None or row.method in methods)
        return self.model_copy(update={"columns": columns, "rows": rows})


def published_of(suite: Suite, row: Row, entries: Sequence[Published]) -> dict[tuple[str, str], Published]:
    """(dataset, protocol) → what is recorded of the row, for the columns of the suite."""
    if row.published is None:
        return {}
    columns = {(column.dataset, column.protocol) for column in suite.columns}
    found = find(entries, method=row.published.method)
    return {
        (entry.dataset, entry.protocol): entry
        for entry in found
        if entry.row == row.published.row and (entry.dataset, entry.protocol) in columns
    }


# --- files ---


def suite_names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.yaml") if file.stem != PUBLISHED)


def suites() -> Iterator[Suite]:
    for name in suite_names():
        yield load_suite(name)


def load_suite(name: str) -> Suite:
    """One of `suites/`, or a file of the user's that ends in .yaml.

    Raises UsageError where there is none, DataError where its file is not what it should be.
    """
    if name.endswith(".yaml"):
        file = Path(name).expanduser()
        if not file.is_file():
            raise UsageError(f"suite={name}: there is no such file.")
    else:
        known = suite_names()
        if name not in known:
            raise UsageError(f"Unknown suite {name}.{did_you_mean(name, known)} Available: {', '.join(known)}.")
        file = FOLDER / f"{name}.yaml"
    try:
        suite = Suite.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read ({' '.join(str(error).split())}): restore or mend it.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the suite"
        raise DataError(f"{file}: {where}: {first['msg']}; mend that entry (lists count from 0).") from None
    _require_known_names(suite, file)
    return suite.model_copy(update={"name": file.stem})


def _require_known_names(suite: Suite, file: Path) -> None:
    rows = [*suite.rows, *(suite.reduced.rows if suite.reduced else ())]
    for registry, names in (
        (DATASETS, suite.datasets),
        (METHODS, [row.method for row in rows if row.method]),
    ):
        for name in names:
            if name not in registry.entries:
                hint = did_you_mean(name, registry.entries)
                raise DataError(f"{file} names the {registry.kind} {name}, which is not known.{hint}")
