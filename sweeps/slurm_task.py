"""A task of a sweep's job array: the sweep's own words with `join=true`, in a process below submitit's.

Some minutes before its time is over Slurm sends SIGUSR2: the task's run writes a checkpoint, its trial is given back,
and the task goes back into the queue. A task that is to make room for another job, or is cancelled, hears SIGTERM: the
same, but whether it comes back is Slurm's affair.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from benchmarks.child import PROGRAM, STOPPED, of_threads
from datasets.errors import DataError

from .crew import FOLLOWS

IGNORING_SIGUSR2 = ("sh", "-c", "trap '' USR2; exec \"$@\"", "sh")
"""Slurm may signal every process of a task: only submitit's is meant."""


@dataclass
class Task:
    """What submitit keeps in a file and calls in the job, again after each time that it was requeued."""

    words: tuple[str, ...]
    folder: str
    """That relative paths begin at."""
    threads: int
    seconds: float
    """How long a checkpoint may take."""
    needs: str | None = None
    """Variable that must have come along in the environment."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __call__(self) -> None:
        if self.needs and not os.environ.get(self.needs):
            raise DataError(
                f"The cluster does not pass on the variable {self.needs}, in which storage= has a password."
            )
        signal.signal(signal.SIGTERM, self._preempted)
        self._process = subprocess.Popen(  # noqa: S603 (this program)
            [*IGNORING_SIGUSR2, sys.executable, str(PROGRAM), "sweep", *self.words],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            env={**os.environ, **of_threads(self.threads), FOLLOWS: "1"},
            start_new_session=True,
        )
        while self._process.poll() is None:
            time.sleep(0.2)
        code = self._process.returncode
        if code in (STOPPED, -signal.SIGTERM):  # the latter before it could listen, or at a second signal
            sys.exit(STOPPED)
        if code:
            raise DataError(f"The worker ended with exit code {code}: the reason stands above.")

    def checkpoint(self) -> Any:
        """Called by submitit in the handler of SIGUSR2, before it requeues what is returned."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(Task(self.words, self.folder, self.threads, self.seconds, self.needs))

    def _preempted(self, number: int, frame: FrameType | None) -> None:
        """The job is ended from outside. Whether it is to come back is not for us to say."""
        self._stop()

    def _stop(self) -> None:
        """Let the worker stop, and wait for it; without `Popen.wait`, whose lock this may have interrupted."""
        if self._process is None:
            return
        pid, until = self._process.pid, time.monotonic() + self.seconds
        try:
            os.kill(pid, signal.SIGTERM)
            while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
        except (ProcessLookupError, ChildProcessError):
            return
