"""One run in a process of its own: it can crash, run out of memory or be killed without taking anyone along.

The two ends of a pipe. The parent (`Child`) writes the resolved configuration as a line and keeps the pipe open; the
child (`received`) reads it and stops with a checkpoint, as at SIGTERM, when the pipe closes: it does not outlive its
parent. What the child prints is in the run's console.log.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datasets.errors import DataError, UsageError

from .plugins import loaded_files
from .records import RunFolder, RunStore
from .resolve import Resolved, from_plain
from .spec import Session, to_plain

PROGRAM = Path(__file__).parent.parent / "run.py"
FINISHED = ("done", "trained")
STOPPED = 75


@dataclass(frozen=True)
class Place:
    """Where a child computes."""

    device: str
    """cpu, cuda:0, … or auto."""
    threads: int
    """Of the CPU, at most."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    state: str
    """done, trained, stopped, or failed."""
    seconds: float
    exit_code: int
    """Of its process: 0, 2 usage, 3 data, 4 diverged, 75 stopped, 1 a crash, negative the signal that killed it."""
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        return self.state in FINISHED


def is_finished(plan: Resolved) -> bool:
    """Whether there is nothing left to do: the run is done, or trained where nothing more is asked for.

    Raises DataError where its status is damaged.
    """
    state = folder_of(plan).status()["state"]
    return state == "done" or (state == "trained" and not plan.session.test)


def folder_of(plan: Resolved) -> RunFolder:
    return RunStore(plan.session.runs).open(plan.spec.run_id)


class Child:
    """A run that another process carries out."""

    def __init__(self, plan: Resolved, place: Place):
        self.run, self.plan, self.place = folder_of(plan), plan, place
        self._started = time.monotonic()
        self._seen: tuple[int, int] | None = None
        self._events: list[dict[str, Any]] = []
        session = plan.session.model_copy(update={"device": place.device})
        message = {"spec": to_plain(plan.spec), "session": to_plain(session), "origins": plan.origins}
        self.run.path.mkdir(parents=True, exist_ok=True)
        with (self.run.path / "console.log").open("ab") as log:
            self._printed_before = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 (this program)
                [sys.executable, str(PROGRAM), "train", "plan=-", *(f"plugin={file}" for file in loaded_files())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **of_threads(place.threads)},
                start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
            )
        with contextlib.suppress(BrokenPipeError):  # it is dead already, and its exit code will tell
            os.write(self._pipe.fileno(), json.dumps(message).encode() + b"\n")

    @property
    def _pipe(self) -> IO[bytes]:
        if self.process.stdin is None:
            raise RuntimeError("the child was started without a pipe")
        return self.process.stdin

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the run has recorded so far; the file is read again only when it has changed."""
        file = self.run.path / "metrics.jsonl"
        try:
            status = file.stat()
        except FileNotFoundError:
            return []
        if self._seen != (status.st_size, status.st_mtime_ns):
            self._seen, self._events = (status.st_size, status.st_mtime_ns), self.run.events()
        return [event for event in self._events if event["event"] == kind]

    def poll(self) -> Outcome | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        return None if code is None else self._outcome(code)

    def stop(self) -> None:
        """Ask it to write a checkpoint and end; returns at once."""
        if self.process.poll() is None:
            self.process.terminate()

    def wait(self, seconds: float) -> Outcome:
        """Wait for the end, and kill it when the time is over."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return self._outcome(code)

    def _outcome(self, code: int) -> Outcome:
        self._pipe.close()
        if code == 0:
            return Outcome(self.run.run_id, self.run.status()["state"], self.seconds, code)
        if code == STOPPED:
            return Outcome(self.run.run_id, "stopped", self.seconds, code, "stopped after a checkpoint")
        reason = self._reason(code)
        self._leave_a_status(reason)
        return Outcome(self.run.run_id, "failed", self.seconds, code, reason)

    def _reason(self, code: int) -> str:
        """The sentence that it left, else the last line that it printed."""
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (": was memory used up?" if name == "SIGKILL" else "")
        with (self.run.path / "console.log").open("rb") as log:
            log.seek(self._printed_before)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {code}"

    def _leave_a_status(self, reason: str) -> None:
        """Of a process that could not say itself how it ended."""
        try:
            if self.run.status()["state"] == "running":
                with self.run.locked():
                    self.run.test = self.plan.session.test
                    self.run.set_status("failed", reason=reason)
        except (DataError, UsageError):  # a damaged status, or another process that goes on with the run
            return


def of_threads(number: int) -> dict[str, str]:
    """What tells the numerical libraries of a process how many threads to use."""
    return {name: str(number) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


# --- the child's end ---


def received() -> Resolved:
    """The configuration that the parent sent; from now on the end of the parent is a SIGTERM."""
    line = sys.stdin.buffer.readline()
    try:
        message = json.loads(line)
        plan = Resolved(from_plain(message["spec"]), Session(**message["session"]), message["origins"])
    except (ValueError, KeyError, TypeError):
        raise UsageError("plan=- is how this program starts runs in processes of their own: say method=NAME.") from None
    follow_the_parent()
    return plan


def follow_the_parent() -> None:
    """From now on the end of standard input, which is the parent's, is a SIGTERM."""
    threading.Thread(target=_until_the_pipe_closes, daemon=True).start()


def _until_the_pipe_closes() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def places(jobs: int, device: str = "auto") -> Sequence[Place]:
    """`jobs` places on this machine: its GPUs in turn where `device` leaves the choice, and a share of its cores."""
    import torch

    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return [Place(f"cuda:{number % gpus}" if gpus else device, threads) for number in range(jobs)]
