"""Market-1501's lists agree with the official codes; bad detections are left out, distractors stay."""

from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.checks import count
from datasets.errors import DataError, UsageError
from datasets.market1501 import Market1501
from tests.trees import AWKWARD_NAMES, build_tree, golden_rows, hidden_and_matches, labels_of, paths_of, same_groups

SPLITS = ("train", "query", "gallery")
FOLDER = "Market-1501-v15.09.15"
BAD_DETECTION = f"{FOLDER}/bounding_box_test/-1_c4s6_017241_03.jpg"


@pytest.fixture
def tree(tmp_path: Path, golden) -> Path:
    """The generated tree, with the bad detection that the lists, rightly, don't have."""
    lists = golden_rows(golden, "torchreid__market")
    return build_tree(tmp_path / "data", [*(row[0] for split in SPLITS for row in lists[split]), BAD_DETECTION])


@pytest.mark.parametrize("peer", ["torchreid", "fastreid"])
def test_lists_agree_with_the_official_codes(tree, golden, peer):
    """As sets: both leave the order to the file system."""
    lists, dataset = golden_rows(golden, f"{peer}__market"), Market1501(tree)
    for split in SPLITS:
        samples, rows = dataset.split(split), sorted(lists[split])
        persons = [row[1] for row in rows]
        assert paths_of(dataset, samples) == [row[0] for row in rows]
        assert samples.camera.tolist() == [row[2] for row in rows]
        assert same_groups(samples.person.tolist(), persons)
        assert split == "train" or samples.person.tolist() == persons
        assert set(samples.clothes) == {-1}


def test_bad_detections_are_left_out_and_distractors_stay(tree):
    """So the gallery counts 751 people in the release: 750 and the number 0."""
    assert (tree / BAD_DETECTION).is_file()
    gallery = Market1501(tree).split("gallery")
    assert np.unique(gallery.person).tolist() == [0, 1, 1501]
    assert count(gallery) == Counts(persons=3, images=7)
    assert Market1501.statistics["gallery"] == Counts(persons=751, images=19_732 - 3_819)


def test_only_the_gallery_has_numbers_that_are_nobody(tree):
    for folder, split in (("query", "query"), ("bounding_box_train", "train")):
        for person in ("-1", "0000"):
            stray = tree / FOLDER / folder / f"{person}_c1s1_000001_01.jpg"
            stray.write_bytes(b"x")
            with pytest.raises(DataError, match=rf"{stray.name} is not named like Market-1501's images"):
                Market1501(tree).split(split)
            stray.unlink()


def test_the_protocol_hides_the_query_s_own_camera(tree):
    """Each query, of camera 1, has three images in the gallery, under cameras 1, 2 and 6; distractors never count."""
    dataset = DATASETS.get("market1501")(tree)
    [protocol] = dataset.protocols()
    assert (protocol.name, protocol.ignore, protocol.reported) == ("standard", Ignore.SAME_CAMERA, True)
    hidden, matches = hidden_and_matches(dataset, protocol)
    gallery = dataset.split("gallery")
    assert [gallery.camera[row].tolist() for row in hidden] == [[0], [0]]
    assert [gallery.camera[row].tolist() for row in matches] == [[1, 5], [1, 5]]
    assert dataset.validation().ignore == Ignore.SAME_CAMERA


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_labels_do_not_depend_on_the_folders_above(tree, name):
    """torchreid and fast-reid search the whole path for `([-\\d]+)_c(\\d)`."""
    expected = labels_of(Market1501(tree), SPLITS)
    (tree / FOLDER).rename(tree / name)
    assert labels_of(Market1501(tree / name), SPLITS) == expected


def test_symbolic_link_as_root_and_one_folder_down(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / FOLDER)
    assert len(Market1501(tmp_path / "link").split("gallery")) == 7
    (tree / "market1501").mkdir()
    (tree / FOLDER).rename(tree / "market1501" / FOLDER)  # where torchreid has it
    assert len(Market1501(tree).split("gallery")) == 7


def test_upper_case_extension_is_read_and_leftovers_are_not(tree):
    folder = tree / FOLDER / "query"
    (folder / "0001_c1s1_001051_00.jpg").rename(folder / "0001_c1s1_001051_00.JPG")
    for name in (".DS_Store", "._0001_c1s1_001051_00.jpg", "Thumbs.db"):  # the archive holds a Thumbs.db
        (folder / name).write_bytes(b"x")
    dataset = Market1501(tree)
    samples = dataset.split("query")
    assert (len(samples), samples.paths[0]) == (2, "query/0001_c1s1_001051_00.JPG")
    assert dataset.read_image(samples.paths[0]).shape == (16, 8, 3)


@pytest.mark.parametrize(
    "name", ["1_c1s1_001051_00.jpg", "0001_c7s1_001051_00.jpg", "-2_c1s1_001051_00.jpg", "0001_c1s1_001051_00.jpg.jpg"]
)
def test_foreign_file_is_refused_by_name(tree, name):
    (tree / FOLDER / "bounding_box_test" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not named like .*PERSON_cCAMERAsSEQUENCE.*\(1 of 9 are not\)"):
        Market1501(tree).split("gallery")


def test_missing_folder_is_named(tree, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist: expected the folder of Market-1501 with bound"):
        Market1501(tmp_path / "nowhere").split("train")
    (tree / FOLDER / "bounding_box_test").rename(tree / "elsewhere")
    assert len(Market1501(tree).split("query")) == 2
    with pytest.raises(DataError, match=r"bounding_box_test does not exist: .* only bounding_box_train and query"):
        Market1501(tree).split("gallery")


def test_unknown_split_is_refused(tree):
    with pytest.raises(UsageError, match="no split bounding_box_test: choose one of train, query, gallery"):
        Market1501(tree).split("bounding_box_test")
