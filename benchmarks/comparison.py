"""From run folders to statistics: the seeds of one configuration together, configurations beside each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.errors import DataError, UsageError, did_you_mean

from .configuration_names import configuration_names
from .query_scores import SAMPLED, query_scores
from .records import RunFolder
from .run_states import judge, named_spec
from .selection import ORACLE
from .statistics import Comparison, Sample, compare

METRICS = ("mAP", "R1")
"""What the field compares methods by."""


@dataclass(frozen=True)
class Row:
    """The seeds of one configuration, trained and tested on the same files."""

    name: str
    """As `configuration_names` says, and the state of the files where the configuration was run on several."""
    dataset: str
    runs: tuple[RunFolder, ...]
    """Finished. None: there are no protocols, no selections, no samples."""
    unfinished: tuple[RunFolder, ...] = ()
    """Failed, stopped, still running or damaged: whatever does not count; their folders may lack anything."""

    @property
    def selections(self) -> list[str]:
        """How the reported epoch of each seed was chosen, each way once."""
        return list(dict.fromkeys(run.headline for run in self.runs))

    @property
    def is_oracle(self) -> bool:
        """Whether its epochs were chosen on the test set, so that its scores are too good."""
        return ORACLE in self.selections

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
        found = [query_scores(run, protocol) for run in self.runs]
        scores, persons = [of_run[metric] for of_run, _ in found], [person for _, person in found]
        for run, person, score in zip(self.runs, persons, scores, strict=True):
            if not np.array_equal(person, persons[0]) or not np.array_equal(np.isnan(score), np.isnan(scores[0])):
                raise DataError(
                    f"{self.runs[0].path} and {run.run_id} were asked different queries under {protocol}: "
                    f"delete one of the runs and repeat it on the same files."
                )
        return Sample(np.stack(scores), persons[0])


def rows_of(runs: Sequence[RunFolder]) -> list[Row]:
    """One row per configuration and state of the dataset's files: methods in the order of their first runs.

    Of a method's configurations the one that bears its plain name, the full model, comes first: others are compared
    with it.
    Damaged runs, as `judge` finds them, stand among the unfinished ones of their configuration.
    """
    counts = {run.path for run in runs if judge(run).counts}
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(configuration(run), []).append(run)
    specs = {group: _spec(members) for group, members in groups.items()}
    names = configuration_names(specs)
    rows = []
    for group in _full_models_first(specs, names):
        members = groups[group]
        dataset = specs[group]["dataset"]["name"] if specs[group] else group.partition("-")[0]
        by_files = _by_files(members)
        for files, of_files in by_files:
            name = f"{names[group]} ({files})" if len(by_files) > 1 else names[group]
            finished = tuple(run for run in of_files if run.path in counts)
            rows.append(Row(name, dataset, finished, tuple(run for run in of_files if run not in finished)))
    return rows


def _full_models_first(specs: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
    """The groups, those of a dataset and method beside each other."""
    places = {group: tuple(spec[of]["name"] for of in ("dataset", "method") if spec) for group, spec in specs.items()}
    order = list(dict.fromkeys(places.values()))
    return sorted(specs, key=lambda group: (order.index(places[group]), names[group] not in places[group][1:]))


def run_names(runs: Sequence[RunFolder]) -> list[str]:
    """What runs beside each other are called: by their configuration, with the seed where it is there twice."""
    names = configuration_names({configuration(run): named_spec(run) for run in runs})
    found = [names[configuration(run)] for run in runs]
    times = Counter(found)
    return [
        f"{name}, seed {run.spec().get('seed', 0)}" if times[name] > 1 else name
        for name, run in zip(found, runs, strict=True)
    ]


def fair(rows: Sequence[Row]) -> list[Row]:
    """Those that may be called best, or be what others are compared with: none of the oracle's, unless all are."""
    return [row for row in rows if not row.is_oracle] or list(rows)


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
    """Split → fingerprint of its files; none of a run that broke off before it had read them, or lost its record."""
    try:
        return {name: split["fingerprint"] for name, split in run.data().get("splits", {}).items()}
    except (DataError, KeyError, TypeError, AttributeError):
        return {}


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
    """The configuration of the first run that can tell it; empty where none can."""
    for run in members:
        try:
            return named_spec(run)
        except DataError:
            continue
    return {}
