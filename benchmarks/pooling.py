"""One feature per tracklet, from the features of its images."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from datasets.base import IntArray, Pool
from datasets.clips import ClipConfig, clip_weights, covering_clips
from datasets.errors import DataError

from .ranking import Features


def runs(tracklet: IntArray) -> tuple[IntArray, IntArray]:
    """(first row [T], number of rows [T]) of the T tracklets, whose images stand one after the other in `tracklet` [N].

    Raises DataError where a tracklet's images are apart.
    """
    starts = np.flatnonzero(np.r_[True, tracklet[1:] != tracklet[:-1]])
    if len(np.unique(tracklet[starts])) < len(starts):
        raise DataError("The images of a tracklet do not follow each other: a dataset lists tracklet after tracklet.")
    return starts, np.diff(np.r_[starts, len(tracklet)])


def pooled(features: Features, pool: Pool, config: ClipConfig) -> Features:
    """[T, D] features of the tracklets in `features` [N, D], in their order, with the labels of their first images.

    frames: the mean over a tracklet's images. clips: the mean over the clips that cover it, each the mean of its
    images, as CAL evaluates CCVID; an image that fills up the last clip counts again. unit-clips: each clip is scaled
    to unit length before the mean over clips. A method that takes clips has given each image the feature of its clip,
    so that clips and unit-clips are means over what it said of clips, and frames too, but for the weight of a clip that
    is filled up. Raises DataError where images belong to no tracklet.
    """
    if features.tracklet is None:
        raise DataError("The images belong to no tracklets: choose a protocol that ranks images.")
    starts, lengths = runs(features.tracklet)
    rows = [
        _tracklet(features.embeddings[start : start + length], pool, config)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    return replace(
        features,
        embeddings=torch.stack(rows),
        person=features.person[starts],
        camera=features.camera[starts],
        clothes=features.clothes[starts],
        tracklet=features.tracklet[starts],
    )


def _tracklet(images: Tensor, pool: Pool, config: ClipConfig) -> Tensor:
    """[n, D] → [D]"""
    if pool == "frames":
        return images.mean(dim=0)
    if pool == "clips":
        weights = clip_weights(len(images), config.test_length, config.test_stride)
        return torch.from_numpy(weights).to(images) @ images
    clips = torch.from_numpy(covering_clips(len(images), config.test_length, config.test_stride)).to(images.device)
    return normalize(images[clips].mean(dim=1), dim=-1).mean(dim=0)
