"""The people of the synthetic world and the outfits in their shops: who they are, before anything is drawn.

A person and an outfit are pure functions of (world seed, number), so that any image can be drawn by itself.
"""

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .shapes import Colour


class Purpose(enum.IntEnum):
    """What a stream of random numbers is for: streams of different purpose never meet."""

    PERSON = 1
    OUTFIT = 2
    WARDROBE = 3
    CAMERA = 4
    WALK = 5
    FRAME = 6
    WORDS = 7
    PLACES = 8
    BACKDROP = 9


def random(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    """The stream of random numbers that belongs to `purpose` and `numbers` alone."""
    return np.random.default_rng([seed, purpose, *numbers])


CLOTH_COLOURS: dict[str, Colour] = {
    "black": (0.09, 0.09, 0.10), "white": (0.90, 0.90, 0.88), "grey": (0.50, 0.50, 0.51),
    "navy blue": (0.11, 0.15, 0.34), "blue": (0.16, 0.34, 0.72), "light blue": (0.55, 0.72, 0.88),
    "red": (0.76, 0.13, 0.14), "burgundy": (0.42, 0.09, 0.17), "pink": (0.90, 0.56, 0.66),
    "green": (0.15, 0.52, 0.25), "olive": (0.38, 0.39, 0.18), "teal": (0.10, 0.48, 0.50),
    "yellow": (0.90, 0.77, 0.20), "orange": (0.89, 0.47, 0.12), "purple": (0.44, 0.22, 0.56),
    "brown": (0.40, 0.25, 0.14), "beige": (0.80, 0.71, 0.56),
}  # fmt: skip
DENIM: dict[str, Colour] = {"blue": (0.25, 0.36, 0.55), "light blue": (0.50, 0.62, 0.77), "black": (0.13, 0.13, 0.15)}
SKIN_COLOURS: dict[str, Colour] = {
    "very fair": (0.96, 0.82, 0.74), "fair": (0.90, 0.73, 0.62), "olive": (0.79, 0.61, 0.47),
    "light brown": (0.66, 0.47, 0.34), "brown": (0.49, 0.33, 0.23), "dark brown": (0.31, 0.20, 0.15),
}  # fmt: skip
HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.06, 0.05, 0.06), "dark brown": (0.19, 0.12, 0.08), "brown": (0.36, 0.22, 0.12),
    "auburn": (0.50, 0.20, 0.09), "blond": (0.83, 0.67, 0.36), "grey": (0.55, 0.55, 0.56), "white": (0.87, 0.86, 0.84),
}  # fmt: skip
HAIR_STYLES = {
    "woman": ("long straight", "long wavy", "bob", "ponytail", "bun", "afro", "short", "pixie"),
    "man": ("short", "short", "side parting", "buzz cut", "balding", "curly", "afro", "shoulder-length"),
}
PATTERNS = ("plain", "striped", "vertically striped", "checked", "dotted", "two-tone", "printed")
UPPER_KINDS = ("T-shirt", "shirt", "jumper", "hoodie", "jacket", "coat", "tank top")
LOWER_KINDS = ("trousers", "jeans", "shorts", "skirt", "long skirt")


@dataclass(frozen=True)
class Person:
    """What stays when the clothes change. Sizes without a unit are factors of the average."""

    number: int
    woman: bool
    age: str
    """young, middle-aged or elderly."""
    stature: float
    """Metres from the ground to the crown."""
    build: float
    """0.8 slim … 1.3 heavy."""
    belly: float
    shoulders: float
    hips: float
    legs: float
    """Height of the crotch as a share of stature."""
    head: float
    face_width: float
    neck: float
    skin: str
    skin_colour: Colour
    hair_style: str
    hair: str
    hair_colour: Colour
    beard: str
    """none, moustache, short or full."""
    glasses: bool
    stride: float
    arm_swing: float
    stoop: float
    """Forward lean of the trunk in radians."""


@dataclass(frozen=True)
class Garment:
    kind: str
    colour: str
    pattern: str = "plain"
    second: str = "white"
    """Colour of the pattern, or of what is worn under an open jacket or coat."""

    @property
    def rgb(self) -> Colour:
        return DENIM[self.colour] if self.kind == "jeans" else CLOTH_COLOURS[self.colour]


@dataclass(frozen=True)
class Outfit:
    """What is put on together. The same outfit hangs in the wardrobes of several people."""

    number: int
    upper: Garment
    lower: Garment
    shoes: Garment
    """A trainer, shoe or boot."""
    bag: Garment | None
    """A backpack, shoulder bag or handbag."""
    hat: Garment | None
    feminine: bool


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) * rng.normal(1, spread) + rng.normal(0, spread / 8, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)


def _pick(rng: np.random.Generator, options: Any, weights: list[float] | None = None) -> str:
    chances = None if weights is None else np.asarray(weights) / np.sum(weights)
    return str(rng.choice(list(options), p=chances))


@lru_cache(maxsize=2048)
def make_person(seed: int, number: int) -> Person:
    rng = random(seed, Purpose.PERSON, number)
    woman = bool(rng.random() < 0.5)
    age = _pick(rng, ("young", "middle-aged", "elderly"), [5, 4, 2])
    hair = _pick(rng, ("black", "dark brown", "brown", "auburn", "blond"), [4, 3, 3, 1.5, 2.5])
    if age == "elderly" or (age == "middle-aged" and rng.random() < 0.2):
        hair = _pick(rng, ("grey", "white"))
    styles = HAIR_STYLES["woman" if woman else "man"]
    style = _pick(rng, styles, [0.3 if name == "balding" and age == "young" else 1 for name in styles])
    skin = _pick(rng, SKIN_COLOURS)
    build = float(np.clip(rng.gamma(9, 0.115), 0.78, 1.38))
    return Person(
        number=number,
        woman=woman,
        age=age,
        stature=float(np.clip(rng.normal(1.64 if woman else 1.77, 0.08), 1.48, 1.96)),
        build=build,
        belly=max(0.0, (build - 1.0) * float(rng.uniform(0.3, 1.6)) + (0.1 if age != "young" else 0.0)),
        shoulders=float(rng.normal(0.93 if woman else 1.06, 0.05)),
        hips=float(rng.normal(1.07 if woman else 0.96, 0.05)),
        legs=float(np.clip(rng.normal(0.462, 0.016), 0.425, 0.5)),
        head=float(np.clip(rng.normal(1.0, 0.065), 0.87, 1.14)),
        face_width=float(np.clip(rng.normal(1.0, 0.09), 0.84, 1.2)),
        neck=float(rng.uniform(0.8, 1.25)),
        skin=skin,
        skin_colour=_near(rng, SKIN_COLOURS[skin], 0.035),
        hair_style=style,
        hair=hair,
        hair_colour=_near(rng, HAIR_COLOURS[hair], 0.06),
        beard="none" if woman else _pick(rng, ("none", "moustache", "short", "full"), [5, 1, 2, 2]),
        glasses=bool(rng.random() < 0.25),
        stride=float(rng.uniform(0.75, 1.25) * (0.75 if age == "elderly" else 1.0)),
        arm_swing=float(rng.uniform(0.5, 1.4)),
        stoop=float(rng.normal(0.16 if age == "elderly" else 0.03, 0.03)),
    )


@lru_cache(maxsize=2048)
def make_outfit(seed: int, number: int) -> Outfit:
    rng = random(seed, Purpose.OUTFIT, number)
    colours = tuple(CLOTH_COLOURS)
    feminine = bool(rng.random() < 0.25)
    kind, colour = _pick(rng, UPPER_KINDS, [4, 3, 3, 2, 3, 2, 1]), _pick(rng, colours)
    pattern = _pick(rng, PATTERNS, [7, 2, 1, 1.5, 1, 1.5, 0 if kind in ("jacket", "coat") else 2])
    upper = Garment(kind, colour, pattern, _pick(rng, [name for name in colours if name != colour]))
    kinds = ("skirt", "long skirt") if feminine else ("trousers", "jeans", "shorts")
    kind = _pick(rng, kinds) if feminine else _pick(rng, kinds, [4, 4, 2])
    lower = Garment(
        kind, _pick(rng, DENIM if kind == "jeans" else ("black", "grey", "navy blue", "beige", "brown", *colours))
    )
    bag = _pick(rng, ("none", "backpack", "shoulder bag", "handbag"), [5, 2, 2, 1])
    return Outfit(
        number=number,
        upper=upper,
        lower=lower,
        shoes=Garment(
            _pick(rng, ("trainers", "shoes", "boots"), [4, 3, 2]),
            _pick(rng, ("black", "white", "brown", "grey", "red")),
        ),
        bag=None
        if bag == "none"
        else Garment(bag, _pick(rng, ("black", "brown", "red", "blue", "olive", "grey", "beige"))),
        hat=Garment("cap", _pick(rng, colours)) if rng.random() < 0.07 else None,
        feminine=feminine,
    )
