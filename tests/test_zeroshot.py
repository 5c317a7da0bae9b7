"""Zero-shot: a tower is scored as it comes, nothing is trained, and its normalisation is watched."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import run
from benchmarks.resolve import resolve
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
