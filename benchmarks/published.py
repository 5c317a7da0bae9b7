"""What the papers report, from `suites/published.yaml`: each number with its source, or «unknown»."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from datasets.config import Strict
from datasets.errors import DataError

FILE = Path(__file__).parent / "suites" / "published.yaml"
UNKNOWN = "unknown"


def _unknown_as_none(value: Any) -> Any:
    return None if value == UNKNOWN else value


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]
Text = Annotated[str, Field(pattern=r"\S")]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Score = Annotated[Percent | None, BeforeValidator(_unknown_as_none)]


class Result(Strict):
    """One cell pair of a table."""

    dataset: Name
    """Name in the registry."""
    protocol: Name
    """Name that the dataset's adapter gives to the convention which the paper follows."""
    row: Text | None = None
    """Row of an ablation table; None: the method as the paper proposes it."""
    R1: Score
    """Rank-1 in percent; None: unknown."""
    R5: Score = None
    mAP: Score  # noqa: N815 (as in `Ranking.scores`)
    """In percent; None: unknown."""
    note: Text | None = None
    """What a reader should know before comparing."""


class Provenance(Strict):
    method: Name
    """Name in the registry, or what it would be there."""
    backbone: Text = UNKNOWN
    inputs: Text = UNKNOWN
    """What the method sees besides images and identities."""
    selection: Literal["last", "validation", "oracle", "unknown"] = UNKNOWN
    """Which epoch the numbers are of, as in `select.rule`."""
    source: Text
    """Paper or text, and the table in it."""
    certainty: Literal["paper", "secondary", "memory", "unknown"]
    """paper: read in the authors' own paper or repository; secondary: in someone else's text; memory: known by heart
    and not looked up again, which a table should show in grey; unknown: no number is."""


class Published(Provenance, Result):
    """A result and where it comes from."""

    def printed(self, score: Literal["R1", "R5", "mAP"]) -> str:
        """In percent with one decimal, as the papers print it, or «unknown»."""
        value: float | None = getattr(self, score)
        return UNKNOWN if value is None else f"{value:.1f}"


class Source(Provenance):
    """An entry of the file: results of one method that come from one place."""

    results: Annotated[tuple[Result, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _certain_of_something(self) -> Self:
        known = any(value is not None for result in self.results for value in (result.R1, result.R5, result.mAP))
        if known == (self.certainty == UNKNOWN):
            raise ValueError("certainty is unknown exactly where all numbers are")
        return self


def load_published(path: Path = FILE) -> tuple[Published, ...]:
    """All results of the file, in its order.

    Raises DataError where the file is missing, not what it should be, or holds two results for the same cell.
    """
    try:
        sources = TypeAdapter(tuple[Source, ...]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())}): restore or mend it.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: entry {where}: {first['msg']}; mend that entry (they count from 0).") from None
    entries: dict[tuple, Published] = {}
    for source in sources:
        shared = source.model_dump(exclude={"results"})
        for result in source.results:
            entry = Published(**shared, **result.model_dump())
            cell = (entry.method, entry.row, entry.dataset, entry.protocol)
            if cell in entries:
                said = ", ".join(str(part) for part in cell if part)
                raise DataError(f"{path} has two results for {said}: keep one and name the other in its note.")
            entries[cell] = entry
    return tuple(entries.values())


def find(
    entries: Iterable[Published], *, method: str | None = None, dataset: str | None = None, protocol: str | None = None
) -> list[Published]:
    """The entries of a method, a dataset, a protocol, or any combination; rows of ablations too."""
    wanted = {"method": method, "dataset": dataset, "protocol": protocol}
    return [entry for entry in entries if all(value in (None, getattr(entry, name)) for name, value in wanted.items())]


def headline(entries: Iterable[Published], method: str, dataset: str, protocol: str) -> Published | None:
    """What the paper reports for the method as it proposes it; None where nothing at all is recorded."""
    found = find(entries, method=method, dataset=dataset, protocol=protocol)
    return next((entry for entry in found if entry.row is None), None)
