"""What runs recorded of each query's nearest gallery entries, with the images' paths and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from benchmarks.evidence import Ranking
from benchmarks.pooling import runs as tracklets_of
from benchmarks.records import RunFolder
from benchmarks.splits import load_samples
from datasets.base import Ignore, IntArray, Protocol, Samples
from datasets.errors import DataError, UsageError, did_you_mean


@dataclass(frozen=True)
class Split:
    """One side of a ranking."""

    images: Samples
    """Every image of the split."""
    entries: Samples
    """What is ranked, one row each: the images; under a protocol that pools, tracklets by their middle image."""
    starts: IntArray
    """[entries] row of `images` where each begins."""

    def entry_of(self, image: int) -> int:
        """The entry that a row of `images` belongs to."""
        return int(np.searchsorted(self.starts, image, side="right")) - 1


@dataclass(frozen=True)
class Lists:
    """One run's evidence under one protocol."""

    run: RunFolder
    protocol: Protocol
    selection: str
    ranking: Ranking
    query: Split
    gallery: Split


def read_lists(runs: Sequence[RunFolder], protocol: str, selection: str | None = None) -> list[Lists]:
    """One for each run; `selection`: by default each run's headline.

    Raises UsageError where there is no such ranking and where the runs were not asked the same queries of the same
    images.
    """
    if not runs:
        raise UsageError("Say of which runs: run=ID, or run=ID,ID for a row each.")
    found = [_read(run, protocol, selection) for run in runs]
    first = found[0]
    for other in found[1:]:
        if other.run.spec()["dataset"] != first.run.spec()["dataset"]:
            raise UsageError(
                f"{first.run.run_id} and {other.run.run_id} are of different datasets: name runs of one dataset "
                f"with the same options."
            )
        if not (_alike(first.query, other.query) and _alike(first.gallery, other.gallery)):
            raise UsageError(
                f"{first.run.run_id} and {other.run.run_id} were asked different queries or galleries under "
                f"{protocol}: name runs on the same files."
            )
    return found


def common_protocol(runs: Sequence[RunFolder], selection: str | None = None) -> str:
    """The first protocol that all runs were scored under: the dataset's headline, as a rule."""
    scored = [_scored(run, selection or run.headline) for run in runs]
    common = [name for name in scored[0] if all(name in of_run for of_run in scored)] if scored else []
    if not common:
        which = ", ".join(run.run_id for run in runs)
        raise UsageError(f"No protocol was scored in all of {which}: `show run=ID` prints what was.")
    return common[0]


def _read(run: RunFolder, protocol: str, selection: str | None) -> Lists:
    selection = selection or run.headline
    scored = _scored(run, selection)
    if protocol not in scored:
        raise UsageError(
            f"{run.run_id} was not scored under {protocol}.{did_you_mean(protocol, scored)} "
            f"Available: {', '.join(scored)}."
        )
    described = _described(run, protocol)
    ranking = Ranking.load(run.ranking(protocol, selection))
    query, gallery = (_split(load_samples(run.split(name)), described) for name in (described.query, described.gallery))
    nearest = ranking.top_index.max(initial=-1)
    if len(ranking.matches) != len(query.entries) or nearest >= len(gallery.entries):
        raise DataError(
            f"{run.ranking(protocol, selection)} is of other images than {run.split(described.query)} and "
            f"{run.split(described.gallery)} list: evaluate the run again."
        )
    return Lists(run, described, selection, ranking, query, gallery)


def _scored(run: RunFolder, selection: str) -> list[str]:
    """The protocols under which `selection` was scored. Raises UsageError where there are none."""
    rows = run.scores()
    if not rows:
        raise UsageError(f"{run.run_id} has no scores, it is {run.status()['state']}: run it to its end first.")
    have = dict.fromkeys(str(row["selection"]) for row in rows)
    if selection not in have:
        raise UsageError(
            f"{run.run_id} has no selection {selection}.{did_you_mean(selection, have)} Available: {', '.join(have)}."
        )
    return [row["protocol"] for row in rows if row["selection"] == selection]


def _described(run: RunFolder, name: str) -> Protocol:
    """The protocol as the run recorded it."""
    recorded: dict[str, Any] = next((one for one in run.data().get("protocols", []) if one["name"] == name), {})
    try:
        flags = str(recorded["ignore"]).removeprefix("Ignore.").split("|")
        return Protocol(**dict[str, Any](recorded, ignore=reduce(or_, (Ignore[flag] for flag in flags))))
    except (KeyError, TypeError):
        raise DataError(
            f"{run.path / 'data.json'} does not say what {name} compares: it is of another version; run it again."
        ) from None


def _split(samples: Samples, protocol: Protocol) -> Split:
    if protocol.pool is None or samples.tracklet is None:
        return Split(samples, samples, np.arange(len(samples)))
    starts, lengths = tracklets_of(samples.tracklet)
    middle = samples.take(starts + lengths // 2)
    first = samples.take(starts)  # a tracklet is ranked with the labels of its first image
    return Split(samples, replace(first, paths=middle.paths), starts)


def _alike(one: Split, other: Split) -> bool:
    a, b = one.entries, other.entries
    labels = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("person", "camera", "clothes"))
    return one.images.paths == other.images.paths and labels
