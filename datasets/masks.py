"""Human parsing labels: the sets that parsers write, what is clothing in each, and colours to look at them.

Numbering of LIP, ATR and Pascal: as the parser SCHP writes them (Li et al., TPAMI 2020; its `simple_extractor.py`).
The 12 classes: ATR's, merged, in which SCNet (ACM MM 2023) hands out masks of four datasets. Left and right are the
person's own.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .base import UInt8Array
from .config import Strict
from .errors import DataError

BoolArray = npt.NDArray[np.bool_]
LabelSetName = Literal["lip", "atr", "pascal", "merged12"]


class MaskConfig(Strict):
    """How the parsing masks are read that a method asks for."""

    label_set: LabelSetName = "lip"
    """Which classes the numbers in the masks stand for: lip (20), atr (18), pascal (7) or merged12, ATR's merged."""
    missing: Literal["error", "background"] = "error"
    """What to do where an image has no mask: stop, or treat it as all background."""


class Lip(enum.IntEnum):
    """Look Into Person (Gong et al., CVPR 2017). It knows no bags: they are background."""

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


class Atr(enum.IntEnum):
    """ATR (Liang et al., TPAMI 2015)."""

    BACKGROUND = 0
    HAT = 1
    HAIR = 2
    SUNGLASSES = 3
    UPPER_CLOTHES = 4
    SKIRT = 5
    PANTS = 6
    DRESS = 7
    BELT = 8
    LEFT_SHOE = 9
    RIGHT_SHOE = 10
    FACE = 11
    LEFT_LEG = 12
    RIGHT_LEG = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    BAG = 16
    SCARF = 17


class Pascal(enum.IntEnum):
    """Pascal-Person-Part (Chen et al., CVPR 2014): parts of the body, dressed or not."""

    BACKGROUND = 0
    HEAD = 1
    TORSO = 2
    UPPER_ARMS = 3
    LOWER_ARMS = 4
    UPPER_LEGS = 5
    LOWER_LEGS = 6


class Merged(enum.IntEnum):
    """ATR in 12 classes: hat, hair, sunglasses and face are the head, left and right are one."""

    BACKGROUND = 0
    HEAD = 1
    UPPER_CLOTHES = 2
    SKIRT = 3
    PANTS = 4
    DRESS = 5
    BELT = 6
    SHOES = 7
    LEGS = 8
    ARMS = 9
    BAG = 10
    SCARF = 11


@dataclass(frozen=True)
class LabelSet:
    """What the numbers of a mask stand for. Every label but background is in exactly one of the three groups."""

    labels: type[enum.IntEnum]
    clothing: frozenset[int]
    """What a change of clothes changes. A hat is not among them: it belongs to the head, which methods keep."""
    body: frozenset[int]
    """Arms and legs outside the clothing: visible or not depending on the clothes."""
    head: frozenset[int]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each label, in order, such as upper-clothes."""
        return tuple(label.name.lower().replace("_", "-") for label in self.labels)


LABEL_SETS: dict[LabelSetName, LabelSet] = {
    "lip": LabelSet(
        Lip,
        clothing=frozenset(
            {Lip.GLOVE, Lip.UPPER_CLOTHES, Lip.DRESS, Lip.COAT, Lip.SOCKS, Lip.PANTS, Lip.JUMPSUITS, Lip.SCARF}
            | {Lip.SKIRT, Lip.LEFT_SHOE, Lip.RIGHT_SHOE}
        ),
        body=frozenset({Lip.LEFT_ARM, Lip.RIGHT_ARM, Lip.LEFT_LEG, Lip.RIGHT_LEG}),
        head=frozenset({Lip.HAT, Lip.HAIR, Lip.SUNGLASSES, Lip.FACE}),
    ),
    "atr": LabelSet(
        Atr,
        clothing=frozenset(
            {Atr.UPPER_CLOTHES, Atr.SKIRT, Atr.PANTS, Atr.DRESS, Atr.BELT, Atr.LEFT_SHOE, Atr.RIGHT_SHOE}
            | {Atr.BAG, Atr.SCARF}
        ),
        body=frozenset({Atr.LEFT_LEG, Atr.RIGHT_LEG, Atr.LEFT_ARM, Atr.RIGHT_ARM}),
        head=frozenset({Atr.HAT, Atr.HAIR, Atr.SUNGLASSES, Atr.FACE}),
    ),
    "pascal": LabelSet(
        Pascal,
        clothing=frozenset({Pascal.TORSO, Pascal.UPPER_LEGS, Pascal.LOWER_LEGS}),
        body=frozenset({Pascal.UPPER_ARMS, Pascal.LOWER_ARMS}),
        head=frozenset({Pascal.HEAD}),
    ),
    "merged12": LabelSet(
        Merged,
        clothing=frozenset(
            {Merged.UPPER_CLOTHES, Merged.SKIRT, Merged.PANTS, Merged.DRESS, Merged.BELT, Merged.SHOES}
            | {Merged.BAG, Merged.SCARF}
        ),
        body=frozenset({Merged.LEGS, Merged.ARMS}),
        head=frozenset({Merged.HEAD}),
    ),
}
assert set(LABEL_SETS) == set(get_args(LabelSetName))  # noqa: S101 - a choice on the command line must be in the table


def clothing_table(label_set: LabelSetName, *, body: bool = False) -> BoolArray:
    """[256] whether a label is clothing (`body`: or an arm or leg): `table[mask]` is [H, W]. Unknown labels are not."""
    chosen = LABEL_SETS[label_set]
    table = np.zeros(256, dtype=bool)
    table[sorted(chosen.clothing | chosen.body if body else chosen.clothing)] = True
    return table


_AT_ONCE = 256
"""Masks whose highest label is looked for at once: bounds the memory."""


def sets_with(label: int) -> list[LabelSetName]:
    """The label sets that have it, and so all smaller ones."""
    return [name for name, known in LABEL_SETS.items() if label < len(known.labels)]


def require_labels_of(label_set: LabelSetName, masks: UInt8Array, place: Callable[[int], str]) -> None:
    """Raise DataError where a label in `masks` [N, H, W] lies beyond the label set. `place`: row → the mask's name."""
    last = len(LABEL_SETS[label_set].labels) - 1
    for start in range(0, len(masks), _AT_ONCE):
        highest = masks[start : start + _AT_ONCE].max(axis=(1, 2))  # [n]
        if len(beyond := np.flatnonzero(highest > last)):
            label = int(highest[beyond[0]])
            sets = " or ".join(f"masks.label_set={name}" for name in sets_with(label))
            mend = (
                f"say what they were written in, {sets}" if sets else "save label numbers, not colours or grey values"
            )
            raise DataError(
                f"{place(start + int(beyond[0]))} holds the label {label}, and masks.label_set={label_set} ends at "
                f"{last}: {mend}."
            )


PALETTE: UInt8Array = np.array(
    [
        (24, 24, 24), (214, 39, 40), (120, 72, 40), (188, 189, 34), (90, 90, 160), (31, 119, 180), (227, 119, 194),
        (23, 90, 120), (199, 199, 199), (44, 160, 44), (148, 103, 189), (255, 187, 120), (197, 90, 160),
        (250, 200, 160), (255, 152, 90), (240, 110, 70), (152, 223, 138), (90, 200, 150), (220, 220, 60),
        (255, 255, 130),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""[20, 3] RGB, one colour a label, chosen for LIP."""


def colour_mask(labels: UInt8Array) -> UInt8Array:
    """[H, W] labels → [H, W, 3] RGB."""
    return PALETTE[labels]
