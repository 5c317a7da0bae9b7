"""Several processes share one run (gloo, on the CPU)."""

import subprocess
import sys
from pathlib import Path

import pytest

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
@pytest.mark.parametrize("method", ["differ", "baseline"])
def test_two_processes_train_one_model_and_write_one_record(tiny: list[str], method: str) -> None:
    own = ["method=differ"] if method == "differ" else ["method=baseline", "method.backbone=resnet18"]
    kept = [word for word in tiny if not word.startswith("method")]
    words = [*kept, *own, *(word for word in tiny if word.startswith("method.") and method == "differ")]
    done = torchrun([*words, "select.holdout=0.45", "evaluate.initial=true"])
    assert done.returncode == 0, done.stderr
    folder = only_run(words)
    assert folder.events("start")[0]["processes"] == 2
    assert [event["epoch"] for event in folder.events("epoch")] == [1, 2], "written by one process only"
    assert done.stdout.count("epoch   1") == 1
    assert folder.status()["state"] == "done"


@pytest.mark.slow
def test_two_processes_see_what_one_sees_when_batches_are_accumulated(tiny: list[str], tmp_path: Path) -> None:
    """With one optimiser step per epoch over the same images the mean gradient, and so the weights, agree."""
    import torch
    from safetensors.torch import load_file

    common = [word for word in tiny if not word.startswith(("runs=", "train.epochs", "sampler.batch_size"))]
    common += ["sampler.batch_size=16", "train.accumulate=2", "train.epochs=1", "augment.flip=0", "augment.erase=0"]
    common += ["augment.zoom_crop=0", "optimiser.name=sgd", "optimiser.lr=0.1", "select.rule=last"]
    one, two = ([*common, f"runs={tmp_path / name}"] for name in ("one", "two"))
    assert run.main(one) == 0
    done = torchrun(two)
    assert done.returncode == 0, done.stderr
    first, second = (only_run(words) for words in (one, two))
    assert first.run_id == second.run_id, "the number of GPUs is not part of the experiment"
    assert first.events("start")[0]["images_per_step"] == second.events("start")[0]["images_per_step"] == 32
    initial = [row["mAP"] for row in first.scores()]
    assert len(initial) == len(second.scores())
    weights = [load_file(folder.weights("last")) for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.isfinite(tensor).all() for tensor in weights[1].values())
