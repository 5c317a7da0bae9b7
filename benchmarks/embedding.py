"""Images, or clips of them, → features, spread over the processes that share the run."""

import numpy as np
import torch
from torch import Tensor

from datasets.augment import normalise
from datasets.base import IntArray, Samples, UInt8Array
from datasets.clips import ClipConfig, covering_clips
from datasets.errors import UsageError
from methods.base import Method

from .contract import checked_features
from .distribution import World
from .pooling import runs
from .ranking import Features
from .spec import Spec


@torch.inference_mode()
def embed(
    method: Method,
    samples: Samples,
    pixels: UInt8Array,
    spec: Spec,
    world: World,
    *,
    rows: IntArray | None = None,
    training_cameras: IntArray,
    batch_size: int = 128,
    masks: UInt8Array | None = None,
) -> Features:
    """Features of `samples` in fp32. N images.

    A method that takes clips is given those that cover each tracklet; an image then has the feature of the clip that it
    is in. Raises UsageError where there are no tracklets.
    `pixels` [M, H, W, 3] and `masks` [M, H, W], where the method wants them at test; `rows` [N]: where each sample lies
    in these, by default one after the other.
    `training_cameras`: sorted cameras of the training data; a camera that is not among them is handed over as -1.
    """
    method.eval()
    world.share_buffers(method)
    rows = np.arange(len(samples)) if rows is None else rows
    cameras = _positions(samples.camera, training_cameras)
    clips = clips_of(samples, spec.clips) if method.takes_clips(method.config) else None
    inputs = np.arange(len(samples)) if clips is None else clips  # [N], or [clips, T]
    share = -(-len(inputs) // world.size)  # every process embeds equally many; the last ones repeat the last image
    mine = np.minimum(np.arange(world.rank * share, (world.rank + 1) * share), len(inputs) - 1)
    parts = []
    at_once = batch_size if clips is None else max(1, batch_size // clips.shape[1])
    for start in range(0, share, at_once):
        chosen = inputs[mine[start : start + at_once]]
        images = torch.from_numpy(pixels[rows[chosen]]).to(world.device)
        camera = torch.from_numpy(cameras[chosen if clips is None else chosen[:, 0]]).to(world.device)
        extras = {}
        if masks is not None:
            extras["masks"] = torch.from_numpy(masks[rows[chosen]]).to(world.device)
        images = normalise(images, spec.image.mean, spec.image.std)
        parts.append(_features(method, images, camera, extras, spec.evaluate.flip))
    embeddings = world.gather_rows(torch.cat(parts), len(inputs))
    if clips is not None:
        clip_of = np.empty(len(samples), dtype=np.int64)
        clip_of[clips] = np.arange(len(clips))[:, None]
        embeddings = embeddings[torch.from_numpy(clip_of).to(embeddings.device)]
    return Features(embeddings, samples.person, samples.camera, samples.clothes, samples.tracklet)


def clips_of(samples: Samples, config: ClipConfig) -> IntArray:
    """[clips, clips.test_length] rows of `samples`: the clips that cover its tracklets, every row in one of them."""
    if samples.tracklet is None:
        raise UsageError("This method takes clips, and these images belong to no tracklets: choose another dataset.")
    return np.concatenate(
        [
            start + covering_clips(frames, config.test_length, config.test_stride)
            for start, frames in zip(*(part.tolist() for part in runs(samples.tracklet)), strict=True)
        ]
    )


def _features(method: Method, images: Tensor, cameras: Tensor, extras: dict[str, Tensor], flip: bool) -> Tensor:
    features = checked_features(method, method.embed(images, cameras, **extras), len(images)).float()
    if flip:
        mirrored = {name: extra.flip(-1) for name, extra in extras.items()}
        features = features + method.embed(images.flip(-1), cameras, **mirrored).float()
    return features


def _positions(cameras: IntArray, training_cameras: IntArray) -> IntArray:
    """Index of each camera among the sorted training cameras, -1 where it is not there."""
    if not len(training_cameras):
        return np.full(len(cameras), -1)
    place = np.searchsorted(training_cameras, cameras).clip(max=len(training_cameras) - 1)
    return np.where(training_cameras[place] == cameras, place, -1)
