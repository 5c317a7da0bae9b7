"""The pixel cache holds what the papers' preprocessing gives, is built once, and is whole or absent."""

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import pixels as pixels_module
from datasets.base import ReIDDataset, Samples
from datasets.errors import DataError
from datasets.pixels import pixel_cache


class Folder(ReIDDataset):
    """The images of a folder; a mask has the image's first channel as labels."""

    name = "folder"
    splits = ("train",)

    def split(self, name):
        paths = tuple(sorted(path.name for path in self.root.iterdir()))
        labels = np.zeros(len(paths), np.int64)
        return Samples(paths, labels, labels, labels)

    def protocols(self):
        return ()

    def read_mask(self, path):
        return self.read_image(path)[:, :, 0] // 13


class Slow(Folder):
    """Says that it is being read, and takes its time."""

    def read_image(self, path):
        (self.root.parent / f"reading-{os.getpid()}").touch()
        time.sleep(0.02)
        return super().read_image(path)


@pytest.fixture
def dataset(tmp_path) -> Folder:
    """70 images of different sizes: more than one chunk."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(70):
        image = rng.integers(0, 256, (20 + number, 10 + number // 2, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{number:03d}.png")
    return Folder(tmp_path / "images")


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def build(dataset, cache, samples=None, height=32, width=16, **options):
    samples = dataset.split("train") if samples is None else samples
    return pixel_cache(dataset, samples, height, width, folder=cache, **options)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_equal_decode_and_resize_by_pil(dataset, cache, interpolation):
    images = build(dataset, cache, interpolation=interpolation)
    for path, image in zip(dataset.split("train").paths, images, strict=True):
        resample = Image.Resampling[interpolation.upper()]
        expected = Image.open(dataset.root / path).convert("RGB").resize((16, 32), resample)
        np.testing.assert_array_equal(image, np.asarray(expected))


def test_masks_keep_their_labels(dataset, cache):
    """Nearest pixel: no label appears that was not there."""
    masks = build(dataset, cache, kind="mask")
    assert masks.shape == (70, 32, 16)
    for path, mask in zip(dataset.split("train").paths, masks, strict=True):
        original = dataset.read_mask(path)
        expected = Image.fromarray(original).resize((16, 32), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(mask, np.asarray(expected))


def test_result_does_not_depend_on_the_number_of_workers(dataset, tmp_path):
    one, three = (build(dataset, tmp_path / str(workers), workers=workers) for workers in (0, 3))
    np.testing.assert_array_equal(one, three)


def test_cache_is_a_read_only_map_of_an_ordinary_npy_file(dataset, cache):
    images = build(dataset, cache)
    assert isinstance(images, np.memmap)
    assert images.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    (file,) = cache.glob("*.npy")
    np.testing.assert_array_equal(np.load(file), images)
    about = json.loads(file.with_suffix(".json").read_text())
    assert about["shape"] == [70, 32, 16, 3]


def test_images_are_decoded_once_and_progress_reaches_the_end(dataset, cache, monkeypatch):
    seen = []
    build(dataset, cache, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 70), (70, 70)]
    monkeypatch.setattr(Folder, "read_image", None)  # a second decoding would fail
    assert build(dataset, cache).shape == (70, 32, 16, 3)


def test_another_size_filter_kind_selection_or_file_is_another_entry(dataset, cache):
    """A stale cache would train on the wrong pixels without any sign of it."""
    samples = dataset.split("train")
    build(dataset, cache)
    build(dataset, cache, height=16, width=32)
    build(dataset, cache, interpolation="bicubic")
    build(dataset, cache, kind="mask")
    fewer = build(dataset, cache, samples.take(range(69, 0, -1)))
    assert len(list(cache.glob("*.npy"))) == 5
    np.testing.assert_array_equal(fewer[0], build(dataset, cache)[69])
    Image.new("RGB", (16, 32), (1, 2, 3)).save(dataset.root / "000.png")
    assert (build(dataset, cache)[0] == (1, 2, 3)).all()


def test_no_samples_give_an_empty_array(dataset, cache):
    assert build(dataset, cache, dataset.split("train").take([])).shape == (0, 32, 16, 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_truncated_image_is_named_and_nothing_is_left_behind(dataset, cache, workers):
    broken = dataset.root / "066.png"
    broken.write_bytes(broken.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"066.png is not a readable image"):
        build(dataset, cache, workers=workers)
    assert list(cache.rglob("*")) == []


def test_full_disk_is_a_sentence_and_nothing_is_left_behind(dataset, cache, monkeypatch):
    def full(file, *rest):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixels_module, "_write", full)
    with pytest.raises(DataError, match=r"needs 0.0 GB and the disk is full: .*cache=DIR"):
        build(dataset, cache)
    assert list(cache.rglob("*")) == []


def test_cache_cut_short_by_another_program_is_built_again(dataset, cache):
    expected = np.array(build(dataset, cache))
    (file,) = cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(build(dataset, cache), expected)


def test_two_processes_at_once_build_one_whole_cache(dataset, cache, tmp_path):
    slow = Slow(dataset.root)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=build, args=(slow, cache)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("reading-*"))) == 1  # the other one waited, and found it done
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]
    np.testing.assert_array_equal(build(slow, cache), build(dataset, tmp_path / "other"))


def test_killed_builder_does_not_block_the_next_one(dataset, cache, tmp_path):
    """Its lock dies with it; what it had written is deleted once it is a day old."""
    process = multiprocessing.get_context("spawn").Process(target=build, args=(Slow(dataset.root), cache))
    process.start()
    while not list(tmp_path.glob("reading-*")):
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    (left,) = cache.iterdir()
    os.utime(left, (0, 0))
    assert build(Slow(dataset.root), cache).shape == (70, 32, 16, 3)
    assert not left.exists()
