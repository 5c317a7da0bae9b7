"""A contact sheet of a split: one person a row, over their outfits and cameras."""

import cv2
import numpy as np

from .base import IntArray, ReIDDataset, Samples, UInt8Array
from .masks import colour_mask

CELL = (192, 96)
"""Height and width of one picture on the sheet, in pixels."""


def contact_sheet(dataset: ReIDDataset, split: str, rows: int, columns: int, *, masks: bool = False) -> UInt8Array:
    """[rows * 192, columns * 96, 3] RGB: evenly chosen people, of each up to `columns` evenly chosen images.

    `masks`: every other picture is the coloured mask of the one before it.
    """
    samples = dataset.split(split)
    people = np.unique(samples.person)
    height, width = CELL
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for row, person in enumerate(_spread(people, rows)):
        chosen = _spread(_ordered(samples, int(person)), (columns + 1) // 2 if masks else columns)
        for column in range(min(columns, len(chosen) * (1 + masks))):
            path = samples.paths[chosen[column // 2 if masks else column]]
            is_mask = masks and column % 2 == 1
            picture = colour_mask(dataset.read_mask(path)) if is_mask else dataset.read_image(path)
            cell = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = cell
    return sheet


def _ordered(samples: Samples, person: int) -> IntArray:
    """Rows of one person, outfit by outfit, camera by camera."""
    rows = np.flatnonzero(samples.person == person)
    return rows[np.lexsort((rows, samples.camera[rows], samples.clothes[rows]))]


def _spread(values: IntArray, count: int) -> IntArray:
    """Up to `count` of the values, evenly spread."""
    count = min(count, len(values))
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)] if count else values[:0]
