"""From run folders to statistics: the seeds of one configuration together, configurations beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.errors import DataError

from .evidence import Ranking
from .records import RunFolder
from .splits import load_samples
from .statistics import Sample

METRICS = ("mAP", "R1")


@dataclass(frozen=True)
class Row:
    """The seeds of one configuration."""

    name: str
    """Method, and what sets the configuration apart where the method alone does not."""
    dataset: str
    runs: tuple[RunFolder, ...]

    @property
    def selections(self) -> list[str]:
        """How the reported epoch of each seed was chosen, each way once."""
        return list(dict.fromkeys(run.headline for run in self.runs))

    def protocols(self) -> list[str]:
        """Those that every seed was scored under."""
        scored = [[row["protocol"] for row in run.scores() if row["selection"] == run.headline] for run in self.runs]
        return [name for name in scored[0] if all(name in of_run for of_run in scored)]

    def sample(self, protocol: str, metric: str) -> Sample:
        """Every query's score in every seed. Raises DataError where the evidence is missing."""
        rankings = [Ranking.load(run.ranking(protocol, run.headline)) for run in self.runs]
        values = np.stack([_per_query(ranking, metric) for ranking in rankings])
        persons = [_persons(run, protocol) for run in self.runs]
        if any(not np.array_equal(persons[0], other) for other in persons[1:]):
            raise DataError(
                f"{self.runs[0].path} and its other seeds were asked different queries under {protocol}: "
                f"delete one of the runs and repeat it on the same files."
            )
        return Sample(values, persons[0])


def rows_of(runs: Sequence[RunFolder]) -> list[Row]:
    """One row per configuration, in the order of its first run. A hash tells configurations of one method apart."""
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(run.run_id.rpartition("-s")[0], []).append(run)
    specs = {group: members[0].spec() for group, members in groups.items()}
    names = [(spec["dataset"]["name"], spec["method"]["name"]) for spec in specs.values()]
    rows = []
    for group, members in groups.items():
        dataset, method = specs[group]["dataset"]["name"], specs[group]["method"]["name"]
        alone = names.count((dataset, method)) == 1
        rows.append(Row(method if alone else f"{method} {group.rpartition('-')[2]}", dataset, tuple(members)))
    return rows


def _per_query(ranking: Ranking, metric: str) -> np.ndarray:
    return ranking.average_precision if metric == "mAP" else ranking.hits(1)


def _persons(run: RunFolder, protocol: str) -> np.ndarray:
    """[Q] whom each query of a ranking shows: one per image, or one per tracklet where tracklets are compared."""
    described = next((one for one in run.data().get("protocols", []) if one["name"] == protocol), None)
    if described is None:
        raise DataError(f"{run.path} does not say what {protocol} compares: it is of an older version; run it again.")
    samples = load_samples(run.split(described["query"]))
    if described["pool"] is None or samples.tracklet is None:
        return samples.person
    first = np.flatnonzero(np.r_[True, samples.tracklet[1:] != samples.tracklet[:-1]])
    return samples.person[first]
