"""The three shapes that people are drawn with, painted antialiased and in sub-pixel places into an image and its mask.

Coordinates are pixels, x to the right and y down; a pixel's centre has whole coordinates. h, w: size of a patch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Point = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """What is painted on: the picture and, always in step with it, the label of every pixel."""

    image: FloatArray
    """[H, W, 3] RGB, 0 … 1."""
    labels: npt.NDArray[np.uint8]
    """[H, W]."""


class Patch(NamedTuple):
    """A shape's footprint on the canvas."""

    window: tuple[slice, slice]
    coverage: FloatArray
    """[h, w] how much of the pixel the shape covers, 0 … 1."""
    across: FloatArray
    """[h, w] position across the shape, -1 … 1 from its left or upper edge to the other: a rounded surface."""
    y: FloatArray
    """[h, 1] row on the canvas."""


def _window(canvas: Canvas, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
    height, width = canvas.labels.shape
    rows = slice(max(0, int(np.floor(top)) - 1), min(height, int(np.ceil(bottom)) + 2))
    columns = slice(max(0, int(np.floor(left)) - 1), min(width, int(np.ceil(right)) + 2))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _grid(window: tuple[slice, slice]) -> tuple[FloatArray, FloatArray]:
    rows, columns = window
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    return np.arange(columns.start, columns.stop, dtype=np.float32)[None, :], y


def column(canvas: Canvas, y: list[float], centre: list[float], half_width: list[float]) -> Patch | None:
    """An upright body given by sections from top to bottom: height `y` (ascending), centre and half width of each."""
    reach = max(half_width)
    window = _window(canvas, min(centre) - reach, y[0], max(centre) + reach, y[-1])
    if window is None:
        return None
    grid_x, grid_y = _grid(window)
    middle = np.interp(grid_y, y, centre).astype(np.float32)
    half = np.maximum(np.interp(grid_y, y, half_width), 0.3).astype(np.float32)
    offset = grid_x - middle
    vertical = np.minimum(np.minimum(grid_y - y[0], y[-1] - grid_y) + 0.5, 1)
    coverage = np.clip(half - np.abs(offset) + 0.5, 0, 1) * np.clip(vertical, 0, 1)
    return Patch(window, coverage, np.clip(offset / half, -1, 1), grid_y)


def capsule(canvas: Canvas, start: Point, end: Point, start_radius: float, end_radius: float) -> Patch | None:
    """A limb: round ends, tapering from `start` to `end`."""
    reach = max(start_radius, end_radius)
    window = _window(
        canvas,
        min(start[0], end[0]) - reach,
        min(start[1], end[1]) - reach,
        max(start[0], end[0]) + reach,
        max(start[1], end[1]) + reach,
    )
    if window is None:
        return None
    grid_x, grid_y = _grid(window)
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(float(np.hypot(dx, dy)), 1e-3)
    dx, dy = dx / length, dy / length
    x, y = grid_x - start[0], grid_y - start[1]
    along = np.clip((x * dx + y * dy) / length, 0, 1)
    radius = start_radius + along * (end_radius - start_radius)
    distance = np.hypot(x - along * (length * dx), y - along * (length * dy))
    side = (x * dy - y * dx) if dy >= 0 else (y * dx - x * dy)
    return Patch(window, np.clip(radius - distance + 0.5, 0, 1), np.clip(side / radius, -1, 1), grid_y)


def ellipse(canvas: Canvas, centre: Point, half_width: float, half_height: float) -> Patch | None:
    """An upright ellipse; its edge is antialiased to first order."""
    window = _window(
        canvas, centre[0] - half_width, centre[1] - half_height, centre[0] + half_width, centre[1] + half_height
    )
    if window is None:
        return None
    grid_x, grid_y = _grid(window)
    x, y = (grid_x - centre[0]) / half_width, (grid_y - centre[1]) / half_height
    coverage = np.clip((1 - np.hypot(x, y)) * min(half_width, half_height) + 0.5, 0, 1)
    return Patch(window, coverage, np.clip(x, -1, 1), grid_y)


def paint(canvas: Canvas, patch: Patch | None, colour: Colour | FloatArray, label: int | None) -> None:
    """Cover the patch with `colour`, one for all or [h, w, 3]. `label` None leaves the mask as it is."""
    if patch is None:
        return
    image = canvas.image[patch.window]
    image += patch.coverage[:, :, None] * (np.asarray(colour, dtype=np.float32) - image)
    if label is not None:
        canvas.labels[patch.window][patch.coverage > 0.5] = label


def rgb(colour: Colour) -> FloatArray:
    """[3], to reckon with."""
    return np.array(colour, dtype=np.float32)


def rounded(patch: Patch, light: float, depth: float = 0.22) -> FloatArray:
    """[h, w] brightness of a rounded surface lit from the side `light`, -1 (left) … 1 (right)."""
    return 1.04 - depth * patch.across * patch.across + 0.16 * light * patch.across
