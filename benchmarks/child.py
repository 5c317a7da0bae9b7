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
STOPPED, BUSY = 75, 76
"""Exit codes: a signal ended the run after a checkpoint; another process was writing the run (only a child says so)."""


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
    """Of its process: 0, 2 usage, 3 data, 4 diverged, 75 stopped, 76 busy, 1 a crash, negative: what killed it."""
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
    return RunStore(plan.session.runs).open(plan.run_id)


class Child:
    """A run that another process carries out. Raises OSError where its folder cannot be written."""

    def __init__(self, plan: Resolved, place: Place):
        self.run, self.plan, self.place = folder_of(plan), plan, place
        self._started = time.monotonic()
        self._seen: tuple[int, int] | None = None
        self._events: list[dict[str, Any]] = []
        self._stopping = self._killed = False
        self._ended: Outcome | None = None
        own = {"device": place.device, "workers": plan.session.workers or place.threads}
        session = plan.session.model_copy(update=own)
        message = {"spec": to_plain(plan.spec), "session": to_plain(session), "origins": plan.origins}
        self.run.path.mkdir(parents=True, exist_ok=True)
        with self.run.console.open("ab") as log:
            self._printed_before = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 (this program)
                [sys.executable, str(PROGRAM), "train", "plan=-", *(f"plugin={file}" for file in loaded_files())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **of_threads(place.threads), "PYTHONUNBUFFERED": "1"},  # a killed one has said all
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
        return self._ended.seconds if self._ended else time.monotonic() - self._started

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the run has recorded so far; the file is read again only when it has changed.

        Raises DataError where it is damaged.
        """
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
        self._stopping = True
        if self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it without a checkpoint."""
        if self.process.poll() is None:
            self._killed = True
            self.process.kill()
            self.process.wait()

    def wait(self, seconds: float) -> Outcome:
        """Wait for the end, and kill it when the time is over."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._outcome(self.process.wait())

    def _outcome(self, code: int) -> Outcome:
        if self._ended is None:
            self._pipe.close()
            state, reason = self._judged(code)
            self._ended = Outcome(self.run.run_id, state, self.seconds, code, reason)
        return self._ended

    def _judged(self, code: int) -> tuple[str, str]:
        """State and reason."""
        asked = self._killed or (self._stopping and code == -signal.SIGTERM)  # before or after it listens to signals
        if code == 0 or asked:
            with contextlib.suppress(DataError):
                state = self.run.status()["state"]
                if state in FINISHED:
                    return state, ""
        if code == STOPPED:
            return "stopped", "stopped after a checkpoint"
        if asked:
            self._leave_a_status("stopped", reason := "stopped without a new checkpoint")
            return "stopped", reason
        if code == BUSY:
            return "failed", "another process is writing this run: wait for it or stop it"
        reason = self._reason(code)
        self._leave_a_status("failed", reason)
        return "failed", reason

    def _reason(self, code: int) -> str:
        """The sentence that it left, else the last line that it printed."""
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (": was memory used up?" if code == -signal.SIGKILL else "")
        with contextlib.suppress(DataError):  # a crash: what was raised, of which a traceback may print more lines
            status = self.run.status()
            if code == 1 and status.get("pid") == self.process.pid and status.get("reason"):
                return status["reason"].partition("\n")[0]
        with self.run.console.open("rb") as log:
            log.seek(self._printed_before)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {code}"

    def _leave_a_status(self, state: str, reason: str) -> None:
        """Of a process that could not say itself how it ended."""
        # A damaged status, another process that goes on with the run, or no space: the outcome tells in any case.
        with contextlib.suppress(DataError, UsageError, OSError), self.run.locked():
            status = self.run.status()
            said = status.get("pid") == self.process.pid and status["state"] != "running"
            if not said and status["state"] not in FINISHED:
                self.run.test = self.plan.session.test
                self.run.set_status(state, reason=reason)


def of_threads(number: int) -> dict[str, str]:
    """Environment variables that allow `number` threads, or fewer where the user has said so.

    As the libraries do, a variable of theirs that is not set takes the value of OMP_NUM_THREADS.
    """
    everywhere = os.environ.get("OMP_NUM_THREADS", "")
    allowed = {}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        word = os.environ.get(name, everywhere)
        allowed[name] = str(min(number, int(word)) if word.isdecimal() and int(word) else number)
    return allowed


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

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // jobs)
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return [Place(f"cuda:{number % gpus}" if gpus else device, threads) for number in range(jobs)]
