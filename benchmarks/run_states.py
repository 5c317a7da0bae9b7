"""Whether a run counts, and if not, why: one judgement for lists, tables, comparisons and pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datasets.errors import DataError

from .query_scores import query_scores
from .records import RunFolder

NEW, TRAINED, DONE, DAMAGED = "new", "trained", "done", "damaged"


@dataclass(frozen=True)
class Judgement:
    state: str
    """What status.json says; «damaged» where the folder does not hold what a run in that state leaves behind."""
    reason: str = ""
    """One sentence of why the run does not count; empty where it does."""

    @property
    def counts(self) -> bool:
        return self.state == DONE


def judge(run: RunFolder) -> Judgement:
    """Look at everything that a finished run's numbers rest on. Never raises for what is wrong with the folder."""
    try:
        status = run.status()
        state = str(status["state"])
        if state in (NEW, DONE):  # of any other the status says why it does not count, whatever else is there
            named_spec(run)
        if state == DONE:
            _require_evidence(run)
        return Judgement(state, _why_not(status))
    except DataError as error:
        return Judgement(DAMAGED, str(error))
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # JSON of another shape
        return Judgement(DAMAGED, f"{run.path} lacks {error}: restore it, or delete the folder to start again.")


def named_spec(run: RunFolder) -> dict[str, Any]:
    """The configuration. Raises DataError where it cannot be read, or names no method or no dataset."""
    spec = run.spec()
    if not all(isinstance(spec.get(part), dict) and spec[part].get("name") for part in ("method", "dataset")):
        raise DataError(f"{run.path / 'spec.yaml'} is damaged: restore it, or delete the run's folder to start again.")
    return spec


def _require_evidence(run: RunFolder) -> None:
    """Raise DataError unless the headline's score of every query can be read, and how the run was started."""
    run.starts()
    headline = run.headline
    of_headline = [row["protocol"] for row in run.scores() if row["selection"] == headline]
    if not of_headline:
        raise DataError(f"{run.path / 'metrics.jsonl'} has no scores of {headline}: delete the run's folder.")
    for protocol in of_headline:
        query_scores(run, protocol)


def _why_not(status: Mapping[str, Any]) -> str:
    state = status["state"]
    if state == DONE:
        return ""
    if "reason" in status:
        return str(status["reason"])
    if state == TRAINED:
        return "Its test split is closed (test=false), as of a sweep's trials; the same command without that scores it."
    if state == NEW:
        return "It has not been started."
    last = datetime.fromtimestamp(status["heartbeat"], UTC) if "heartbeat" in status else None
    return "It is not finished" + (f"; it last gave a sign of life on {last:%Y-%m-%d at %H:%M} UTC." if last else ".")
