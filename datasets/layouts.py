"""Writing the synthetic world to disk in the layout of an official release, with masks and caption files beside it.

What is written is then read by the adapter of that release like any download, so that a machine without datasets can
run the path from files to a score.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .captions import encode_texts, save_caption_features
from .errors import UsageError, did_you_mean
from .files import write_json, write_text
from .synthetic import DRAWING_VERSION, Synthetic, SyntheticConfig

Progress = Callable[[int, int], None]

MARKER = "synthesized.json"
"""Written last into the dataset's folder: a folder without it is not finished, or not ours."""
TEXT_MODEL = "hashing-512"
"""Text features written beside the sentences: as long as those DIFFER uses for LTCC, but without weights."""


def write_layout(
    layout: str, out: Path, config: SyntheticConfig, *, workers: int = 1, progress: Progress | None = None
) -> Path:
    """Write the world of `config` below `out` as an official release and return the dataset's folder.

    The files are the same for any number of `workers` (processes). A folder that `finished` calls finished is left as
    it is. `progress` is called with (images written, images in all). Raises UsageError for an unknown layout and where
    `out` holds anything else under the dataset's name.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"Unknown layout {layout}.{did_you_mean(layout, LAYOUTS)} Available: {', '.join(LAYOUTS)}.")
    folder, write = LAYOUTS[layout]
    if not finished(layout, out, config):
        for taken in (out / folder, out / "masks" / folder, out / "captions" / folder):
            if taken.exists() and (not taken.is_dir() or any(taken.iterdir())):
                raise UsageError(
                    f"{taken} exists and is not the finished product of this configuration: "
                    f"delete it or choose another output folder."
                )
        write(out, Synthetic(config=config), workers, progress)
        write_json(out / folder / MARKER, _marker(layout, config))
    return out / folder


def finished(layout: str, out: Path, config: SyntheticConfig) -> bool:
    """Whether `out` already holds the whole world of `config` in this layout."""
    try:
        written = json.loads((out / LAYOUTS[layout][0] / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return written == _marker(layout, config)


def _marker(layout: str, config: SyntheticConfig) -> dict[str, Any]:
    return {
        "layout": layout,
        "drawing_version": DRAWING_VERSION,
        "config": config.model_dump(mode="json", exclude={"name"}),
    }


def _write_ltcc(out: Path, world: Synthetic, workers: int, progress: Progress | None) -> None:
    """LTCC (Qian et al., ACCV 2020): `person_outfit_cCAMERA_frame.png` in train, query, test; four lists of people."""
    name = "LTCC_ReID"
    folders = {"train": "train", "query": "query", "gallery": "test"}
    files = [
        (path, f"{name}/{folder}/{Path(path).name}")
        for split, folder in folders.items()
        for path in world.split(split).paths
    ]
    _write_images(out, world.config, files, workers, progress)
    for half, splits in (("train", ("train",)), ("test", ("query", "gallery"))):
        outfits: dict[int, set[int]] = {}
        for split in splits:
            samples = world.split(split)
            for person, clothes in zip(samples.person.tolist(), samples.clothes.tolist(), strict=True):
                outfits.setdefault(person, set()).add(clothes)
        for kind, changes in (("cloth-change", True), ("cloth-unchange", False)):
            people = [str(person) for person in sorted(outfits) if (len(outfits[person]) > 1) == changes]
            write_text(out / name / "info" / f"{kind}_id_{half}.txt", "".join(f"{person}\n" for person in people))
    _write_captions(out / "captions" / name, world)


def _write_images(
    out: Path, config: SyntheticConfig, files: list[tuple[str, str]], workers: int, progress: Progress | None
) -> None:
    """`files`: (name in the world, where the image goes below `out`); each mask goes to the same place below masks."""
    write = functools.partial(_write_image, out, config)
    if workers > 1:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy OpenCV's threads in any state
        with ProcessPoolExecutor(workers, spawn, cv2.setNumThreads, (1,)) as pool:
            _count(pool.map(write, files, chunksize=32), len(files), progress)
    else:
        _count(map(write, files), len(files), progress)


def _count(done: Iterable[None], total: int, progress: Progress | None) -> None:
    for number, _ in enumerate(done, start=1):
        if progress is not None:
            progress(number, total)


def _write_image(out: Path, config: SyntheticConfig, file: tuple[str, str]) -> None:
    path, place = file
    world = Synthetic(config=config)
    _write_png(out / place, cv2.cvtColor(world.read_image(path), cv2.COLOR_RGB2BGR))
    _write_png(out / "masks" / place, world.read_mask(path))


def _write_png(path: Path, pixels: Any) -> None:
    """[H, W] or [H, W, 3] (blue first) uint8. Not flushed one by one: an unfinished folder has no marker anyway."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _write_captions(folder: Path, world: Synthetic) -> None:
    """DIFFER's caption files for the training split, and the sentences they were made from."""
    samples = world.split("train")
    keys = [world.caption_key(path) for path in samples.paths]
    sentences = world.caption_texts(samples)
    write_json(folder / "train_captions.json", dict(zip(keys, sentences, strict=True)))
    features = encode_texts(TEXT_MODEL, [sentence for image in sentences for sentence in image])
    people = np.unique(samples.person).tolist()
    texts = [world.caption_summary(person) for person in people]
    summaries = {
        str(person): (text, feature)
        for person, text, feature in zip(people, texts, encode_texts(TEXT_MODEL, texts), strict=True)
    }
    by_image = features.reshape(len(samples), -1, features.shape[-1])
    save_caption_features(folder, TEXT_MODEL, keys, by_image, summaries)


LAYOUTS: dict[str, tuple[str, Callable[[Path, Synthetic, int, Progress | None], None]]] = {
    "ltcc": ("LTCC_ReID", _write_ltcc),
}
"""Layout → (name of the dataset's folder, what writes it)."""
