"""What `check` says about a dataset: counts, copies, people, masks, captions, and what a protocol can ask."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import benchmarks.check
from benchmarks.check import check_protocol, valid_matches
from benchmarks.protocols import LabelRows, ignored
from datasets.base import MARKER, Counts, Ignore, Protocol, ReIDDataset, Samples
from datasets.captions import save_caption_features
from datasets.checks import check, count, examine, read_splits
from datasets.checks.splits import camera_table
from datasets.errors import DataError
from datasets.masks import MaskConfig

SIDES = {"train": ("train", (0, 1, 2)), "query": ("query", (3, 4)), "gallery": ("gallery", (3, 4))}


class Walks(ReIDDataset):
    """Files PERSON_CLOTHES_CAMERA_NUMBER.png in train, query, gallery; `odd-` splits hold the odd persons of a test."""

    name, title, year, folder = "walks", "Walks", 2026, "Walks"
    splits = ("train", "query", "gallery")
    statistics = {"train": Counts(persons=3, images=12, clothes=6), "query": Counts(images=8)}

    def split(self, name: str) -> Samples:
        base = name.removeprefix("odd-")
        paths = sorted(f"{base}/{path.name}" for path in (self.root / base).glob("*.png"))
        if not paths:
            raise DataError(f"{self.root / base} holds no images.")
        person, clothes, camera = np.array([Path(path).stem.split("_")[:3] for path in paths], dtype=np.int64).T
        samples = Samples(tuple(paths), person, camera, np.where(clothes < 0, -1, person * 10 + clothes))
        return samples if base == name else samples.take(np.flatnonzero(person % 2))

    def protocols(self) -> tuple[Protocol, ...]:
        changing = Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES
        return (
            Protocol("cloth-changing", "query", "gallery", changing),
            Protocol("odd", "odd-query", "odd-gallery", Ignore.SAME_CAMERA, reported=False),
        )


def draw(file: Path, seed: int, size: tuple[int, int] = (8, 16)) -> None:
    """Noise: no two images are alike."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def walks(tmp_path: Path) -> Walks:
    """Three people to train with and two to test, each in two outfits under two cameras."""
    seed = 0
    for folder, people in SIDES.values():
        for person in people:
            for clothes in (0, 1):
                for camera in (0, 1):
                    draw(tmp_path / f"Walks/{folder}/{person}_{clothes}_{camera}_{seed}.png", seed)
                    seed += 1
    return Walks(tmp_path)


def files(walks: Walks, split: str) -> list[Path]:
    return [walks.root / path for path in walks.split(split).paths]


def said(walks: Walks, *, deep: bool = False) -> list[str]:
    """Level and message of everything that is not ok."""
    return [f"{finding.level}: {finding.message}" for finding in check(walks, deep=deep)]


def everything(walks: Walks, captions: Path | None = None, workers: int = 1) -> list[str]:
    splits, findings = read_splits(walks)
    found = [*findings, *examine(walks, splits, caption_folder=captions, workers=workers)]
    return [f"{finding.level}: {finding.message}" for finding in found]


def test_nothing_is_wrong_with_a_good_folder(walks):
    assert said(walks) == said(walks, deep=True) == []


def test_what_is_said_of_a_good_folder(walks):
    assert everything(walks)[:4] == [
        "ok: train: 3 persons, 12 images, 6 clothes, as published",
        "ok: train: cameras 0: 6 images, 6 outfits · 1: 6 images, 6 outfits",
        "ok: query: 2 persons, 8 images, 4 clothes, as published",
        "ok: query: cameras 0: 4 images, 4 outfits · 1: 4 images, 4 outfits",
    ]
    assert "ok: images: 28 of 28 can be opened and are whole" in everything(walks)
    assert everything(walks, workers=1) == everything(walks, workers=7)


# --- counts and labels ---


def test_counts_that_differ_from_the_published_ones_are_errors_but_those_of_outfits_warnings(walks):
    walks.statistics = {"train": Counts(persons=77, images=9576, clothes=256, tracklets=5)}
    assert said(walks) == [
        "error: train has 3 persons, but its authors publish 77.",
        "error: train has 12 images, but its authors publish 9,576.",
        "warning: train has 6 clothes, but its authors publish 256.",
        "error: train has no labels of tracklets, but its authors publish 5.",
    ]


def test_a_synthesized_folder_is_compared_with_what_was_written(walks):
    """The published numbers are of no interest there, and every number must be right."""
    (walks.root / MARKER).write_text(json.dumps({"counts": {"train": {"images": 40, "clothes": 7}}}))
    assert said(walks) == [
        "error: train has 12 images, but 40 were written.",
        "error: train has 6 clothes, but 7 were written.",
    ]
    (walks.root / MARKER).write_text("{}")
    assert "damaged" in said(walks)[0]


def test_counts_of_unlabelled_columns_are_not_numbers():
    unlabelled = np.full(3, -1)
    assert count(Samples(("a", "b", "c"), np.array([5, 5, 9]), unlabelled, unlabelled)) == Counts(persons=2, images=3)


def test_missing_clothes_labels_are_reported_where_others_are_there(walks):
    image = files(walks, "train")[0]
    image.rename(image.with_name("0_-1_0_0.png"))
    (warning,) = [line for line in said(walks) if "no clothes label" in line]
    assert warning.startswith("warning: 1 of 12 images of train")
    assert "first train/0_-1_0_0.png" in warning


def test_people_on_both_sides_are_an_error_unless_the_sides_are_numbered_apart(walks):
    image = files(walks, "gallery")[-1]
    image.rename(image.with_name("2_0_0_99.png"))
    assert any(line.startswith("error: 1 people are in both train and gallery, first 2") for line in said(walks))
    walks.one_numbering = False
    assert not any("in both" in line for line in said(walks))


def test_people_of_a_split_that_nothing_tests_may_be_trained_on(walks):
    """As in PRCC, whose `val` holds other images of the training people."""
    walks.splits = ("train", "val", "query", "gallery")
    draw(walks.root / "val/1_0_0_77.png", 77)
    assert said(walks) == []


def test_many_cameras_are_cut_short():
    camera = np.array([*range(15), -1])
    samples = Samples(tuple(map(str, camera)), np.zeros(16, np.int64), camera, np.full(16, -1))
    table = camera_table(samples)
    assert table.startswith("cameras 0: 1 images · 1: 1 images")
    assert table.endswith("11: 1 images · and 3 more · none: 1 images")


# --- splits ---


def test_the_other_splits_are_checked_when_one_is_missing(walks):
    """The derived split stumbles over the same folder: it is said once."""
    (walks.root / "query").rename(walks.root / "elsewhere")
    lines = everything(walks)
    assert [line for line in lines if "holds no images" in line] == [f"error: {walks.root / 'query'} holds no images."]
    assert any(line.startswith("ok: gallery: 2 persons") for line in lines)


def test_a_split_that_only_older_conventions_need_is_a_warning_when_it_is_empty(walks):
    for name in ("query", "gallery"):
        for image in files(walks, name):
            if image.name.startswith("3"):
                image.rename(image.with_name(f"6{image.name[1:]}"))
    assert [line for line in said(walks) if "odd" in line] == [
        "warning: odd-query is empty: unpack the dataset's archive again.",
        "warning: odd-gallery is empty: unpack the dataset's archive again.",
    ]


def test_nothing_is_said_about_files_where_no_split_can_be_read(walks):
    walks.root.rename(walks.root.with_name("elsewhere"))
    lines = everything(walks)
    said = [line for line in lines if line.startswith("error")]
    assert said == [f"error: {walks.root / walks.splits[0]} holds no images."], "one cause, one sentence"
    assert not any("images:" in line or "masks:" in line for line in lines)


# --- images ---


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_a_truncated_image_is_found_without_decoding_the_others(walks, monkeypatch, extension):
    """PNG and JPEG tell their end in the last bytes; only what lacks it is decoded."""
    decoded: list[str] = []
    read = Walks.read_image
    monkeypatch.setattr(Walks, "read_image", lambda self, path: decoded.append(path) or read(self, path))
    target = files(walks, "train")[3]
    with Image.open(target) as image:
        image.save(target, format={"png": "PNG", "jpg": "JPEG"}[extension])
    assert said(walks) == []
    target.write_bytes(target.read_bytes()[:-80])
    (error,) = said(walks)
    assert error.startswith(f"error: {target} is not a readable image")
    assert decoded == [f"train/{target.name}"]


def test_bytes_behind_the_end_of_an_image_do_not_make_it_unreadable(walks):
    target = files(walks, "train")[3]
    target.write_bytes(target.read_bytes() + b"appended by a camera")
    assert said(walks) == []


@pytest.mark.parametrize(("content", "reason"), [(b"", "it is empty"), (b"x" * 999, "999 bytes of no known format")])
def test_a_file_that_is_no_image_is_named_with_the_reason(walks, content, reason):
    target = files(walks, "query")[0]
    target.write_bytes(content)
    (error,) = said(walks)
    assert str(target) in error
    assert reason in error


def test_damage_in_the_middle_is_found_in_depth(walks):
    target = files(walks, "gallery")[0]
    content = bytearray(target.read_bytes())
    middle = content.index(b"IDAT") + 30
    content[middle : middle + 40] = bytes(40)
    target.write_bytes(bytes(content))
    assert said(walks) == []
    (error,) = said(walks, deep=True)
    assert str(target) in error


def test_of_many_broken_images_the_first_are_named_and_the_rest_counted(walks):
    for image in files(walks, "train"):
        image.write_bytes(b"x")
    errors = [line for line in said(walks) if line.startswith("error")]
    assert len(errors) == 11
    assert errors[-1] == "error: The same goes for 2 more images."


def test_copies_are_errors_between_training_and_test_and_warnings_elsewhere(walks):
    train, query, gallery = (files(walks, name) for name in ("train", "query", "gallery"))
    train[1].write_bytes(train[0].read_bytes())
    gallery[0].write_bytes(query[0].read_bytes())
    assert said(walks) == [
        f"warning: Images that are in train twice, byte for byte: 1, first train/{train[0].name} and "
        f"train/{train[1].name}.",
        f"warning: Images that are in both query and gallery, byte for byte: 1, first query/{query[0].name} and "
        f"gallery/{gallery[0].name}.",
    ]
    query[1].write_bytes(train[2].read_bytes())
    (error,) = [line for line in said(walks) if line.startswith("error")]
    assert f"in both train and query, byte for byte: 1, first train/{train[2].name} and query/{query[1].name}" in error


def test_equal_length_and_end_alone_do_not_make_a_copy(walks):
    """Only these are compared at first, so that not every file is read: what is hashed decides."""
    one, other = files(walks, "train")[:2]
    content = bytearray(one.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 1
    other.write_bytes(bytes(content))
    assert not any("byte for byte" in line for line in said(walks))


def test_images_of_a_derived_split_are_looked_at_once(walks, monkeypatch):
    decoded: list[str] = []
    read = Walks.read_image
    monkeypatch.setattr(Walks, "read_image", lambda self, path: decoded.append(path) or read(self, path))
    assert said(walks, deep=True) == []
    assert len(decoded) == len(set(decoded)) == 28


# --- masks ---


@pytest.fixture
def masked(walks: Walks) -> Walks:
    for split in walks.splits:
        for path in walks.split(split).paths:
            mask = walks.mask_path(path)
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 8), 5, dtype=np.uint8)).save(mask)
    return walks


def test_good_masks_are_counted_and_their_label_sets_named(masked):
    assert said(masked) == []
    assert "ok: masks: train 12 of 12, query 8 of 8, gallery 8 of 8" in everything(masked)
    assert "ok: mask labels: at most 5 in 28 masks, as in lip or atr or pascal or merged12" in everything(masked)


def test_without_a_mask_folder_there_is_nothing_to_find_unless_it_was_named(walks, tmp_path):
    assert any(line.startswith("ok: masks: none") for line in everything(walks))
    (error,) = said(Walks(tmp_path, mask_folder=tmp_path / "parsed"))
    assert "parsed is not there: name the right folder with mask_folder=DIR" in error


def test_missing_masks_are_counted(masked):
    paths = masked.split("train").paths
    for path in paths[:2]:
        masked.mask_path(path).unlink()
    (error,) = said(masked)
    assert error.startswith(f"error: Images without a mask: 2, first {masked.mask_path(paths[0])} is missing")
    assert "ok: masks: train 10 of 12, query 8 of 8, gallery 8 of 8" in everything(masked)


def test_a_mask_of_another_size_is_found(masked):
    mask = masked.mask_path(masked.split("query").paths[4])
    Image.fromarray(np.zeros((8, 16), dtype=np.uint8)).save(mask)
    (error,) = said(masked)
    assert f"{mask} has 16×8 pixels, its image 8×16" in error


@pytest.mark.parametrize("mode", ["RGB", "I;16", "1"])
def test_a_mask_that_is_not_a_label_per_pixel_is_found(masked, mode, monkeypatch):
    """By its header: most masks are not decoded."""
    monkeypatch.setattr("datasets.checks.masks.DECODED", 1)
    mask = masked.mask_path(masked.split("query").paths[4])
    Image.new(mode, (8, 16)).save(mask)
    (error,) = said(masked)
    assert f"{mask} is not a mask with one label per pixel" in error


def test_labels_that_no_set_has_are_found(masked):
    path = masked.split("gallery").paths[0]
    Image.fromarray(np.full((16, 8), 255, dtype=np.uint8)).save(masked.mask_path(path))
    (error,) = said(masked)
    assert f"no label set has: 255, first in that of {path}" in error
    assert "lip 0–19, atr 0–17, pascal 0–6, merged12 0–11" in error


def test_the_label_sets_that_fit_are_those_with_all_the_labels(masked):
    path = masked.split("gallery").paths[0]
    Image.fromarray(np.full((16, 8), 17, dtype=np.uint8)).save(masked.mask_path(path))
    assert "ok: mask labels: at most 17 in 28 masks, as in lip or atr" in everything(masked)


def test_masks_are_held_against_the_label_set_that_is_to_be_read(masked):
    path = masked.split("gallery").paths[0]
    Image.fromarray(np.full((16, 8), 9, dtype=np.uint8)).save(masked.mask_path(path))
    splits, _ = read_splits(masked)
    for name, level in (("pascal", "error"), ("merged12", "ok")):
        lines = examine(masked, splits, masks=MaskConfig.model_validate({"label_set": name}))
        (finding,) = [line for line in lines if line.message.startswith("mask labels")]
        assert finding.level == level
        assert (f"label_set={name} ends at 6: see {path}" in finding.message) == (level == "error")


def test_masks_that_count_as_background_are_missed_with_a_warning(masked):
    masked.mask_path(masked.split("train").paths[0]).unlink()
    splits, _ = read_splits(masked)
    lines = examine(masked, splits, masks=MaskConfig(missing="background"))
    assert [line.level for line in lines if line.message.startswith("Images without a mask")] == ["warning"]


# --- captions ---


def save_captions(walks: Walks, folder: Path, keep: slice, people: tuple[int, ...] = (0, 1, 2)) -> None:
    keys = [walks.caption_key(path) for path in walks.split("train").paths][keep]
    summaries = {f"{person:03d}": ("tall", np.ones(4, np.float32)) for person in people}
    save_caption_features(folder, "model", keys, np.ones((len(keys), 6, 4), np.float32), summaries)


def test_captions_of_all_training_images_are_counted(walks, tmp_path):
    save_captions(walks, tmp_path / "captions", slice(None))
    lines = everything(walks, tmp_path / "captions")
    assert "ok: captions: model 12 of 12 images of train, 6 × 4 numbers each" in lines
    assert "ok: identity summaries: 3 of 3 people of train" in lines


def test_without_caption_files_there_is_nothing_to_find_unless_their_folder_was_named(walks, tmp_path):
    assert "ok: captions: none" in everything(walks)
    usual = tmp_path / "captions/Walks"
    assert f"ok: captions: none, {usual}/*/train.npz is not there" in everything(walks, usual)
    (error,) = [line for line in everything(walks, tmp_path / "nowhere") if line.startswith("error")]
    assert error.endswith("nowhere/*/train.npz is not there: name the right folder with caption_folder=DIR")


def test_missing_captions_are_errors_and_missing_summaries_warnings(walks, tmp_path):
    save_captions(walks, tmp_path / "captions", slice(0, 9), people=(0, 2))
    lines = [line for line in everything(walks, tmp_path / "captions") if not line.startswith("ok")]
    first = walks.split("train").paths[9]
    assert len(lines) == 2
    assert lines[0].startswith("error: Training images without a caption in ")
    assert f": 3, first {first}" in lines[0]
    assert lines[1].startswith("warning: identity summaries: 2 of 3 people of train, first without one 1")


def test_a_broken_caption_file_is_an_error(walks, tmp_path):
    save_captions(walks, tmp_path / "captions", slice(None))
    (tmp_path / "captions/model/train.npz").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "captions/train_caption_summary_biometric.json").write_text('{"one": {')
    errors = [line for line in everything(walks, tmp_path / "captions") if line.startswith("error")]
    assert [name for name in ("train.npz", "biometric.json") for line in errors if name in line] == [
        "train.npz",
        "biometric.json",
    ]


# --- protocols ---


def labels(images: int, seed: int, tracklets: int | None = None) -> Samples:
    random = np.random.default_rng(seed)
    person, camera, clothes = (random.integers(0, most, images) for most in (9, 3, 3))
    tracklet = None if tracklets is None else np.sort(random.integers(0, tracklets, images))
    return Samples(tuple(map(str, range(images))), person, camera, person * 10 + clothes, tracklet)


@pytest.mark.parametrize("at_once", [1, 7, 100, 1 << 22])
@pytest.mark.parametrize(
    "ignore", [Ignore.NOTHING, Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES, Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES]
)
def test_valid_matches_are_those_of_the_whole_table(monkeypatch, at_once, ignore):
    """However few pairs are compared at once, also where a person is only asked for or only in the gallery."""
    monkeypatch.setattr(benchmarks.check, "PAIRS_AT_ONCE", at_once)
    query, gallery = labels(40, 0), labels(60, 1)
    query.person[:3], gallery.person[:3] = 99, 77
    protocol = Protocol("any", "query", "gallery", ignore)
    whole = (query.person[:, None] == gallery.person) & ~ignored(protocol, query, gallery)
    rows = [LabelRows.of(samples, np.arange(len(samples))) for samples in (query, gallery)]
    assert valid_matches(protocol, *rows).tolist() == whole.sum(axis=1).tolist()


def side(person: list[int], camera: list[int], tracklet: list[int] | None = None) -> Samples:
    walks = None if tracklet is None else np.array(tracklet)
    clothes = np.array(person) * 10
    return Samples(tuple(f"{n}.png" for n in range(len(person))), np.array(person), np.array(camera), clothes, walks)


CAMERA = Protocol("standard", "query", "gallery", Ignore.SAME_CAMERA)


def test_a_protocol_s_line_counts_queries_with_a_match_and_their_matches():
    gallery = side([1, 1, 1, 2, 2, 3], [1, 1, 0, 0, 1, 0])
    finding = check_protocol(CAMERA, side([1, 2, 3], [0, 0, 0]), gallery)
    assert (finding.level, finding.message) == ("ok", "standard: 2 of 3 queries have a valid match, 1–2 each")


def test_few_askable_queries_are_a_warning_and_none_an_error():
    gallery = side([1, 2, 3, 4], [1, 0, 0, 0])
    assert check_protocol(CAMERA, side([1, 2, 3, 4], [0, 0, 0, 0]), gallery).level == "warning"
    finding = check_protocol(CAMERA, side([2, 3, 4], [0, 0, 0]), gallery)
    assert finding.level == "error"
    assert "0 of 3 queries have a valid match: nothing can be scored" in finding.message


def test_a_protocol_over_tracklets_counts_tracklets():
    protocol = Protocol("clips", "query", "gallery", Ignore.SAME_CAMERA, pool="clips")
    query, gallery = side([1, 1, 1, 2], [0, 0, 0, 0], [5, 5, 5, 6]), side([1, 1, 1, 1], [1, 1, 1, 1], [7, 7, 8, 8])
    finding = check_protocol(protocol, query, gallery)
    assert finding.message == "clips: 1 of 2 query tracklets have a valid match, 2 each"


def test_labels_that_a_protocol_compares_and_that_are_missing_are_reported():
    finding = check_protocol(CAMERA, side([1], [-1]), side([1], [0]))
    assert finding.level == "error"
    assert "no camera label" in finding.message
