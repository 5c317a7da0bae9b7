"""What `caption` and `encode` say while they work: a bar on a terminal, a line per tenth in a pipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.captioning.describe import caption_dataset
from benchmarks.captioning.encode import encode_dataset

from .console import Reporter


class TextReporter(Reporter):
    """Hears progress and notes."""

    def __init__(self, *, quiet: bool = False):
        super().__init__(quiet=quiet)
        self._tenth: dict[str, int] = {}

    def on_note(self, event: Mapping[str, Any]) -> None:
        self.say(event["message"])

    def on_progress(self, event: Mapping[str, Any]) -> None:
        what, done, total = event["what"], event["done"], event["total"]
        if not self.progress.disable:
            self._show(what, done, total, "")
            return
        tenth = 10 * done // total
        if tenth > self._tenth.get(what, 0):
            self._tenth[what] = tenth
            self.say(f"{what}: {done:,} of {total:,}")


def caption(name: str, values: Mapping[str, Any]) -> list[Path]:
    """The files written."""
    with TextReporter(quiet=values.get("quiet") == "true") as reporter:
        return caption_dataset(name, values, reporter)


def encode(name: str, values: Mapping[str, Any]) -> list[Path]:
    """The files written."""
    with TextReporter(quiet=values.get("quiet") == "true") as reporter:
        return encode_dataset(name, values, reporter)
