"""Synthetic: a drawn world of people, shared outfits and cameras, with parsing masks and captions (no files needed).

People differ in body, gait, head and hair; each owns a few outfits, and the same outfits hang in many wardrobes, so
that clothes mislead. Every image is a pure function of (configuration, name): drawing one never depends on another.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from . import DATASETS
from .base import DatasetConfig, Ignore, Protocol, ReIDDataset, Samples, UInt8Array
from .errors import DataError, UsageError
from .world.captions import describe, summarise
from .world.drawing import draw_person
from .world.people import Outfit, Person, Purpose, make_outfit, make_person, random
from .world.pose import Pose, View
from .world.shapes import Canvas

if TYPE_CHECKING:  # the scene is drawn with OpenCV: imported where something is drawn, so that `list` is quick
    from .world.scene import Camera

DRAWING_VERSION = 1
"""Raised whenever the same configuration would give other pixels, labels or names."""

FRAMES_PER_WALK = 1000  # frame number = walk * FRAMES_PER_WALK + step
NAME = re.compile(r"(train|query|gallery)/(\d{3})_(\d)_c(\d{1,2})_(\d{6})\.png")


class SyntheticConfig(DatasetConfig):
    """How large the world is and how hard."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Another seed is another world."""
    people: int = Field(default=60, ge=2, le=500)
    """Training identities."""
    test_people: int = Field(default=60, ge=2, le=500)
    """Identities in query and gallery; nobody is in both halves."""
    wardrobe: int = Field(default=60, ge=8, le=2000)
    """Outfits that people choose theirs from: the fewer, the more people look alike by their clothes."""
    cameras: int = Field(default=4, ge=2, le=12)
    """Places; each has a backdrop, light, height and picture quality of its own."""
    tracklets: int = Field(default=2, ge=1, le=20)
    """Walks of a person in an outfit past a camera."""
    frames: int = Field(default=3, ge=2, le=100)
    """Consecutive images of one walk."""
    height: int = Field(default=192, ge=64, le=512)
    """Average height of an image in pixels; the width is about half."""


@dataclass(frozen=True)
class Row:
    """One image, as its name tells."""

    person: int
    outfit: int
    """1 … the number of the person's outfits."""
    camera: int
    """1 … the number of cameras."""
    walk: int
    step: int

    @property
    def stem(self) -> str:
        return f"{self.person:03d}_{self.outfit}_c{self.camera}_{self.walk * FRAMES_PER_WALK + self.step:06d}"

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.person, self.outfit, self.camera, self.walk


@dataclass(frozen=True)
class Scene:
    """Everything about an image that can be said without drawing it."""

    person: Person
    outfit: Outfit
    pose: Pose
    camera: "Camera"
    brightness: float
    place: float
    """Where along the camera's view the walk is, 0 … 1."""


@cache
def _taste(seed: int, wardrobe: int, person: int) -> tuple[tuple[int, ...], int]:
    """Numbers of all outfits that a person would wear, and how many of them, the first one to four, they own.

    Men wear no skirts. One person in ten owns a single outfit and never changes.
    """
    rng = random(seed, Purpose.WARDROBE, person)
    woman = make_person(seed, person).woman
    shop = [k for k in range(wardrobe) if woman or not make_outfit(seed, k).feminine]
    owned = min(len(shop), int(rng.choice([1, 2, 3, 4], p=[0.1, 0.5, 0.3, 0.1])))
    return tuple(int(k) for k in rng.permutation(shop)), owned


@cache
def _cameras(seed: int, cameras: int, person: int, outfit: int) -> tuple[int, ...]:
    """The cameras that see a person in their `outfit`-th outfit: two, sometimes three, of them, ascending."""
    rng = random(seed, Purpose.WARDROBE, person, outfit)
    seen = min(cameras, 2 + int(rng.random() < 0.2))
    return tuple(sorted(int(k) + 1 for k in rng.permutation(cameras)[:seen]))


@DATASETS.register("synthetic")
class Synthetic(ReIDDataset):
    """The generated world. `root` is not used: nothing lies on disk. Names and labels are of LTCC's form."""

    name = "synthetic"
    title = "Synthetic: a procedurally drawn clothes-changing world"
    year = 2026
    terms = "Drawn by this program; shows nobody. Free to show, share and upload."
    splits: ClassVar[tuple[str, ...]] = ("train", "query", "gallery")
    Config = SyntheticConfig
    config: SyntheticConfig

    def __init__(self, root: Path = Path(), config: SyntheticConfig | None = None, mask_folder: Path | None = None):
        super().__init__(root, config if config is not None else SyntheticConfig(), mask_folder)

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Split → its images in canonical order."""
        people, test_people = self.config.people, self.config.test_people
        train = [row for person in range(people) for row in self.rows_of(person)]
        test = [row for person in range(people, people + test_people) for row in self.rows_of(person)]
        asked, answering = ([row for row in test if self.asks(row) == asks] for asks in (True, False))
        return {"train": train, "query": asked, "gallery": answering}

    def wardrobe_of(self, person: int) -> tuple[int, ...]:
        """Numbers of the outfits that a person owns, in the order in which names count them."""
        outfits, owned = _taste(self.config.seed, self.config.wardrobe, person)
        return outfits[:owned]

    def outfits_for(self, person: int) -> tuple[int, ...]:
        """Numbers of all outfits that a person would wear; `wardrobe_of` is where they begin."""
        return _taste(self.config.seed, self.config.wardrobe, person)[0]

    def cameras_of(self, person: int, outfit: int) -> tuple[int, ...]:
        """Numbers of the cameras that see a person in their `outfit`-th outfit, ascending."""
        return _cameras(self.config.seed, self.config.cameras, person, outfit)

    def rows_of(self, person: int) -> Iterator[Row]:
        """All images of a person in the outfits that they own."""
        for outfit in range(1, len(self.wardrobe_of(person)) + 1):
            for camera in self.cameras_of(person, outfit):
                yield from self.walks(person, outfit, camera)

    def walks(self, person: int, outfit: int, camera: int) -> Iterator[Row]:
        """The images that one camera takes of a person in one outfit."""
        for walk in range(self.config.tracklets):
            for step in range(self.config.frames):
                yield Row(person, outfit, camera, walk, step)

    def asks(self, row: Row) -> bool:
        """One image of each (person, outfit, camera) is a query: the middle of the first walk."""
        return row.walk == 0 and row.step == self.config.frames // 2

    def split(self, name: str) -> Samples:
        """Camera c1 is 0. Clothes are person × 100 + outfit. Raises UsageError for an unknown split."""
        if name not in self.splits:
            raise UsageError(f"{self.name} has no split {name}: choose one of {', '.join(self.splits)}.")
        rows = self.rows[name]
        person, outfit, camera, walk = np.array([row.numbers for row in rows], dtype=np.int64).T
        clothes = person * 100 + outfit
        paths = tuple(f"{name}/{row.stem}.png" for row in rows)
        return Samples(paths, person, camera - 1, clothes, tracklet=(clothes * 100 + camera) * 100 + walk)

    def protocols(self) -> Sequence[Protocol]:
        same_camera, source = Ignore.SAME_CAMERA, "the conventions of LTCC"
        return (
            Protocol("cloth-changing", "query", "gallery", same_camera | Ignore.SAME_CLOTHES, source=source),
            Protocol("standard", "query", "gallery", same_camera, source=source),
            Protocol("same-clothes", "query", "gallery", same_camera | Ignore.OTHER_CLOTHES, source=source),
        )

    def read_image(self, path: str) -> UInt8Array:
        return self.render(self.row(path))[0]

    def read_mask(self, path: str) -> UInt8Array:
        row = self.row(path)
        return self._draw(row, self.scene(row), self._chance(row)).labels

    def render(self, row: Row) -> tuple[UInt8Array, UInt8Array]:
        """The image [H, W, 3], RGB, and the label of each of its pixels [H, W], of the numbering of `masks.Lip`.

        `row` need not be in a split: any person and camera, any of the outfits for that person, any walk and step.
        """
        from .world.scene import expose

        scene, rng = self.scene(row), self._chance(row)
        canvas = self._draw(row, scene, rng)
        image = expose(scene.camera, canvas.image, scene.brightness, rng)
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), canvas.labels

    def _chance(self, row: Row) -> np.random.Generator:
        return random(self.config.seed, Purpose.FRAME, *row.numbers, row.step)

    def caption_texts(self, samples: Samples) -> list[tuple[str, ...]]:
        return [self.sentences(self.row(path)) for path in samples.paths]

    def sentences(self, row: Row) -> tuple[str, ...]:
        """What is said about an image, one sentence per aspect of `datasets.captions.ASPECTS`."""
        scene, rng = self.scene(row), random(self.config.seed, Purpose.WORDS, *row.numbers, row.step)
        return describe(scene.person, scene.outfit, scene.pose, scene.camera, rng)

    def caption_summary(self, person: int) -> str:
        """What all images of a person together say about their body."""
        return summarise(make_person(self.config.seed, person), random(self.config.seed, Purpose.WORDS, person))

    def has_mask(self, path: str) -> bool:
        return True

    def fingerprint(self, samples: Samples, kind: str = "image") -> str:
        """Changes with the configuration, the way of drawing, and the list of images."""
        text = "\n".join(
            (self.name, str(DRAWING_VERSION), self.config.model_dump_json(exclude={"name"}), *samples.paths)
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def row(self, path: str) -> Row:
        """The image that a name of `split` stands for. Raises DataError for a name that is not of this world."""
        match = NAME.fullmatch(path)
        if match is not None:
            person, outfit, camera, frame = map(int, match.groups()[1:])
            row = Row(person, outfit, camera, frame // FRAMES_PER_WALK, frame % FRAMES_PER_WALK)
            if self._exists(row, match[1]):
                return row
        raise DataError(f"{path} is no image of this synthetic world: take names from its splits, of the same config.")

    def _exists(self, row: Row, split: str) -> bool:
        config = self.config
        return (
            row.person < config.people + config.test_people
            and 1 <= row.outfit <= len(self.wardrobe_of(row.person))
            and row.camera in self.cameras_of(row.person, row.outfit)
            and row.walk < config.tracklets
            and row.step < config.frames
            and split == ("train" if row.person < config.people else "query" if self.asks(row) else "gallery")
        )

    def scene(self, row: Row) -> Scene:
        """Who is where, how, and in what: the state of a walk (frames move the gait and the place on)."""
        from .world.scene import make_camera

        seed = self.config.seed
        rng = random(seed, Purpose.WALK, *row.numbers)
        camera = make_camera(seed, row.camera)
        yaw = camera.yaw + (pi if rng.random() < 0.5 else 0.0) + rng.normal(0, 0.25)
        walking, phone = bool(rng.random() < 0.88), bool(rng.random() < 0.15)
        phase, pace = rng.uniform(0, 2 * pi), rng.uniform(0.5, 1.1)
        place, speed = rng.uniform(0.1, 0.9), 0.012 * float(np.sin(yaw))
        return Scene(
            make_person(seed, row.person),
            make_outfit(seed, self.outfits_for(row.person)[row.outfit - 1]),
            Pose(float(phase + pace * row.step), float(yaw), walking, phone),
            camera,
            brightness=float(rng.uniform(0.88, 1.12)),
            place=float(np.clip(place + speed * row.step * walking, 0, 1)),
        )

    def _draw(self, row: Row, scene: Scene, rng: np.random.Generator) -> Canvas:
        """The scene as a detector's box cuts it out: each box a little larger, smaller or beside the person."""
        import cv2

        from .world.scene import HEIGHT, WIDTH, make_backdrop

        height = round(self.config.height * rng.uniform(0.9, 1.1))
        width = round(height * rng.uniform(0.46, 0.54))
        window = HEIGHT * rng.uniform(0.80, 0.92)
        top = rng.uniform(0.3, 1.0) * (HEIGHT - window)
        left = scene.place * (WIDTH - window * width / height)
        matrix = np.array([[window / height, 0, left], [0, window / height, top]], dtype=np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        backdrop = make_backdrop(self.config.seed, row.camera)
        image = cv2.warpAffine(backdrop, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        canvas = Canvas(np.asarray(image, dtype=np.float32), np.zeros((height, width), np.uint8))
        foot = (width * rng.normal(0.5, 0.025), height * rng.normal(0.945, 0.01))
        usual = 0.5 * (scene.person.stature + 1.70)  # the box follows the person by half: the tall look taller
        scale = height * 0.90 / usual * rng.uniform(0.95, 1.02)
        view = View(scene.pose.yaw, scene.camera.elevation, scale, (float(foot[0]), float(foot[1])))
        draw_person(canvas, scene.person, scene.outfit, scene.pose, view, scene.camera.light)
        return canvas
