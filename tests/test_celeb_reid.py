"""Celeb-reID's files agree with the official codes; what each makes of the missing camera is a protocol of its own."""

from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.celeb_reid import CelebReID, CelebReIDLight
from datasets.checks import count
from datasets.errors import DataError, UsageError
from tests.trees import AWKWARD_NAMES, build_tree, golden_rows, hidden_and_matches, labels_of, paths_of, same_groups

SPLITS = ("train", "query", "gallery")
DERIVED = ("query-running-index", "gallery-running-index", "query-first-digit", "gallery-first-digit")
GOLDEN = {CelebReID: "celeb", CelebReIDLight: "celeb_light"}
BOTH = pytest.mark.parametrize("kind", [CelebReID, CelebReIDLight])


@pytest.fixture
def tree(tmp_path: Path, golden) -> Path:
    """Both datasets side by side."""
    lists = [golden_rows(golden, f"CelebReID-official__{name}") for name in GOLDEN.values()]
    return build_tree(tmp_path / "data", [row[0] for rows in lists for split in SPLITS for row in rows[split]])


@pytest.mark.parametrize(
    ("kind", "peer"),
    [
        *((CelebReID, peer) for peer in ("CelebReID-official", "CSSC", "LaST-official", "SiCL")),
        *((CelebReIDLight, peer) for peer in ("CelebReID-official", "DIFFER", "MADE", "SiCL")),
    ],
)
def test_files_and_people_agree_with_the_official_codes(tree, golden, kind, peer):
    """As sets: most leave the order to the file system, and two number the training people in the order of a set."""
    lists, dataset = golden_rows(golden, f"{peer}__{GOLDEN[kind]}"), kind(tree)
    for split in SPLITS:
        samples, rows = dataset.split(split), sorted(lists[split])
        persons = [row[1] for row in rows]
        assert paths_of(dataset, samples) == [row[0] for row in rows]
        assert same_groups(samples.person.tolist(), persons)
        assert split == "train" or samples.person.tolist() == persons
        assert set(samples.camera) == set(samples.clothes) == {-1}


@BOTH
def test_first_digit_is_the_camera_of_the_authors_own_code(tree, golden, kind):
    """Photographs 1, 10, 11 and 12 of a person share a camera there. Their list is sorted: the order agrees as well."""
    lists, dataset = golden_rows(golden, f"CelebReID-official__{GOLDEN[kind]}"), kind(tree)
    for split in ("query", "gallery"):
        samples = dataset.split(f"{split}-first-digit")
        found = zip(paths_of(dataset, samples), samples.person.tolist(), samples.camera.tolist(), strict=True)
        assert list(found) == [(path, person, camera) for path, person, camera, _ in lists[split]]


@pytest.mark.parametrize("peer", ["CSSC", "LaST-official"])
def test_running_index_is_the_place_in_the_split(tree, golden, peer):
    """The codes count in the order of the directory, which differs between machines; here it is the sorted order."""
    lists, dataset = golden_rows(golden, f"{peer}__celeb"), CelebReID(tree)
    for split in ("query", "gallery"):
        samples = dataset.split(f"{split}-running-index")
        assert [row[2] for row in lists[split]] == samples.camera.tolist() == list(range(len(samples)))
        assert [row[0] for row in lists[split]] != paths_of(dataset, samples)


@BOTH
@pytest.mark.parametrize("split", DERIVED)
def test_older_conventions_change_the_camera_column_only(tree, kind, split):
    found = labels_of(kind(tree), ["query", "gallery", split])
    without_camera = [(path, person, clothes) for path, person, _, clothes in found[split]]
    assert without_camera == [(path, person, clothes) for path, person, _, clothes in found[split.partition("-")[0]]]


@BOTH
def test_protocols_in_order(kind):
    protocols = kind(Path("unused")).protocols()
    assert [(p.name, p.query, p.gallery, p.ignore, p.area, p.reported) for p in protocols] == [
        ("standard", "query", "gallery", Ignore.NOTHING, "steps", True),
        ("running-index", *DERIVED[:2], Ignore.SAME_CAMERA, "steps", False),
        ("official-2019", *DERIVED[2:], Ignore.SAME_CAMERA, "trapezoids", False),
    ]
    assert DATASETS.get(kind.name) is kind


@BOTH
def test_what_each_protocol_hides(tree, kind):
    """Per person 3 queries × 5 gallery images. Hidden are: none; those met by chance; those of an equal first digit."""
    dataset = kind(tree)
    standard, running, official = dataset.protocols()
    hidden, matches = hidden_and_matches(dataset, standard)
    assert not hidden.any()
    assert matches.sum(axis=1).tolist() == [5] * 9
    hidden, _ = hidden_and_matches(dataset, running)
    gallery, query = dataset.split("gallery").person, dataset.split("query").person
    assert [tuple(pair) for pair in np.argwhere(hidden)] == [(i, i) for i in range(9) if query[i] == gallery[i]]
    hidden, matches = hidden_and_matches(dataset, official)
    asked = {"1": 0, "12": 0, "20": 1}  # photograph → camera
    given = {"10": 0, "11": 0, "2": 1, "21": 1, "33": 2}
    shown = {name: 5 - list(given.values()).count(camera) for name, camera in asked.items()}
    names = [Path(path).stem.split("_")[1] for path in dataset.split("query").paths]
    assert matches.sum(axis=1).tolist() == [shown[name] for name in names] == [3] * 9
    assert hidden.sum() == 9 * 2


@BOTH
def test_people_of_train_and_test_are_numbered_separately(tree, kind):
    """Celeb-reID's test people 1, 2 and 10 are not those of train."""
    assert not kind.one_numbering
    dataset = kind(tree)
    shared = np.intersect1d(dataset.split("train").person, dataset.split("query").person)
    assert shared.tolist() == ([1, 2, 10] if kind is CelebReID else [])


def test_the_light_part_is_another_folder(tree):
    assert count(CelebReID(tree).split("train")) == Counts(persons=4, images=20)
    assert count(CelebReIDLight(tree).split("train")) == Counts(persons=3, images=15)
    assert CelebReIDLight.statistics["train"] == Counts(persons=490, images=9021)
    for kind, images in ((CelebReID, 34_186), (CelebReIDLight, 10_842)):  # the authors' readme
        assert sum(counts.images or 0 for counts in kind.statistics.values()) == images


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_labels_do_not_depend_on_the_folders_above(tree, name):
    """CSSC reads `-1_0` in a folder's name as person and image; MADE and DIFFER give all one outfit for any `_`."""
    expected = labels_of(CelebReID(tree), [*SPLITS, *DERIVED])
    (tree / "Celeb-reID").rename(tree / name)
    assert labels_of(CelebReID(tree / name), [*SPLITS, *DERIVED]) == expected


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "Celeb-reID-light")
    assert len(CelebReIDLight(tmp_path / "link").split("train")) == 15


def test_upper_case_extension_is_read_and_leftovers_are_not(tree):
    folder = tree / "Celeb-reID/query"
    (folder / "10_12_0.jpg").rename(folder / "10_12_0.JPG")
    for name in (".DS_Store", "._10_12_0.jpg", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    dataset = CelebReID(tree)
    samples = dataset.split("query-first-digit")
    assert (len(samples), samples.paths[0]) == (9, "query/10_12_0.JPG")
    assert dataset.read_image(samples.paths[0]).shape == (16, 8, 3)
    assert dataset.caption_key(samples.paths[0]) == "10_12_0"


@BOTH
@pytest.mark.parametrize("name", ["10_12.jpg", "10_12_0.png", "-1_12_0.jpg", "x10_12_0.jpg", "notes.txt"])
def test_foreign_file_is_refused_by_name(tree, kind, name):
    (tree / kind.folder / "query" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not named like .*PERSON_IMAGE_0.jpg.*\(1 of 10 are not\)"):
        kind(tree).split("query-running-index")


@BOTH
def test_missing_folder_is_named(tree, tmp_path, kind):
    with pytest.raises(DataError, match=rf"nowhere does not exist: expected the folder of {kind.title} with train"):
        kind(tmp_path / "nowhere").split("train")
    (tree / kind.folder / "gallery").rename(tree / "elsewhere")
    with pytest.raises(DataError, match=rf"{kind.folder}/gallery does not exist: {kind.title} has .* only train and q"):
        kind(tree).split("gallery-first-digit")


@pytest.mark.parametrize("split", ["test", "train-first-digit", "query-", "query-cameras-34"])
def test_unknown_split_is_refused(tree, split):
    with pytest.raises(UsageError, match=rf"Celeb-reID-light has no split {split}: choose one of train, query, gall"):
        CelebReIDLight(tree).split(split)
