"""Shared by every test: no hub, no network, one thread per test process."""

import os
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", OMP_NUM_THREADS="1", CUBLAS_WORKSPACE_CONFIG=":4096:8")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers computed with the authors' own code; `tests/golden/README.md` has their provenance."""
    return Path(__file__).parent / "golden"
