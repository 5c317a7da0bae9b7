"""A run that is killed again and again ends with the bits of one that was not."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.records import RunFolder
from tests.test_experiment import assert_equal_runs, only_run

ROOT = Path(__file__).parent.parent


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "run.py", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def kill_when(process: subprocess.Popen, due: Callable[[], bool]) -> bool:
    """SIGKILL as soon as `due`; False when the process ended before."""
    while process.poll() is None:
        if due():
            process.kill()
            process.wait()
            return True
        time.sleep(0.0005)
    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    return False


def writing_a_checkpoint(folder: RunFolder) -> bool:
    return any((folder.path / "checkpoints").glob(".last.pt.*.tmp"))


@pytest.mark.slow
def test_killed_at_random_moments_and_while_a_checkpoint_is_written(tiny: list[str], tmp_path: Path) -> None:
    words = [
        *(word for word in tiny if not word.startswith(("train.epochs", "runs="))),
        "train.epochs=12",
        "select.holdout=0.45",
        "evaluate.initial=true",
        "checkpoint_seconds=0",
    ]
    unbroken_words, broken_words = ([*words, f"runs={tmp_path / name}"] for name in ("unbroken", "broken"))
    assert start(unbroken_words).wait() == 0
    unbroken = only_run(unbroken_words)
    folder = RunFolder(tmp_path / "broken" / unbroken.run_id)

    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    kills = 0
    for number in range(5):
        process = start(broken_words)
        if number in (1, 3):
            epoch = chance.randint(2, 3)
            kills += kill_when(process, lambda: _epochs(folder) >= epoch and writing_a_checkpoint(folder))  # noqa: B023
        else:
            epoch, pause = number + 1, chance.uniform(0, 0.3)
            kills += kill_when(process, lambda: _epochs(folder) >= epoch and not time.sleep(pause))  # noqa: B023
    assert kills == 5, f"a run ended before it could be killed, seed {seed}"
    assert start(broken_words).wait() == 0
    assert_equal_runs(unbroken, only_run(broken_words))
    assert [event["epoch"] for event in folder.events("epoch")] == list(range(1, 13)), f"seed {seed}"
    assert not list(folder.path.rglob("*.tmp"))


def _epochs(folder: RunFolder) -> int:
    with contextlib.suppress(FileNotFoundError):
        return len(folder.events("epoch"))
    return 0


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_exit_code_75(tiny: list[str]) -> None:
    words = [word for word in tiny if not word.startswith("train.epochs")] + ["train.epochs=1000"]
    process = start(words)
    root = Path(next(word.removeprefix("runs=") for word in words if word.startswith("runs=")))
    while not list(root.glob("*/checkpoints/last.pt")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75
    assert error.strip().splitlines()[-1].startswith("Stopped by SIGTERM: the same command goes on")
    assert only_run(words).status()["state"] == "stopped"
