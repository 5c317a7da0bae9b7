"""DeepChange's lists agree with the official codes; what a folder and its list disagree about is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Ignore
from datasets.deepchange import FOLDERS, DeepChange
from datasets.errors import DataError, UsageError
from tests.trees import AWKWARD_NAMES, build_tree, dense, golden_rows, hidden_and_matches

PEERS = ("CAL", "FIRe")


@pytest.fixture
def tree(golden: Path, tmp_path: Path) -> Path:
    """The generated tree of the golden lists; the codes' camera is the tracklet of the text file."""
    lists = golden_rows(golden, "CAL__deepchange")
    root = build_tree(tmp_path / "data", [path for split in FOLDERS for path, *_ in lists[split]])
    for split, folder in FOLDERS.items():
        lines = [f"{Path(path).name},{tracklet}\n" for path, _, tracklet, _ in lists[split]]
        (root / f"DeepChangeDataset/{folder}-bbox.txt").write_text("".join(lines))
    return root


def listed(tree: Path, change: Callable[[str], str]) -> None:
    """Change the text of the query's list."""
    file = tree / "DeepChangeDataset/test-set-query-bbox.txt"
    file.write_text(change(file.read_text()))


@pytest.mark.parametrize("peer", PEERS)
def test_lists_have_the_images_and_labels_of_the_official_codes(tree, golden, peer):
    """Theirs are in the order of the text file, ours sorted by path: P12_ comes before P1_."""
    lists, dataset = golden_rows(golden, f"{peer}__deepchange"), DeepChange(tree)
    labels: dict[str, tuple[int, int, int]] = {}
    for split in FOLDERS:
        samples = dataset.split(split)
        assert samples.tracklet is not None
        paths = [f"DeepChangeDataset/{path}" for path in samples.paths]
        assert paths == sorted(path for path, *_ in lists[split])
        columns = (samples.person.tolist(), samples.tracklet.tolist(), samples.clothes.tolist())
        labels |= dict(zip(paths, zip(*columns, strict=True), strict=True))
    train, validated, tested = (
        [row for split in splits for row in lists[split]]
        for splits in (("train",), ("val_query", "val_gallery"), ("query", "gallery"))
    )
    for rows in (train, validated, tested):
        found = [labels[path] for path, *_ in rows]
        assert [tracklet for _, tracklet, _ in found] == [tracklet for _, _, tracklet, _ in rows]
        assert dense([clothes for *_, clothes in found]) == [clothes for *_, clothes in rows]
        person = [person for person, _, _ in found]
        assert (dense(person) if rows is train else person) == [person for _, person, _, _ in rows]


def test_camera_and_clothes_are_read_from_the_name(tree):
    samples = DeepChange(tree).split("train")
    assert samples.paths[0] == "train-set/P12_C01_20190405_08_5_1.jpg"
    assert samples.camera.tolist() == [0, 0, 0, 0, 14, 14, 14, 14] * 2
    assert samples.clothes[:3].tolist() == [12_20190405, 12_20190405, 12_20191222]


def test_clothes_are_a_person_on_a_day(tree):
    dataset = DeepChange(tree)
    owner: dict[int, tuple[int, str]] = {}
    for split in FOLDERS:
        samples = dataset.split(split)
        for path, clothes, person in zip(samples.paths, samples.clothes, samples.person, strict=True):
            assert owner.setdefault(int(clothes), (person, path.split("_")[2])) == (person, path.split("_")[2])
    assert len(owner) == 2 * (2 + 2 + 3)


@pytest.mark.parametrize("name", [*AWKWARD_NAMES, "P7_C03_20200101", "train-set"])
def test_labels_do_not_depend_on_the_folders_above(tree, tmp_path, name):
    expected = DeepChange(tree).split("query")
    moved = (tree / "DeepChangeDataset").rename(tmp_path / name)
    found = DeepChange(moved).split("query")
    assert found.paths == expected.paths
    assert found.person.tolist() == expected.person.tolist()
    assert found.clothes.tolist() == expected.clothes.tolist()


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "DeepChangeDataset")
    assert len(DeepChange(tmp_path / "link").split("train")) == 16


def test_upper_case_extension_is_read_and_leftovers_are_not(tree):
    image = tree / "DeepChangeDataset/test-set-query/P1001_C01_20190405_08_21_1.jpg"
    image.rename(image.with_suffix(".JPG"))
    listed(tree, lambda text: text.replace("21_1.jpg", "21_1.JPG"))
    for name in (".DS_Store", "Thumbs.db"):
        (image.parent / name).write_bytes(b"x")
    samples = DeepChange(tree).split("query")
    assert len(samples) == 16
    assert DeepChange(tree).read_image(f"test-set-query/{image.stem}.JPG").shape == (16, 8, 3)
    assert f"test-set-query/{image.stem}.JPG" in samples.paths


def test_further_fields_and_line_ends_of_a_list_do_not_matter(tree):
    expected = DeepChange(tree).split("query")
    listed(tree, lambda text: text.replace("\n", ", 12,30,64,128\r\n") + "\n\n")
    found = DeepChange(tree).split("query")
    assert found.paths == expected.paths
    np.testing.assert_array_equal(found.tracklet, expected.tracklet)


@pytest.mark.parametrize(
    "name", ["1001_C01_20190405_08_1.jpg", "P1001_C01_2019-04-05_1.jpg", "P1001_C01_20190405_1.png", "P1_C00_1_1.jpg"]
)
def test_foreign_file_is_refused_by_name(tree, name):
    (tree / "DeepChangeDataset/test-set-query" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not named like DeepChange's images.*\(1 of 17 are not\)"):
        DeepChange(tree).split("query")


def test_image_that_is_not_listed_is_refused(tree):
    """It would have no tracklet, and so be a match that should not count."""
    name = "P1001_C01_20190405_08_21_9.jpg"
    (tree / "DeepChangeDataset/test-set-query" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not in test-set-query-bbox.txt \(1 of 17 are not\)"):
        DeepChange(tree).split("query")


def test_listed_image_that_is_missing_is_refused(tree):
    name = "P1001_C01_20190405_08_21_2.jpg"
    (tree / "DeepChangeDataset/test-set-query" / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing: test-set-query-bbox.txt lists it \(1 of 16 are missing"):
        DeepChange(tree).split("query")


@pytest.mark.parametrize(
    "line",
    [
        "P1001_C01_20190405_08_99_1.jpg",
        "P1001_C01_20190405_08_99_1.jpg,",
        "P1001_C01_20190405_08_99_1.jpg,-1",
        "P1001_C01_20190405_08_99_1.jpg,4.5",
        "../train-set/P1_C01_20190405_08_1_1.jpg,1",
        "P1001_C01_20190405_08_21_1.jpg,21",
    ],
    ids=["no tracklet", "empty tracklet", "negative", "fraction", "elsewhere", "listed twice"],
)
def test_line_that_is_not_deepchange_s_is_refused_with_its_number(tree, line):
    listed(tree, lambda text: f"{text}{line}\n")
    with pytest.raises(DataError, match=r"test-set-query-bbox.txt, line 17: .*; copy the list again"):
        DeepChange(tree).split("query")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "test-set-query-bbox.txt is missing or cannot be read"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), "test-set-query-bbox.txt is missing or cannot be read"),
        (lambda file: file.write_text("\n"), "test-set-query-bbox.txt lists no images"),
    ],
)
def test_list_that_is_missing_or_empty_is_named(tree, damage: Callable[[Path], object], message):
    damage(tree / "DeepChangeDataset/test-set-query-bbox.txt")
    assert len(DeepChange(tree).split("train")) == 16, "the other splits can still be read"
    with pytest.raises(DataError, match=message):
        DeepChange(tree).split("query")


def test_missing_folder_and_unknown_split_are_refused(tree, tmp_path):
    (tree / "DeepChangeDataset/val-set-query").rename(tree / "elsewhere")
    with pytest.raises(DataError, match=r"val-set-query does not exist: .* only train-set, val-set-gallery, test-set-"):
        DeepChange(tree).split("val_query")
    with pytest.raises(DataError, match="nowhere does not exist: expected the folder of DeepChange with train-set"):
        DeepChange(tmp_path / "nowhere").split("train")
    with pytest.raises(UsageError, match="no split test: choose one of train, val_query, val_gallery, query, gallery"):
        DeepChange(tree).split("test")


def test_same_camera_counts_and_same_tracklet_does_not(tree):
    """As in the official evaluation: of 8 gallery images of the query's person, here 2 are of its own tracklet."""
    gallery = tree / "DeepChangeDataset/test-set-gallery-bbox.txt"
    gallery.write_text(gallery.read_text().replace(",29\n", ",21\n"))
    dataset = DeepChange(tree)
    hidden, matches = hidden_and_matches(dataset, dataset.protocols()[0])
    assert dataset.split("query").tracklet.tolist()[:2] == [21, 21]
    assert hidden.sum(axis=1).tolist() == [2, 2, *[0] * 14]
    assert matches.sum(axis=1).tolist() == [6, 6, *[8] * 14]


def test_only_the_query_s_tracklet_is_ignored_and_validation_has_splits_of_its_own():
    dataset = DATASETS.get("deepchange")(Path("unused"))
    protocols = dataset.protocols()
    assert [(p.name, p.ignore, p.pool, p.reported) for p in protocols] == [
        ("standard", Ignore.SAME_TRACKLET, None, True)
    ]
    validation = dataset.validation()
    assert (validation.query, validation.gallery) == ("val_query", "val_gallery")
    assert validation.ignore == Ignore.SAME_TRACKLET
    assert {name for p in (*protocols, validation) for name in (p.query, p.gallery)} < set(dataset.splits)
    assert dataset.statistics.keys() == set(dataset.splits)
    assert sum(counts.images for counts in dataset.statistics.values()) == 178_407, "the README's total"
