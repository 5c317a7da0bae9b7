"""What is shown of a query: its image, and for each run a line of gallery entries with verdicts, and a caption."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.comparison import run_names
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened, reopen
from benchmarks.selection import ORACLE
from datasets.base import Samples, UInt8Array
from datasets.errors import UsageError

from ..heads import shown_image
from .captions import strip_caption
from .ignored import HiddenEntries
from .lists import Lists, read_lists

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 20
"""Entries in a line; more would not be seen."""


@dataclass(frozen=True)
class Options:
    """How strips are made."""

    k: int = 10
    """Gallery entries in a line."""
    show_ignored: bool = False
    """Also show, greyed and without a rank, what the protocol hides from the query."""
    blur_faces: bool = False
    """Hide heads."""
    labels: bool = True
    """Write distance, person, clothes and camera under each image."""
    selection: str | None = None
    """Whose lists: last, validation, oracle; None: each run's headline."""
    places: Mapping[str, Any] = field(default_factory=dict)
    """data, mask_folder, cache, device: where the images lie, when not where the run's last start found them."""

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST:
            raise UsageError(f"k={self.k}: choose 1 to {MOST} gallery images.")


class Verdict(Enum):
    QUERY = "query"
    CORRECT = "correct"
    WRONG = "wrong"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Entry:
    """An image and what is known of it; of a tracklet, its middle image."""

    path: str
    person: int
    clothes: int
    """-1 where unlabelled."""
    camera: int
    """-1 where the dataset has none."""
    verdict: Verdict
    distance: float = float("nan")
    """NaN for the query itself."""
    rank: int | None = None
    """From 1; None where the entry has none."""


@dataclass(frozen=True)
class Line:
    """One run's nearest entries."""

    run: str
    """Its id."""
    name: str
    """What its configuration is called, with the seed where several are shown."""
    selection: str
    average_precision: float
    entries: tuple[Entry, ...]

    @property
    def score(self) -> str:
        """«AP 12.3», with a dagger where the epoch was chosen on the test set."""
        value = self.average_precision
        score = f"AP {100 * value:.1f}" if value == value else "AP –"
        return f"{score} †" if self.selection == ORACLE else score


@dataclass(frozen=True)
class Strip:
    """One query and a line for each run."""

    name: str
    """File name without its ending: letters, digits, hyphens, dots, underscores."""
    caption: str
    """Plain text: dataset, protocol, query, and of each run its selection and the query's average precision."""
    row: int
    """Of the query split, or the number of the tracklet."""
    query: Entry
    lines: tuple[Line, ...]
    options: Options
    read: Callable[[str], UInt8Array] = field(repr=False, compare=False)
    """Image path → [H, W, 3], heads hidden where that was asked for. Raises DataError."""

    def image(self) -> "Image":
        """The strip, drawn, up to 1600 pixels wide. Raises DataError where the dataset's images are not there."""
        from .drawing import draw_image

        return draw_image([self])


def strips(
    runs: Sequence[RunFolder],
    protocol: str,
    queries: Sequence[int],
    options: Options | None = None,
    names: Sequence[str] | None = None,
) -> list[Strip]:
    """One for each of `queries`, a line for each of `runs`. Images are read when a strip is drawn.

    `names`: what the runs are called, where more configurations than these are told apart.

    Raises UsageError where the runs do not go together or a query does not exist.
    """
    options = options or Options()
    lists = read_lists(runs, protocol, options.selection)
    opened = [reopen(run, options.places, _ignore_events) for run in runs]
    read = _reader(opened[0], options)
    hidden: list[HiddenEntries | None] = [None] * len(lists)
    if options.show_ignored:
        hidden = [HiddenEntries.of(one, again) for one, again in zip(lists, opened, strict=True)]
    names = names or run_names(runs)
    return [_strip(lists, hidden, names, row, options, read) for row in queries]


def _ignore_events(event: Mapping[str, Any]) -> None:
    """Reading images says nothing."""


def _reader(reopened: Reopened, options: Options) -> Callable[[str], UInt8Array]:
    @lru_cache(maxsize=256)
    def read(path: str) -> UInt8Array:
        return shown_image(reopened, path, blur_faces=options.blur_faces)

    return read


def _strip(
    lists: Sequence[Lists],
    hidden: Sequence[HiddenEntries | None],
    names: Sequence[str],
    row: int,
    options: Options,
    read: Callable[[str], UInt8Array],
) -> Strip:
    first = lists[0]
    asked = first.query.entries
    if not 0 <= row < len(asked):
        raise UsageError(f"Query {row} does not exist: {first.protocol.name} has the queries 0 … {len(asked) - 1}.")
    query = _entry(asked, row, Verdict.QUERY)
    lines = tuple(
        Line(
            one.run.run_id,
            name,
            one.selection,
            float(one.ranking.average_precision[row]),
            _entries(one, row, options.k, behind),
        )
        for one, name, behind in zip(lists, names, hidden, strict=True)
    )
    stem = query.path.rpartition("/")[2].rpartition(".")[0]
    name = file_name(f"strip-{first.protocol.name}-{row:05d}-{stem}")
    return Strip(name, strip_caption(lists, query, lines, row), row, query, lines, options, read)


def _entries(lists: Lists, row: int, k: int, hidden: HiddenEntries | None) -> tuple[Entry, ...]:
    """The first `k` of the recorded list, with what is hidden from the query in its place by distance."""
    ranking, gallery = lists.ranking, lists.gallery.entries
    index, distance = ranking.top_index[row], ranking.top_distance[row].astype(np.float64)
    count = int((index >= 0).sum())
    verdicts = [Verdict.CORRECT if correct else Verdict.WRONG for correct in ranking.top_correct[row, :count]]
    found = [
        _entry(gallery, int(index[place]), verdicts[place], float(distance[place]), place + 1) for place in range(count)
    ]
    if hidden is not None:
        behind, distances = hidden.nearest(row, k)
        for entry, away in reversed(list(zip(behind[:k].tolist(), distances[:k].tolist(), strict=True))):
            place = int(np.searchsorted(distance[:count], away))
            found.insert(place, _entry(gallery, entry, Verdict.IGNORED, away))
    return tuple(found[:k])


def _entry(
    samples: Samples, row: int, verdict: Verdict, distance: float = float("nan"), rank: int | None = None
) -> Entry:
    person, clothes, camera = (int(column[row]) for column in (samples.person, samples.clothes, samples.camera))
    return Entry(samples.paths[row], person, clothes, camera, verdict, distance, rank)


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)[:100].rstrip(".-")
