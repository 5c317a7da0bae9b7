"""`run.py check` passes on every synthesized release and finds each fault that is planted on one."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import run
from datasets import DATASETS
from datasets.layouts import LAYOUTS, TEXT_MODEL, write_layout
from datasets.synthetic import Synthetic

WORLD = Synthetic.Config(people=6, test_people=4, cameras=2, tracklets=1, frames=2, height=64)
NOBODY = 65534
"""The account without rights that Unix systems have."""


@pytest.fixture(scope="module")
def released() -> Iterator[Path]:
    """A good release in LTCC's layout, below a folder that every account may look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write_layout("ltcc", Path(folder) / "good", WORLD)
        yield Path(folder) / "good"


@pytest.fixture
def data(released: Path) -> Iterator[Path]:
    """A copy to plant a fault on."""
    copy = released.with_name("copy")
    shutil.copytree(released, copy)
    yield copy
    shutil.rmtree(copy)


def check(data: Path, capsys: pytest.CaptureFixture, *words: str, dataset: str = "ltcc") -> tuple[int, list[str]]:
    """Exit code and printed lines."""
    code = run.main(["check", f"dataset={dataset}", f"data={data}", *words])
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_untouched_release_passes(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of every layout that can be written: the splits are as written, nothing is missing, every protocol asks."""
    write_layout(layout, tmp_path, WORLD)
    code, lines = check(tmp_path, capsys, dataset=layout)
    assert code == 0, "\n".join(lines)
    assert not [line for line in lines if line.startswith("error")]
    dataset = DATASETS.get(layout)(tmp_path)
    for split in dataset.splits:
        assert any(line.startswith(f"ok       {split}: ") and line.endswith(", as written") for line in lines), split
    for protocol in dataset.protocols():
        assert any(f" {protocol.name}: " in line and "have a valid match" in line for line in lines), protocol.name


def test_an_untouched_release_passes_in_depth(released: Path, capsys: pytest.CaptureFixture) -> None:
    code, lines = check(released, capsys, "deep=true")
    assert code == 0
    assert any("92 of 92 can be decoded" in line for line in lines)
    assert not [line for line in lines if not line.startswith("ok")]


# --- faults ---


def images(data: Path, folder: str) -> list[Path]:
    return sorted((data / "LTCC_ReID" / folder).iterdir())


def missing_folder(data: Path) -> None:
    shutil.rmtree(data / "LTCC_ReID/query")


def truncated_image(data: Path) -> None:
    image = images(data, "test")[3]
    image.write_bytes(image.read_bytes()[:-100])


def renamed_file(data: Path) -> None:
    image = images(data, "train")[0]
    image.rename(image.with_name("IMG_0001.png"))


def relabelled_file(data: Path) -> None:
    """Still a name of LTCC's, of another camera: only what lies beside the images can tell."""
    image = images(data, "train")[0]
    image.rename(image.with_name(image.name.replace("_c1_", "_c7_").replace("_c2_", "_c7_")))


def leaked_identity(data: Path) -> None:
    image, trained = images(data, "test")[0], images(data, "train")[0]
    image.rename(image.with_name(trained.name[:3] + image.name[3:]))


def duplicated_image(data: Path) -> None:
    images(data, "test")[1].write_bytes(images(data, "train")[1].read_bytes())


def missing_caption(data: Path) -> None:
    file = data / "captions/LTCC_ReID" / TEXT_MODEL / "train.npz"
    with np.load(file, allow_pickle=False) as stored:
        features, names = stored["data"], stored["metadata"]
    np.savez(file, data=features[: -len(features) // len(names)], metadata=names[:-1])


def mask_of_wrong_size(data: Path) -> None:
    mask = sorted((data / "masks/LTCC_ReID/query").iterdir())[2]
    Image.fromarray(np.zeros((5, 7), dtype=np.uint8)).save(mask)


def wrong_counts(data: Path) -> None:
    images(data, "test")[-1].unlink()


def empty_query_list(data: Path) -> None:
    for image in images(data, "query"):
        image.unlink()


def labels_of_no_set(data: Path) -> None:
    """A mask saved as grey values."""
    mask = sorted((data / "masks/LTCC_ReID/train").iterdir())[0]
    with Image.open(mask) as labels:
        Image.fromarray(np.asarray(labels) * 10).save(mask)


class Fault(NamedTuple):
    plant: Callable[[Path], None]
    found: str
    """Words that a line of the check has."""
    place: str
    """What the same line names: a file, a folder or a split."""


FAULTS = [
    Fault(missing_folder, "does not exist", "LTCC_ReID/query"),
    Fault(truncated_image, "is not a readable image", "LTCC_ReID/test/"),
    Fault(renamed_file, "is not named like LTCC's images", "train/IMG_0001.png"),
    Fault(relabelled_file, "Images without a mask: 1", "_c7_"),
    Fault(leaked_identity, "1 people are in both train and gallery", "first 0"),
    Fault(duplicated_image, "Images that are in both train and gallery, byte for byte: 1", "test/"),
    Fault(missing_caption, "Training images without a caption", f"{TEXT_MODEL}/train.npz: 1"),
    Fault(mask_of_wrong_size, "has 7×5 pixels", "masks/LTCC_ReID/query/"),
    Fault(wrong_counts, "19 images, but 20 were written", "gallery"),
    Fault(empty_query_list, "holds no images", "LTCC_ReID/query"),
    Fault(labels_of_no_set, "labels that no label set has", "train/"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__)
def test_a_planted_fault_is_found(fault: Fault, data: Path, capsys: pytest.CaptureFixture) -> None:
    fault.plant(data)
    code, lines = check(data, capsys)
    assert code == 3
    errors = [line for line in lines if line.startswith("error")]
    assert [line for line in errors if fault.found in line and fault.place in line], "\n".join(lines)


@contextmanager
def without_rights() -> Iterator[None]:
    """The superuser may read everything: become nobody for a while. Other accounts stay who they are."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except PermissionError:
        pytest.skip("the superuser of this container cannot become another account")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "place", ["LTCC_ReID/test", "masks/LTCC_ReID/train", "LTCC_ReID/train/", "masks/LTCC_ReID/query/"]
)
def test_a_file_or_folder_without_permission_is_found(
    place: str, data: Path, released: Path, capsys: pytest.CaptureFixture
) -> None:
    """The tenth fault, on an image, on a mask and on their folders."""
    assert check(released, capsys)[0] == 0  # also imports everything while it may be read
    closed = data / place if place.endswith("/") else sorted((data / place).iterdir())[0]
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        with without_rights():
            if os.access(closed, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
                pytest.skip("this file system or account does not know permissions")
            code, lines = check(data, capsys)
    finally:
        closed.chmod(mode)
    assert code == 3
    assert [line for line in lines if line.startswith("error") and str(closed) in line and "Permission denied" in line]
