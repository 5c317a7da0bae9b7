"""The places of the synthetic world: what stands behind the walkers, and what a camera does to the picture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import pi

import cv2
import numpy as np

from .people import Purpose, random
from .shapes import Colour, FloatArray, rgb

HEIGHT, WIDTH = 288, 960
"""Size of a camera's whole view in pixels: five to six people high boxes side by side."""


@dataclass(frozen=True)
class Camera:
    number: int
    place: str
    """Name of one of `PLACES`."""
    yaw: float
    """Direction of the path that people walk on, either way; radians as in `Pose.yaw`."""
    elevation: float
    light: float
    """Side that the light comes from, -1 (left) … 1 (right)."""
    gains: Colour
    """Colour cast: factor of red, green and blue."""
    brightness: float
    contrast: float
    blur: float
    """Standard deviation in pixels of a 192 pixels high picture."""
    noise: float
    """Standard deviation, of 1."""
    resolution: float
    """Share of the pixels in each direction that the sensor really has."""

    @property
    def indoors(self) -> bool:
        return self.place in INDOORS


@lru_cache(maxsize=64)
def make_camera(seed: int, number: int) -> Camera:
    """The camera of that number, from 1. Neighbouring numbers stand in different places."""
    places = [str(name) for name in random(seed, Purpose.PLACES).permutation(list(PLACES))]
    rng = random(seed, Purpose.CAMERA, number)
    warmth = float(rng.normal(0, 0.09))
    return Camera(
        number=number,
        place=places[(number - 1) % len(places)],
        yaw=float(rng.choice([0.0, pi / 4, pi / 2, -pi / 4]) + rng.normal(0, 0.12)),
        elevation=float(rng.uniform(0.03, 0.38)),
        light=float(rng.uniform(-1, 1)),
        gains=(1 + warmth, 1 + float(rng.normal(0, 0.03)), 1 - warmth),
        brightness=float(rng.uniform(0.68, 1.18)),
        contrast=float(rng.uniform(0.78, 1.12)),
        blur=float(rng.uniform(0.2, 0.9)),
        noise=float(rng.uniform(0.008, 0.035)),
        resolution=float(rng.uniform(0.55, 1.0)),
    )


def expose(camera: Camera, image: FloatArray, brightness: float, rng: np.random.Generator) -> FloatArray:
    """[H, W, 3] what the camera records of a scene: blur, low resolution, exposure, colour cast and noise."""
    height, width = image.shape[:2]
    recorded = cv2.GaussianBlur(image, (0, 0), max(camera.blur * height / 192, 0.15))
    if camera.resolution < 0.95:
        small = (max(8, round(width * camera.resolution)), max(16, round(height * camera.resolution)))
        recorded = cv2.resize(cv2.resize(recorded, small, interpolation=cv2.INTER_AREA), (width, height))
    gains = rgb(camera.gains) * np.float32(camera.brightness * brightness * camera.contrast)
    exposed = recorded * gains + np.float32(0.42 * (1 - camera.contrast))
    return exposed + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(camera.noise)


@lru_cache(maxsize=16)
def make_backdrop(seed: int, number: int) -> FloatArray:
    """[HEIGHT, WIDTH, 3] a camera's view without anybody in it. The more it looks down, the higher its horizon."""
    camera = make_camera(seed, number)
    rng = random(seed, Purpose.BACKDROP, number)
    horizon = int(HEIGHT * (0.66 - 0.75 * camera.elevation))
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    PLACES[camera.place](image, horizon, rng)
    rough = rng.standard_normal((HEIGHT // 6, WIDTH // 6, 1), dtype=np.float32) * 0.035
    image *= 1 + cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[:, :, None]
    seen = np.clip(cv2.GaussianBlur(image, (0, 0), 1.1), 0, 1).astype(np.float32)
    seen.flags.writeable = False  # shared by every image of the camera
    return seen


def _rectangle(image: FloatArray, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    cv2.rectangle(image, (round(left), round(top)), (round(right), round(bottom)), colour, -1)


def _shades(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0.03, 0.97)
    return float(red), float(green), float(blue)


def _wall_and_floor(image: FloatArray, horizon: int, wall: Colour, floor: Colour) -> None:
    """Both a little darker where they meet."""
    image[:horizon] = wall * np.linspace(1.05, 0.85, horizon, dtype=np.float32)[:, None, None]
    image[horizon:] = floor * np.linspace(0.82, 1.08, HEIGHT - horizon, dtype=np.float32)[:, None, None]


def _tiles(image: FloatArray, horizon: int, rng: np.random.Generator, colour: Colour) -> None:
    """Joints of a tiled floor that meet in a vanishing point above the middle."""
    vanishing = (WIDTH // 2 + int(rng.integers(-200, 200)), horizon - 120)
    for x in range(-2 * WIDTH, 3 * WIDTH, 70):
        share = (HEIGHT - vanishing[1]) / (horizon - vanishing[1])
        cv2.line(image, (int(vanishing[0] + (x - vanishing[0]) / share), horizon), (x, HEIGHT), colour, 1, cv2.LINE_AA)
    depth = horizon + 4.0
    while depth < HEIGHT:
        cv2.line(image, (0, int(depth)), (WIDTH, int(depth)), colour, 1)
        depth += 3 + 0.22 * (depth - horizon + 8)


def _corridor(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    wall = _shades(rng, (0.80, 0.78, 0.72), 0.06)
    _wall_and_floor(image, horizon, wall, _shades(rng, (0.55, 0.53, 0.50), 0.06))
    _tiles(image, horizon, rng, (0.45, 0.44, 0.43))
    _rectangle(image, 0, horizon - 9, WIDTH, horizon, (0.35, 0.33, 0.32))
    door = _shades(rng, (0.50, 0.34, 0.22), 0.1)
    x = float(rng.integers(0, 90))
    while x < WIDTH:
        _rectangle(image, x - 4, horizon - 158, x + 74, horizon, (0.9, 0.89, 0.86))
        _rectangle(image, x, horizon - 154, x + 70, horizon, door)
        _rectangle(image, x + 58, horizon - 78, x + 64, horizon - 70, (0.75, 0.75, 0.72))
        _rectangle(image, x + 95, horizon - 130, x + 125, horizon - 90, _shades(rng, (0.6, 0.6, 0.65), 0.25))
        x += float(rng.integers(150, 230))


def _shop(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    _wall_and_floor(image, horizon, (0.72, 0.71, 0.68), _shades(rng, (0.78, 0.76, 0.72), 0.05))
    _tiles(image, horizon, rng, (0.62, 0.61, 0.58))
    for shelf in range(horizon - 170, horizon - 10, 34):
        x = 0.0
        while x < WIDTH:
            width, height = float(rng.integers(7, 24)), float(rng.integers(12, 27))
            _rectangle(image, x, shelf + 30 - height, x + width, shelf + 30, _shades(rng, (0.5, 0.48, 0.46), 0.26))
            x += width + 2
        _rectangle(image, 0, shelf + 30, WIDTH, shelf + 33, (0.88, 0.88, 0.88))
    for x in range(int(rng.integers(0, 100)), WIDTH, 240):
        _rectangle(image, x, horizon - 190, x + 10, horizon, (0.55, 0.55, 0.57))


def _street(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    _wall_and_floor(image, horizon, (0.74, 0.82, 0.90), _shades(rng, (0.50, 0.50, 0.51), 0.05))
    x = -float(rng.integers(0, 120))
    while x < WIDTH:
        width = float(rng.integers(110, 240))
        facade = _shades(rng, (0.58, 0.50, 0.44), 0.12)
        _rectangle(image, x, float(rng.integers(-60, 20)), x + width, horizon, facade)
        for left in np.arange(x + 14, x + width - 26, 42):
            for top in range(horizon - 190, horizon - 70, 62):
                _rectangle(image, left - 2, top - 2, left + 24, top + 38, (0.85, 0.84, 0.82))
                _rectangle(image, left, top, left + 22, top + 36, _shades(rng, (0.25, 0.30, 0.36), 0.06))
        _rectangle(image, x + 6, horizon - 52, x + width - 8, horizon - 4, _shades(rng, (0.3, 0.3, 0.32), 0.2))
        x += width
    _rectangle(image, 0, horizon + 22, WIDTH, horizon + 26, (0.70, 0.70, 0.68))
    _tiles(image, horizon + 26, rng, (0.44, 0.44, 0.45))


def _park(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    _wall_and_floor(image, horizon, (0.72, 0.83, 0.90), _shades(rng, (0.36, 0.50, 0.24), 0.04))
    for depth in range(3):
        for _ in range(16):
            x, radius = float(rng.uniform(0, WIDTH)), float(rng.uniform(28, 62))
            leaf = _shades(rng, (0.16 + 0.06 * depth, 0.34 + 0.05 * depth, 0.14), 0.05)
            top = horizon - float(rng.uniform(70, 170)) + 20 * depth
            _rectangle(image, x - 5, top, x + 5, horizon + 3, (0.30, 0.22, 0.15))
            for _ in range(7):
                spot = (int(x + rng.normal(0, radius * 0.5)), int(top + rng.normal(0, radius * 0.4)))
                cv2.circle(image, spot, int(radius * rng.uniform(0.35, 0.6)), _shades(rng, leaf, 0.04), -1, cv2.LINE_AA)
    near, far = horizon + 0.25 * (HEIGHT - horizon), horizon + 0.95 * (HEIGHT - horizon)
    path = np.array([[0, near], [WIDTH, near + 12], [WIDTH, far + 20], [0, far]], np.int32)
    cv2.fillPoly(image, [path], _shades(rng, (0.68, 0.62, 0.52), 0.04), cv2.LINE_AA)


def _brick_wall(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    brick = _shades(rng, (0.52, 0.28, 0.22), 0.05)
    _wall_and_floor(image, horizon, (0.66, 0.60, 0.55), _shades(rng, (0.40, 0.40, 0.42), 0.04))
    for row, top in enumerate(range(-2, horizon - 6, 9)):
        for left in range(-(row % 2) * 12, WIDTH, 24):
            _rectangle(image, left, top, left + 21, top + 6, _shades(rng, brick, 0.035))
    for x in range(int(rng.integers(0, 200)), WIDTH, 260):
        _rectangle(image, x, horizon - 150, x + 62, horizon - 68, (0.92, 0.91, 0.88))
        _rectangle(image, x + 5, horizon - 145, x + 57, horizon - 73, _shades(rng, (0.5, 0.5, 0.5), 0.3))


def _lobby(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    _wall_and_floor(image, horizon, (0.70, 0.80, 0.84), _shades(rng, (0.62, 0.58, 0.54), 0.05))
    for x in range(-20, WIDTH, 72):
        _rectangle(image, x, 0, x + 68, horizon, _shades(rng, (0.62, 0.74, 0.80), 0.05))
        corners = np.array([[x + 10, 0], [x + 34, 0], [x + 10, horizon], [x - 14, horizon]], np.int32)
        cv2.fillPoly(image, [corners], (0.80, 0.88, 0.91), cv2.LINE_AA)
        _rectangle(image, x + 68, 0, x + 71, horizon, (0.25, 0.26, 0.28))
    for x in range(int(rng.integers(0, 150)), WIDTH, 270):
        _rectangle(image, x, 0, x + 34, horizon + 8, _shades(rng, (0.60, 0.57, 0.53), 0.03))
        _rectangle(image, x + 70, horizon - 34, x + 150, horizon + 4, _shades(rng, (0.25, 0.28, 0.34), 0.08))
    image[horizon:] *= 1 + 0.10 * np.sin(np.arange(WIDTH, dtype=np.float32) / 17)[None, :, None]


def _car_park(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    _wall_and_floor(image, horizon, (0.60, 0.60, 0.59), _shades(rng, (0.36, 0.36, 0.37), 0.04))
    x = -float(rng.integers(0, 100))
    while x < WIDTH:
        paintwork = _shades(rng, (0.5, 0.45, 0.45), 0.25)
        left, base = round(x), horizon + 16
        cabin = [[left + 32, base - 40], [left + 52, base - 66], [left + 108, base - 66], [left + 134, base - 40]]
        cv2.fillPoly(image, [np.array(cabin, np.int32)], (0.18, 0.22, 0.26), cv2.LINE_AA)
        _rectangle(image, left + 4, base - 42, left + 160, base - 10, paintwork)
        for wheel in (left + 34, left + 130):
            cv2.circle(image, (wheel, base - 8), 13, (0.07, 0.07, 0.08), -1, cv2.LINE_AA)
        x += float(rng.integers(175, 230))
        cv2.line(image, (round(x), base), (round(x) - 40, HEIGHT), (0.80, 0.80, 0.74), 4, cv2.LINE_AA)


def _station(image: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    tile = _shades(rng, (0.78, 0.80, 0.80), 0.05)
    _wall_and_floor(image, horizon, tile, _shades(rng, (0.47, 0.46, 0.46), 0.04))
    for x in range(0, WIDTH, 16):
        cv2.line(image, (x, 0), (x, horizon), (0.66, 0.68, 0.68), 1)
    for y in range(0, horizon, 16):
        cv2.line(image, (0, y), (WIDTH, y), (0.66, 0.68, 0.68), 1)
    sign = _shades(rng, (0.15, 0.25, 0.50), 0.12)
    _rectangle(image, 0, horizon - 130, WIDTH, horizon - 112, sign)
    for x in range(int(rng.integers(0, 160)), WIDTH, 300):
        _rectangle(image, x, horizon - 150, x + 110, horizon - 95, (0.93, 0.93, 0.92))
        _rectangle(image, x + 8, horizon - 130, x + 102, horizon - 115, sign)
        _rectangle(image, x + 150, horizon - 26, x + 240, horizon - 18, (0.45, 0.30, 0.16))
    _rectangle(
        image, 0, horizon + 0.45 * (HEIGHT - horizon), WIDTH, horizon + 0.52 * (HEIGHT - horizon), (0.85, 0.72, 0.2)
    )


PLACES: dict[str, Callable[[FloatArray, int, np.random.Generator], None]] = {
    "corridor": _corridor,
    "shop": _shop,
    "street": _street,
    "park": _park,
    "brick wall": _brick_wall,
    "lobby": _lobby,
    "car park": _car_park,
    "station": _station,
}
INDOORS = frozenset({"corridor", "shop", "lobby", "station"})
