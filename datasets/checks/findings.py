"""What a check says, and doing the same to many files at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

Level = Literal["ok", "warning", "error"]
Item = TypeVar("Item")
Result = TypeVar("Result")

SHOWN = 10
"""Findings of one kind that are printed one by one."""
_CHUNK = 64  # files a thread takes at once


@dataclass(frozen=True)
class Finding:
    """Something worth saying about a dataset, as a sentence."""

    level: Level
    """error: results would be wrong or the run would stop; warning: results may not be comparable; ok: as it should
    be, or for information."""
    message: str


def first_few(messages: Sequence[str], what: str) -> list[Finding]:
    """An error for each of the first messages, and one that counts the rest: thousands of lines help nobody."""
    findings = [Finding("error", message) for message in messages[:SHOWN]]
    if len(messages) > SHOWN:
        findings.append(Finding("error", f"The same goes for {len(messages) - SHOWN:,} more {what}."))
    return findings


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """`work` of each item, in order. Reading waits for the disk and decoding releases the interpreter's lock."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as executor:
        parts = executor.map(lambda chunk: [work(item) for item in chunk], chunks)
        return [result for part in parts for result in part]
