"""Shared by every test: no hub, no network, one thread per test process."""

import os
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", OMP_NUM_THREADS="1", CUBLAS_WORKSPACE_CONFIG=":4096:8")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers computed with the authors' own code; `tests/golden/README.md` has their provenance."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Words of an experiment that takes a second or two: a small world, a small transformer, two epochs."""
    return tiny_words(tmp_path)


def tiny_words(folder: Path) -> list[str]:
    return [
        "method=differ",
        "dataset=synthetic",
        "dataset.people=12",
        "dataset.test_people=4",
        "dataset.tracklets=1",
        "dataset.frames=2",
        "dataset.height=64",
        "image.height=32",
        "image.width=16",
        "method.embed_dim=32",
        "method.depth=1",
        "method.num_heads=2",
        "captions.text_model=hashing-16",
        "sampler.batch_size=16",
        "train.epochs=2",
        "device=cpu",
        f"runs={folder / 'runs'}",
        f"cache={folder / 'cache'}",
    ]
