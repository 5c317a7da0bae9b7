"""Drawing the head: an ellipsoid with a hairline, a face on its front, and the hair that hangs from it."""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Self

import numpy as np

from ..masks import Lip
from .people import Garment, Person
from .pose import Joint, View, head_height
from .shapes import Canvas, FloatArray, Patch, Point, capsule, column, ellipse, paint, rgb, rounded

FACE_ANGLES = (0.0, 0.55, 0.95, 1.25, 1.6, pi)
"""Angles from the nose, in radians, at which `HAIRLINES` gives the lowest hair."""
HAIRLINES = {
    "long straight": (0.55, 0.45, -0.05, -0.8, -0.9, -0.9), "long wavy": (0.50, 0.35, -0.15, -0.8, -0.9, -0.9),
    "shoulder-length": (0.60, 0.50, 0.0, -0.7, -0.9, -0.9), "bob": (0.18, 0.18, -0.10, -0.85, -0.9, -0.9),
    "ponytail": (0.66, 0.56, 0.25, -0.05, -0.30, -0.65), "bun": (0.68, 0.58, 0.25, -0.05, -0.30, -0.60),
    "afro": (0.50, 0.42, 0.10, -0.35, -0.55, -0.75), "curly": (0.40, 0.35, 0.05, -0.25, -0.45, -0.70),
    "short": (0.50, 0.42, 0.20, -0.20, -0.30, -0.62), "pixie": (0.25, 0.32, 0.05, -0.30, -0.40, -0.70),
    "side parting": (0.42, 0.52, 0.20, -0.20, -0.30, -0.62), "buzz cut": (0.60, 0.50, 0.25, -0.05, -0.15, -0.55),
    "balding": (1.20, 1.20, 0.50, 0.05, -0.15, -0.60),
}  # fmt: skip
"""Lowest height that hair covers, -1 chin … 1 crown, at each of `FACE_ANGLES`."""
VOLUME = {"afro": 1.42, "curly": 1.17, "long wavy": 1.14, "bob": 1.12, "buzz cut": 1.02, "balding": 1.02}
"""Size of the hair against the skull; the other styles have 1.07."""
LENGTH = {"long straight": 0.21, "long wavy": 0.19, "shoulder-length": 0.07, "bob": 0.02}
"""How far loose hair hangs below the chin, as a share of stature."""


@dataclass(frozen=True)
class Head:
    """Where the head is in the picture. Sizes in pixels."""

    person: Person
    view: View
    light: float
    centre: Point
    half_width: float
    half_height: float

    @classmethod
    def of(cls, person: Person, joint: Joint, view: View, light: float) -> Self:
        half = head_height(person) / 2
        wide = view.half_width(0.74 * half * person.face_width, 0.88 * half)
        return cls(person, view, light, view.project(joint), wide, half * view.scale)

    def at(self, angle: float, height: float, out: float = 1.0) -> tuple[Point, float]:
        """(pixel, cosine towards the camera) of a point on the surface, `angle` from the nose to the person's left."""
        ring = max(0.05, 1 - height * height) ** 0.5 * out
        seen = angle + self.view.yaw
        tilt = 0.5 * sin(self.view.elevation) * cos(seen) * ring
        x = self.centre[0] + sin(seen) * ring * self.half_width
        return (x, self.centre[1] - (height - tilt) * self.half_height), cos(seen)


def _lit(colour: tuple[float, float, float], patch: Patch, light: float) -> FloatArray:
    return rgb(colour) * rounded(patch, light)[:, :, None]


def draw_head(canvas: Canvas, head: Head, hat: Garment | None) -> None:
    """Skull and face, then the hair grown on it or the cap above it."""
    person = head.person
    skull = ellipse(canvas, head.centre, head.half_width, head.half_height)
    if skull is None:
        return
    paint(canvas, skull, _lit(person.skin_colour, skull, head.light), Lip.FACE)
    jaw = column(
        canvas,
        [head.centre[1], head.centre[1] + 0.65 * head.half_height, head.centre[1] + 0.97 * head.half_height],
        [head.centre[0] + 0.1 * head.half_width * sin(head.view.yaw)] * 3,
        [head.half_width * 0.97, head.half_width * (0.72 if person.woman else 0.82), head.half_width * 0.4],
    )
    if jaw is not None:
        paint(canvas, jaw, _lit(person.skin_colour, jaw, head.light), Lip.FACE)
    _ears(canvas, head)
    _face(canvas, head)
    if hat is None:
        _grown_hair(canvas, head)
    else:
        _cap(canvas, head, hat)


def _turned(head: Head, patch: Patch) -> tuple[FloatArray, FloatArray]:
    """([h, w] absolute angle from the nose, [h, 1] height -1 … 1) of the surface in each pixel."""
    height = (head.centre[1] - patch.y) / head.half_height
    angle = np.arcsin(np.clip(patch.across / np.sqrt(np.clip(1 - height * height, 0.15, 1)), -1, 1)) - head.view.yaw
    return np.abs((angle + pi) % (2 * pi) - pi), height + 0.25 * sin(head.view.elevation)


def _grown_hair(canvas: Canvas, head: Head) -> None:
    person = head.person
    volume = VOLUME.get(person.hair_style, 1.07)
    shell = ellipse(
        canvas,
        (
            head.centre[0] - 0.05 * head.half_width * sin(head.view.yaw),
            head.centre[1] - (volume - 1) * 0.4 * head.half_height,
        ),
        head.half_width * volume,
        head.half_height * volume,
    )
    if shell is None:
        return
    angle, height = _turned(head, shell)
    lowest = np.interp(angle, FACE_ANGLES, HAIRLINES[person.hair_style]).astype(np.float32)
    grown = np.clip((height - lowest) * head.half_height + 0.5, 0, 1)
    if person.hair_style == "balding":
        grown = grown * np.clip((0.42 - height) * head.half_height + 0.5, 0, 1)
    strands = np.sin(shell.across * 9 + (np.sin(shell.y * 1.3) if volume > 1.1 else 0))
    texture = 1 + 0.08 * strands + 0.14 * np.clip(height, -1, 1)
    colour = _lit(person.hair_colour, shell, head.light) * texture[:, :, None]
    if person.hair_style == "buzz cut":
        colour = 0.62 * colour + 0.38 * rgb(person.skin_colour)
    paint(canvas, shell._replace(coverage=shell.coverage * grown), colour, Lip.HAIR)
    if person.hair_style == "bun":
        (x, y), _ = head.at(pi, 0.62, 1.25)
        bun = ellipse(canvas, (x, y - 0.25 * head.half_height), 0.42 * head.half_height, 0.40 * head.half_height)
        if bun is not None:
            paint(canvas, bun, _lit(person.hair_colour, bun, head.light), Lip.HAIR)


def _cap(canvas: Canvas, head: Head, hat: Garment) -> None:
    _grown_hair(canvas, head)
    dome = ellipse(canvas, head.centre, head.half_width * 1.12, head.half_height * 1.12)
    if dome is None:
        return
    height = (head.centre[1] - dome.y) / head.half_height
    above = np.clip((height - 0.36) * head.half_height + 0.5, 0, 1)
    paint(canvas, dome._replace(coverage=dome.coverage * above), _lit(hat.rgb, dome, head.light), Lip.HAT)
    if cos(head.view.yaw) > -0.5:
        start, _ = head.at(0.0, 0.36, 0.9)
        end, _ = head.at(0.0, 0.30, 1.55)
        brim = capsule(canvas, start, end, 0.30 * head.half_width + 0.5, 0.18 * head.half_width + 0.5)
        if brim is not None:
            paint(canvas, brim, _lit(hat.rgb, brim, head.light) * 0.8, Lip.HAT)


def _ears(canvas: Canvas, head: Head) -> None:
    for angle in (-pi / 2, pi / 2):
        place, towards = head.at(angle, 0.0, 1.02)
        if towards > -0.35:
            ear = ellipse(canvas, place, 0.13 * head.half_height, 0.20 * head.half_height)
            paint(canvas, ear, 0.86 * rgb(head.person.skin_colour), Lip.FACE)


def _face(canvas: Canvas, head: Head) -> None:
    """Beard, eyes, brows, nose, mouth and glasses, each only where it is turned to the camera."""
    person, unit = head.person, head.half_height
    skin = rgb(person.skin_colour)
    if person.beard != "none":
        chin = ellipse(canvas, (head.centre[0], head.centre[1] + 0.05 * unit), head.half_width, head.half_height)
        if chin is not None:
            angle, height = _turned(head, chin)
            top = {"moustache": -0.22, "short": -0.20, "full": -0.12}[person.beard]
            low = -0.42 if person.beard == "moustache" else -2.0
            reach = 0.40 if person.beard == "moustache" else 1.25
            grown = (angle < reach) & (height < top - 0.1 * (angle < 0.3)) & (height > low)
            strength = 0.6 if person.beard == "short" else 0.95
            paint(canvas, chin._replace(coverage=chin.coverage * grown * strength), person.hair_colour, None)
    place, towards = head.at(0.0, -0.12, 1.06)
    if towards > -0.1:
        nose = capsule(canvas, head.at(0.0, 0.1, 1.0)[0], place, 0.06 * unit, 0.11 * unit)
        paint(canvas, nose, skin * 0.90, Lip.FACE)
    for angle in (-0.42, 0.42):
        place, towards = head.at(angle, 0.10)
        if towards > 0.15:
            paint(canvas, ellipse(canvas, place, 0.15 * unit * towards + 0.2, 0.075 * unit), (0.95, 0.94, 0.92), None)
            paint(canvas, ellipse(canvas, place, 0.075 * unit, 0.08 * unit), (0.10, 0.07, 0.06), None)
            brow = ellipse(canvas, head.at(angle, 0.30)[0], 0.19 * unit * towards, 0.05 * unit)
            paint(canvas, brow, 0.8 * rgb(person.hair_colour), None)
            if person.glasses:
                frame = ellipse(canvas, place, 0.23 * unit * towards + 0.3, 0.19 * unit)
                if frame is not None:
                    ring = np.clip(1.6 - np.abs(frame.coverage - 0.5) * 2, 0, 1) * (frame.coverage > 0)
                    paint(canvas, frame._replace(coverage=ring.astype(np.float32) * 0.75), (0.05, 0.05, 0.06), None)
    place, towards = head.at(0.0, -0.48)
    if towards > 0.1:
        lips = (0.70, 0.28, 0.28) if person.woman else (0.58, 0.33, 0.29)
        paint(
            canvas,
            ellipse(canvas, place, 0.20 * unit * towards, 0.06 * unit),
            0.5 * (rgb(lips) + skin),
            None,
        )
    if person.glasses and abs(sin(head.view.yaw)) > 0.4 and cos(head.view.yaw) > -0.3:
        side = -pi / 2 if sin(head.view.yaw) > 0 else pi / 2
        bow = capsule(canvas, head.at(side, 0.10)[0], head.at(side * 0.35, 0.10)[0], 0.6, 0.6)
        paint(canvas, bow, (0.05, 0.05, 0.06), None)


def draw_hair_behind(canvas: Canvas, head: Head) -> None:
    """Loose hair and ponytails: behind the trunk when the face is seen, over it when the back is."""
    person = head.person
    style, tall = person.hair_style, person.stature
    if style == "ponytail":
        root, _ = head.at(pi, 0.45, 1.1)
        tip, _ = head.at(pi, -1.0, 1.0)
        away = -sin(head.view.yaw)
        tail = capsule(
            canvas,
            root,
            (root[0] + away * 0.45 * head.half_height, tip[1] + 0.6 * head.half_height),
            0.26 * head.half_height,
            0.12 * head.half_height,
        )
        if tail is not None:
            paint(canvas, tail, _lit(person.hair_colour, tail, head.light), Lip.HAIR)
    if style not in LENGTH:
        return
    x, y = head.centre
    x -= 0.45 * head.half_height * sin(head.view.yaw)
    end = y + head.half_height + LENGTH[style] * tall * head.view.scale
    side = abs(sin(head.view.yaw))
    width = head.half_width * (1.10 - 0.38 * side) * VOLUME.get(style, 1.07)
    rows = [y - 0.3 * head.half_height, y + 0.5 * head.half_height, 0.75 * end + 0.25 * y, end]
    wave = 0.09 * width if style == "long wavy" else 0.0
    hanging = column(canvas, rows, [x, x + wave, x - wave, x + wave], [width * 0.95, width, width * 0.98, width * 0.6])
    if hanging is not None:
        strands = 1 + 0.15 * np.sin(hanging.across * 9 + (np.sin(hanging.y * 0.7) if style == "long wavy" else 0))
        paint(canvas, hanging, _lit(person.hair_colour, hanging, head.light) * strands[:, :, None], Lip.HAIR)


def draw_hair_front(canvas: Canvas, head: Head) -> None:
    """The strands of long hair that fall over the shoulders of somebody who faces the camera."""
    person = head.person
    if LENGTH.get(person.hair_style, 0) < 0.1:
        return
    for angle in (-1.35, 1.35):
        start, towards = head.at(angle, 0.1, 1.05)
        if towards > -0.2:
            drop = head.half_height * 0.8 + 0.7 * LENGTH[person.hair_style] * person.stature * head.view.scale
            strand = capsule(
                canvas,
                start,
                (start[0] + 0.05 * drop * np.sign(angle), start[1] + drop),
                0.17 * head.half_height,
                0.20 * head.half_height,
            )
            if strand is not None:
                paint(canvas, strand, _lit(person.hair_colour, strand, head.light), Lip.HAIR)
