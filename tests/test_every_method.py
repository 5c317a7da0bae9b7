"""Every method goes the same way: one command trains it, a stop in mid-epoch costs nothing, processes share it."""

import os
import signal
from pathlib import Path

import pytest

import run
from benchmarks.training import Trainer
from methods import METHODS
from tests.test_distribution import torchrun
from tests.test_experiment import assert_equal_runs, only_run

WORLD = [
    "dataset=synthetic",
    "dataset.people=12",
    "dataset.test_people=4",
    "dataset.tracklets=1",
    "dataset.frames=2",
    "dataset.height=64",
    "image.height=32",
    "image.width=16",
    "sampler.batch_size=16",
    "sampler.instances=4",
    "train.epochs=3",
    "evaluate.initial=true",
    "device=cpu",
]
SMALL = {
    "baseline": ["method.backbone=resnet_tiny"],
    "cal": ["method.clothes_start=1", "method.adversarial_start=1"],
    "cssc": ["method.parts=2", "method.part_width=16", "method.triplet_start=2"],
    "differ": ["method.embed_dim=32", "method.depth=1", "method.num_heads=2", "captions.text_model=hashing-16"],
    "fire": ["method.identity_epochs=1", "method.parts=1"],
    "ifd": ["method.attention_epochs=1"],
    "zeroshot": ["train.epochs=0"],
}
"""What makes each method's synthetic recipe a matter of seconds, with every stage and term of it in three epochs."""


def words_of(method: str, folder: Path) -> list[str]:
    own = {word.partition("=")[0] for word in SMALL[method]}
    shared = [word for word in WORLD if word.partition("=")[0] not in own]
    return [f"method={method}", *shared, *SMALL[method], f"runs={folder / 'runs'}", f"cache={folder / 'cache'}"]


def test_no_method_is_left_out() -> None:
    assert set(SMALL) == set(METHODS.entries)


@pytest.mark.parametrize("method", [name for name in SMALL if name != "zeroshot"])
def test_a_method_stopped_in_mid_epoch_ends_with_the_bits_of_an_unbroken_run(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the last epoch, when every stage has begun: exit code 75, and an exact continuation."""
    words = words_of(method, tmp_path / "unbroken")
    assert run.main(words) == 0
    unbroken = only_run(words)
    assert [event["epoch"] for event in unbroken.events("epoch")] == [1, 2, 3]
    broken_words = words_of(method, tmp_path / "broken")
    move, stopped = Trainer._move, []

    def interrupted(self: Trainer, *arguments: object) -> dict[str, float]:
        if self.epoch == 3 and self.step == 1 and not stopped:
            stopped.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_move", interrupted)
    assert run.main(broken_words) == 75
    assert stopped, "it was stopped where it was to be"
    assert run.main(broken_words) == 0
    assert_equal_runs(unbroken, only_run(broken_words))


def test_a_method_that_is_not_trained_is_scored_by_the_same_command(tmp_path: Path) -> None:
    words = words_of("zeroshot", tmp_path)
    assert run.main(words) == 0
    scores = only_run(words).scores()
    assert {row["selection"] for row in scores} >= {"last"}
    assert not only_run(words).events("epoch")


@pytest.mark.slow
@pytest.mark.parametrize("method", SMALL)
def test_two_processes_train_one_model_and_write_one_record(method: str, tmp_path: Path) -> None:
    words = words_of(method, tmp_path)
    done = torchrun([*words, "select.holdout=0.45"])
    assert done.returncode == 0, done.stderr
    folder = only_run(words)
    assert folder.events("start")[0]["processes"] == 2
    epochs = [1, 2, 3] if method != "zeroshot" else []
    assert [event["epoch"] for event in folder.events("epoch")] == epochs, "written by one process only"
    assert folder.status()["state"] == "done"
