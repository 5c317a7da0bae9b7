"""The answers of a vision-language model as they came in: append-only JSON lines, so that nothing is asked twice.

One line per answer, written as soon as it is there:

    {"kind": "image", "split": …, "key": …, "model": …, "version": …, "answer": [six sentences]}
    {"kind": "person", …, "key": person number, …, "answer": [one sentence]}
    {"kind": "failed", "of": "image", …, "reason": …}          the question counts as unasked
    {"kind": "written", "file": …, "digest": …}                a file that was made from the answers
"""

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import DataError

JOURNAL = "captions.jsonl"


class CaptionJournal:
    """Reads `folder`'s journal when made; the file and its lock are taken with the first line that is added."""

    def __init__(self, folder: Path):
        self.path = folder / JOURNAL
        self._file: int | None = None
        self._answers: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._written: set[tuple[str, str]] = set()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):  # behind the last line end: half a line
            self._read(number, line)

    def __enter__(self) -> "CaptionJournal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def answer(self, kind: str, split: str, key: str, model: str, version: str) -> tuple[str, ...] | None:
        """The last answer to this question by this model, if there is one."""
        return self._answers.get((kind, split, key, model, version))

    def keep(self, kind: str, split: str, key: str, model: str, version: str, answer: Sequence[str]) -> None:
        """Raises DataError where the file cannot be written, or another process writes it."""
        names = {"kind": kind, "split": split, "key": key, "model": model, "version": version}
        self._append({**names, "answer": list(answer)})
        self._answers[kind, split, key, model, version] = tuple(answer)

    def keep_failure(self, kind: str, split: str, key: str, model: str, reason: str) -> None:
        """For a reader of the file: the question counts as unasked."""
        self._append({"kind": "failed", "of": kind, "split": split, "key": key, "model": model, "reason": reason})

    def wrote(self, name: str, digest: str) -> bool:
        """Whether content of this digest was once made from the answers here."""
        return (name, digest) in self._written

    def keep_written(self, name: str, digest: str) -> None:
        if not self.wrote(name, digest):
            self._append({"kind": "written", "file": name, "digest": digest})
            self._written.add((name, digest))

    def _read(self, number: int, line: bytes) -> None:
        try:
            record = json.loads(line)
            if record["kind"] in ("image", "person"):
                question = tuple(str(record[name]) for name in ("kind", "split", "key", "model", "version"))
                self._answers[question] = tuple(str(sentence) for sentence in record["answer"])
            elif record["kind"] == "written":
                self._written.add((str(record["file"]), str(record["digest"])))
        except (ValueError, LookupError, TypeError):
            raise DataError(
                f"Line {number} of {self.path} is damaged: delete that line, and its question is asked again."
            ) from None

    def _append(self, record: dict[str, Any]) -> None:
        if self._file is None:
            self._file = self._open()
        line = memoryview(json.dumps(record).encode() + b"\n")
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}): make room, and the same command goes on."
            ) from None

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise DataError(
                f"Another process is writing {self.path}: wait for it, or choose another caption_folder=DIR."
            ) from None
        except OSError:  # a file system without locks
            pass
        _cut_half_line(file)
        return file


def _cut_half_line(file: int) -> None:
    """Drop what a killed process left behind the last line end."""
    size = end = os.fstat(file).st_size
    while end:
        block = os.pread(file, min(end, 4096), max(0, end - 4096))
        if (place := block.rfind(b"\n")) >= 0:
            end += place + 1 - len(block)
            break
        end -= len(block)
    if end < size:
        os.ftruncate(file, end)
