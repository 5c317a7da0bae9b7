"""Many runs side by side, each in a process of its own: what is finished is skipped, a failure stops only itself."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from .child import Child, Outcome, Place, folder_of, is_finished
from .data import Listener
from .interruption import Interruption
from .resolve import Resolved

POLL_SECONDS = 0.05
STOP_SECONDS = 120.0
"""How long a child may take to write its checkpoint when it is stopped."""


def launch(plans: Sequence[Resolved], places: Sequence[Place], listen: Listener) -> list[Outcome]:
    """Carry out what is left of `plans`, as many at once as there are `places`; how each ended, in the order of plans.

    `listen` hears job-start, job-end and jobs (an overview). Raises StoppedError after SIGTERM or SIGINT, when every
    child has written its checkpoint; a second signal no longer waits. Raises DataError for a damaged status.
    """
    return Launch(plans, places, listen).carry_out()


class Launch:
    """Plans on their way through the places."""

    def __init__(self, plans: Sequence[Resolved], places: Sequence[Place], listen: Listener):
        self.plans = {plan.spec.run_id: plan for plan in plans}
        self.listen = listen
        self.outcomes: dict[str, Outcome] = {}
        self.todo: deque[Resolved] = deque()
        for run_id, plan in self.plans.items():
            if is_finished(plan):
                self.outcomes[run_id] = _nothing_to_do(plan)
            else:
                self.todo.append(plan)
        self.skipped = len(self.outcomes)
        self.free = list(places)
        self.running: dict[str, Child] = {}

    def carry_out(self) -> list[Outcome]:
        interruption = Interruption()
        with interruption.listening(), interruption.deferred():
            try:
                while (self.todo or self.running) and interruption.requested is None:
                    self._start()
                    self._collect()
                    self.listen(self.overview())
                    time.sleep(POLL_SECONDS)
                self._stop()
            finally:
                for child in self.running.values():  # a second signal, or an error of ours
                    child.process.kill()
                    child.process.wait()
        if interruption.requested is not None:
            raise interruption.stopped()
        return [self.outcomes[run_id] for run_id in self.plans]

    def _start(self) -> None:
        """Fill the free places; a run that another process writes just now waits for it."""
        for _ in range(len(self.todo)):
            if not self.free:
                return
            plan = self.todo.popleft()
            if folder_of(plan).is_locked():
                self.todo.append(plan)
                continue
            if is_finished(plan):  # by another process, since we looked
                self.outcomes[plan.spec.run_id] = _nothing_to_do(plan)
                continue
            child = self.running[plan.spec.run_id] = Child(plan, self.free.pop())
            self.listen({"event": "job-start", "run": plan.spec.run_id, "place": child.place})

    def _collect(self) -> None:
        for run_id, child in list(self.running.items()):
            outcome = child.poll()
            if outcome is None:
                continue
            if not outcome.succeeded and child.run.is_locked():  # another process was faster: see what it makes of it
                self.free.append(self.running.pop(run_id).place)
                self.todo.append(child.plan)
            else:
                self._ended(run_id, outcome)

    def _ended(self, run_id: str, outcome: Outcome) -> None:
        self.free.append(self.running.pop(run_id).place)
        self.outcomes[run_id] = outcome
        done = len(self.outcomes)
        self.listen({"event": "job-end", "outcome": outcome, "done": done, "total": len(self.plans)})

    def _stop(self) -> None:
        """Let what still runs write its checkpoints; nothing does unless a signal came."""
        for child in self.running.values():
            child.stop()
        for run_id, child in list(self.running.items()):
            self._ended(run_id, child.wait(STOP_SECONDS))

    def overview(self) -> dict[str, Any]:
        """What is under way: for each running run its epoch of how many, and how long everything will take."""
        running = {}
        for run_id, child in self.running.items():
            epochs = child.events("epoch")
            running[run_id] = (epochs[-1]["epoch"] if epochs else 0, child.plan.spec.train.epochs, child.seconds)
        ended = list(self.outcomes.values())[self.skipped :]
        return {
            "event": "jobs",
            "running": running,
            "done": sum(outcome.succeeded for outcome in self.outcomes.values()),
            "failed": sum(not outcome.succeeded for outcome in ended),
            "total": len(self.plans),
            "eta": self._eta(running, [outcome.seconds for outcome in ended if outcome.succeeded]),
        }

    def _eta(self, running: dict[str, tuple[int, int, float]], took: list[float]) -> float | None:
        """Seconds until the end, if all runs take as long as the finished ones, or as the running ones promise to."""
        promised = [seconds * epochs / epoch for epoch, epochs, seconds in running.values() if epoch]
        each = took or promised
        if not each:
            return None
        mean = sum(each) / len(each)
        left = sum(max(mean - seconds, 0.0) for _, _, seconds in running.values()) + mean * len(self.todo)
        return left / max(len(self.running) + len(self.free), 1)


def _nothing_to_do(plan: Resolved) -> Outcome:
    return Outcome(plan.spec.run_id, "done" if plan.session.test else "trained", 0.0, 0)
