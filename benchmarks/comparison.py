"""From run folders to statistics: the seeds of one configuration together, configurations beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError, UsageError, did_you_mean

from .configuration_names import configuration_names
from .evidence import RANKS, Ranking
from .records import DONE, RunFolder, state_of
from .splits import load_samples
from .statistics import Comparison, Sample, compare

METRICS = ("mAP", "R1")
"""What the field compares methods by."""
SAMPLED = ("mAP", *(f"R{rank}" for rank in RANKS), "mINP")
"""What is known of every query, so that it has intervals and can be compared."""


@dataclass(frozen=True)
class Row:
    """The seeds of one configuration, trained and tested on the same files."""

    name: str
    """Method, and what sets the configuration apart where the method alone does not."""
    dataset: str
    runs: tuple[RunFolder, ...]
    """Finished. None: there are no protocols, no selections, no samples."""
    unfinished: tuple[RunFolder, ...] = ()
    """Failed, stopped, diverged or still running; their folders may lack anything but spec.yaml."""

    @property
    def selections(self) -> list[str]:
        """How the reported epoch of each seed was chosen, each way once."""
        return list(dict.fromkeys(run.headline for run in self.runs))

    def protocols(self) -> list[str]:
        """Those that every finished seed was scored under."""
        scored = [[row["protocol"] for row in run.scores() if row["selection"] == run.headline] for run in self.runs]
        return [name for name in scored[0] if all(name in of_run for of_run in scored)] if scored else []

    def sample(self, protocol: str, metric: str) -> Sample:
        """Every query's score in every seed. Raises DataError where the evidence is missing or does not fit together.

        Raises UsageError for a metric that is not one of SAMPLED.
        """
        if metric not in SAMPLED:
            raise UsageError(f"Unknown metric {metric}.{did_you_mean(metric, SAMPLED)} Known: {', '.join(SAMPLED)}.")
        if not self.runs:
            raise DataError(f"{self.name} on {self.dataset} has no finished run: repeat the command that started it.")
        scores = [_scores(run.ranking(protocol, run.headline))[metric] for run in self.runs]
        persons = [_persons(run, protocol) for run in self.runs]
        for run, person, score in zip(self.runs, persons, scores, strict=True):
            if len(score) != len(person):
                raise DataError(f"{run.path} ranks other queries under {protocol} than its splits/ list: run it again.")
            if not np.array_equal(person, persons[0]) or not np.array_equal(np.isnan(score), np.isnan(scores[0])):
                raise DataError(
                    f"{self.runs[0].path} and {run.run_id} were asked different queries under {protocol}: "
                    f"delete one of the runs and repeat it on the same files."
                )
        return Sample(np.stack(scores), persons[0])


def rows_of(runs: Sequence[RunFolder]) -> list[Row]:
    """One row per configuration and state of the dataset's files, in the order of its first run.

    Raises DataError where a finished run's data.json or spec.yaml cannot be read; an unfinished run's may be damaged.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(configuration(run), []).append(run)
    specs = {group: _spec(members) for group, members in groups.items()}
    names = configuration_names(specs)
    rows = []
    for group, members in groups.items():
        dataset = specs[group]["dataset"]["name"] if specs[group] else group.partition("-")[0]
        by_files = _by_files(members)
        for files, of_files in by_files:
            name = f"{names[group]} ({files})" if len(by_files) > 1 else names[group]
            finished = tuple(run for run in of_files if state_of(run) == DONE)
            rows.append(Row(name, dataset, finished, tuple(run for run in of_files if run not in finished)))
    return rows


def compared(a: Row, b: Row, protocol: str, metric: str) -> Comparison:
    """`a` minus `b`. Raises DataError where they were not asked the same queries."""
    try:
        return compare(a.sample(protocol, metric), b.sample(protocol, metric))
    except ValueError:
        raise DataError(
            f"{a.runs[0].run_id} and {b.runs[0].run_id} were not asked the same queries under {protocol}: "
            f"run one of them again on the other's files."
        ) from None


def configuration(run: RunFolder) -> str:
    """What the seeds of one configuration share: the run's id without its seed."""
    return run.run_id.rpartition("-s")[0]


def fingerprints(run: RunFolder) -> dict[str, str]:
    """Split → fingerprint of its files; none of a run that broke off before it had read them."""
    try:
        return {name: split["fingerprint"] for name, split in run.data().get("splits", {}).items()}
    except DataError:
        if state_of(run) == DONE:
            raise
        return {}


# --- evidence ---


def _scores(path: Path) -> Mapping[str, np.ndarray]:
    """Metric → [Q] the score of each query, NaN where it does not count. A file is read once while it stays the same.

    Raises DataError where `path` is not a ranking.
    """
    try:
        state = path.stat()
    except OSError:
        raise DataError(f"{path} is missing: restore it, or delete the run's folder and run it again.") from None
    return _read_scores(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)  # a kilobyte or two for each hundred queries
def _read_scores(path: Path, changed: int, size: int) -> Mapping[str, np.ndarray]:
    ranking = Ranking.load(path)
    hits = {f"R{rank}": ranking.hits(rank) for rank in RANKS}
    return {"mAP": ranking.average_precision, **hits, "mINP": ranking.inverse_negative_penalty}


def _persons(run: RunFolder, protocol: str) -> np.ndarray:
    """[Q] whom each query of a ranking shows: one per image, or one per tracklet where tracklets are compared."""
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
def _read_persons(path: Path, changed: int, size: int, by_tracklet: bool) -> np.ndarray:
    samples = load_samples(path)
    if not by_tracklet or samples.tracklet is None:
        return samples.person
    first = np.flatnonzero(np.r_[True, samples.tracklet[1:] != samples.tracklet[:-1]])
    return samples.person[first]


def _by_files(members: Sequence[RunFolder]) -> list[tuple[str, list[RunFolder]]]:
    """(how the files are told apart, runs) of each state of the dataset that a configuration was run on.

    Runs that had read nothing yet stand with the first.
    """
    groups: list[tuple[dict[str, str], list[RunFolder]]] = []
    for run in sorted(members, key=lambda run: not fingerprints(run)):
        found = fingerprints(run)
        for known, of_files in groups:
            if all(known.get(split, fingerprint) == fingerprint for split, fingerprint in found.items()):
                known |= found
                of_files.append(run)
                break
        else:
            groups.append((found, [run]))
    changed = [split for split in groups[0][0] if len({known.get(split) for known, _ in groups}) > 1]
    return [
        (
            f"{changed[0]} files {known.get(changed[0], 'unknown')[:8]}" if changed else "",
            [run for run in members if run in of_files],
        )
        for known, of_files in groups
    ]


def _spec(members: Sequence[RunFolder]) -> dict[str, Any]:
    """The configuration of the first run that can tell it; empty where only damaged, unfinished ones are left."""
    for run in sorted(members, key=lambda run: state_of(run) != DONE):
        try:
            spec = run.spec()
        except DataError:
            if state_of(run) == DONE:
                raise
            continue
        if all(isinstance(spec.get(part), dict) and "name" in spec[part] for part in ("method", "dataset")):
            return spec
    return {}
