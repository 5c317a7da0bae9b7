"""LTCC's lists agree with the official codes, wherever the folder lies; a folder that is not LTCC's is refused."""

from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Ignore
from datasets.errors import DataError, UsageError
from datasets.ltcc import LTCC
from tests.trees import build_tree, dense, golden_rows

PEERS = ("CAL", "AIM", "CSSC", "MADE", "DIFFER", "GEFF")
SPLITS = ("train", "query", "gallery")


@pytest.fixture(scope="session")
def golden_lists(golden: Path) -> dict[str, dict]:
    return {peer: golden_rows(golden, f"{peer}__ltcc") for peer in PEERS}


@pytest.fixture
def tree(tmp_path: Path, golden_lists) -> Path:
    lists = golden_lists["CAL"]
    return build_tree(tmp_path / "data", [row[0] for split in SPLITS for row in lists[split]])


@pytest.mark.parametrize("peer", PEERS)
def test_lists_agree_with_the_official_codes_row_for_row(tree, golden_lists, peer):
    golden, dataset = golden_lists[peer], LTCC(tree)
    samples = {split: dataset.split(split) for split in SPLITS}
    for split in SPLITS:
        paths, _, cameras, _ = zip(*golden[split], strict=True)
        assert [f"LTCC_ReID/{path}" for path in samples[split].paths] == list(paths)
        assert samples[split].camera.tolist() == list(cameras)
    assert dense(samples["train"].person) == [row[1] for row in golden["train"]]
    assert dense(samples["train"].clothes) == [row[3] for row in golden["train"]]
    tested = golden["query"] + golden["gallery"]
    assert np.concatenate([samples["query"].person, samples["gallery"].person]).tolist() == [row[1] for row in tested]
    clothes = np.concatenate([samples["query"].clothes, samples["gallery"].clothes])
    assert dense(clothes) == [row[3] for row in tested]


def test_sicl_s_lists_are_those_of_the_changers(tree, golden):
    """SiCL drops who never changes clothes, from query and gallery: an easier protocol, under a name of its own."""
    (tree / "LTCC_ReID/info").mkdir()
    (tree / "LTCC_ReID/info/cloth-change_id_test.txt").write_text("1\n148\n")
    lists = golden_rows(golden, "SiCL__ltcc")
    for split in ("query", "gallery"):
        samples = LTCC(tree).split(f"{split}-changers")
        outfits = samples.clothes - 100 * samples.person  # SiCL's clothes count within a person
        columns = (samples.person.tolist(), samples.camera.tolist(), outfits.tolist())
        found = zip([f"LTCC_ReID/{path}" for path in samples.paths], *columns, strict=True)
        assert sorted(found) == sorted(map(tuple, lists[split]))


def test_the_list_of_changers_is_only_read_by_its_own_protocols(tree):
    assert len(LTCC(tree).split("gallery")) == 30
    with pytest.raises(DataError, match=r"cloth-change_id_test.txt is missing .* evaluate.protocols=reported"):
        LTCC(tree).split("gallery-changers")


def test_clothes_are_unique_over_the_dataset(tree):
    """Outfit 1 of two people, and of train and test, are different clothes."""
    dataset = LTCC(tree)
    owner: dict[int, int] = {}
    for split in SPLITS:
        samples = dataset.split(split)
        for clothes, person in zip(samples.clothes.tolist(), samples.person.tolist(), strict=True):
            assert owner.setdefault(clothes, person) == person
    assert len(owner) == 6 + 5


@pytest.mark.parametrize("name", ["root_c_9", "a b-1_c2 query", "LTCC", "000_1_c1_000001.png"])
def test_labels_do_not_depend_on_the_folders_above(tree, tmp_path, name):
    """Several official codes search the whole path, so that `_c` in a folder's name puts everyone in one outfit."""
    expected = LTCC(tree).split("train")
    moved = tmp_path / name
    (tree / "LTCC_ReID").rename(moved)
    found = LTCC(moved).split("train")
    assert found.paths == expected.paths
    assert found.person.tolist() == expected.person.tolist()
    assert found.clothes.tolist() == expected.clothes.tolist()


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "LTCC_ReID")
    assert len(LTCC(tmp_path / "link").split("train")) == 36


def test_upper_case_extension_is_read(tree):
    image = next((tree / "LTCC_ReID/train").iterdir())
    image.rename(image.with_suffix(".PNG"))
    dataset = LTCC(tree)
    assert len(dataset.split("train")) == 36
    assert dataset.read_image(f"train/{image.stem}.PNG").shape == (16, 8, 3)


def test_hidden_files_and_file_managers_leftovers_are_ignored(tree):
    for name in (".DS_Store", "._000_1_c1_014912.png", "Thumbs.db"):
        (tree / "LTCC_ReID/train" / name).write_bytes(b"x")
    assert len(LTCC(tree).split("train")) == 36


@pytest.mark.parametrize(
    "name", ["0001_1_c1_014912.png", "000_1_c1_014912.jpg", "x000_1_c1_014912.png", "000_1_c1_14912.png", "notes.txt"]
)
def test_foreign_file_is_refused_by_name(tree, name):
    """A file that would get a wrong label, or silently none, stops the reading instead."""
    (tree / "LTCC_ReID/query" / name).write_bytes(b"x")
    with pytest.raises(
        DataError, match=rf"{name} is not named like .*PID_OUTFIT_cCAMERA_FRAME.png.*\(1 of 7 are not\)"
    ):
        LTCC(tree).split("query")


def test_missing_root_names_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist: expected the folder of LTCC with train, query and"):
        LTCC(tmp_path / "nowhere").split("train")


def test_half_of_the_dataset_names_the_missing_folder(tree):
    (tree / "LTCC_ReID/test").rename(tree / "LTCC_ReID/gallery")
    assert len(LTCC(tree).split("train")) == 36
    with pytest.raises(DataError, match=r"LTCC_ReID/test does not exist: .* only train and query there"):
        LTCC(tree).split("gallery")


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "LTCC_ReID/train").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        LTCC(tmp_path).split("train")


def test_unknown_split_is_refused(tree):
    with pytest.raises(UsageError, match="no split test: choose one of train, query, gallery"):
        LTCC(tree).split("test")


def test_registered_with_the_cloth_changing_protocol_first():
    dataset = DATASETS.get("ltcc")(Path("unused"))
    ignore = {protocol.name: protocol.ignore for protocol in dataset.protocols() if protocol.reported}
    assert list(ignore.items()) == [
        ("cloth-changing", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES),
        ("standard", Ignore.SAME_CAMERA),
        ("same-clothes", Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES),
    ]
