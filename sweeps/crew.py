"""Workers in processes of their own on this machine: the same command with `join=true`, one for each place."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.child import PROGRAM, Place, of_threads
from benchmarks.interruption import Interruption
from benchmarks.plugins import loaded_files
from datasets.errors import DataError

from .storage import STORAGE_VARIABLE

FOLLOWS = "CCREID_FOLLOWS_PARENT"
"""Variable that tells a worker to end with whoever started it."""
REPLACED = ("workers", "join", "device", "launcher", "storage")
"""Words that a worker gets in another way."""
POLL_SECONDS = 0.2
STOP_SECONDS = 150.0
"""How long a worker may take to let its run write a checkpoint."""


class Crew:
    """Workers of one sweep."""

    def __init__(self, words: Sequence[str], places: Sequence[Place], logs: Path):
        """`words`: of the sweep. What a worker prints is in `logs`."""
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = [logs / f"worker-{number}.log" for number in range(len(places))]
        self.processes = [self._start(words, place, log) for place, log in zip(places, self.logs, strict=True)]
        self._told: set[int] = set()

    def _start(self, words: Sequence[str], place: Place, log: Path) -> subprocess.Popen[bytes]:
        kept = [word for word in words if word.partition("=")[0] not in REPLACED]
        kept += [f"plugin={file}" for file in loaded_files()]
        with log.open("wb") as file:
            return subprocess.Popen(  # noqa: S603 (this program)
                [sys.executable, str(PROGRAM), "sweep", *kept, "workers=1", "join=true", f"device={place.device}"],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **of_threads(place.threads), **_storage(words), FOLLOWS: "1"},
                start_new_session=True,
            )

    def watch(self, look: Callable[[], None], say: Callable[[str], None]) -> None:
        """Until every worker has ended; `look` is called in between, `say` hears of workers that died.

        Raises StoppedError after a signal, when the workers have stopped, and DataError where no worker could go on.
        """
        interruption = Interruption()
        with interruption.listening(), interruption.deferred():
            try:
                while any(process.poll() is None for process in self.processes) and interruption.requested is None:
                    self._tell_of_deaths(say)
                    look()
                    time.sleep(POLL_SECONDS)
                if interruption.requested is not None:
                    self._stop()
                    raise interruption.stopped()
            finally:
                for process in self.processes:
                    process.kill()
                    process.wait()
                    if process.stdin is not None:
                        process.stdin.close()
        look()
        self._tell_of_deaths(say)
        codes = [process.returncode for process in self.processes]
        if all(codes):
            last = next((log for code, log in zip(codes, self.logs, strict=True) if code == DataError.exit_code), None)
            raise DataError(_last_line(last) if last else f"No worker could go on: see {self.logs[0]}.")

    def _stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _tell_of_deaths(self, say: Callable[[str], None]) -> None:
        for number, (process, log) in enumerate(zip(self.processes, self.logs, strict=True)):
            code = process.poll()
            if code and number not in self._told:
                self._told.add(number)
                how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                why = f" ({_last_line(log)})" if code > 0 else ""
                say(f"worker {number + 1} {how}{why}; another worker, or the next command, repeats its trial")


def _storage(words: Sequence[str]) -> dict[str, str]:
    """In the environment, since command lines are for everyone on the machine to see, and it may hold a password."""
    given = [word.removeprefix("storage=") for word in words if word.startswith("storage=")]
    return {STORAGE_VARIABLE: given[-1]} if given else {}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
