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
    kind: Literal["groups", "distinct", "outfits"] = "groups"
    """groups: all groups of all people, shuffled (CAL, DIFFER): a person may be twice in a batch; distinct: P different
    people in each batch (CSSC, FIRe); outfits: distinct, and a group's images are spread over the person's outfits in
    proportion to how many images show each (IFD)."""
    outfits: int = Field(default=4, ge=1)
    """Most outfits in a group, for kind=outfits."""
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


def check_several_people(config: SamplerConfig) -> None:
    """Raise UsageError where a batch is one group: all images of one person, so that nothing tells people apart."""
    if config.batch_size == config.instances > 1:
        raise UsageError(
            f"sampler.batch_size={config.batch_size} is one group of sampler.instances={config.instances} images, all "
            f"of one person: choose sampler.batch_size={2 * config.instances} or more."
        )


def identity_batches(
    persons: IntArray,
    config: SamplerConfig,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    clothes: IntArray | None = None,
) -> IntArray:
    """[batches, batch_size] rows of `persons` [N] that process `rank` of `world` trains on in `epoch`, in order.

    groups: each person's images, shuffled, are cut into groups of K (what is left over sits this epoch out; people with
    fewer than K are drawn with replacement); the groups of all people are shuffled and dealt to the processes in turn;
    the last, incomplete batch is dropped. distinct: from the same groups, each batch takes one of P people drawn at
    random, until fewer than P have any left; whole batches are dealt to the processes. outfits: the same, with groups
    that mix a person's `clothes` [N].
    A pure function of its arguments: the streams are Python's and numpy's, seeded with `seed` + `epoch`, as in DIFFER
    (commit 67acb5d), CAL (commit f773d01) and CSSC (commit bd018b8), whose lists it reproduces, `epoch` from 0.

    Raises UsageError where K does not divide the batch, DataError where there are too few images, or people, for one.
    """
    check_batch_size(config)
    state = seed + (epoch if config.order == "reshuffled" else 0)
    shuffler, chooser = random.Random(state), np.random.RandomState(state % 2**32)
    if config.kind == "outfits":
        groups = _mixed_groups(persons, persons if clothes is None else clothes, config, shuffler)
    else:
        groups = _groups(persons, config.instances, shuffler, chooser)
    people = config.batch_size // config.instances
    if config.kind == "groups":
        every = [group for of_person in groups.values() for group in of_person]
        shuffler.shuffle(every)
        dealt = every[: len(every) // world * world][rank::world]
        batches = [dealt[start : start + people] for start in range(0, len(dealt) - people + 1, people)]
    else:
        _require_people(len(groups), people, config)
        every = _distinct(groups, people, shuffler)
        batches = every[: len(every) // world * world][rank::world]
    if not batches:
        raise DataError(
            f"{len(persons)} training images of {len(groups)} people make {sum(map(len, groups.values()))} groups of "
            f"sampler.instances={config.instances}, less than one batch for each of {world} processes: "
            f"lower sampler.batch_size={config.batch_size}."
        )
    return np.array(batches, dtype=np.int64).reshape(len(batches), config.batch_size)


def _require_people(found: int, wanted: int, config: SamplerConfig) -> None:
    """Raise DataError where there are fewer people than a batch of different ones has."""
    if found < wanted:
        raise DataError(
            f"sampler.kind={config.kind} puts {wanted} different people in a batch (sampler.batch_size="
            f"{config.batch_size} / sampler.instances={config.instances}), and there are {found} to train on: choose "
            f"sampler.batch_size={found * config.instances} or less, or sampler.kind=groups."
        )


Groups = dict[int, list[list[int]]]
"""Person → groups of K rows."""


def _rows_of(persons: IntArray) -> dict[int, list[int]]:
    """Person → rows, in order of first appearance."""
    rows: dict[int, list[int]] = {}
    for row, person in enumerate(persons.tolist()):
        rows.setdefault(person, []).append(row)
    return rows


def _groups(persons: IntArray, instances: int, shuffler: random.Random, chooser: np.random.RandomState) -> Groups:
    groups: Groups = {}
    for person, rows in _rows_of(persons).items():
        if len(rows) < instances:
            rows = chooser.choice(rows, size=instances, replace=True).tolist()
        shuffler.shuffle(rows)
        groups[person] = [rows[start : start + instances] for start in range(0, len(rows) - instances + 1, instances)]
    return groups


def _distinct(groups: Groups, persons: int, shuffler: random.Random) -> list[list[list[int]]]:
    """Batches of one group each of `persons` people, until fewer people than that have groups left."""
    left = {person: list(of_person) for person, of_person in groups.items()}
    batches = []
    while len(left) >= persons:
        chosen = shuffler.sample(list(left), persons)
        batches.append([left[person].pop(0) for person in chosen])
        left = {person: of_person for person, of_person in left.items() if of_person}
    return batches


def _mixed_groups(persons: IntArray, clothes: IntArray, config: SamplerConfig, shuffler: random.Random) -> Groups:
    """As many groups of a person as its images fill (one at least), each spread over up to `config.outfits` outfits.

    Which outfits is drawn anew for each group. Within an outfit images are drawn without replacement, with replacement
    where there are too few.
    """
    groups: Groups = {}
    for person, rows in _rows_of(persons).items():
        worn = _rows_of(clothes[rows])
        wardrobe = [[rows[place] for place in places] for places in worn.values()]
        groups[person] = []
        for _ in range(max(1, len(rows) // config.instances)):
            chosen = shuffler.sample(wardrobe, min(len(wardrobe), config.outfits, config.instances))
            shares = _shares([len(outfit) for outfit in chosen], config.instances)
            group: list[int] = []
            for outfit, places in zip(chosen, shares, strict=True):
                draw = shuffler.sample if places <= len(outfit) else shuffler.choices
                group += draw(outfit, k=places)
            groups[person].append(group)
    return groups


def _shares(sizes: list[int], places: int) -> list[int]:
    """`places` shared out in proportion to `sizes`, one each at least; the largest remainders get what is left.

    There are at least as many places as sizes. In whole numbers, so that equal remainders are equal.
    """
    total = sum(sizes)
    shares = [max(1, size * places // total) for size in sizes]

    def surplus(outfit: int) -> int:
        """How far the share lies above the exact one, in units of 1 / total."""
        return shares[outfit] * total - sizes[outfit] * places

    while sum(shares) > places:  # small ones were lifted to one
        shares[max((outfit for outfit, share in enumerate(shares) if share > 1), key=surplus)] -= 1
    for outfit in sorted(range(len(shares)), key=surplus)[: places - sum(shares)]:
        shares[outfit] += 1
    return shares
