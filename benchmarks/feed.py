"""Training batches: images, augmentation and labels, a pure function of (seed, epoch, step, rank)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.augment import augment
from datasets.base import IntArray, Samples, UInt8Array
from datasets.captions import CaptionFeatures
from datasets.clips import training_positions
from datasets.errors import UsageError
from datasets.samplers import identity_batches
from methods import METHODS
from methods.base import Batch, Facts

from .distribution import World
from .spec import Spec


@dataclass(frozen=True)
class TrainingData:
    """The training split's labels, without held-out identities and images that lack a caption. N images."""

    samples: Samples
    rows: IntArray
    """[N] where each sample lies in the whole split."""
    captions: CaptionFeatures | None = None
    """Of exactly these samples, or None when the method needs none."""
    pieces: IntArray | None = None
    """[P, 2] (first sample, number of samples) of pieces of tracklets; None: every image is drawn for itself."""

    @property
    def drawn(self) -> Samples:
        """The things that the sampler deals: images, or the first images of pieces of tracklets."""
        return self.samples if self.pieces is None else self.samples.take(self.pieces[:, 0])

    def facts(self, spec: Spec) -> Facts:
        return Facts(
            persons=len(np.unique(self.samples.person)),
            cameras=len(np.unique(self.samples.camera)),
            clothes=len(np.unique(self.samples.clothes)),
            height=spec.image.height,
            width=spec.image.width,
            text_width=0 if self.captions is None else self.captions.features.shape[-1],
            label_set=spec.masks.label_set,
            wardrobes=self._wardrobes(),
            mean=spec.image.mean,
            std=spec.image.std,
        )

    def _wardrobes(self) -> tuple[tuple[int, ...], ...]:
        """Outfits by identity, both counted from 0 in the order of their labels."""
        if (self.samples.clothes < 0).all():
            return ()
        person = np.unique(self.samples.person, return_inverse=True)[1]
        clothes = np.unique(self.samples.clothes, return_inverse=True)[1]
        worn = np.unique(np.stack([person, clothes]), axis=1)
        return tuple(tuple(worn[1, worn[0] == number].tolist()) for number in range(person.max() + 1))


class TrainingFeed:
    """Batches on the device, restartable at any batch of any epoch."""

    def __init__(
        self, data: TrainingData, pixels: UInt8Array, spec: Spec, world: World, *, masks: UInt8Array | None = None
    ):
        """`pixels` [M, H, W, 3] and `masks` [M, H, W] are of the whole split."""
        self.data, self.pixels, self.masks, self.spec, self.world = data, pixels, masks, spec, world
        self.clips = takes_clips(spec, data)
        self.labels = {
            name: torch.from_numpy(np.unique(getattr(data.samples, name), return_inverse=True)[1].astype(np.int64))
            for name in ("person", "camera", "clothes")
        }
        self._drawn = data.drawn
        captions = data.captions
        self.caption = None if captions is None else torch.from_numpy(captions.features)
        summary = None if captions is None else captions.summary
        self.summary = None if summary is None else torch.from_numpy(summary)
        self.per_step = max(1, spec.train.accumulate // world.size)
        """Batches that this process contributes to one step."""
        self.index(1)  # raises now what would stop the first epoch

    def index(self, epoch: int) -> IntArray:
        """[steps, per_step, batch_size] rows of the samples; the last, incomplete step is dropped.

        Of a piece of a tracklet, one of its images is taken at random each time it is drawn; for a method that takes
        clips, the frames of one: [steps, per_step, batch_size, clips.length].
        """
        batches = identity_batches(
            self._drawn.person,
            self.spec.sampler,
            clothes=self._drawn.clothes,
            seed=self.spec.seed,
            epoch=epoch - 1,  # the official codes count from 0
            rank=self.world.rank,
            world=self.world.size,
        )
        steps = len(batches) // self.per_step
        if not steps:
            raise UsageError(
                f"train.accumulate={self.spec.train.accumulate} wants {self.per_step} batches a step, but an epoch has "
                f"{len(batches)}: lower it, or sampler.batch_size."
            )
        batches = batches[: steps * self.per_step].reshape(steps, self.per_step, -1)
        if self.data.pieces is None:
            return batches
        pieces = self.data.pieces[batches]
        return self._clip_of(pieces, epoch) if self.clips else self._one_of(pieces, epoch)

    def _one_of(self, pieces: IntArray, epoch: int) -> IntArray:
        """A row in each of `pieces` [..., 2], all with the same chance."""
        generator = np.random.default_rng(derived_seed(self.spec.seed, epoch, self.world.rank))
        return pieces[..., 0] + generator.integers(0, pieces[..., 1])

    def _clip_of(self, pieces: IntArray, epoch: int) -> IntArray:
        """Rows of a clip [..., clips.length] in each of `pieces` [..., 2]."""
        generator = np.random.default_rng(derived_seed(self.spec.seed, epoch, self.world.rank))
        length, stride = self.spec.clips.length, self.spec.clips.stride
        clips = [
            first + training_positions(frames, length, stride, generator)
            for first, frames in pieces.reshape(-1, 2).tolist()
        ]
        return np.stack(clips).reshape(*pieces.shape[:-1], length)

    def steps(self, epoch: int) -> int:
        return len(self.index(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The batches of each step from step `start` on. The next step's pixels are read while this one is used."""
        index = self.index(epoch)
        with ThreadPoolExecutor(1, thread_name_prefix="pixels") as reader:
            ahead = reader.submit(self._read, index[start]) if start < len(index) else None
            for step in range(start, len(index)):
                assert ahead is not None  # noqa: S101 - start < len(index)
                images, masks = ahead.result()
                ahead = reader.submit(self._read, index[step + 1]) if step + 1 < len(index) else None
                yield [
                    self._batch(images[part], None if masks is None else masks[part], rows, (epoch, step, part))
                    for part, rows in enumerate(index[step])
                ]

    def _read(self, index: IntArray) -> tuple[Tensor, Tensor | None]:
        """uint8 [per_step, B, H, W, 3] (and masks), B clips [B, T, …], page-locked where a GPU waits for them."""
        rows = self.data.rows[index]
        images = torch.from_numpy(self.pixels[rows])
        masks = None if self.masks is None else torch.from_numpy(self.masks[rows])
        if self.world.device.type == "cuda":
            images, masks = images.pin_memory(), None if masks is None else masks.pin_memory()
        return images, masks

    def _batch(self, images: Tensor, masks: Tensor | None, rows: IntArray, place: tuple[int, int, int]) -> Batch:
        device, image = self.world.device, self.spec.image
        index = torch.from_numpy(rows if rows.ndim == 1 else rows[:, 0])
        images = images.to(device, non_blocking=True)
        masks = None if masks is None else masks.to(device, non_blocking=True)
        generator = torch.Generator().manual_seed(derived_seed(self.spec.seed, *place, self.world.rank))
        augmented, masks = augment(images, self.spec.augment, image.mean, image.std, generator, masks)
        return Batch(
            images=augmented,
            person=self.labels["person"][index].to(device),
            camera=self.labels["camera"][index].to(device),
            clothes=self.labels["clothes"][index].to(device),
            index=index.to(device),
            caption=None if self.caption is None else self.caption[index].to(device),
            caption_summary=None if self.summary is None else self.summary[index].to(device),
            mask=masks,
        )


def takes_clips(spec: Spec, data: TrainingData) -> bool:
    """Whether the method takes clips. Raises UsageError where it does and there are none, or the other way round."""
    if not METHODS.get(spec.method.name).takes_clips(spec.method):
        if spec.clips.length != 1:
            raise UsageError(
                f"clips.length={spec.clips.length}: this configuration of {spec.method.name} takes single images: set "
                "clips.length=1, or choose a video backbone."
            )
        return False
    if data.pieces is None:
        raise UsageError(
            f"This configuration of {spec.method.name} takes clips, and {spec.dataset.name} compares single images: "
            "choose a dataset of tracklets, or a backbone for images."
        )
    if spec.clips.length == 1:
        raise UsageError(
            f"This configuration of {spec.method.name} takes clips: set clips.length to the frames of one, such as 8."
        )
    return True


def derived_seed(*numbers: int) -> int:
    """A 63-bit seed that is a fixed function of `numbers`, unrelated for neighbouring ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
