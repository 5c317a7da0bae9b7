"""LaST's lists agree with the official codes, wherever the folder lies; a folder that is not LaST's is refused."""

from pathlib import Path

import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.errors import DataError, UsageError
from datasets.last import FOLDERS, LaST, LaSTConfig
from tests.trees import AWKWARD_NAMES, build_tree, dense, golden_rows

PEERS = ("CAL", "FIRe", "MADE", "GEFF")
OFFICIAL = {
    "train": "train",
    "val_query": "query",
    "val_gallery": "gallery",
    "query": "query_test",
    "gallery": "gallery_test",
}
"""Our split → the official code's."""


@pytest.fixture
def tree(tmp_path: Path, golden: Path) -> Path:
    lists = golden_rows(golden, "CAL__last")
    return build_tree(tmp_path / "data", [path for split in FOLDERS for path, *_ in lists[split]])


def compare(dataset: LaST, lists: dict[str, list], names: dict[str, str]) -> None:
    """Paths and people, of training relabelled, row for row; in theirs no camera sees two images."""
    for split in FOLDERS:
        samples, rows = dataset.split(split), lists[names[split]]
        assert [f"last/{path}" for path in samples.paths] == [path for path, *_ in rows]
        person = dense(samples.person) if split == "train" else samples.person.tolist()
        assert person == [person for _, person, *_ in rows]
        assert (samples.camera == -1).all()
    for query, gallery in (("query", "gallery"), ("val_query", "val_gallery")):
        asked, given = ({camera for _, _, camera, _ in lists[names[split]]} for split in (query, gallery))
        assert not asked & given, "a camera of their own: nothing is ignored"


@pytest.mark.parametrize("peer", PEERS)
def test_lists_agree_with_cal_s_family_row_for_row(tree, golden, peer):
    lists, dataset = golden_rows(golden, f"{peer}__last"), LaST(tree)
    compare(dataset, lists, {split: split for split in FOLDERS})
    assert dense(dataset.split("train").clothes) == [clothes for *_, clothes in lists["train"]]


@pytest.mark.parametrize(("name", "identity"), [("last", "person"), ("last_cloth", "outfit")])
def test_lists_agree_with_the_official_code_row_for_row(tree, golden, name, identity):
    compare(LaST(tree, LaSTConfig(identity=identity)), golden_rows(golden, f"LaST-official__{name}"), OFFICIAL)


def test_person_is_read_from_the_file_s_name(tree):
    """Folder 005895 of the release holds images of 005859, whose names have two underscores besides."""
    samples = LaST(tree).split("gallery")
    row = samples.paths.index("test/gallery/005895/005859__001_00100_0001_01_000.jpg")
    assert samples.person[row] == 5859
    assert 5895 not in samples.person
    assert LaST(tree).split("query").person[0] == 5859


def test_people_without_a_number_stay_in_both_galleries(tree):
    dataset = LaST(tree)
    persons = {split: dataset.split(split).person.tolist() for split in FOLDERS}
    assert [persons[split].count(0) for split in FOLDERS] == [0, 0, 2, 0, 2]


def test_training_clothes_are_unique_and_test_clothes_unlabelled(tree):
    """CAL sets a test image's clothes to its person, which would hand the answer to who reads clothes."""
    image = tree / "last/test/query/010900_001_01066_1001_01_000.jpg"
    image.rename(image.with_name("010900_001_01066_1001_01_001.jpg"))
    dataset = LaST(tree)
    assert dataset.split("train").clothes.tolist() == [51001, 51001, 51002, 60001, 60001, 60002]
    for split in ("val_query", "val_gallery", "query", "gallery"):
        assert (dataset.split(split).clothes == -1).all()


def test_outfit_000_is_unlabelled_but_a_class_of_its_own_where_outfits_are_trained(tree):
    folder = tree / "last/train/000051"
    (folder / "000051_003_00013_0273_04_002.jpg").rename(folder / "000051_003_00013_0273_04_000.jpg")
    assert LaST(tree).split("train").clothes.tolist()[:3] == [51001, 51001, -1]
    samples = LaST(tree, LaSTConfig(identity="outfit")).split("train")
    assert dense(samples.person)[:3] == [1, 1, 0]
    assert samples.clothes.tolist()[:3] == [51001, 51001, -1]


def test_outfits_as_people_are_nobody_in_a_test(tree):
    """Outfit 901 of person 10 must not be test person 10901: a person in both halves is an error."""
    image = tree / "last/train/000051/000051_001_00013_0271_04_001.jpg"
    image.rename(image.with_name("000010_001_00013_0271_04_901.jpg"))
    dataset = LaST(tree, LaSTConfig(identity="outfit"))
    assert 10901 in dataset.split("train").clothes
    assert 10901 in dataset.split("query").person
    trained = set(dataset.split("train").person.tolist())
    for split in ("val_query", "val_gallery", "query", "gallery"):
        assert not trained & set(dataset.split(split).person.tolist())


def test_the_published_number_of_people_is_not_that_of_outfits(tree):
    dataset = LaST(tree, LaSTConfig(identity="outfit"))
    assert dataset.expected()["train"] == Counts(images=71248)
    assert LaST(tree).expected()["train"] == Counts(persons=5000, images=71248)


@pytest.mark.parametrize("name", [*AWKWARD_NAMES, "root_query_c", "last", "000051"])
def test_labels_do_not_depend_on_the_folders_above(tree, tmp_path, name):
    """`query` in a folder's name makes train and gallery of the official codes empty, without a word."""
    expected = {split: LaST(tree).split(split) for split in FOLDERS}
    moved = (tree / "last").rename(tmp_path / name)
    for split in FOLDERS:
        found = LaST(moved).split(split)
        assert found.paths == expected[split].paths
        assert found.person.tolist() == expected[split].person.tolist()
    assert len(LaST(moved).split("gallery")) == 8


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "last")
    assert len(LaST(tmp_path / "link").split("train")) == 6


def test_upper_case_extension_is_read_and_leftovers_are_not(tree):
    image = tree / "last/train/000051/000051_001_00013_0271_04_001.jpg"
    image.rename(image.with_suffix(".JPG"))
    for folder in (image.parent, image.parent.parent):
        for name in (".DS_Store", "Thumbs.db"):
            (folder / name).write_bytes(b"x")
    dataset = LaST(tree)
    assert len(dataset.split("train")) == 6
    assert dataset.read_image(f"train/000051/{image.stem}.JPG").shape == (16, 8, 3)


@pytest.mark.parametrize(
    "name",
    [
        "51_001_00013_0271_04_001.jpg",
        "000051_001_00013_0271_04_01.jpg",
        "000051_001_00013_0271_001.jpg",
        "000051_001_00013_0271_04_001.png",
        "notes.txt",
    ],
)
@pytest.mark.parametrize(("split", "folder"), [("train", "train/000060"), ("query", "test/query")])
def test_foreign_file_is_refused_by_name(tree, split, folder, name):
    (tree / "last" / folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{folder}/{name} is not named like LaST's images.*\(1 of \d are not\)"):
        LaST(tree).split(split)


@pytest.mark.parametrize("name", ["backup", "51", "000051_001_00013_0271_04_001.jpg"])
def test_what_is_no_person_s_folder_is_refused_by_name(tree, name):
    (tree / "last/train" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"train/{name} is not a person's folder, six digits"):
        LaST(tree).split("train")


def test_what_is_missing_or_empty_is_named(tree, tmp_path):
    (tree / "last/test/gallery").rename(tree / "elsewhere")
    (tree / "last/val/gallery/009999").mkdir()
    dataset = LaST(tree)
    assert len(dataset.split("query")) == 5
    with pytest.raises(DataError, match=r"test/gallery does not exist: LaST has .* only train, val/query, val/ga"):
        dataset.split("gallery")
    with pytest.raises(DataError, match="val/gallery/009999 holds no images"):
        dataset.split("val_gallery")
    with pytest.raises(DataError, match="nowhere does not exist: expected the folder of LaST with train"):
        LaST(tmp_path / "nowhere").split("train")
    with pytest.raises(UsageError, match="no split test: choose one of train, val_query, val_gallery, query, gallery"):
        dataset.split("test")


def test_nothing_is_ignored_and_validation_has_splits_of_its_own():
    dataset = DATASETS.get("last")(Path("unused"))
    protocols = dataset.protocols()
    assert [(p.name, p.ignore, p.pool, p.reported) for p in protocols] == [("standard", Ignore.NOTHING, None, True)]
    validation = dataset.validation()
    assert (validation.query, validation.gallery, validation.ignore) == ("val_query", "val_gallery", Ignore.NOTHING)
    assert {name for p in (*protocols, validation) for name in (p.query, p.gallery)} < set(dataset.splits)
    assert sum(counts.images or 0 for counts in dataset.statistics.values()) == 228_156, "the README's total"
