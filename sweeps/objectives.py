"""What a study makes larger or smaller, read from what a run recorded of its held-out identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.resolve import Resolved
from datasets import DATASETS
from datasets.errors import DataError, UsageError, did_you_mean

SECONDS = "seconds"
"""Of training; depends on the machine and on what else it does."""


@dataclass(frozen=True)
class Objective:
    name: str
    """Such as «cloth-changing mAP»."""
    protocol: str | None
    """Whose score it is, «» for the one that selects the epoch; None for the cost."""
    metric: str
    minimise: bool = False

    def of_event(self, validation: Mapping[str, Any]) -> float:
        """Of one validation; for a score only."""
        scores = validation["others"][self.protocol] if self.protocol else validation
        return float(scores[self.metric])

    def of_run(self, events: Sequence[Mapping[str, Any]]) -> float:
        """Of a trained run: the score of the epoch that its validation chose, or the cost of the training.

        Raises DataError where the run recorded none.
        """
        if self.protocol is None:
            return float(sum(event["seconds"] for event in events if event["event"] == "epoch"))
        best = [event for event in events if event["event"] == "validation" and event["best"]]
        if not best:
            raise DataError("no epoch was validated")
        return self.of_event(best[-1])


def read_objectives(word: str, base: Resolved) -> tuple[Objective, ...]:
    """objective=cloth-changing,standard or cloth-changing,seconds; the dataset's headline protocol when not given.

    Scores are of the metric that selects the epoch (select.metric). Raises UsageError for unknown ones.
    """
    dataset = DATASETS.get(base.spec.dataset.name)(Path(), base.spec.dataset)
    headline = dataset.protocols()[0]
    metric = base.spec.select.metric
    alike = [
        one.name
        for one in dataset.protocols()
        if one.reported
        and not one.draws
        and one.pool == headline.pool
        and (one.query, one.gallery) == (headline.query, headline.gallery)
    ]
    known = [*alike, SECONDS]
    names = word.split(",") if word else [headline.name]
    for name in names:
        if name not in known:
            raise UsageError(f"Unknown objective={name}.{did_you_mean(name, known)} Available: {', '.join(known)}.")
    if names[0] == SECONDS or len(set(names)) < len(names):
        raise UsageError(f"objective={word}: name a protocol first, and each objective once.")
    return tuple(
        Objective(SECONDS, None, "", minimise=True)
        if name == SECONDS
        else Objective(f"{name} {metric}", "" if name == headline.name else name, metric)
        for name in names
    )
