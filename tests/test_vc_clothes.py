"""VC-Clothes' lists agree with the official codes in every mode; a folder that is not VC-Clothes' is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.checks import count
from datasets.errors import DataError, UsageError
from datasets.vc_clothes import VCClothes
from tests.trees import AWKWARD_NAMES, build_tree, dense, golden_rows, hidden_and_matches, labels_of, paths_of

SPLITS = ("train", "query", "gallery")
DERIVED = ("query-cameras-34", "gallery-cameras-34", "query-cameras-23", "gallery-cameras-23")


@pytest.fixture
def tree(tmp_path: Path, golden) -> Path:
    lists = golden_rows(golden, "CAL__vcclothes")
    return build_tree(tmp_path / "data", [row[0] for split in SPLITS for row in lists[split]])


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("CAL__vcclothes", ""),
        ("GEFF__vcclothes", ""),
        ("IIFR__vcclothes", ""),
        ("CAL__vcclothes_cc", "-cameras-34"),
        ("CAL__vcclothes_sc", "-cameras-23"),
    ],
)
def test_lists_agree_with_the_official_codes_row_for_row(tree, golden, name, ending):
    lists, dataset = golden_rows(golden, name), VCClothes(tree)
    samples = {"train": dataset.split("train")}
    samples |= {split: dataset.split(split + ending) for split in ("query", "gallery")}
    for split in SPLITS:
        assert paths_of(dataset, samples[split]) == [row[0] for row in lists[split]]
        assert samples[split].camera.tolist() == [row[2] for row in lists[split]]
    assert dense(samples["train"].person) == [row[1] for row in lists["train"]]
    assert dense(samples["train"].clothes) == [row[3] for row in lists["train"]]
    tested = lists["query"] + lists["gallery"]
    person, clothes = (
        np.concatenate([getattr(samples[split], column) for split in ("query", "gallery")])
        for column in ("person", "clothes")
    )
    assert person.tolist() == [row[1] for row in tested]
    assert dense(clothes) == [row[3] for row in tested]


def test_sicl_has_the_same_rows_with_outfits_counted_within_a_person(tree, golden):
    lists, dataset = golden_rows(golden, "SiCL__vcclothes"), VCClothes(tree)
    for split in SPLITS:
        samples = dataset.split(split)
        columns = (samples.person, samples.camera, samples.clothes - 100 * samples.person)
        found = zip(paths_of(dataset, samples), *(column.tolist() for column in columns), strict=True)
        assert list(found) == sorted(map(tuple, lists[split]))


def test_protocols_in_order():
    protocols = DATASETS.get("vc_clothes")(Path("unused")).protocols()
    camera = Ignore.SAME_CAMERA
    assert [(p.name, p.query, p.gallery, p.ignore) for p in protocols if p.reported] == [
        ("cloth-changing", "query-cameras-34", "gallery-cameras-34", camera),
        ("standard", "query", "gallery", camera),
        ("same-clothes", "query-cameras-23", "gallery-cameras-23", camera),
    ]
    assert [(p.name, p.query, p.gallery, p.ignore) for p in protocols if not p.reported] == [
        ("cloth-changing-filtered", "query", "gallery", camera | Ignore.SAME_CLOTHES),
        ("same-clothes-filtered", "query", "gallery", camera | Ignore.OTHER_CLOTHES),
    ]


def test_what_each_protocol_finds(tree):
    """Two images of each person under each camera; the outfit is 1 under camera 1, 2 under 2 and 3, and 3 under 4."""
    dataset, clothes = VCClothes(tree), {}
    for protocol in dataset.protocols():
        _, matches = hidden_and_matches(dataset, protocol)
        query, gallery = dataset.split(protocol.query), dataset.split(protocol.gallery)
        assert not (matches & (query.camera[:, None] == gallery.camera)).any()
        clothes[protocol.name] = set((query.clothes[:, None] == gallery.clothes)[matches].tolist())
        found = dict(zip(query.camera.tolist(), matches.sum(axis=1).tolist(), strict=True))
        assert (
            found
            == {
                "cloth-changing": {2: 2, 3: 2},
                "standard": {0: 6, 1: 6, 2: 6, 3: 6},
                "same-clothes": {1: 2, 2: 2},
                "cloth-changing-filtered": {0: 6, 1: 4, 2: 4, 3: 6},
                "same-clothes-filtered": {0: 0, 1: 2, 2: 2, 3: 0},
            }[protocol.name]
        )
    assert clothes["cloth-changing"] == clothes["cloth-changing-filtered"] == {False}
    assert clothes["same-clothes"] == clothes["same-clothes-filtered"] == {True}
    assert clothes["standard"] == {False, True}


def test_validation_takes_the_clothes_condition_from_the_labels(tree):
    """Training images are from all cameras: by the headline's rule alone, 2 and 3 would match in one outfit."""
    dataset = VCClothes(tree)
    validation, train = dataset.validation(), dataset.split("train")
    assert (validation.name, validation.query, validation.gallery) == ("validation", "train", "train")
    same_clothes = train.clothes[:, None] == train.clothes
    _, matches = hidden_and_matches(dataset, validation)
    assert matches.any(axis=1).all()
    assert not (matches & same_clothes).any()
    _, by_camera_alone = hidden_and_matches(dataset, replace(validation, ignore=Ignore.SAME_CAMERA))
    assert (by_camera_alone & same_clothes).any()


def test_clothes_are_unique_over_the_dataset(tree):
    dataset = VCClothes(tree)
    pairs = {(clothes, person) for rows in labels_of(dataset, SPLITS).values() for _, person, _, clothes in rows}
    assert len(pairs) == len({clothes for clothes, _ in pairs}) == 4 * 3


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_labels_do_not_depend_on_the_folders_above(tree, name):
    expected = labels_of(VCClothes(tree), [*SPLITS, *DERIVED])
    (tree / "VC-Clothes").rename(tree / name)
    assert labels_of(VCClothes(tree / name), [*SPLITS, *DERIVED]) == expected


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "VC-Clothes")
    assert count(VCClothes(tmp_path / "link").split("train")) == Counts(persons=2, images=16, clothes=6)


def test_upper_case_extension_is_read_and_leftovers_are_not(tree):
    folder = tree / "VC-Clothes/query"
    (folder / "0300-01-01-01.jpg").rename(folder / "0300-01-01-01.JPG")
    for name in (".DS_Store", "._0300-01-01-01.jpg", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    dataset = VCClothes(tree)
    samples = dataset.split("query")
    assert (len(samples), samples.paths[0]) == (8, "query/0300-01-01-01.JPG")
    assert dataset.read_image(samples.paths[0]).shape == (16, 8, 3)


@pytest.mark.parametrize(
    "name", ["300-01-01-01.jpg", "0300-05-01-01.jpg", "0300-1-01-01.jpg", "0300-01-01-01.png", "notes.txt"]
)
def test_foreign_file_is_refused_by_name(tree, name):
    """Camera 5 does not exist: no protocol's cameras would have it."""
    (tree / "VC-Clothes/query" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is not named like .*PERSON-CAMERA-OUTFIT.*\(1 of 9 are not\)"):
        VCClothes(tree).split("query-cameras-34")


def test_missing_folder_is_named(tree, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist: expected the folder of VC-Clothes with train, query"):
        VCClothes(tmp_path / "nowhere").split("train")
    (tree / "VC-Clothes/gallery").rename(tree / "elsewhere")
    with pytest.raises(DataError, match=r"VC-Clothes/gallery does not exist: .* only train and query there"):
        VCClothes(tree).split("gallery-cameras-23")


@pytest.mark.parametrize("split", ["test", "train-cameras-34", "query-cameras-12"])
def test_unknown_split_is_refused(tree, split):
    with pytest.raises(UsageError, match=rf"no split {split}: choose one of train, query, gallery, query-cameras-34"):
        VCClothes(tree).split(split)


def test_counts_per_split_add_up_to_the_paper_s_total(tree):
    assert count(VCClothes(tree).split("query")) == Counts(persons=2, images=8, clothes=6)
    assert sum(counts.images or 0 for counts in VCClothes.statistics.values()) == 19_060
