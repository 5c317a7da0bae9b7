"""Several processes share one run (gloo, on the CPU)."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import run
from tests.test_experiment import only_run

ROOT = Path(__file__).parent.parent


def torchrun(words: list[str], processes: int = 2) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "run.py",
            *words,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_accumulated_batches(tiny: list[str], tmp_path: Path) -> None:
    """A step sees the same images either way, so a loss that is a mean over images gives the same weights."""
    replaced = ("runs=", "train.epochs")
    common = [word for word in tiny if not word.startswith(replaced)]
    common += ["train.accumulate=2", "train.epochs=3", "augment.flip=0", "augment.zoom_crop=0", "select.rule=last"]
    common += ["method.weights.triplet=0", "method.weights.biometric=0", "method.weights.non_biometric=0"]
    common += ["optimiser.name=sgd", "optimiser.lr=0.1"]
    one, two = ([*common, f"runs={tmp_path / name}"] for name in ("one", "two"))
    assert run.main(one) == 0
    done = torchrun(two)
    assert done.returncode == 0, done.stderr
    first, second = (only_run(words) for words in (one, two))
    assert first.run_id == second.run_id, "the number of processes is not part of the experiment"
    assert first.events("start")[0]["images_per_step"] == second.events("start")[0]["images_per_step"] == 32
    weights = [load_file(folder.weights("last")) for folder in (first, second)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-4, atol=1e-5)
    started = run_initial_weights(common, tmp_path)
    assert any((weights[0][name] - started[name]).abs().max() > 1e-3 for name in started), "something was learnt"


def run_initial_weights(words: list[str], tmp_path: Path) -> dict[str, torch.Tensor]:
    """The weights before training: those of the same experiment without an epoch."""
    untrained = [*(word for word in words if not word.startswith("train.epochs")), "train.epochs=0"]
    untrained += [f"runs={tmp_path / 'untrained'}"]
    assert run.main(untrained) == 0
    return load_file(only_run(untrained).weights("last"))
