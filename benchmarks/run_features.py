"""The features that a run was scored with, kept in its folder: figures and probes are made from them.

Half precision: a figure does not show the difference, and rankings keep the exact distances of their lists.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from datasets.errors import DataError
from datasets.files import replacing

from .ranking import Features
from .records import RunFolder
from .spec import EvaluateConfig
from .splits import load_samples


def keep_features(run: RunFolder, selection: str, features: Mapping[str, Features], config: EvaluateConfig) -> None:
    """Write the embeddings of each split, as the evaluation compares them (before tracklets are pooled)."""
    for split, found in features.items():
        embeddings = found.embeddings.float()
        if config.normalise:
            embeddings = torch.nn.functional.normalize(embeddings, dim=1)
        full = embeddings.cpu().numpy()
        with np.errstate(over="ignore"):  # asked about in the next line
            half = full.astype(np.float16)
        kept = half if np.isfinite(half).all() else full
        with replacing(run.features(split, selection)) as temporary, temporary.open("wb") as file:
            np.savez(file, embeddings=kept)


def has_features(run: RunFolder, selection: str, *splits: str) -> bool:
    return all(run.features(split, selection).exists() for split in splits)


def kept_features(run: RunFolder, split: str, selection: str | None = None) -> Features:
    """Embeddings [N, D] fp32 on the CPU and the labels of one split; by default of the headline's weights.

    Raises DataError where the run kept none.
    """
    selection = selection or run.headline
    samples = load_samples(run.split(split))
    embeddings = torch.from_numpy(_read(run.features(split, selection))).float()
    if len(embeddings) != len(samples):
        raise DataError(f"{run.features(split, selection)} is of other images than {run.split(split)}: delete both.")
    return Features(embeddings, samples.person, samples.camera, samples.clothes, samples.tracklet)


def _read(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["embeddings"]
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the run kept no features; `report` can compute them again.") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it.") from None
