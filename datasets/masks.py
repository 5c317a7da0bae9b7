"""Human parsing labels: LIP's twenty classes, which of them are clothing, and colours to look at them.

Numbering: Look Into Person (Gong et al., CVPR 2017), as the parser SCHP writes it. Left and right are the person's own.
"""

import enum

import numpy as np

from .base import UInt8Array


class Lip(enum.IntEnum):
    """Label of a pixel. LIP knows no bags: they are background."""

    BACKGROUND = 0
    HAT = 1
    HAIR = 2
    GLOVE = 3
    SUNGLASSES = 4
    UPPER_CLOTHES = 5
    DRESS = 6
    COAT = 7
    SOCKS = 8
    PANTS = 9
    JUMPSUITS = 10
    SCARF = 11
    SKIRT = 12
    FACE = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    LEFT_LEG = 16
    RIGHT_LEG = 17
    LEFT_SHOE = 18
    RIGHT_SHOE = 19


CLOTHING = frozenset(
    {Lip.GLOVE, Lip.UPPER_CLOTHES, Lip.DRESS, Lip.COAT, Lip.SOCKS, Lip.PANTS, Lip.JUMPSUITS, Lip.SCARF, Lip.SKIRT}
    | {Lip.LEFT_SHOE, Lip.RIGHT_SHOE}
)
"""What a change of clothes changes. A hat is not among them: it belongs to the head, which methods keep."""

BARE_LIMBS = frozenset({Lip.LEFT_ARM, Lip.RIGHT_ARM, Lip.LEFT_LEG, Lip.RIGHT_LEG})
"""Skin of arms and legs: visible or not depending on the clothes."""

PALETTE: UInt8Array = np.array(
    [
        (24, 24, 24), (214, 39, 40), (120, 72, 40), (188, 189, 34), (90, 90, 160), (31, 119, 180), (227, 119, 194),
        (23, 90, 120), (199, 199, 199), (44, 160, 44), (148, 103, 189), (255, 187, 120), (197, 90, 160),
        (250, 200, 160), (255, 152, 90), (240, 110, 70), (152, 223, 138), (90, 200, 150), (220, 220, 60),
        (255, 255, 130),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""[20, 3] RGB, one colour a label."""


def colour_mask(labels: UInt8Array) -> UInt8Array:
    """[H, W] labels → [H, W, 3] RGB."""
    return PALETTE[labels]
