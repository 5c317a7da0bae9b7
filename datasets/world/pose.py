"""How a walking person's joints stand in space, and where a camera sees them.

Body axes: x to the person's left, y up, z forward; metres, the ground at 0. Image: x right, y down; pixels.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from .people import Person
from .shapes import Point

Joint = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """One moment of one walk."""

    phase: float
    """Radians within the gait cycle; the left leg is foremost at π/2."""
    yaw: float
    """Radians; 0 walks towards the camera, π/2 to the right of the image, π away."""
    walking: bool
    """False: stands, weight on both legs."""
    phone: bool
    """The right hand holds a phone up."""


def viewpoint(yaw: float) -> str:
    """front, front three-quarter, side, back three-quarter or back: the name of the nearest of eight directions."""
    turned = abs((yaw + pi) % (2 * pi) - pi)
    names = ("front", "front three-quarter", "side", "back three-quarter", "back")
    return names[min(4, int(turned / (pi / 4) + 0.5))]


@dataclass(frozen=True)
class View:
    """An orthographic camera that looks down on the walker by `elevation` radians."""

    yaw: float
    elevation: float
    scale: float
    """Pixels per metre."""
    foot: Point
    """Pixel of the ground point under the hips."""

    def project(self, joint: Joint) -> Point:
        x, y, z = joint
        right = x * cos(self.yaw) + z * sin(self.yaw)
        return (
            self.foot[0] + self.scale * right,
            self.foot[1] - self.scale * (y * cos(self.elevation) - self.nearness(joint) * sin(self.elevation)),
        )

    def nearness(self, joint: Joint) -> float:
        """Metres towards the camera, measured from the person's own axis."""
        return joint[2] * cos(self.yaw) - joint[0] * sin(self.yaw)

    def half_width(self, lateral: float, sagittal: float) -> float:
        """Pixels of an upright ellipse with these half axes (to the side, to the front) as seen from here."""
        return self.scale * float(np.hypot(lateral * cos(self.yaw), sagittal * sin(self.yaw)))


def joints(person: Person, pose: Pose) -> dict[str, Joint]:
    """Name → place of every joint. Angles are those of an average walk at a comfortable speed, simplified to sines."""
    tall = person.stature
    crotch = person.legs * tall
    hip, thigh = crotch + 0.045 * tall, (crotch + 0.045 * tall) * 0.49
    shin = hip - thigh - 0.05 * tall
    chin = tall - head_height(person)
    shoulder = chin - 0.048 * tall * person.neck
    amplitude = 0.38 * person.stride if pose.walking else 0.05
    found: dict[str, Joint] = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = amplitude * sin(pose.phase) * sign
        bend = (0.10 + 0.75 * person.stride * max(0.0, cos(pose.phase) * sign)) if pose.walking else 0.04
        x = sign * 0.048 * tall * person.hips
        knee = (x, hip - thigh * cos(swing), thigh * sin(swing))
        ankle = (x * 0.9, knee[1] - shin * cos(swing - bend), knee[2] + shin * sin(swing - bend))
        tip = max(-0.7, min(0.3, 0.8 * (swing - bend) + 0.1)) if pose.walking else 0.0
        found |= {f"{side} hip": (x, hip, 0.0), f"{side} knee": knee, f"{side} ankle": ankle}
        found[f"{side} heel"] = (ankle[0], ankle[1] - 0.026 * tall, ankle[2] - 0.028 * tall)
        found[f"{side} toe"] = (
            ankle[0] * 1.25,
            found[f"{side} heel"][1] + 0.11 * tall * sin(tip),
            found[f"{side} heel"][2] + 0.125 * tall * cos(tip),
        )
        found |= _arm(person, pose, side, sign, shoulder)
    drop = min(found[f"{side} {end}"][1] for side in ("left", "right") for end in ("heel", "toe")) - 0.014 * tall
    found["neck"] = (0.0, shoulder, 0.0)
    found["head"] = (0.0, chin + head_height(person) / 2, 0.015 * tall)
    found["waist"] = (0.0, hip + 0.1 * tall, 0.0)
    return {name: _lean(person, hip, (x, y - drop, z)) for name, (x, y, z) in found.items()}


def head_height(person: Person) -> float:
    """Metres from chin to crown: close to 0.225 m in everyone, hence a smaller share of a tall person."""
    return (0.10 + 0.072 * person.stature) * person.head


def _arm(person: Person, pose: Pose, side: str, sign: float, shoulder: float) -> dict[str, Joint]:
    tall = person.stature
    upper, fore = 0.170 * tall, 0.150 * tall
    x = sign * shoulder_half_width(person) * 0.86
    top = (x, shoulder - 0.040 * tall, 0.0)
    swing = -0.45 * person.arm_swing * sin(pose.phase) * sign if pose.walking else 0.03
    bend = 0.25 + 0.25 * max(0.0, swing)
    inward = 0.0
    if pose.phone and side == "right":
        swing, bend, inward = 0.35, 1.75, 0.35
    spread = 0.10 + 0.10 * max(0.0, person.build - 1)
    elbow = (x + sign * upper * sin(spread), top[1] - upper * cos(swing) * cos(spread), upper * sin(swing))
    reach = fore * cos(inward)
    wrist = (
        elbow[0] - sign * (fore * sin(inward) - 0.01 * tall * (inward > 0)),
        elbow[1] - reach * cos(swing + bend),
        elbow[2] + reach * sin(swing + bend),
    )
    return {f"{side} shoulder": top, f"{side} elbow": elbow, f"{side} wrist": wrist}


def shoulder_half_width(person: Person) -> float:
    """Metres from the axis to the outside of the shoulder, flesh included."""
    return 0.122 * person.stature * person.shoulders * (0.75 + 0.25 * person.build)


def _lean(person: Person, hip: float, joint: Joint) -> Joint:
    above = max(0.0, joint[1] - hip)
    return joint[0], joint[1], joint[2] + above * sin(person.stoop)
