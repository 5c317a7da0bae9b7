"""What a run scored on each query, and whom the query shows: the evidence that statistics are made of."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from datasets.base import IntArray
from datasets.errors import DataError

from .evidence import RANKS, Ranking
from .records import RunFolder
from .splits import load_samples

SAMPLED = ("mAP", *(f"R{rank}" for rank in RANKS), "mINP")
"""What is known of every query, so that it has intervals and can be compared."""

Scores = Mapping[str, np.ndarray]


def query_scores(run: RunFolder, protocol: str) -> tuple[Scores, IntArray]:
    """Of the run's headline: metric → [Q] the score of each query, NaN where it does not count; [Q] whom it shows.

    A file is read once while it stays the same. Raises DataError where evidence is missing or does not fit together.
    """
    scores, person = _scores(run.ranking(protocol, run.headline)), _persons(run, protocol)
    if len(scores[SAMPLED[0]]) != len(person):
        raise DataError(f"{run.path} ranks other queries under {protocol} than its splits/ list: run it again.")
    return scores, person


def _scores(path: Path) -> Scores:
    try:
        state = path.stat()
    except OSError:
        raise DataError(f"{path} is missing: restore it, or delete the run's folder and run it again.") from None
    return _read_scores(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)  # a kilobyte or two for each hundred queries
def _read_scores(path: Path, changed: int, size: int) -> Scores:
    ranking = Ranking.load(path)
    hits = {f"R{rank}": ranking.hits(rank) for rank in RANKS}
    return {"mAP": ranking.average_precision, **hits, "mINP": ranking.inverse_negative_penalty}


def _persons(run: RunFolder, protocol: str) -> IntArray:
    """One query per image, or one per tracklet where tracklets are compared."""
    described = next((one for one in run.data().get("protocols", []) if one["name"] == protocol), None)
    if described is None:
        raise DataError(f"{run.path} does not say what {protocol} compares: it is of an older version; run it again.")
    path = run.split(described["query"])
    try:
        state = path.stat()
    except OSError:
        raise DataError(f"{path} is missing: restore it, or delete the run's folder and run it again.") from None
    return _read_persons(path, state.st_mtime_ns, state.st_size, described["pool"] is not None)


@lru_cache(maxsize=1024)
def _read_persons(path: Path, changed: int, size: int, by_tracklet: bool) -> IntArray:
    samples = load_samples(path)
    if not by_tracklet or samples.tracklet is None:
        return samples.person
    first = np.flatnonzero(np.r_[True, samples.tracklet[1:] != samples.tracklet[:-1]])
    return samples.person[first]
