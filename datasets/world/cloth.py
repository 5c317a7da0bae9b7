"""The look of cloth: patterns that turn with the body, and creases that move with every step."""

from math import pi

import numpy as np

from .people import CLOTH_COLOURS, Garment
from .pose import View
from .shapes import FloatArray, Patch, rgb


def folds(patch: Patch, view: View, shift: float) -> FloatArray:
    """[h, w] brightness of creases; `shift`, in radians, moves them with every step."""
    height = patch.y / view.scale
    first = np.sin(height * 31 + patch.across * 2.1 + shift)
    return 1 + 0.06 * first * np.sin(height * 13 - patch.across * 3.3 + 0.7 * shift)


def pattern(patch: Patch, garment: Garment, view: View, middle: float) -> FloatArray:
    """[h, w, 3] colour of the cloth, unlit. The pattern turns with the body: it is laid out by angle and height.

    `middle`: row of the chest, where a print is and where the colours of a two-tone garment meet.
    """
    base, second = rgb(garment.rgb), rgb(CLOTH_COLOURS[garment.second])
    angle = np.arcsin(patch.across) - view.yaw
    height = (patch.y - view.foot[1]) / view.scale
    match garment.pattern:
        case "striped":
            share = np.sin(height * (2 * pi / 0.11)) + 0 * angle > 0.25
        case "vertically striped":
            share = np.sin(angle * 9) + 0 * height > 0.55
        case "checked":
            share = 0.5 * ((np.sin(height * (2 * pi / 0.13)) > 0.2).astype(np.float32) + (np.sin(angle * 7) > 0.2))
        case "dotted":
            share = np.sin(height * (2 * pi / 0.10)) * np.sin(angle * 8) > 0.45
        case "two-tone":
            share = (patch.y > middle) + 0 * angle > 0
        case "printed":
            turn = (angle + pi) % (2 * pi) - pi
            share = np.hypot(turn / 0.55, (patch.y - middle) / (0.085 * view.scale)) < 1
        case _:
            return np.broadcast_to(base, (*patch.coverage.shape, 3))
    return base + np.asarray(share, dtype=np.float32)[:, :, None] * (second - base)
