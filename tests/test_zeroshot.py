"""Zero-shot: a tower is scored as it comes, nothing is trained, and its normalisation is watched."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import run
from benchmarks.perf import cost
from benchmarks.resolve import resolve
from datasets.errors import UsageError
from methods import METHODS
from methods.base import Facts
from methods.zeroshot import CLIP, ZeroShot, ZeroShotConfig, normalisation_of
from tests.test_experiment import only_run

SMALL = {"backbone": "eva02_clip_tiny", "depth": 1, "embed_dim": 32, "num_heads": 2, "pretrained": False}


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    kept = [word for word in tiny if not word.startswith(("method", "train.epochs", "captions"))]
    return ["method=zeroshot", "method.embed_dim=32", "method.depth=1", "method.num_heads=2", *kept]


def facts(**values) -> Facts:
    return Facts(persons=2, cameras=1, clothes=2, height=64, width=32, **values)


def test_one_command_scores_the_tower_and_trains_nothing(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZeroShot, "losses", lambda *_: pytest.fail("there is nothing to train"))
    assert run.main(words) == 0
    folder = only_run(words)
    assert {(row["selection"], row["epoch"]) for row in folder.scores()} == {("last", 0)}
    assert folder.events("epoch") == []
    weights = load_file(folder.weights("last"))
    assert all(name.startswith("backbone.trunk.") for name in weights), "a tower and nothing else"
    assert weights["backbone.trunk.conv1.weight"].shape == (32, 3, 8, 8)


def test_a_finished_run_is_evaluated_under_other_options(words: list[str], capsys: pytest.CaptureFixture) -> None:
    run.main(words)
    folder = only_run(words)
    where = [word for word in words if word.startswith(("runs=", "cache=", "device="))]
    assert run.main(["evaluate", f"run={folder.run_id}", "evaluate.flip=true", *where]) == 0
    assert "cloth-changing" in capsys.readouterr().out


def test_training_it_is_refused(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*words, "train.epochs=1"]) == 2
    assert "method=zeroshot is not trained: set train.epochs=0." in capsys.readouterr().err


def test_the_feature_is_the_towers_own() -> None:
    method = ZeroShot(ZeroShotConfig(**SMALL), facts()).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(method.embed(images), method.backbone.trunk(images))
    assert not any(parameter.requires_grad for parameter in method.parameters())
    assert METHODS.get("zeroshot") is ZeroShot


@pytest.mark.parametrize("row", ZeroShot.ablations)
def test_each_row_has_the_size_and_the_normalisation_of_its_tower(row: str) -> None:
    """A tower that would be cropped, or see colours it was not trained on, would be measured too low."""
    spec = resolve({"method.name": "zeroshot", "dataset.name": "ltcc"}, ablation=row).spec
    config, image = spec.method, spec.image
    assert normalisation_of(config.backbone) == (image.mean, image.std)  # type: ignore[attr-defined]
    with torch.device("meta"):
        method = ZeroShot(config.for_checkpoint(), Facts(2, 1, 2, image.height, image.width))  # type: ignore[arg-type]
        assert method.backbone.width >= 768
    assert (spec.train.epochs, spec.select.rule, spec.evaluate.flip) == (0, "last", False)


@pytest.mark.parametrize("row", ZeroShot.ablations)
def test_on_the_synthetic_world_each_row_keeps_the_architecture_of_its_tower(row: str) -> None:
    """The sizes of the recipe's own small tower are not those of another one; `full` is that tower."""
    spec = resolve({"method.name": "zeroshot", "dataset.name": "synthetic"}, ablation=row).spec
    config, image = spec.method, spec.image
    with torch.device("meta"):
        method = ZeroShot(config, Facts(2, 1, 2, image.height, image.width))  # type: ignore[arg-type]
    assert method.backbone.width == 128 if row == "full" else method.backbone.width >= 768


def test_another_backbone_on_the_synthetic_world_says_what_to_unset() -> None:
    values = {"method.name": "zeroshot", "dataset.name": "synthetic", "method.backbone": "resnet50"}
    with pytest.raises(UsageError) as caught:
        ZeroShot(resolve(values).spec.method, facts())  # type: ignore[arg-type]
    mend = str(caught.value).partition("set ")[2].removesuffix(".").split()
    assert mend == [f"method.{key}=null" for key in ("patch_size", "embed_dim", "depth", "num_heads")]
    unset = {key: None for key, _, _ in (word.partition("=") for word in mend)}
    assert ZeroShot(resolve(values | unset).spec.method, facts()).backbone.width == 2048  # type: ignore[arg-type]


def test_its_cost_is_counted_though_nothing_is_trained(capsys: pytest.CaptureFixture) -> None:
    cost.main(["method=zeroshot", "dataset=synthetic", "images=1", "rounds=1"])
    printed = capsys.readouterr().out
    assert "nothing is trained, 0.8 M parameters at test" in printed
    assert "0.1 GFLOPs per image" in printed, "33 tokens × 0.8 M weights × 2, attention's own among them"


def test_wrong_words_to_the_cost_are_answered_by_a_sentence() -> None:
    with pytest.raises(UsageError, match="images=two: write a whole number above 0"):
        cost.main(["method=cal", "dataset=ltcc", "images=two"])
    command = [sys.executable, "-m", "benchmarks.perf.cost", "method=nope", "dataset=ltcc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Unknown method nope" in done.stderr


def test_another_normalisation_than_the_towers_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tower = ZeroShot(ZeroShotConfig(**SMALL), facts()).backbone
    torch.save(tower.trunk.state_dict(), tmp_path / "weights.pt")
    config = ZeroShotConfig(**SMALL, weights_file=tmp_path / "weights.pt")
    with caplog.at_level(logging.WARNING, "ccreid"):
        ZeroShot(config, facts(mean=CLIP["image.mean"], std=CLIP["image.std"]))
        ZeroShot(ZeroShotConfig(**SMALL), facts())
        assert not caplog.records, "fitting numbers, or random weights"
        ZeroShot(config, facts())
    assert "was trained with image.mean=[0.48145466" in caplog.text
    np.testing.assert_allclose(normalisation_of("resnet50") or (), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
