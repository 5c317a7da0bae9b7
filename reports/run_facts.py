"""What a page says of a run: everything that its folder holds, and whether the run can be counted."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.comparison import Row
from benchmarks.records import RunFolder
from benchmarks.run_states import DONE, judge, named_spec
from benchmarks.selection import INITIAL, LAST, ORACLE, VALIDATION
from benchmarks.statistics import Estimate, estimate
from datasets.errors import DataError

_MACHINE_PATH = re.compile(r"(?<![^\s='\"«(\[,])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"»,:]+[/\\])+")


def without_machine_paths(text: str) -> str:
    """The text with «…/» for the folders of absolute paths: a page says nothing of the machine's disks."""
    return _MACHINE_PATH.sub("…/", text)


@dataclass(frozen=True)
class RunFacts:
    """One run, read once. A damaged run has `state` damaged, a `reason`, and what could still be read."""

    run: RunFolder
    state: str
    reason: str = ""
    """One sentence of why the run does not count; empty where it does."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def counts(self) -> bool:
        return self.state == DONE

    @property
    def method(self) -> str:
        return str(self.spec.get("method", {}).get("name", "–"))

    @property
    def dataset(self) -> str:
        return str(self.spec.get("dataset", {}).get("name", "–"))

    @property
    def seed(self) -> int | None:
        return self.spec.get("seed")

    @property
    def headline(self) -> str:
        return str(self.data.get("selection", ""))

    @property
    def configuration(self) -> str:
        """What the seeds of one configuration share of their ids."""
        return self.run_id.rpartition("-s")[0]

    def of_kind(self, *kinds: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event.get("event") in kinds]

    @property
    def scores(self) -> list[Mapping[str, Any]]:
        """One row per protocol and selection; the headline's first."""
        order = (self.headline, VALIDATION, ORACLE, LAST, INITIAL)
        place = {name: number for number, name in reversed(list(enumerate(order)))}
        return sorted(self.of_kind("scores"), key=lambda row: place.get(row["selection"], len(order)))

    @property
    def first(self) -> Mapping[str, Any] | None:
        """The headline's scores under the dataset's headline protocol."""
        return next((row for row in self.scores if row["selection"] == self.headline), None)

    @property
    def training_seconds(self) -> float:
        return sum(event["seconds"] for event in self.of_kind("epoch"))

    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """mAP and R1 of the headline under each protocol, with intervals over identities, by protocol and metric."""
        row = Row(self.method, self.dataset, (self.run,))
        return {name: {m: estimate(row.sample(name, m)) for m in ("mAP", "R1")} for name in row.protocols()}

    def evaluations(self) -> Iterator[Mapping[str, Any]]:
        """What `evaluate run=ID` wrote: options, selection and scores, in the order of their folders' names."""
        for file in sorted(self.run.path.glob("evaluations/*/scores.json")):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                yield {"name": file.parent.name, "options": found["evaluate"], "rows": list(found["scores"])}
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{file} is damaged: delete its folder and evaluate the run again.") from None


def read_run(run: RunFolder) -> RunFacts:
    """Look at a run. Never raises for what is wrong with its folder: the state and the reason say it."""
    judgement = judge(run)
    readers: dict[str, Callable[[], Any]] = {
        "spec": lambda: named_spec(run),
        "starts": lambda: tuple(run.starts()),
        "events": lambda: tuple(run.events()),
        "data": run.data,
    }
    found = {}
    for name, read in readers.items():
        with suppress(DataError):  # a field that stays empty; where that matters, the judgement has named the file
            found[name] = read()
    return RunFacts(run, judgement.state, judgement.reason, **found)
