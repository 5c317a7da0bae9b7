"""The features that a run was scored with, kept in its folder: figures and probes are made from them.

Half precision: a figure does not show the difference, and rankings keep the exact distances of their lists.
"""

from collections.abc import Mapping

import numpy as np
import torch

from datasets.errors import DataError

from .arrays import MADE_ANEW, read_arrays, write_arrays
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
        write_arrays(run.features(split, selection), {"embeddings": kept}, compressed=False)


def has_features(run: RunFolder, selection: str, *splits: str) -> bool:
    return all(run.features(split, selection).exists() for split in splits)


def kept_features(run: RunFolder, split: str, selection: str | None = None) -> Features:
    """Embeddings [N, D] fp32 on the CPU and the labels of one split; by default of the headline's weights.

    Raises DataError where the run kept none.
    """
    selection = selection or run.headline
    samples = load_samples(run.split(split))
    file = run.features(split, selection)
    if not file.exists():
        raise DataError(f"{file} is missing: the run kept no features; `report` can compute them again.")
    kept = read_arrays(file, lambda columns: columns["embeddings"], "a file of features", MADE_ANEW)
    embeddings = torch.from_numpy(kept).float()
    if len(embeddings) != len(samples):
        raise DataError(f"{file} is of other images than {run.split(split)}: delete both.")
    return Features(embeddings, samples.person, samples.camera, samples.clothes, samples.tracklet)
