"""Drawing a person in an outfit: body and clothes from back to front; the head is in `head.py`."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, pi, sin

import numpy as np

from ..masks import Lip
from .cloth import folds, pattern
from .head import Head, draw_hair_behind, draw_hair_front, draw_head
from .people import Garment, Outfit, Person
from .pose import Joint, Pose, View, joints, shoulder_half_width
from .shapes import Canvas, Patch, capsule, column, ellipse, paint, rgb, rounded

SLEEVES = {"T-shirt": 0.55, "tank top": 0.0}
"""Share of the upper arm that a sleeve covers; every other garment has long sleeves."""
LOOSENESS = {"T-shirt": 0.012, "shirt": 0.012, "jumper": 0.018, "hoodie": 0.024, "jacket": 0.024, "coat": 0.028}
"""Metres between skin and cloth; a tank top fits."""
OPEN_FRONT = ("jacket", "coat")


@dataclass(frozen=True)
class Figure:
    """One person in one outfit and pose, seen by one camera; `draw` puts it on the canvas."""

    canvas: Canvas
    person: Person
    outfit: Outfit
    pose: Pose
    view: View
    light: float

    @cached_property
    def joints(self) -> dict[str, Joint]:
        return joints(self.person, self.pose)

    @property
    def loose(self) -> float:
        """Metres between skin and upper garment."""
        return LOOSENESS.get(self.outfit.upper.kind, 0.003)

    @property
    def fat(self) -> float:
        """Thickness of trunk and limbs: a factor of the average."""
        return 0.55 + 0.45 * self.person.build

    @property
    def facing(self) -> float:
        """1 towards the camera … -1 away from it."""
        return cos(self.pose.yaw)

    def draw(self) -> None:
        """From the farthest to the nearest: shadow, arm behind, legs, trunk, head, arm in front, what is carried."""
        near_first = sorted(("left", "right"), key=lambda side: -self.view.nearness(self.joints[f"{side} shoulder"]))
        across = abs(sin(self.pose.yaw)) > 0.35
        head = Head.of(self.person, self.joints["head"], self.view, self.light)
        self._shadow()
        if self.facing >= 0:
            self._bag()
            draw_hair_behind(self.canvas, head)
        if across:
            self._arm(near_first[1])
        for side in reversed(near_first):
            self._leg(side)
        self._lower_trunk()
        if not across and self.facing < 0:
            for side in near_first:
                self._arm(side)
        self._neck()
        self._upper_trunk()
        if across:
            self._arm(near_first[0])
        elif self.facing >= 0:
            for side in near_first:
                self._arm(side)
        draw_head(self.canvas, head, self.outfit.hat)
        if self.facing < 0:
            draw_hair_behind(self.canvas, head)
            self._bag()
        else:
            draw_hair_front(self.canvas, head)
            self._straps()

    def _cloth(self, patch: Patch | None, garment: Garment, label: int | None, middle: float = 0.0) -> None:
        """Paint a patch with the garment's colour, pattern, folds and roundness; `middle`: row of the chest."""
        if patch is None:
            return
        brightness = rounded(patch, self.light) * folds(patch, self.view, self.pose.phase + self.outfit.number)
        paint(self.canvas, patch, pattern(patch, garment, self.view, middle) * brightness[:, :, None], label)

    def _limb(self, start: Joint, end: Joint, radii: tuple[float, float]) -> Patch | None:
        scale, project = self.view.scale, self.view.project
        return capsule(self.canvas, project(start), project(end), radii[0] * scale, radii[1] * scale)

    def _skin(self, patch: Patch | None, label: int) -> None:
        if patch is not None:
            colour = rgb(self.person.skin_colour) * rounded(patch, self.light)[:, :, None]
            paint(self.canvas, patch, colour, label)

    def _shadow(self) -> None:
        x, y = self.view.foot
        wide = 0.30 * self.view.scale
        shadow = ellipse(self.canvas, (x - 0.15 * self.light * self.view.scale, y), wide, 0.22 * wide)
        if shadow is not None:
            fading = np.clip(1 - np.hypot(shadow.across, (shadow.y - y) / (0.22 * wide)), 0, 1)
            patch = shadow._replace(coverage=shadow.coverage * np.minimum(1, 1.6 * fading) * 0.55)
            paint(self.canvas, patch, (0.05, 0.05, 0.06), None)

    def _leg(self, side: str) -> None:
        tall, at, lower = self.person.stature, self.joints, self.outfit.lower
        hip, knee, ankle = (at[f"{side} {name}"] for name in ("hip", "knee", "ankle"))
        thigh, calf, heel = (
            0.047 * tall * self.fat * (0.6 + 0.4 * self.person.hips),
            0.031 * tall * self.fat,
            0.019 * tall,
        )
        skin = Lip.LEFT_LEG if side == "left" else Lip.RIGHT_LEG
        self._shoe(side)
        if lower.kind in ("trousers", "jeans"):
            slack = 0.010 if lower.kind == "jeans" else 0.018
            self._cloth(self._limb(knee, ankle, (calf + slack, heel + slack + 0.006)), lower, Lip.PANTS)
            self._cloth(self._limb(hip, knee, (thigh + slack, calf + slack)), lower, Lip.PANTS)
        else:
            self._skin(self._limb(knee, ankle, (calf * 0.97, heel)), skin)
            self._skin(self._limb(hip, knee, (thigh, calf * 0.97)), skin)
            if lower.kind == "shorts":
                self._cloth(self._limb(hip, _between(hip, knee, 0.8), (thigh + 0.015, calf + 0.035)), lower, Lip.PANTS)
        if self.outfit.shoes.kind == "boots":
            self._cloth(
                self._limb(_between(ankle, knee, 0.5), ankle, (calf + 0.02, heel + 0.027)),
                self.outfit.shoes,
                _shoe(side),
            )

    def _shoe(self, side: str) -> None:
        tall = self.person.stature
        heel, toe = self.joints[f"{side} heel"], self.joints[f"{side} toe"]
        if self.outfit.shoes.kind == "trainers":
            sole = self._limb(
                (heel[0], heel[1] - 0.010, heel[2]), (toe[0], toe[1] - 0.010, toe[2]), (0.019 * tall, 0.016 * tall)
            )
            paint(self.canvas, sole, (0.86, 0.86, 0.84), _shoe(side))
        self._cloth(self._limb(heel, toe, (0.021 * tall, 0.016 * tall)), self.outfit.shoes, _shoe(side))
        ankle = self.joints[f"{side} ankle"]
        self._skin(
            self._limb(ankle, heel, (0.018 * tall, 0.018 * tall)), Lip.LEFT_LEG if side == "left" else Lip.RIGHT_LEG
        )
        self._cloth(
            self._limb(heel, _between(heel, toe, 0.4), (0.021 * tall, 0.02 * tall)), self.outfit.shoes, _shoe(side)
        )

    def _sections(self, top: float, bottom: float, loose: float, flare: float = 0.0) -> Patch | None:
        """The trunk between two heights in metres; below the hips it falls straight, wider by `flare` at the bottom."""
        person, tall, fat = self.person, self.person.stature, self.fat
        shoulder, hip = self.joints["neck"][1], self.joints["left hip"][1]
        width = shoulder_half_width(person)
        step = 0.4 * abs(self.joints["left ankle"][2] - self.joints["right ankle"][2]) * (flare > 0)
        body = (  # height, half axis to the side, half axis to the front, middle forward
            (shoulder + 0.016 * tall, 0.030 * tall, 0.035 * tall, 0.0),
            (shoulder - 0.002 * tall, 0.48 * width, 0.042 * tall, 0.0),
            (shoulder - 0.020 * tall, 0.86 * width, 0.052 * tall * fat, 0.0),
            (shoulder - 0.040 * tall, 0.98 * width, 0.058 * tall * fat, 0.0),
            (shoulder - 0.075 * tall, 0.93 * width, 0.066 * tall * fat, 0.008 * tall),
            (shoulder - 0.125 * tall, 0.80 * width, 0.066 * tall * fat, (0.020 if person.woman else 0.008) * tall),
            (
                hip + 0.095 * tall,
                (0.076 if person.woman else 0.083) * tall * fat**1.25,
                0.056 * tall * fat,
                0.04 * person.belly * tall,
            ),
            (hip + 0.045 * tall, 0.088 * tall * fat * person.hips, 0.062 * tall * fat, 0.045 * person.belly * tall),
            (hip - 0.030 * tall, 0.097 * tall * fat * person.hips, 0.066 * tall * fat, -0.004 * tall),
            (hip - 0.40 * tall, (0.085 + flare) * tall * fat * person.hips, (0.066 + flare) * tall * fat + step, 0.0),
        )
        heights = [section[0] for section in reversed(body)]
        belly = 0.030 * person.belly * tall
        levels = [top, *[section[0] for section in body if bottom < section[0] < top], bottom]
        y, centre, half = [], [], []
        for level in levels:
            lateral, sagittal, forward = (
                float(np.interp(level, heights, [s[k] for s in reversed(body)])) for k in (1, 2, 3)
            )
            round_here = belly * float(np.exp(-(((level - hip - 0.07 * tall) / (0.09 * tall)) ** 2)))
            lean = max(0.0, level - hip) * sin(person.stoop)
            x, row = self.view.project((0.0, level, forward + lean))
            y.append(row if not y else max(row, y[-1] + 0.01))
            centre.append(x)
            half.append(self.view.half_width(lateral + loose + 0.3 * round_here, sagittal + loose + round_here))
        return column(self.canvas, y, centre, half)

    def _lower_trunk(self) -> None:
        lower, tall, hip = self.outfit.lower, self.person.stature, self.joints["left hip"][1]
        if "skirt" in lower.kind:
            long = lower.kind == "long skirt"
            hem = hip - (0.36 if long else 0.17) * tall
            self._cloth(self._sections(hip + 0.08 * tall, hem, 0.014, 0.035 if long else 0.09), lower, Lip.SKIRT)
        else:
            self._cloth(self._sections(hip + 0.08 * tall, hip - 0.045 * tall, 0.012), lower, Lip.PANTS)

    def _neck(self) -> None:
        tall = self.person.stature
        head, neck = self.joints["head"], self.joints["neck"]
        radius = (0.028 if self.person.woman else 0.034) * tall
        self._skin(self._limb(head, (neck[0], neck[1] - 0.01 * tall, neck[2]), (radius, radius * 1.15)), Lip.FACE)

    def _upper_trunk(self) -> None:
        upper, tall, view = self.outfit.upper, self.person.stature, self.view
        shoulder, hip = self.joints["neck"][1], self.joints["left hip"][1]
        hem = hip - (0.20 * tall if upper.kind == "coat" else 0.015 * tall)
        label = Lip.COAT if upper.kind in OPEN_FRONT else Lip.UPPER_CLOTHES
        neckline = shoulder + (0.020 if upper.kind in ("hoodie", "coat", "jumper") else 0.004) * tall
        middle = view.project((0.0, shoulder - 0.14 * tall, 0.0))[1]
        trunk = self._sections(neckline, hem, self.loose, 0.03 if upper.kind == "coat" else 0.0)
        self._cloth(trunk, upper, label, middle)
        if trunk is None:
            return
        angle = (np.arcsin(trunk.across) - self.pose.yaw + pi) % (2 * pi) - pi
        if upper.kind in OPEN_FRONT:  # what is worn below shows in a strip down the front
            opening = trunk._replace(coverage=trunk.coverage * (np.abs(angle) < 0.22))
            self._cloth(opening, Garment("T-shirt", upper.second), Lip.UPPER_CLOTHES)
        elif upper.kind == "shirt":
            placket = trunk._replace(coverage=trunk.coverage * 0.4 * (np.abs(angle) < 0.05))
            paint(self.canvas, placket, (0.1, 0.1, 0.1), None)
        if self.facing > 0.3 and upper.kind in ("T-shirt", "tank top", "shirt"):
            x, y = view.project((0.0, shoulder, 0.05 * tall))
            depth = 0.035 if upper.kind == "tank top" else 0.02
            self._skin(ellipse(self.canvas, (x, y), 0.032 * tall * view.scale, depth * tall * view.scale), Lip.FACE)
        if upper.kind == "hoodie":
            x, y = view.project((0.0, shoulder + 0.006 * tall, -0.045 * tall))
            size = tall * view.scale
            self._cloth(
                ellipse(self.canvas, (x, y), 0.055 * size, (0.02 if self.facing > 0 else 0.045) * size), upper, label
            )

    def _arm(self, side: str) -> None:
        tall, at, upper = self.person.stature, self.joints, self.outfit.upper
        shoulder, elbow, wrist = (at[f"{side} {name}"] for name in ("shoulder", "elbow", "wrist"))
        thick = 0.75 + 0.25 * self.person.build
        top, middle, end = 0.027 * tall * self.fat, 0.024 * tall * thick, 0.017 * tall * thick
        label = Lip.LEFT_ARM if side == "left" else Lip.RIGHT_ARM
        cloth = Lip.COAT if upper.kind in OPEN_FRONT else Lip.UPPER_CLOTHES
        hand = _between(elbow, wrist, 1.22)
        self._skin(self._limb(wrist, hand, (0.019 * tall, 0.018 * tall)), label)
        sleeve = SLEEVES.get(upper.kind, 1.0)
        fabric = replace(upper, pattern="plain") if upper.pattern == "printed" else upper
        chest = self.view.project((0.0, at["neck"][1] - 0.14 * tall, 0.0))[1]
        if sleeve < 1:
            self._skin(self._limb(elbow, wrist, (middle, end)), label)
            self._skin(self._limb(shoulder, elbow, (top, middle)), label)
        if sleeve:
            limb = self._limb(
                shoulder, _between(shoulder, elbow, sleeve), (top + 0.7 * self.loose, middle + self.loose + 0.004)
            )
            self._cloth(limb, fabric, cloth, chest)
        if sleeve == 1:
            self._cloth(self._limb(elbow, wrist, (middle + self.loose, end + self.loose)), fabric, cloth, chest)
        if self.pose.phone and side == "right":
            x, y = self.view.project(hand)
            size = 0.036 * self.view.scale
            paint(
                self.canvas,
                ellipse(self.canvas, (x, y - size), size * 0.7, size * 1.3),
                (0.05, 0.05, 0.07),
                Lip.BACKGROUND,
            )

    def _bag(self) -> None:
        """The bag itself: behind the trunk when its wearer comes towards the camera."""
        bag, tall, view = self.outfit.bag, self.person.stature, self.view
        if bag is None:
            return
        shoulder, hip, width = self.joints["neck"][1], self.joints["left hip"][1], shoulder_half_width(self.person)
        if bag.kind == "backpack":
            x, top = view.project((0.0, shoulder - 0.02 * tall, -0.10 * tall))
            bottom = view.project((0.0, shoulder - 0.26 * tall, -0.12 * tall))[1]
            half = view.half_width(0.085 * tall, 0.050 * tall)
            rows = [top, top + 0.15 * (bottom - top), bottom - 0.1 * (bottom - top), bottom]
            self._cloth(
                column(self.canvas, rows, [x] * 4, [half * 0.7, half, half * 1.05, half * 0.85]), bag, Lip.BACKGROUND
            )
            return
        if bag.kind == "handbag":
            x, top = view.project(_between(self.joints["left elbow"], self.joints["left wrist"], 1.3))
            size = 0.13 * tall * view.scale
        else:
            x, top = view.project((width * 1.02, hip + 0.05 * tall, 0.0))
            size = 0.12 * tall * view.scale
        half = view.half_width(0.035 * tall, 0.085 * tall) * 1.0
        self._cloth(column(self.canvas, [top, top + size], [x, x], [half * 0.85, half]), bag, Lip.BACKGROUND)

    def _straps(self) -> None:
        """Bands over the chest of somebody facing the camera; a shoulder bag hangs at the left hip, in front of it."""
        bag, tall = self.outfit.bag, self.person.stature
        if bag is None or bag.kind == "handbag":
            return
        shoulder, hip, width = self.joints["neck"][1], self.joints["left hip"][1], shoulder_half_width(self.person)
        front = 0.07 * tall
        if bag.kind == "backpack":
            for sign in (-1, 1):
                top, end = (sign * 0.55 * width, shoulder, 0.02), (sign * 0.6 * width, shoulder - 0.17 * tall, front)
                self._cloth(self._limb(top, end, (0.010 * tall, 0.008 * tall)), bag, Lip.BACKGROUND)
        else:
            top, end = (-0.5 * width, shoulder, 0.02), (0.85 * width, hip + 0.06 * tall, front * 0.6)
            self._cloth(self._limb(top, end, (0.007 * tall, 0.007 * tall)), bag, Lip.BACKGROUND)
            self._bag()


def _between(start: Joint, end: Joint, share: float) -> Joint:
    a, b, c = (first + share * (second - first) for first, second in zip(start, end, strict=True))
    return a, b, c


def _shoe(side: str) -> int:
    return Lip.LEFT_SHOE if side == "left" else Lip.RIGHT_SHOE


def draw_person(canvas: Canvas, person: Person, outfit: Outfit, pose: Pose, view: View, light: float) -> None:
    """Paint the person into `canvas`, with the LIP label of every pixel; `light`: side it comes from, -1 … 1."""
    Figure(canvas, person, outfit, pose, view, light).draw()
