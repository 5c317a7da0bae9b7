"""Signals: at once where nothing can be lost, after the step where something can."""

import os
import signal

import pytest

from benchmarks.interruption import Interruption, StoppedError


def test_a_signal_stops_at_once_outside_of_training() -> None:
    interruption = Interruption()
    with interruption.listening(), pytest.raises(StoppedError, match="SIGTERM") as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 75


def test_a_signal_in_training_waits_for_the_step_and_a_second_one_does_not() -> None:
    interruption = Interruption()
    with interruption.listening(), interruption.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested == "SIGINT"
        with pytest.raises(StoppedError):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_the_caller_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption().listening():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
