"""Bad input gets one sentence that names the file or key and the mend, and its exit code; nothing is half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import run
from datasets.layouts import write_layout
from datasets.synthetic import Synthetic


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world in LTCC's official layout, with captions."""
    out = tmp_path_factory.mktemp("released")
    config = Synthetic.Config(people=6, test_people=4, cameras=2, tracklets=1, frames=2, height=64)
    write_layout("ltcc", out, config)
    return out


@pytest.fixture
def data(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "data"))


@pytest.fixture
def words(tiny: list[str], data: Path) -> list[str]:
    """A run on that tree; the synthetic world's own options left out."""
    kept = [word for word in tiny if not word.startswith(("dataset", "captions.text_model"))]
    smaller = ["sampler.batch_size=8", "train.accumulate=1", "train.precision=fp32", "method.pretrained=false"]
    kept = [word for word in kept if not word.startswith("sampler.batch_size")]
    return [*kept, "dataset=ltcc", f"data={data}", "captions.text_model=hashing-512", "method.patch_size=8", *smaller]


def said(words: list[str], capsys: pytest.CaptureFixture, code: int) -> str:
    """The one sentence on standard error."""
    assert run.main(words) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


def test_the_tree_itself_is_good(words: list[str]) -> None:
    assert run.main(words) == 0


def test_a_dataset_without_data(words: list[str], capsys: pytest.CaptureFixture) -> None:
    error = said([word for word in words if not word.startswith("data=")], capsys, 2)
    assert "data=DIR" in error


def test_a_missing_data_folder(words: list[str], data: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(data)
    error = said(words, capsys, 3)
    assert str(data) in error


@pytest.mark.parametrize("folder", ["train", "query", "test"])
def test_half_of_the_dataset_missing(words: list[str], data: Path, folder: str, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(data / "LTCC_ReID" / folder)
    assert f"LTCC_ReID/{folder}" in said(words, capsys, 3)


def first_image(data: Path, folder: str = "train") -> Path:
    return sorted((data / "LTCC_ReID" / folder).glob("*.png"))[0]


def test_a_truncated_image(words: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    image = first_image(data)
    image.write_bytes(image.read_bytes()[:200])
    assert image.name in said(words, capsys, 3)
    assert not list((tmp_path / "cache").rglob("*.npy")), "no half-written cache"


def test_a_name_that_does_not_parse(words: list[str], data: Path, capsys: pytest.CaptureFixture) -> None:
    first_image(data).rename(data / "LTCC_ReID" / "train" / "IMG_0001.png")
    error = said(words, capsys, 3)
    assert "IMG_0001.png" in error


def edit_captions(data: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    (file,) = (data / "captions").rglob("train.npz")
    with np.load(file, allow_pickle=False) as stored:
        changed = change(dict(stored))
    np.savez(file, **changed)


def test_captions_that_lack_some_images(words: list[str], data: Path, capsys: pytest.CaptureFixture) -> None:
    edit_captions(data, lambda stored: {"data": stored["data"][18:], "metadata": stored["metadata"][3:]})
    error = said(words, capsys, 3)
    assert first_image(data).stem in error, "which"
    assert "3 of" in error, "how many"
    assert "captions.missing=drop" in error, "the mend"
    assert run.main([*words, "captions.missing=drop"]) == 0


def test_a_pickle_in_the_captions(words: list[str], data: Path, capsys: pytest.CaptureFixture) -> None:
    edit_captions(data, lambda stored: {"data": stored["data"], "metadata": stored["metadata"].astype(object)})
    error = said(words, capsys, 3)
    assert "train.npz" in error
    assert "pickle" in error


def test_a_batch_that_k_does_not_divide(words: list[str], capsys: pytest.CaptureFixture) -> None:
    error = said([*words[:-1], "sampler.instances=3", words[-1]], capsys, 2)
    assert "sampler.batch_size=8 is not divisible by sampler.instances=3" in error


def test_an_unknown_key(words: list[str], capsys: pytest.CaptureFixture) -> None:
    error = said([*words, "method.weigths.triplet=1"], capsys, 2)
    assert "Did you mean method.weights.triplet?" in error


def test_an_unknown_verb_and_a_word_without_a_value(capsys: pytest.CaptureFixture) -> None:
    assert "Did you mean evaluate?" in said(["evalute", "run=x"], capsys, 2)
    assert "key=value" in said(["method=differ", "dataset"], capsys, 2)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_weights_of_another_architecture(
    words: list[str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / name
    tensors = {"layer1.0.conv1.weight": torch.zeros(4, 3, 3, 3), "fc.bias": torch.zeros(4)}
    save_file(tensors, file) if file.suffix == ".safetensors" else torch.save(tensors, file)
    chosen = [word for word in words if not word.startswith("method.pretrained")]
    error = said([*chosen, f"method.weights_file={file}"], capsys, 3)
    assert name in error


def test_a_weight_file_that_would_run_code(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"callback": print}, file)
    chosen = [word for word in words if not word.startswith("method.pretrained")]
    assert "weights.pt" in said([*chosen, f"method.weights_file={file}"], capsys, 3)


def test_a_run_that_failed_on_bad_data_goes_through_once_it_is_mended(
    words: list[str], data: Path, capsys: pytest.CaptureFixture
) -> None:
    image = first_image(data)
    good = image.read_bytes()
    image.write_bytes(good[:200])
    said(words, capsys, 3)
    image.write_bytes(good)
    assert run.main(words) == 0


def test_check_finds_what_training_would_stumble_over(data: Path, capsys: pytest.CaptureFixture) -> None:
    image = first_image(data, "query")
    image.write_bytes(image.read_bytes()[:20])
    assert run.main(["check", "dataset=ltcc", f"data={data}"]) == 3
    assert image.name in capsys.readouterr().out


def test_check_passes_on_a_good_tree(data: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main(["check", "dataset=ltcc", f"data={data}", "deep=true"]) == 0
    printed = capsys.readouterr().out
    assert "cloth-changing" in printed
    assert "valid match" in printed


def test_a_config_file_with_a_pickle_like_tag_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: !!python/object/apply:os.system ['true']\n")
    assert "mine.yaml" in said([*words, f"config={file}"], capsys, 2)


def test_the_records_of_a_run_are_plain_json(words: list[str]) -> None:
    assert run.main(words) == 0
    root = next(word.removeprefix("runs=") for word in words if word.startswith("runs="))
    (metrics,) = Path(root).rglob("metrics.jsonl")
    assert all(json.loads(line)["event"] for line in metrics.read_text().splitlines())
