"""A finished run is opened again with its dataset and weights, wherever these are now."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.distribution import World
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened, reopen
from benchmarks.splits import load_samples, save_samples
from datasets.errors import DataError, UsageError
from tests.small_runs import copied, small_run

CPU = World(torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def finished(trained: RunFolder, tmp_path: Path) -> RunFolder:
    return copied(trained, tmp_path)


def opened(folder: RunFolder, **values: Any) -> Reopened:
    return reopen(folder, values, lambda event: None)


def remember(folder: RunFolder, **places: str) -> None:
    """Change what the run's last start says of where its files were."""
    starts = folder.starts()
    starts[-1]["session"] |= places
    (folder.path / "environment.json").write_text(json.dumps(starts), encoding="utf-8")


def test_features_computed_again_from_the_weights_are_the_same_bytes(finished: RunFolder) -> None:
    files = sorted((finished.path / "features").iterdir())
    before = {file.name: file.read_bytes() for file in files}
    assert set(before) == {f"{split}@{finished.headline}.npz" for split in ("query", "gallery")}
    shutil.rmtree(finished.path / "features")
    opened(finished).ensure_features(CPU)
    assert {file.name: file.read_bytes() for file in files} == before


def test_they_are_those_of_the_run_whatever_is_asked_of_the_evaluation_today(finished: RunFolder) -> None:
    """Kept features belong to the recorded rankings: another evaluation, mirrored or of one protocol, is none of it."""
    before = {file.name: file.read_bytes() for file in (finished.path / "features").iterdir()}
    shutil.rmtree(finished.path / "features")
    opened(finished, **{"evaluate.flip": True, "evaluate.normalise": False}).ensure_features(CPU)
    assert {file.name: file.read_bytes() for file in (finished.path / "features").iterdir()} == before


def test_features_that_are_there_are_not_computed_again(finished: RunFolder) -> None:
    """Nor are weights needed for them."""
    shutil.rmtree(finished.path / "checkpoints")
    opened(finished).ensure_features(CPU)
    shutil.rmtree(finished.path / "features")
    with pytest.raises(DataError, match=r"last\.safetensors cannot be read .*: delete the run's folder"):
        opened(finished).ensure_features(CPU)


def test_features_of_other_images_than_the_run_was_scored_on_are_not_made(finished: RunFolder) -> None:
    samples = load_samples(finished.split("gallery"))
    save_samples(finished.split("gallery"), samples.take(np.arange(len(samples))[::-1]))
    shutil.rmtree(finished.path / "features")
    with pytest.raises(DataError, match=r"The gallery images in .* are not those that .* was scored on"):
        opened(finished).ensure_features(CPU)


def test_the_model_is_that_of_the_headline_ready_for_the_test(finished: RunFolder) -> None:
    method = opened(finished).method()
    assert not method.training
    assert not any(parameter.isnan().any() for parameter in method.parameters())
    with pytest.raises(DataError, match=r"nothing\.safetensors"):
        opened(finished).method("nothing")


def test_images_are_read_from_the_dataset(finished: RunFolder) -> None:
    image = opened(finished).image(load_samples(finished.split("query")).paths[0])
    assert image.ndim == 3
    assert image.dtype == np.uint8


def test_a_run_remembers_where_its_files_were(finished: RunFolder, tmp_path: Path) -> None:
    places = {key: tmp_path / key for key in ("data", "mask_folder", "caption_folder", "cache")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    remember(finished, **{key: str(place) for key, place in places.items()})
    session = opened(finished).session
    assert {key: getattr(session, key) for key in places} == places


def test_a_place_that_is_given_goes_first_then_the_environment(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("remembered", "variable", "given"):
        (tmp_path / name).mkdir()
    remember(finished, data=str(tmp_path / "remembered"))
    monkeypatch.setenv("CCREID_DATA", str(tmp_path / "variable"))
    assert opened(finished).session.data == tmp_path / "variable"
    assert opened(finished, data=str(tmp_path / "given")).session.data == tmp_path / "given"
    monkeypatch.delenv("CCREID_DATA")
    assert opened(finished).session.data == tmp_path / "remembered"


def test_a_place_that_is_gone_is_forgotten(finished: RunFolder, tmp_path: Path) -> None:
    remember(finished, data=str(tmp_path / "moved away"), cache=str(tmp_path / "deleted"))
    session = opened(finished).session
    assert session.data is None
    assert session.cache == Path("cache")


def test_a_run_that_was_never_started_here_can_be_opened(finished: RunFolder) -> None:
    """Such as one whose environment.json was not copied."""
    (finished.path / "environment.json").unlink()
    assert opened(finished).session.data is None


def test_how_it_was_trained_cannot_change(finished: RunFolder) -> None:
    with pytest.raises(UsageError, match=r"train\.epochs belongs to how the run was trained"):
        opened(finished, **{"train.epochs": 3})
