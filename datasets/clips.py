"""Clips: which frames of a tracklet are trained on together, and which clips cover it in a test.

The rules are those of CAL (guxinqian/Simple-CCReID, commit f773d01) for CCVID: its lists of training pieces and of test
clips are in `tests/golden/datasets`, and `pieces` and `covering_clips` give them back row for row.
"""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from .base import IntArray
from .config import Strict

FloatArray = npt.NDArray[np.float64]


class ClipConfig(Strict):
    """How tracklets become training samples and test clips; the defaults are CAL's, for an image method."""

    piece: int = Field(default=64, ge=0)
    """Training tracklets are cut into pieces of so many frames, the last takes the rest; 0 leaves them whole."""
    length: int = Field(default=1, ge=1)
    """Frames of a training sample; image methods take 1, CAL's video network 8."""
    stride: int = Field(default=4, ge=1)
    """From one frame of a training sample to the next, where the piece is long enough."""
    test_length: int = Field(default=8, ge=1)
    """Frames of a test clip."""
    test_stride: int = Field(default=4, ge=1)
    """From one frame of a test clip to the next, where the tracklet is long enough."""


def pieces(tracklet: IntArray, piece: int) -> IntArray:
    """[P, 2] (first row, number of frames) of the pieces of the tracklets; one is a run of equal numbers in `tracklet`.

    A run of n frames gives max(1, n // piece) pieces of `piece` frames, of which the last takes the rest as well;
    `piece` = 0 gives one piece a run. CAL's dense sampling, whose pieces have 64 frames.
    """
    starts = np.flatnonzero(np.r_[len(tracklet) > 0, tracklet[1:] != tracklet[:-1]])
    lengths = np.diff(np.r_[starts, len(tracklet)])
    counts = np.maximum(1, lengths // piece) if piece else np.ones_like(lengths)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # number of a piece in its run
    first = np.repeat(starts, counts) + within * piece
    end = np.where(within == np.repeat(counts, counts) - 1, np.repeat(starts + lengths, counts), first + piece)
    return np.stack([first, end - first], axis=1)


def training_positions(frames: int, length: int, stride: int, generator: np.random.Generator) -> IntArray:
    """[length] ascending positions, below `frames`, of the frames of one training sample.

    Where length × stride frames or more are there: every `stride`-th from a start that is uniform over all that fit.
    Else, where there are `length` or more: one of each of `length` equal segments. Else: drawn with replacement. This
    is CAL's temporal crop. A sample of one frame is any frame, each as likely, in all three cases.
    """
    if frames >= length * stride:
        start = generator.integers(frames - (length - 1) * stride)
        return start + stride * np.arange(length)
    if frames >= length:
        borders = np.arange(length + 1) * frames // length
        return generator.integers(borders[:-1], borders[1:])
    return np.sort(generator.integers(frames, size=length))


def covering_clips(frames: int, length: int, stride: int) -> IntArray:
    """[clips, length] positions of the frames of the clips that cover a tracklet of `frames` ≥ 1 frames.

    CAL's test clips. Each whole block of length × stride frames gives `stride` clips, interleaved at that stride. What
    is left gives as many clips as fit, interleaved at the smaller stride that is their number. The frames left then
    give one more clip, in which they are repeated in a loop. So there are ⌈frames / length⌉ clips, and each frame is
    in exactly one of them, but for those that fill up the last.
    """
    block = length * stride
    whole = frames // block * block
    even = frames // length * length
    clips = [start + _interleaved(length, stride) for start in range(0, whole, block)]
    clips.append(whole + _interleaved(length, (even - whole) // length))
    if even < frames:
        clips.append(np.resize(np.arange(even, frames), (1, length)))
    return np.concatenate(clips)


def clip_weights(frames: int, length: int, stride: int) -> FloatArray:
    """[frames] how much each frame counts in the mean over the covering clips of the mean over a clip's frames.

    The weights sum to 1. They differ from 1 / frames where the last clip is filled up: its frames count more often.
    """
    clips = covering_clips(frames, length, stride)
    return np.bincount(clips.ravel(), minlength=frames) / clips.size


def _interleaved(length: int, stride: int) -> IntArray:
    """[stride, length] the clips of a block of length × stride frames: clip c takes frames c, c + stride, …"""
    return np.arange(length * stride).reshape(length, stride).T
