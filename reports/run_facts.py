"""What a page says of a run: everything that its folder holds, and whether the run can be counted."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.comparison import Row
from benchmarks.evidence import Ranking
from benchmarks.records import RunFolder
from benchmarks.selection import INITIAL, LAST, ORACLE, VALIDATION
from benchmarks.statistics import Estimate, estimate
from datasets.errors import CCReIDError, DataError

DONE, DAMAGED = "done", "damaged"
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
    found: dict[str, Any] = {}
    try:
        found["spec"] = _with_names(run)
        status = run.status()
        found["starts"] = tuple(run.starts())
        found["events"] = tuple(run.events())
        found["data"] = run.data() if (run.path / "data.json").exists() or status["state"] == DONE else {}
        if status["state"] == DONE:
            _require_evidence(run)
    except (CCReIDError, KeyError, TypeError) as error:
        said = str(error) if isinstance(error, CCReIDError) else f"{run.path} lacks {error}: restore it, or delete it."
        return RunFacts(run, DAMAGED, said, **found)
    return RunFacts(run, status["state"], _why_not(status), **found)


def _with_names(run: RunFolder) -> dict[str, Any]:
    spec = run.spec()
    named = all(isinstance(spec.get(section), dict) and spec[section].get("name") for section in ("method", "dataset"))
    if not named:
        raise DataError(f"{run.path / 'spec.yaml'} is damaged: restore it, or delete the run's folder to start again.")
    return spec


def _require_evidence(run: RunFolder) -> None:
    """Raise DataError unless the headline's score of every query can be read."""
    headline = run.headline
    scored = [row["protocol"] for row in run.scores() if row["selection"] == headline]
    if not scored:
        raise DataError(f"{run.path / 'metrics.jsonl'} has no scores of {headline}: delete the run's folder.")
    row = Row(run.run_id, "", (run,))
    for protocol in scored:
        Ranking.load(run.ranking(protocol, headline))
        row.sample(protocol, "mAP")


def _why_not(status: Mapping[str, Any]) -> str:
    state = status["state"]
    if state == DONE:
        return ""
    if "reason" in status:
        return str(status["reason"])
    if state == "new":
        return "It has not been started."
    last = datetime.fromtimestamp(status["heartbeat"], UTC) if "heartbeat" in status else None
    return "It is not finished" + (f"; it last gave a sign of life on {last:%Y-%m-%d at %H:%M} UTC." if last else ".")
