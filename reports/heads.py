"""Hiding heads in pictures of people: at most twelve colours are left of one, so that nothing can be restored."""

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.reopening import Reopened
from datasets.base import UInt8Array
from datasets.masks import LABEL_SETS, LabelSetName

BAND = 0.22
"""Share of a person's crop, from the top, that holds the head where no mask says where it is."""
CELLS = (3, 4)
"""Columns and rows of the averages that a head is drawn from."""
SMALLEST = 0.003
"""A parsed head that covers less of the image is not believed."""


def hide_head(image: UInt8Array, mask: UInt8Array | None, label_set: LabelSetName) -> UInt8Array:
    """[H, W, 3] with the head blurred away; all other pixels as they were.

    The head is where `mask` [h, w] says (hair, face, hat), a little widened. The top of the image is hidden without a
    mask and where the mask's head is tiny; it is hidden as well where what the mask calls head reaches low, which is
    what a mask of another label set does.
    """
    height, width = image.shape[:2]
    region = np.zeros((height, width), dtype=bool) if mask is None else _parsed_head(mask, label_set, width, height)
    if region.mean() < SMALLEST or np.flatnonzero(region.any(axis=1)).max() > height / 2:
        region[: max(1, round(BAND * height))] = True
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    hidden = image.copy()
    hidden[box][region[box]] = _averages(image[box])[region[box]]
    return hidden


def shown_image(reopened: Reopened, path: str, *, blur_faces: bool) -> UInt8Array:
    """[H, W, 3], an image of the run's dataset, its head hidden where that was asked for.

    Raises DataError for files that cannot be read.
    """
    image, dataset = reopened.image(path), reopened.dataset
    if not blur_faces:
        return image
    return hide_head(image, dataset.read_mask(path) if dataset.has_mask(path) else None, reopened.spec.masks.label_set)


def _averages(part: UInt8Array) -> UInt8Array:
    """[h, w, 3]: the means of 3 × 4 cells, drawn smoothly."""
    height, width = part.shape[:2]
    cells = (min(CELLS[0], width), min(CELLS[1], height))
    coarse = Image.fromarray(part).resize(cells, Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _parsed_head(mask: UInt8Array, label_set: LabelSetName, width: int, height: int) -> np.ndarray:
    """[height, width] whether a pixel shows head or lies just beside it."""
    head = np.isin(mask, sorted(LABEL_SETS[label_set].head)).astype(np.uint8) * 255
    picture = Image.fromarray(head).resize((width, height), Image.Resampling.NEAREST)
    widened = picture.filter(ImageFilter.MaxFilter(2 * max(1, round(0.02 * height)) + 1))
    return np.array(widened) > 0
