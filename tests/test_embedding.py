"""From images to features: cameras, flip, and independence of how the work is cut."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.distribution import World
from benchmarks.embedding import _positions, embed
from benchmarks.resolve import resolve
from datasets.base import Samples
from methods.base import Facts, Method, MethodConfig


class Recorder(Method):
    """Features are the mean of the left half of the image; cameras are remembered."""

    def __init__(self) -> None:
        super().__init__(MethodConfig(), Facts(persons=2, cameras=2, clothes=2, height=4, width=4))
        self.cameras: list[int] = []

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        assert cameras is not None
        self.cameras += cameras.tolist()
        return images[..., :2].mean(dim=(2, 3))


@pytest.fixture
def samples() -> Samples:
    number = np.arange(5)
    return Samples(tuple(map(str, number)), number, np.array([3, 7, 9, 3, 7]), number)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def features(samples: Samples, pixels: np.ndarray, *words: str, batch_size: int = 2, **more: object) -> tuple:
    values = dict(word.split("=") for word in words)
    spec = resolve({"method.name": "baseline", "dataset.name": "synthetic"} | values).spec
    method, world = Recorder(), World(torch.device("cpu"))
    cameras = np.array([3, 7])
    found = embed(method, samples, pixels, spec, world, training_cameras=cameras, batch_size=batch_size, **more)  # type: ignore[arg-type]
    return found, method


def test_a_camera_unseen_in_training_is_handed_over_as_unknown(samples: Samples, pixels: np.ndarray) -> None:
    _, method = features(samples, pixels)
    assert method.cameras == [0, 1, -1, 0, 1]


def test_where_no_camera_was_known_every_camera_is_unknown(samples: Samples, pixels: np.ndarray) -> None:
    """An official checkpoint of a method without camera embeddings tells of none."""
    assert _positions(samples.camera, np.array([], dtype=np.int64)).tolist() == [-1] * len(samples)


def test_flip_adds_the_features_of_the_mirrored_image(samples: Samples, pixels: np.ndarray) -> None:
    plain, _ = features(samples, pixels)
    mirrored, _ = features(samples, pixels[:, :, ::-1].copy())
    both, _ = features(samples, pixels, "evaluate.flip=true")
    torch.testing.assert_close(both.embeddings, plain.embeddings + mirrored.embeddings)


def test_the_batch_size_changes_nothing_and_rows_choose_the_pixels(samples: Samples, pixels: np.ndarray) -> None:
    one, _ = features(samples, pixels, batch_size=1)
    all_at_once, _ = features(samples, pixels, batch_size=100)
    torch.testing.assert_close(one.embeddings, all_at_once.embeddings)
    some, _ = features(samples.take([3, 1]), pixels, rows=np.array([3, 1]))
    torch.testing.assert_close(some.embeddings, one.embeddings[[3, 1]])
