"""Stopping cleanly: SIGTERM and SIGINT end a run after it has written a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from datasets.errors import CCReIDError


class StoppedError(CCReIDError):
    """A signal ended the run; the same command goes on where it stopped."""

    exit_code = 75


class Interruption:
    """Turns signals into `StoppedError`: at once, or, inside `deferred`, when the body asks through `requested`."""

    def __init__(self) -> None:
        self.requested: str | None = None
        """Name of the signal that arrived, or None."""
        self._deferred = False

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested is not None, signal.Signals(number).name
        if again or not self._deferred:
            raise self.stopped()

    def stopped(self) -> StoppedError:
        return StoppedError(f"Stopped by {self.requested}: the same command goes on from the last checkpoint.")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A first signal only sets `requested` here; a second one no longer waits."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals during the body. In a thread, where Python allows no handlers, signals stay as they are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._arrived) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
