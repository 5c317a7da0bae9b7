"""Folders in the layout of an official release, built again from the paths in a golden list."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.protocols import BoolArray, ignored
from datasets.base import Protocol, ReIDDataset, Samples

AWKWARD_NAMES = ("root_c_9", "a b-1_c2 query", "-1_0", "query", "007")
"""Names of folders above a dataset from which some official code takes labels, since it searches the whole path."""


def golden_rows(golden: Path, name: str) -> dict[str, Any]:
    """The list `name`, such as CAL__prcc: split → rows [path, person, camera, clothes], and a code's other results."""
    return json.loads((golden / "datasets" / f"{name}.json").read_text(encoding="utf-8"))


def build_tree(root: Path, paths: Iterable[str]) -> Path:
    """An image of 8 × 16 pixels at each of `paths` below `root`, in the format of its suffix; returns `root`."""
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (number % 256, 80, 120)).save(root / path)
    return root


def dense(values: npt.ArrayLike) -> list[int]:
    """`values` relabelled to 0, 1, … in ascending order, as the official codes do."""
    return np.unique(values, return_inverse=True)[1].tolist()


def same_groups(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two columns differ by a relabelling only: some official codes number people in no particular order."""
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def paths_of(dataset: ReIDDataset, samples: Samples) -> list[str]:
    """As the golden lists write them: behind the name of the dataset's folder."""
    return [f"{dataset.folder}/{path}" for path in samples.paths]


def labels_of(dataset: ReIDDataset, splits: Iterable[str]) -> dict[str, list[tuple[str, int, int, int]]]:
    """Split → (path, person, camera, clothes) of each image."""
    samples = {split: dataset.split(split) for split in splits}
    columns = {name: (s.person.tolist(), s.camera.tolist(), s.clothes.tolist()) for name, s in samples.items()}
    return {name: list(zip(s.paths, *columns[name], strict=True)) for name, s in samples.items()}


def hidden_and_matches(dataset: ReIDDataset, protocol: Protocol) -> tuple[BoolArray, BoolArray]:
    """[Q, G] each: what a query must not see, and what it should find."""
    query, gallery = dataset.split(protocol.query), dataset.split(protocol.gallery)
    hidden = ignored(protocol, query, gallery)
    return hidden, (query.person[:, None] == gallery.person) & ~hidden
