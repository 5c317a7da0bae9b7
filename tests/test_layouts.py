"""The synthetic world on disk: official layout, readable by the official release's adapter, safe to break off."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.captions import ASPECTS, CaptionConfig, caption_features
from datasets.errors import UsageError
from datasets.layouts import MARKER, TEXT_MODEL, finished, write_layout
from datasets.ltcc import LTCC
from datasets.synthetic import Synthetic, SyntheticConfig

TINY = SyntheticConfig(people=3, test_people=3, wardrobe=8, tracklets=1, frames=2, cameras=3, height=64)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("written")
    assert write_layout("ltcc", out, TINY) == out / "LTCC_ReID"
    return out


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_ltcc_adapter_reads_what_the_world_says(written):
    world, release = Synthetic(config=TINY), LTCC(written)
    for name in world.splits:
        drawn, read = world.split(name), release.split(name)
        order = np.argsort([Path(path).name for path in drawn.paths], kind="stable")
        drawn = drawn.take(order)
        assert [Path(path).name for path in read.paths] == [Path(path).name for path in drawn.paths]
        for column in ("person", "camera", "clothes"):
            assert np.array_equal(getattr(read, column), getattr(drawn, column))
        assert np.array_equal(release.read_image(read.paths[1]), world.read_image(drawn.paths[1]))


def test_each_image_has_a_mask_of_its_size_at_the_same_place(written):
    world = Synthetic(config=TINY)
    images = sorted((written / "LTCC_ReID").rglob("*.png"))
    masks = sorted((written / "masks" / "LTCC_ReID").rglob("*.png"))
    assert [path.relative_to(written) for path in images] == [path.relative_to(written / "masks") for path in masks]
    labels = cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED)
    split = {"test": "gallery"}.get(masks[0].parent.name, masks[0].parent.name)
    assert np.array_equal(labels, world.read_mask(f"{split}/{masks[0].name}"))


def test_the_lists_of_people_who_change_clothes_are_complete(written):
    world = Synthetic(config=TINY)
    for half, people in (("train", range(3)), ("test", range(3, 6))):
        lists = {
            kind: (written / "LTCC_ReID" / "info" / f"{kind}_id_{half}.txt").read_text().splitlines()
            for kind in ("cloth-change", "cloth-unchange")
        }
        changing = [str(person) for person in people if len(world.wardrobe_of(person)) > 1]
        assert lists["cloth-change"] == changing
        assert lists["cloth-unchange"] == [str(person) for person in people if str(person) not in changing]


def test_caption_files_hold_a_feature_for_each_aspect_and_a_summary_for_each_person(written):
    release, folder = LTCC(written), written / "captions" / "LTCC_ReID"
    samples = release.split("train")
    stored = caption_features(release, samples, CaptionConfig(text_model=TEXT_MODEL, summary=True), folder)
    assert stored.features.shape == (len(samples), len(ASPECTS), 512)
    assert stored.summary is not None
    assert stored.summary.shape == (len(samples), 512)
    sentences = json.loads((folder / "train_captions.json").read_text())
    world = Synthetic(config=TINY)
    assert sentences == {
        Path(path).stem: list(texts)
        for path, texts in zip(world.split("train").paths, world.caption_texts(world.split("train")), strict=True)
    }


def test_workers_change_nothing_but_the_time(written, tmp_path):
    calls: list[tuple[int, int]] = []
    write_layout("ltcc", tmp_path, TINY, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert _contents(tmp_path) == _contents(written)
    total = len(list((tmp_path / "LTCC_ReID").rglob("*.png")))
    assert calls == [(number, total) for number in range(1, total + 1)]


def test_a_finished_world_is_left_as_it_is(written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*") if path.is_file()}
    assert finished("ltcc", written, TINY)
    assert write_layout("ltcc", written, TINY) == written / "LTCC_ReID"
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*") if path.is_file()} == before


def test_another_world_is_never_written_over_a_finished_one(written):
    other = TINY.model_copy(update={"seed": 9})
    assert not finished("ltcc", written, other)
    with pytest.raises(UsageError, match="delete it or choose another output folder"):
        write_layout("ltcc", written, other)


@pytest.mark.parametrize("folder", ["LTCC_ReID/train", "masks/LTCC_ReID", "captions/LTCC_ReID"])
def test_a_half_written_or_foreign_folder_is_refused_and_untouched(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "something").write_text("of mine")
    assert not finished("ltcc", tmp_path, TINY)
    with pytest.raises(UsageError, match="LTCC_ReID"):
        write_layout("ltcc", tmp_path, TINY)
    assert _contents(tmp_path) == {f"{folder}/something": b"of mine"}


def test_a_run_that_breaks_off_leaves_no_marker(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_layout("ltcc", tmp_path, TINY, progress=interrupt)
    assert (tmp_path / "LTCC_ReID" / "train").is_dir()
    assert not (tmp_path / "LTCC_ReID" / MARKER).exists()
    assert not finished("ltcc", tmp_path, TINY)


def test_an_unknown_layout_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match="Did you mean ltcc"):
        write_layout("lttc", tmp_path, TINY)
