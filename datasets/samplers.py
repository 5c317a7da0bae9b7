"""Which images share a batch: P identities × K images (Hermans et al. 2017), as the field's official codes do."""

import random
from typing import Literal

import numpy as np
from pydantic import Field

from .base import IntArray
from .config import Strict
from .errors import DataError, UsageError


class SamplerConfig(Strict):
    """Batches of identities: `batch_size` / `instances` groups of `instances` images of one person."""

    batch_size: int = Field(default=64, ge=1)
    """Images per process and micro-batch; a multiple of `instances`."""
    instances: int = Field(default=4, ge=1)
    """K, images of one person in a group."""
    order: Literal["reshuffled", "official"] = "reshuffled"
    """reshuffled: new groups every epoch; official: DIFFER's released code, where every epoch repeats the first."""


def check_batch_size(config: SamplerConfig) -> None:
    """Raise UsageError where K does not divide the batch."""
    if config.batch_size % config.instances:
        larger = -(-config.batch_size // config.instances) * config.instances
        raise UsageError(
            f"sampler.batch_size={config.batch_size} is not divisible by sampler.instances={config.instances}: "
            f"choose a multiple, such as sampler.batch_size={larger}."
        )


def identity_batches(
    persons: IntArray, config: SamplerConfig, *, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> IntArray:
    """[batches, batch_size] rows of `persons` [N] that process `rank` of `world` trains on in `epoch`, in order.

    Each person's images, shuffled, are cut into groups of K (what is left over sits this epoch out; people with fewer
    than K are drawn with replacement); the groups of all people are shuffled and dealt to the processes in turn; the
    last, incomplete batch is dropped. A batch may hold several groups of one person. A pure function of its arguments:
    the streams are Python's and numpy's, seeded with `seed` + `epoch`, as in DIFFER (commit 67acb5d), whose lists it
    reproduces with `epoch` counted from 0.

    Raises UsageError where K does not divide the batch, DataError where there are too few images for one batch.
    """
    check_batch_size(config)
    groups = _shuffled_groups(persons, config.instances, seed + (epoch if config.order == "reshuffled" else 0))
    dealt = groups[: len(groups) // world * world][rank::world]
    batches = len(dealt) * config.instances // config.batch_size
    if not batches:
        raise DataError(
            f"{len(persons)} training images make {len(dealt)} groups of sampler.instances={config.instances} for each "
            f"of {world} processes, less than one batch: lower sampler.batch_size={config.batch_size}."
        )
    return dealt.reshape(-1)[: batches * config.batch_size].reshape(batches, config.batch_size)


def _shuffled_groups(persons: IntArray, instances: int, seed: int) -> IntArray:
    """[groups, K] rows; each group is one person's."""
    shuffler, chooser = random.Random(seed), np.random.RandomState(seed % 2**32)
    rows_of: dict[int, list[int]] = {}  # in order of first appearance
    for row, person in enumerate(persons.tolist()):
        rows_of.setdefault(person, []).append(row)
    groups: list[list[int]] = []
    for rows in rows_of.values():
        if len(rows) < instances:
            rows = chooser.choice(rows, size=instances, replace=True).tolist()
        shuffler.shuffle(rows)
        groups += [rows[start : start + instances] for start in range(0, len(rows) - instances + 1, instances)]
    shuffler.shuffle(groups)
    return np.array(groups, dtype=np.int64).reshape(-1, instances)
