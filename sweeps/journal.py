"""A study's journal on disk that a crash cannot spoil: an append is there as a whole or not at all.

Optuna's own file backend leaves half a line behind when a process is killed, or the disk is full, while it writes; the
next line is then glued to it and nothing after it can be read. Its lock outlives a killed process by 30 seconds. Here
the lock is the kernel's and dies with its process, and a broken end is cut off before anything is appended.
"""

import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from datasets.errors import DataError


class Journal(BaseJournalBackend):
    """One JSON object a line."""

    def __init__(self, path: Path):
        """Creates the file where there is none. Raises DataError where that is not possible."""
        self.path = path
        self._read = 0
        """Bytes that hold the first `_known` entries."""
        self._known = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror}): name another folder with runs=DIR."
            ) from None

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Entries from a number on; half a line at the end, which is being written or was never finished, is none.

        Raises DataError where the file is damaged before its end.
        """
        if log_number_from < self._known:
            self._read = self._known = 0
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file.read().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    return
                number = self._known
                try:
                    entry = json.loads(line)
                except ValueError:
                    raise DataError(
                        f"{self.path} is damaged at byte {self._read}: restore it, or choose another study=NAME."
                    ) from None
                self._read += len(line)
                self._known += 1
                if number >= log_number_from:
                    yield entry

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Raises DataError where the disk is full or the file cannot be written; then nothing was appended."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._locked(), self.path.open("r+b", buffering=0) as file:
            end = _end_of_last_line(file)
            try:
                file.truncate(end)
                _write(file, end, content)
            except OSError as error:
                file.truncate(end)  # needs no room
                raise DataError(
                    f"{self.path} cannot be written ({error.strerror}): make room, then repeat the command; the study "
                    "is as it was."
                ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with held(self.path.with_suffix(".lock")):
            yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for a lock that one process holds at a time, and that is free when its process has died."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_of_last_line(file: io.FileIO) -> int:
    """Bytes up to and with the last line break: what comes after it was never finished."""
    end = file.seek(0, os.SEEK_END)
    block = 4096
    while end:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write(file: io.FileIO, place: int, content: bytes) -> None:
    file.seek(place)
    while content:  # a nearly full disk takes a part
        content = content[file.write(content) :]
    os.fsync(file.fileno())
