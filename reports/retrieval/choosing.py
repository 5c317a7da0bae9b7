"""Which queries are shown: named ones, random ones, the worst, the best, or those on which two runs disagree most."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.records import RunFolder
from datasets.base import IntArray
from datasets.errors import UsageError, did_you_mean

from .lists import Lists, read_lists

KINDS = WORST, BEST, RANDOM, DISAGREE = ("worst", "best", "random", "disagree")
SEED = 0
"""Of `random:N`: the same queries for every run and every day."""


@dataclass(frozen=True)
class Chosen:
    rows: list[int]
    """Rows of the query split, or numbers of its tracklets under a protocol that pools."""
    remarks: list[str]
    """Sentences about what was asked for and is not shown."""


def choose_queries(runs: Sequence[RunFolder], protocol: str, how: str, selection: str | None = None) -> list[int]:
    """Queries of `protocol` that have a match, in the order in which they are shown.

    `how`: worst:N and best:N, by average precision, mean over the runs; random:N; disagree:N, where the first and the
    last run disagree most, half of them in favour of each; these take one query a person at most. Or a comma list of
    rows and of parts of image paths. Raises UsageError for anything else.
    """
    return choose(read_lists(runs, protocol, selection), how).rows


def choose(lists: Sequence[Lists], how: str) -> Chosen:
    """As `choose_queries`, with what is to be said about it."""
    kind, colon, count = how.partition(":")
    if colon and kind in KINDS:
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UsageError(f"queries={how}: write a number of queries behind the colon, such as {kind}:12.")
        return _by_kind(lists, kind, int(count))
    if colon and not any(how in path for path in lists[0].query.images.paths):
        raise UsageError(
            f"Unknown way of choosing queries={how}.{did_you_mean(kind, KINDS)} "
            f"Available: {', '.join(f'{name}:N' for name in KINDS)}, or rows and parts of image paths."
        )
    return _named(lists, how)


def check_kind(how: str) -> None:
    """Raise UsageError for a misspelt kind, before anything is read: «wurst:4»."""
    kind, colon, count = how.partition(":")
    if colon and count.isascii() and count.isdigit() and kind not in KINDS:
        raise UsageError(
            f"Unknown way of choosing queries={how}.{did_you_mean(kind, KINDS)} "
            f"Available: {', '.join(f'{name}:N' for name in KINDS)}, or rows and parts of image paths."
        )


def _by_kind(lists: Sequence[Lists], kind: str, count: int) -> Chosen:
    person = lists[0].query.entries.person
    precision = np.stack([one.ranking.average_precision for one in lists])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
        mean = np.nanmean(precision, axis=0)
    valid = np.flatnonzero(_has_match(lists))
    if kind == RANDOM:
        order = np.random.default_rng(SEED).permutation(valid)
        rows = sorted(_one_a_person(order, person)[:count])
    elif kind == DISAGREE:
        rows = _most_different(precision[-1] - precision[0], valid, person, count, [one.run.run_id for one in lists])
    else:
        order = valid[np.argsort(mean[valid] * (1 if kind == WORST else -1), kind="stable")]
        rows = _one_a_person(order, person)[:count]
    if not rows:
        raise UsageError(f"No query of {lists[0].protocol.name} can be shown for queries={kind}:{count}.")
    fewer = f"{len(rows)} queries are shown and not {count}: there are no more, with one a person."
    return Chosen(rows, [fewer] if len(rows) < count else [])


def _most_different(gain: np.ndarray, valid: IntArray, person: IntArray, count: int, names: list[str]) -> list[int]:
    """Half of `count` where the last run is better, then half where the first is; one side fills up for the other."""
    if len(names) < 2:
        raise UsageError("queries=disagree:N needs two runs: run=ID,ID.")
    order = valid[np.argsort(-np.abs(gain[valid]), kind="stable")]
    better = [row for row in _one_a_person(order, person) if gain[row] > 0]
    worse = [row for row in _one_a_person(order, person) if gain[row] < 0]
    half = min(len(better), max((count + 1) // 2, count - len(worse)))
    return better[:half] + worse[: count - half]


def _one_a_person(rows: Iterable[int], person: IntArray) -> list[int]:
    """The first of `rows` of each person, in their order."""
    seen: dict[int, int] = {}
    for row in rows:
        seen.setdefault(int(person[row]), int(row))
    return list(seen.values())


def _has_match(lists: Sequence[Lists]) -> np.ndarray:
    """[queries] whether the query counts, which is the same in every run: labels decide it."""
    return np.all([one.ranking.matches > 0 for one in lists], axis=0)


def _named(lists: Sequence[Lists], how: str) -> Chosen:
    """Rows, and parts of image paths."""
    first, counts = lists[0], _has_match(lists)
    rows = list(dict.fromkeys(_find(first, word.strip()) for word in how.split(",")))
    without = [row for row in rows if not counts[row]]
    remarks = [
        f"query {row} ({first.query.entries.paths[row]}) has no valid match under {first.protocol.name}: left out."
        for row in without
    ]
    rows = [row for row in rows if counts[row]]
    if not rows:
        raise UsageError(f"No query of queries={how} has a valid match under {first.protocol.name}: choose others.")
    return Chosen(rows, remarks)


def _find(lists: Lists, word: str) -> int:
    """One row. A path, or a file's name without its ending, goes before a part of a longer one."""
    paths = lists.query.images.paths
    total = len(lists.query.entries)
    if word.isascii() and word.isdigit():
        if int(word) >= total:
            raise UsageError(f"queries={word}: {lists.protocol.name} has the queries 0 … {total - 1}.")
        return int(word)
    exact = [image for image, path in enumerate(paths) if word in (path, path.rpartition("/")[2].rpartition(".")[0])]
    part = [image for image, path in enumerate(paths) if word and word in path]
    found = list(dict.fromkeys(lists.query.entry_of(image) for image in exact or part))
    if not found:
        raise UsageError(
            f"queries={word} is neither a row nor part of the path of a query, and {', '.join(KINDS)} need a number: "
            f"worst:12.{'' if word in KINDS else did_you_mean(word, KINDS)}"
        )
    if len(found) > 1:
        shown = ", ".join(lists.query.entries.paths[row] for row in found[:3])
        raise UsageError(f"queries={word} is part of {len(found)} paths ({shown}, …): write more of one.")
    return found[0]
