"""Many runs side by side, each in a process of its own: what is finished is skipped, a failure stops only itself."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets.errors import DataError

from .child import BUSY, Child, Outcome, Place, folder_of, is_finished
from .data import Listener
from .interruption import Interruption
from .resolve import Resolved

POLL_SECONDS = 0.05
LOOK_SECONDS = 0.5
"""Between two looks at runs that another process writes."""
STOP_SECONDS = 120.0
"""How long the children may take to write their checkpoints when they are stopped."""


def launch(plans: Sequence[Resolved], places: Sequence[Place], listen: Listener) -> list[Outcome]:
    """Carry out what is left of `plans`, as many at once as there are `places`; how each ended, in the order of plans.

    `listen` hears job-start, job-end and jobs (an overview, first of all before anything is started). A run whose
    folder is damaged or cannot be written has failed, as one whose process fails has. Raises StoppedError after SIGTERM
    or SIGINT, when every child has written its checkpoint; a second signal no longer waits. Raises OSError where the
    folder of all runs cannot be made.
    """
    return Launch(plans, places, listen).carry_out()


@dataclass(frozen=True)
class Progress:
    """How far a running run is."""

    epoch: int
    epochs: int
    seconds: float
    """Since this start of it."""
    left: float | None
    """Seconds, if the epochs to come take as long as those since this start; None before there is one."""
    place: Place


class Launch:
    """Plans on their way through the places."""

    def __init__(self, plans: Sequence[Resolved], places: Sequence[Place], listen: Listener):
        self.plans = {plan.run_id: plan for plan in plans}
        self.listen = listen
        self.outcomes: dict[str, Outcome] = {}
        self.todo: deque[Resolved] = deque()
        for root in {plan.session.runs for plan in plans}:
            root.mkdir(parents=True, exist_ok=True)
        for plan in self.plans.values():
            if not self._settled(plan):
                self.todo.append(plan)
        self.skipped = len(self.outcomes)
        self.free = list(places)
        self.running: dict[str, Child] = {}
        self._epochs_before: dict[str, int] = {}
        """The last epoch that a running run had behind it when it was started."""
        self._elsewhere: dict[str, float] = {}
        """Runs that another process writes, and when to look again."""
        self._interruption = Interruption()

    def carry_out(self) -> list[Outcome]:
        self.listen(self.overview())
        for outcome in self.outcomes.values():
            if not outcome.succeeded:
                self._tell(outcome)
        with self._interruption.listening(), self._interruption.deferred():
            try:
                while (self.todo or self.running) and self._interruption.requested is None:
                    self._start()
                    self._turn()
                self._stop()
            finally:
                for child in self.running.values():  # a second signal, or an error of ours
                    child.kill()
        if self._interruption.requested is not None:
            raise self._interruption.stopped()
        return [self.outcomes[run_id] for run_id in self.plans]

    def _settled(self, plan: Resolved) -> bool:
        """Whether nothing is to be done for a plan, or nothing can be: then its outcome is known."""
        try:
            if is_finished(plan):
                self.outcomes[plan.run_id] = _nothing_to_do(plan)
        except (DataError, OSError) as error:
            self.outcomes[plan.run_id] = _failed(plan, error)
        return plan.run_id in self.outcomes

    def _start(self) -> None:
        """Fill the free places; a run that another process writes just now waits for it."""
        now = time.monotonic()
        for _ in range(len(self.todo)):
            if not self.free:
                return
            plan = self.todo.popleft()
            run_id = plan.run_id
            if self._elsewhere.get(run_id, 0.0) > now:
                self.todo.append(plan)
            elif folder_of(plan).is_locked():
                self._elsewhere[run_id] = now + LOOK_SECONDS
                self.todo.append(plan)
            elif self._settled(plan):  # by another process, since we looked
                self._elsewhere.pop(run_id, None)
                self._tell(self.outcomes[run_id])
            else:
                self._elsewhere.pop(run_id, None)
                self._start_one(plan)

    def _start_one(self, plan: Resolved) -> None:
        run_id = plan.run_id
        try:
            child = self.running[run_id] = Child(plan, self.free[0])
            self._epochs_before[run_id] = max((event["epoch"] for event in _epochs(child)), default=0)
        except OSError as error:
            self.outcomes[run_id] = _failed(plan, error)
            self._tell(self.outcomes[run_id])
        else:
            self.free.pop(0)
            self.listen({"event": "job-start", "run": run_id, "place": child.place})

    def _turn(self) -> None:
        """See who has ended, tell how it stands, and wait for a moment."""
        for run_id, child in list(self.running.items()):
            outcome = child.poll()
            if outcome is None:
                continue
            self.free.append(self.running.pop(run_id).place)
            if outcome.exit_code == BUSY:  # another process was faster: see what it makes of it
                self._elsewhere[run_id] = time.monotonic() + LOOK_SECONDS
                self.todo.append(child.plan)
                continue
            self.outcomes[run_id] = outcome
            self._tell(outcome)
        self.listen(self.overview())
        time.sleep(POLL_SECONDS)

    def _tell(self, outcome: Outcome) -> None:
        self.listen({"event": "job-end", "outcome": outcome, "done": len(self.outcomes), "total": len(self.plans)})

    def _stop(self) -> None:
        """Let what still runs write its checkpoints; nothing does unless a signal came."""
        for child in self.running.values():
            child.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while self.running:
            if time.monotonic() > deadline:
                for child in self.running.values():
                    child.kill()
            self._turn()

    def overview(self) -> dict[str, Any]:
        """What is under way: how far each running run is, how many wait for what, and how long everything will take."""
        running = {run_id: self._progress(run_id, child) for run_id, child in self.running.items()}
        ended = list(self.outcomes.values())
        took = [outcome.seconds for outcome in ended[self.skipped :] if outcome.succeeded and outcome.seconds]
        return {
            "event": "jobs",
            "running": running,
            "done": sum(outcome.succeeded for outcome in ended),
            "failed": sum(not outcome.succeeded for outcome in ended),
            "elsewhere": len(self._elsewhere),
            "total": len(self.plans),
            "eta": self._eta(list(running.values()), took),
            "stopping": self._interruption.requested,
        }

    def _progress(self, run_id: str, child: Child) -> Progress:
        events, epochs = _epochs(child), child.plan.spec.train.epochs
        epoch = events[-1]["epoch"] if events else 0
        new = [event for event in events if event["epoch"] > self._epochs_before.get(run_id, 0)]
        left = None
        if new:
            each = (new[-1]["time"] - new[0]["time"] + new[0]["seconds"]) / len(new)
            left = each * (epochs - epoch)
        return Progress(epoch, epochs, child.seconds, left, child.place)

    def _eta(self, running: Sequence[Progress], took: Sequence[float]) -> float | None:
        """Seconds until the end, if runs to come take as long as the finished ones, or as the running ones promise."""
        each = took or [one.seconds + one.left for one in running if one.left is not None]
        if not each:
            return None
        mean = sum(each) / len(each)
        left = [max(mean - one.seconds, 0.0) if one.left is None else one.left for one in running]
        slots = min(len(self.running) + len(self.free), len(running) + len(self.todo))
        return max((sum(left) + mean * len(self.todo)) / max(slots, 1), *left, 0.0)


def _epochs(child: Child) -> list[dict[str, Any]]:
    """The epochs that are recorded; none where the record cannot be read, of which the child will tell."""
    try:
        return child.events("epoch")
    except DataError:
        return []


def _nothing_to_do(plan: Resolved) -> Outcome:
    return Outcome(plan.run_id, "done" if plan.session.test else "trained", 0.0, 0)


def _failed(plan: Resolved, error: DataError | OSError) -> Outcome:
    """Of a run that was not even started."""
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    return Outcome(plan.run_id, "failed", 0.0, DataError.exit_code, reason)
