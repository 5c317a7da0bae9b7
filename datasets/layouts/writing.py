"""Drawing a release: images, their masks, captions of the training split, and last the marker that says it is whole."""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from .. import DATASETS
from ..base import MARKER, ReIDDataset
from ..captions import encode_texts, save_caption_features
from ..captions.texts import TEXTS
from ..checks import count
from ..errors import UsageError, did_you_mean
from ..files import write_json, write_text
from ..synthetic import DRAWING_VERSION, Row, Synthetic, SyntheticConfig
from .releases import LAYOUTS, Release

Progress = Callable[[int, int], None]

TEXT_MODEL = "hashing-512"
"""Text features written beside the sentences: as long as those DIFFER uses for LTCC, but without weights."""

_FORMATS: dict[str, list[int]] = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95]}
"""Suffix of an image → how it is encoded."""


def write_layout(
    layout: str, out: Path, config: SyntheticConfig, *, workers: int = 1, progress: Progress | None = None
) -> Path:
    """Write the world of `config` below `out` as an official release and return the dataset's folder.

    The files are the same for any number of `workers` (processes). A folder that `finished` calls finished is left as
    it is. `progress` is called with (images written, images in all). Raises UsageError for an unknown layout, for a
    configuration that the layout has no names for, and where `out` holds anything else under the dataset's name.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"Unknown layout {layout}.{did_you_mean(layout, LAYOUTS)} Available: {', '.join(LAYOUTS)}.")
    folder = _adapter(layout).folder
    if finished(layout, out, config):
        return out / folder
    for taken in (out / folder, out / "masks" / folder, out / "captions" / folder):
        if taken.exists() and (not taken.is_dir() or any(taken.iterdir())):
            raise UsageError(
                f"{taken} exists and is not the finished product of this configuration: "
                f"delete it or choose another output folder."
            )
    world = Synthetic(config=config)
    release = LAYOUTS[layout](world)
    _write_images(out, folder, config, release, workers, progress)
    for path, text in release.texts.items():
        write_text(out / folder / path, text)
    dataset = _adapter(layout)(out)
    _write_captions(out / "captions" / folder, world, release, dataset)
    counts = {split: asdict(count(dataset.split(split))) for split in dataset.splits}
    write_json(out / folder / MARKER, {**_made_of(layout, config), "counts": counts})
    return out / folder


def finished(layout: str, out: Path, config: SyntheticConfig) -> bool:
    """Whether `out` already holds the whole world of `config` in this layout."""
    try:
        marker = json.loads((out / _adapter(layout).folder / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return isinstance(marker, dict) and bool(marker.pop("counts", None)) and marker == _made_of(layout, config)


def _adapter(layout: str) -> type[ReIDDataset]:
    return DATASETS.get(layout)


def _made_of(layout: str, config: SyntheticConfig) -> dict[str, Any]:
    return {
        "layout": layout,
        "drawing_version": DRAWING_VERSION,
        "config": config.model_dump(mode="json", exclude={"name"}),
    }


def _write_images(
    out: Path, folder: str, config: SyntheticConfig, release: Release, workers: int, progress: Progress | None
) -> None:
    write = functools.partial(_write_image, out, folder, config)
    if workers > 1:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy OpenCV's threads in any state
        with ProcessPoolExecutor(workers, spawn, cv2.setNumThreads, (1,)) as pool:
            _report(pool.map(write, release.images, chunksize=32), len(release.images), progress)
    else:
        _report(map(write, release.images), len(release.images), progress)


def _report(done: Iterable[None], total: int, progress: Progress | None) -> None:
    for number, _ in enumerate(done, start=1):
        if progress is not None:
            progress(number, total)


def _write_image(out: Path, folder: str, config: SyntheticConfig, image: tuple[Row, str]) -> None:
    """The image, and its mask under the same path below masks/."""
    row, path = image
    pixels, labels = Synthetic(config=config).render(row)
    _encode(out / folder / path, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    _encode((out / "masks" / folder / path).with_suffix(".png"), labels)


def _encode(path: Path, pixels: Any) -> None:
    """[H, W] or [H, W, 3] (blue first) uint8. Not flushed one by one: an unfinished folder has no marker anyway."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, _FORMATS[path.suffix])[1].tobytes())


def _write_captions(folder: Path, world: Synthetic, release: Release, dataset: ReIDDataset) -> None:
    """DIFFER's caption files for the training split, and the sentences they were made from."""
    samples = dataset.split("train")
    person_of = dict(zip(samples.paths, samples.person.tolist(), strict=True))
    images = [(row, path) for row, path in release.images if path in person_of]
    keys = [dataset.caption_key(path) for _, path in images]
    sentences = [world.sentences(row) for row, _ in images]
    write_json(folder / TEXTS, dict(zip(keys, sentences, strict=True)))
    features = encode_texts(TEXT_MODEL, [sentence for image in sentences for sentence in image])

    drawn = {person_of[path]: row.person for row, path in images}
    texts = [world.caption_summary(drawn[person]) for person in sorted(drawn)]
    summaries = {
        str(person): (text, feature)
        for person, text, feature in zip(sorted(drawn), texts, encode_texts(TEXT_MODEL, texts), strict=True)
    }
    by_image = features.reshape(len(images), -1, features.shape[-1])
    save_caption_features(folder, TEXT_MODEL, keys, by_image, summaries)
