"""How a trial's seed is measured: an ordinary run in a process of its own, which leaves the test split closed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.child import BUSY, Child, Outcome, Place, folder_of, is_finished
from benchmarks.interruption import StoppedError
from benchmarks.resolve import Resolved
from benchmarks.studies import Value
from datasets.errors import CCReIDError, DataError

from .plan import SweepPlan
from .trial import Measured, Watch

POLL_SECONDS = 0.05
STOP_SECONDS = 120.0
"""How long a run may take to write its checkpoint."""


@dataclass(frozen=True)
class RunMeasure:
    """Measures on one place of this machine."""

    plan: SweepPlan
    place: Place

    def __call__(self, params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        """Raises UsageError where the parameters do not go together, DataError for a data problem, StoppedError when
        the watch does."""
        run = self.plan.configuration(params, seed)
        while True:
            while folder_of(run).is_locked():  # another trial, or another command, trains the same configuration
                watch.idle()
                time.sleep(POLL_SECONDS)
            if is_finished(run):
                return self._finished(run, Outcome(run.run_id, "trained", 0.0, 0), watch)
            measured = self._trained(self._started(run), watch)
            if measured is not None:
                return measured

    def _started(self, run: Resolved) -> Child:
        try:
            return Child(run, self.place)
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}; mend that, the same command goes on.") from None

    def _trained(self, child: Child, watch: Watch) -> Measured | None:
        """What became of the child; None where another process was faster."""
        seen = 0
        try:
            while True:
                outcome = child.poll()
                epochs = child.events("validation")
                for event in epochs[seen:]:
                    if watch.epoch(event["epoch"], self.plan.objectives[0].of_event(event)):
                        return self._pruned(child, watch)
                seen = len(epochs)
                if outcome is not None:
                    break
                watch.idle()
                time.sleep(POLL_SECONDS)
        except BaseException:
            child.stop()
            child.wait(STOP_SECONDS)
            raise
        if outcome.succeeded:
            return self._finished(child.plan, outcome, watch, seen)
        if outcome.exit_code == BUSY:
            return None
        if outcome.state == "stopped":
            raise StoppedError(f"{outcome.run_id} was stopped by a signal: the same command goes on.")
        if outcome.exit_code == DataError.exit_code:
            raise DataError(outcome.reason)
        return Measured("failed", run_id=outcome.run_id, reason=outcome.reason, seconds=outcome.seconds)

    def _pruned(self, child: Child, watch: Watch) -> Measured:
        """The worker says that it lives while the run writes its checkpoint."""
        child.stop()
        until = time.monotonic() + STOP_SECONDS
        while child.poll() is None and time.monotonic() < until:
            watch.idle()
            time.sleep(POLL_SECONDS)
        outcome = child.wait(0)
        if outcome.state == "stopped":
            with child.run.locked():
                child.run.test = False
                child.run.set_status("pruned", reason="a sweep gave it up")
        return Measured("pruned", run_id=outcome.run_id, seconds=outcome.seconds)

    def _finished(self, run: Resolved, outcome: Outcome, watch: Watch, seen: int = 0) -> Measured:
        """The values of a trained run; one that was trained before is looked at epoch by epoch like any other."""
        folder = folder_of(run)
        try:
            events = folder.events()
            validations = [event for event in events if event["event"] == "validation"]
            for event in validations[seen:]:
                if watch.epoch(event["epoch"], self.plan.objectives[0].of_event(event)):
                    return Measured("pruned", run_id=folder.run_id, seconds=outcome.seconds)
            values = tuple(objective.of_run(events) for objective in self.plan.objectives)
        except (CCReIDError, KeyError) as error:
            raise DataError(
                f"{folder.path} has no validation scores ({error}): it was trained under another version or rule; "
                "delete it, the same command trains it again."
            ) from None
        return Measured("finished", values, folder.run_id, seconds=outcome.seconds)
