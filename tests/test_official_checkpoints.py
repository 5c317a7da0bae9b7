"""`evaluate checkpoint=`: an authors' file is scored where there is nothing but query and gallery."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import run
from datasets.errors import DataError
from datasets.layouts import write_layout
from datasets.synthetic import Synthetic
from methods.differ import Differ, DifferConfig
from methods.weights import read_state_dict


@pytest.fixture
def tested_only(tmp_path: Path) -> Path:
    """A tree in LTCC's layout without training images, captions and masks."""
    data = tmp_path / "data"
    write_layout("ltcc", data, Synthetic.Config(people=3, test_people=4, cameras=2, tracklets=1, frames=2, height=64))
    for folder in ("LTCC_ReID/train", "captions", "masks"):
        shutil.rmtree(data / folder)
    return data


@pytest.fixture
def words(tested_only: Path, tmp_path: Path) -> list[str]:
    places = [f"data={tested_only}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}", "device=cpu"]
    small = ["method.backbone=eva02_clip_tiny", "method.num_heads=4", "image.height=56", "image.width=56"]
    return ["evaluate", "method=differ", "dataset=ltcc", *small, *places]


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    """A small network of DIFFER's official code, as its authors save theirs."""
    with np.load(golden / "differ" / "model_tiny.npz", allow_pickle=False) as file:
        prefix = "clipFc_n2/sd/"
        state = {
            f"module.{key.removeprefix(prefix)}": torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(prefix)
        }
    torch.save(state, tmp_path / "best.pth")
    return tmp_path / "best.pth"


def test_scores_need_only_what_the_test_uses(words: list[str], checkpoint: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main([*words, f"checkpoint={checkpoint}"]) == 0
    printed = capsys.readouterr().out
    for said in ("5 identities and 4 cameras in training", "not used: head.bias", "method.camera_strength=1"):
        assert said in printed
    assert " cloth-changing " in printed
    folder = Path(printed.splitlines()[-1])
    assert folder.name.startswith("ltcc-differ-best-")
    assert (folder / "scores.json").is_file()


def test_camera_embeddings_can_be_switched_off(
    words: list[str], checkpoint: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*words, f"checkpoint={checkpoint}", "method.camera_strength=0"]) == 0
    assert "camera_embed" in capsys.readouterr().out, "it is among what was not used"


def test_a_file_that_would_run_code_and_one_of_another_method_are_refused(
    words: list[str], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({"callback": print}, tmp_path / "evil.pth")
    assert run.main([*words, f"checkpoint={tmp_path / 'evil.pth'}"]) == 3
    assert "is not unpickled" in capsys.readouterr().err
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    assert run.main([*words, f"checkpoint={tmp_path / 'other.pth'}"]) == 3
    error = capsys.readouterr().err
    assert "not DIFFER's" in error
    assert error.count("\n") == 1


def test_a_method_without_released_weights_says_so(words: list[str], checkpoint: Path, capsys) -> None:
    plain = [word for word in words if not word.startswith(("method", "image"))]
    assert run.main([*plain, "method=baseline", f"checkpoint={checkpoint}"]) == 2
    assert "No official checkpoint of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("camera_embed", lambda tensor: tensor.reshape(-1), "camera_embed is 256 where DIFFER's has 3 dimensions"),
        ("camera_embed", lambda tensor: tensor[..., :7], "camera_embed is 4×1×7 beside tokens of width 64"),
        ("head.weight", torch.sum, "head.weight is a scalar"),
        ("head_clip_bio.weight", torch.sum, "head_clip_bio.weight is a scalar"),
        ("pos_embed", lambda tensor: tensor[0, 0], "pos_embed is 64 where DIFFER's has 3 dimensions"),
        ("patch_embed.proj.weight", torch.sum, "patch_embed.proj.weight is a scalar"),
        ("patch_embed.proj.weight", lambda tensor: tensor[:0], "patch_embed.proj.weight is 0×3"),
    ],
)
def test_a_damaged_checkpoint_of_differ_is_refused_by_name(
    name: str, damage: Callable[[torch.Tensor], torch.Tensor], message: str, checkpoint: Path
) -> None:
    """Some of these gave a model of other cameras than were trained, and scores."""
    state = read_state_dict(checkpoint)
    state[f"module.{name}"] = damage(state[f"module.{name}"])
    with pytest.raises(DataError, match=message):
        Differ.from_official(state, DifferConfig(backbone="eva02_clip_tiny", num_heads=4, pretrained=False), 56, 56)


@pytest.mark.parametrize("protocol", ["all", "standard-changers"])
def test_protocols_of_some_of_the_people_need_no_training_images_either(
    words: list[str], checkpoint: Path, protocol: str, capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*words, f"checkpoint={checkpoint}", f"protocols={protocol}"]) == 0
    printed = capsys.readouterr().out
    assert "standard-changers" in printed
    assert "selection: checkpoint" in printed


def test_what_is_no_file_is_said_of_the_key_that_named_it(words: list[str], tmp_path: Path, capsys) -> None:
    assert run.main([*words, f"checkpoint={tmp_path}"]) == 3
    assert f"{tmp_path} is a folder: name the weights file in it by checkpoint." in capsys.readouterr().err
    assert run.main([*words, f"checkpoint={tmp_path / 'nowhere.pth'}"]) == 3
    assert "nowhere.pth does not exist: check checkpoint." in capsys.readouterr().err
