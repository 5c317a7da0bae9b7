"""PRCC's lists agree with the official codes, wherever the folder lies; a folder that is not PRCC's is refused."""

from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.checks import count
from datasets.errors import DataError, UsageError
from datasets.prcc import FOLDERS, PRCC
from tests.trees import AWKWARD_NAMES, build_tree, dense, golden_rows, hidden_and_matches, labels_of, paths_of

SPLITS = ("train", "val", "gallery", "query_same", "query_diff")
TEST = SPLITS[2:]
OTHER_NAMES = {
    "CSSC": {"query_same": "query_cloth_unchanged", "query_diff": "query_cloth_changed"},
    "LaST-official": {"query_same": "query_b", "query_diff": "query_c"},
}
"""What codes call a split, where they don't call it what CAL does."""
SHARED = {"DIFFER": ("train", *TEST), "LaST-official": ("train", *TEST)}
"""Two codes return no `val`."""


@pytest.fixture
def tree(tmp_path: Path, golden) -> Path:
    lists = golden_rows(golden, "CAL__prcc")
    return build_tree(tmp_path / "data", [row[0] for split in SPLITS for row in lists[split]])


@pytest.mark.parametrize("peer", ["CAL", "AIM", "CSSC", "MADE", "GEFF", "DIFFER", "LaST-official"])
def test_lists_agree_with_the_official_codes(tree, golden, peer):
    """As sets: the codes leave the order to the file system. LaST's has no clothes; DIFFER's relabels test people."""
    lists, dataset = golden_rows(golden, f"{peer}__prcc"), PRCC(tree)
    shared, names = SHARED.get(peer, SPLITS), OTHER_NAMES.get(peer, {})
    rows = {split: sorted(lists[names.get(split, split)]) for split in shared}
    samples = {split: dataset.split(split) for split in shared}
    for split in shared:
        assert paths_of(dataset, samples[split]) == [row[0] for row in rows[split]]
        assert samples[split].camera.tolist() == [row[2] for row in rows[split]]
    for split in shared[:-3]:  # train and val
        assert dense(samples[split].person) == [row[1] for row in rows[split]]
        if peer != "LaST-official":
            assert dense(samples[split].clothes) == [row[3] for row in rows[split]]
    tested = [row for split in TEST for row in rows[split]]
    person = np.concatenate([samples[split].person for split in TEST])
    assert (dense(person) if peer == "DIFFER" else person.tolist()) == [row[1] for row in tested]
    if peer != "LaST-official":
        assert dense(np.concatenate([samples[split].clothes for split in TEST])) == [row[3] for row in tested]


def test_sicl_asks_with_query_diff_and_draws_its_gallery_from_ours(tree, golden):
    """SiCL labels neither cameras nor clothes, and keeps one random image per person of the gallery."""
    lists, dataset = golden_rows(golden, "SiCL__prcc"), PRCC(tree)
    for split, name in (("train", "train"), ("query_diff", "query")):
        samples = dataset.split(split)
        found = zip(paths_of(dataset, samples), samples.person.tolist(), strict=True)
        assert list(found) == sorted((path, person) for path, person, *_ in lists[name])
    gallery = dataset.split("gallery")
    ours = dict(zip(paths_of(dataset, gallery), gallery.person.tolist(), strict=True))
    assert [ours[path] for path, *_ in lists["gallery"]] == [row[1] for row in lists["gallery"]] == [59, 64, 332]


def test_gallery_ab_is_the_gallery_and_then_camera_b(tree):
    found = labels_of(PRCC(tree), ("gallery", "query_same", "gallery_ab"))
    assert found["gallery_ab"] == found["gallery"] + found["query_same"]


def test_clothes_are_unique_over_the_dataset_and_shared_by_cameras_a_and_b(tree):
    dataset, worn = PRCC(tree), {}
    for split in SPLITS:
        samples = dataset.split(split)
        for clothes, person, camera in zip(samples.clothes, samples.person, samples.camera, strict=True):
            assert worn.setdefault(int(clothes), (int(person), camera == 2)) == (person, camera == 2)
    assert len(worn) == 2 * 6


def test_protocols_in_order():
    protocols = DATASETS.get("prcc")(Path("unused")).protocols()
    assert [(p.name, p.query, p.gallery, p.draws) for p in protocols if p.reported] == [
        ("cloth-changing", "query_diff", "gallery", 0),
        ("same-clothes", "query_same", "gallery", 0),
        ("cloth-changing-single-shot", "query_diff", "gallery", 10),
        ("same-clothes-single-shot", "query_same", "gallery", 10),
    ]
    assert [(p.name, p.gallery, p.ignore) for p in protocols if not p.reported] == [
        ("cloth-changing-gallery-ab", "gallery_ab", Ignore.NOTHING)
    ]


@pytest.mark.parametrize("number", range(5))
def test_no_protocol_hides_anything_in_the_test_set(tree, number):
    """The rules state what the folders already guarantee, so they agree with the codes that filter nothing (CSSC)."""
    dataset = PRCC(tree)
    protocol = dataset.protocols()[number]
    hidden, matches = hidden_and_matches(dataset, protocol)
    assert not hidden.any()
    assert matches.sum(axis=1).tolist() == [8 if protocol.gallery == "gallery_ab" else 4] * 12
    query, gallery = dataset.split(protocol.query), dataset.split(protocol.gallery)
    same_clothes = (query.clothes[:, None] == gallery.clothes)[matches]
    assert same_clothes.all() if protocol.name.startswith("same-clothes") else not same_clothes.any()


def test_validation_on_training_people_asks_across_cameras_and_clothes(tree):
    """Without the headline's rule an image's neighbours in the same walk would be its matches."""
    dataset = PRCC(tree)
    validation, train = dataset.validation(), dataset.split("train")
    _, matches = hidden_and_matches(dataset, validation)
    under_c = (train.camera == 2)[:, None] != (train.camera == 2)
    np.testing.assert_array_equal(matches, under_c & (train.person[:, None] == train.person))
    assert (validation.query, validation.gallery, validation.draws) == ("train", "train", 0)


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_labels_do_not_depend_on_the_folders_above(tree, name):
    expected = labels_of(PRCC(tree), FOLDERS)
    (tree / "prcc").rename(tree / name)
    assert labels_of(PRCC(tree / name), FOLDERS) == expected


def test_symbolic_link_as_root_and_one_folder_down(tree, tmp_path):
    expected = labels_of(PRCC(tree), FOLDERS)
    (tmp_path / "link").symlink_to(tree / "prcc")
    assert labels_of(PRCC(tmp_path / "link"), FOLDERS) == expected
    (tree / "PRCC").mkdir()
    (tree / "prcc").rename(tree / "PRCC/prcc")  # where DIFFER has it
    assert labels_of(PRCC(tree), FOLDERS) == expected


def test_capitals_in_names_do_not_matter(tree):
    train, test = tree / "prcc/rgb/train/001", tree / "prcc/rgb/test/C/059"
    (train / "C_cropped_rgb020.jpg").rename(train / "C_cropped_rgb020.JPG")
    next(test.iterdir()).rename(test / "cropped_rgb999.JPG")
    dataset = PRCC(tree)
    assert count(dataset.split("train")) == Counts(persons=3, images=27, clothes=6)
    assert count(dataset.split("query_diff")) == Counts(persons=3, images=12, clothes=3)
    assert dataset.read_image("rgb/test/C/059/cropped_rgb999.JPG").shape == (16, 8, 3)
    assert dataset.caption_key("rgb/train/001/C_cropped_rgb020.JPG") == "001/C_cropped_rgb020"


def test_leftovers_and_sketches_are_not_read(tree):
    expected = labels_of(PRCC(tree), FOLDERS)
    for name in ("rgb/train/.DS_Store", "rgb/train/001/Thumbs.db", "rgb/test/A/._059", "rgb/test/A/059/.hidden.jpg"):
        (tree / "prcc" / name).write_bytes(b"x")
    (tree / "prcc/sketch/train/9").mkdir(parents=True)
    assert labels_of(PRCC(tree), FOLDERS) == expected


@pytest.mark.parametrize(
    ("split", "name", "form"),
    [
        ("train", "train/001/D_cropped_rgb020.jpg", "CAMERA_cropped_rgbNUMBER.jpg"),
        ("train", "train/001/cropped_rgb020.jpg", "CAMERA_cropped_rgbNUMBER.jpg"),
        ("val", "val/001/A_cropped_rgb020.png", "CAMERA_cropped_rgbNUMBER.jpg"),
        ("query_diff", "test/C/059/A_cropped_rgb020.jpg", "cropped_rgbNUMBER.jpg"),
        ("gallery_ab", "test/B/059/xcropped_rgb020.jpg", "cropped_rgbNUMBER.jpg"),
    ],
)
def test_foreign_file_is_refused_by_name(tree, split, name, form):
    """A camera that does not exist, or a training image among the test images, would get a wrong label."""
    (tree / "prcc/rgb" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not named like PRCC's .*{form}.*\(1 of \d+ are not\)"):
        PRCC(tree).split(split)


@pytest.mark.parametrize("name", ["59", "0059", "A", "notes.txt"])
def test_what_is_not_a_person_s_folder_is_refused(tree, name):
    (tree / "prcc/rgb/test/A" / name).mkdir()
    with pytest.raises(DataError, match=rf"test/A/{name} is not a person's folder, three digits such as 059"):
        PRCC(tree).split("gallery")


def test_missing_folders_are_named(tree, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist: expected the folder of PRCC with rgb/train, rgb/val"):
        PRCC(tmp_path / "nowhere").split("train")
    (tree / "prcc/rgb/test/B").rename(tree / "B")
    assert len(PRCC(tree).split("query_diff")) == 12
    for split in ("query_same", "gallery_ab"):
        with pytest.raises(DataError, match=r"rgb/test/B does not exist: .* only rgb/train, rgb/val, rgb/test/A and"):
            PRCC(tree).split(split)


def test_unknown_split_is_refused(tree):
    with pytest.raises(UsageError, match="no split query: choose one of train, val, gallery, query_same"):
        PRCC(tree).split("query")


def test_published_counts_and_that_val_is_tested_by_nobody(tree):
    """`val` shows people of train: a protocol over it would test on them."""
    dataset = PRCC(tree)
    assert sum(counts.images or 0 for counts in PRCC.statistics.values()) == 33_698  # the paper's abstract
    assert tuple(PRCC.statistics) == PRCC.splits
    assert set(dataset.split("val").person) == set(dataset.split("train").person)
    assert "val" not in {split for protocol in dataset.protocols() for split in (protocol.query, protocol.gallery)}
