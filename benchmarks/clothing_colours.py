"""Do wrong matches wear what the query wears? Clothes labels are of one person each, so colours have to tell.

An outfit is six numbers: mean CIELAB colour of the upper and of the lower clothing. U outfits; an image without clothes
label stands for itself.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from datasets.base import IntArray, ReIDDataset, UInt8Array
from datasets.masks import LABEL_SETS, LabelSetName

from .evidence import Ranking
from .probes import spread
from .protocols import BoolArray

Colours = npt.NDArray[np.float64]

NEAREST = 0.05
"""Share of other people's gallery images that counts as similar."""
IMAGES_OF_OUTFIT = 3
"""Images whose colours are averaged, evenly spaced among those of the outfit."""
MOST_QUERIES = 300
MOST_UNITS = 600
"""Wrongly answered queries, and outfits (or images without label) of the gallery, whose colours are looked up."""
FEWEST_PIXELS = 0.01
"""Share of an image's pixels below which a mask says too little of a garment, and the band is taken."""

UPPER, LOWER = (0.20, 0.50), (0.55, 0.90)
"""Bands of the image's height where clothing is looked for without masks."""
MIDDLE = (0.20, 0.80)
"""Part of the image's width that the bands span."""
UPPER_LABELS = frozenset({"upper-clothes", "coat", "dress", "jumpsuits", "torso"})
LOWER_LABELS = frozenset({"pants", "skirt", "dress", "jumpsuits", "upper-legs", "lower-legs"})
"""Names in `datasets.masks.LABEL_SETS`."""


@dataclass(frozen=True)
class Wardrobe:
    """The outfits of one dataset, to look up their colours once for all of its runs."""

    key: str
    """Equal keys are equal outfits in equal pixels."""
    dataset: ReIDDataset = field(compare=False)
    label_set: LabelSetName = field(compare=False)
    paths: tuple[tuple[str, ...], ...] = field(compare=False)
    """[U] the images of each outfit."""


@functools.lru_cache(maxsize=8)
def colours_of(wardrobe: Wardrobe) -> tuple[Colours, str]:
    """[U, 6] and where clothing was looked for: «masks», or «bands» where an image has no mask.

    Raises DataError where an image is missing.
    """
    dataset = wardrobe.dataset
    chosen = [[paths[k * len(paths) // IMAGES_OF_OUTFIT] for k in range(IMAGES_OF_OUTFIT)] for paths in wardrobe.paths]
    chosen = [list(dict.fromkeys(paths)) for paths in chosen]
    masked = all(dataset.has_mask(path) for paths in chosen for path in paths)

    def of_image(path: str) -> Colours:
        mask = dataset.read_mask(path) if masked else None
        return clothing_colours(dataset.read_image(path), mask, wardrobe.label_set)

    colours = np.stack([np.mean([of_image(path) for path in paths], axis=0) for paths in chosen])
    return colours, "masks" if masked else "bands"


def clothing_colours(image: UInt8Array, mask: UInt8Array | None, label_set: LabelSetName = "lip") -> Colours:
    """[H, W, 3] RGB → [6] mean L*, a*, b* of the upper clothing, then of the lower.

    `mask` [H, W] parsing labels; without them, or where they show too little of a garment, the band of the image.
    """
    import cv2  # only where pictures are looked at

    if mask is not None and mask.shape != image.shape[:2]:
        mask = np.asarray(cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    found = []
    for labels, band in ((UPPER_LABELS, UPPER), (LOWER_LABELS, LOWER)):
        where = _banded(image.shape[:2], band) if mask is None else _labelled(mask, labels, label_set)
        if where.mean() < FEWEST_PIXELS:
            where = _banded(image.shape[:2], band)
        found.append(lab[where].mean(axis=0, dtype=np.float64))
    return np.concatenate(found)


def _labelled(mask: UInt8Array, names: frozenset[str], label_set: LabelSetName) -> BoolArray:
    labels = [number for number, name in enumerate(LABEL_SETS[label_set].names) if name in names]
    return np.isin(mask, labels)


def _banded(shape: Sequence[int], band: tuple[float, float]) -> BoolArray:
    """[H, W] True in the band of the height and in the middle of the width; never empty."""
    height, width = shape
    where = np.zeros((height, width), dtype=bool)
    top, left = int(band[0] * height), int(MIDDLE[0] * width)
    where[top : max(top + 1, round(band[1] * height)), left : max(left + 1, round(MIDDLE[1] * width))] = True
    return where


def asked_about(ranking: Ranking, query_unit: IntArray, gallery_unit: IntArray) -> tuple[IntArray, IntArray]:
    """Queries [n] whose rank-1 match is wrong, and the outfits of which other people's are a sample; both ascending.

    `query_unit` [Q], `gallery_unit` [G]: outfit of each row of the ranking. Evenly spaced where there are more than
    MOST_QUERIES and MOST_UNITS.
    """
    first = ranking.top_index[:, 0]
    wrong = np.flatnonzero((ranking.matches > 0) & (first >= 0) & ~ranking.top_correct[:, 0])
    visible = gallery_unit if ranking.drawn is None else gallery_unit[ranking.drawn[0]]
    return spread(wrong, MOST_QUERIES), spread(np.unique(visible), MOST_UNITS)


def similarly_dressed(
    ranking: Ranking,
    asked: IntArray,
    query: tuple[IntArray, IntArray],
    gallery: tuple[IntArray, IntArray],
    colours: Colours,
    sampled: BoolArray,
) -> dict[str, Any]:
    """Share of the wrong rank-1 matches of the queries `asked` that wear similar clothes, against chance. U outfits.

    `query` and `gallery`: person [Q], [G] and row of `colours` [U, 6], -1 where it was not looked up; `sampled` [U]:
    the outfits that others are represented by. The distance of two outfits is the Euclidean one of their six numbers. A
    match is similar when less than NEAREST of the gallery images of other people than the query's are strictly nearer;
    chance is the share of all these images of which that can be said: a little more than NEAREST, since the images of
    an outfit are all equally near.
    """
    persons, units = gallery
    entries = np.arange(len(persons)) if ranking.drawn is None else ranking.drawn[0]
    entries = entries[(units[entries] >= 0) & sampled[units[entries]]]
    similar, chance = np.zeros(len(asked), dtype=bool), np.zeros(len(asked))
    for place, row in enumerate(asked):
        others = entries[persons[entries] != query[0][row]]
        worn = np.bincount(units[others], minlength=len(colours))  # [U] images in each outfit
        distance = np.linalg.norm(colours - colours[query[1][row]], axis=1)  # [U]
        order = np.argsort(distance, kind="stable")
        ahead = np.r_[0, np.cumsum(worn[order])]
        near = ahead[np.searchsorted(distance[order], distance)] < NEAREST * len(others)  # [U]
        similar[place] = near[units[ranking.top_index[row, 0]]]
        chance[place] = (near * worn).sum() / len(others)
    share, by_chance = float(similar.mean()), float(chance.mean())
    numbers = {"accuracy": share, "chance": by_chance, "selectivity": share - by_chance}
    return {name: round(number, 6) for name, number in numbers.items()} | {"images": len(asked)}
