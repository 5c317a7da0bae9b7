"""P × K batches: the official index lists, and what every list must satisfy."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.errors import DataError, UsageError
from datasets.samplers import SamplerConfig, identity_batches


@pytest.mark.parametrize(
    ("instances", "world", "rank"), [(2, 1, 0), (2, 2, 0), (2, 2, 1), (4, 1, 0), (4, 2, 0), (4, 2, 1)]
)
def test_index_lists_equal_the_official_sampler(golden, instances, world, rank):
    """DIFFER's sampler, seed 1234: its first epoch, and its second as it would be if the epoch were passed on."""
    with np.load(golden / "differ/sampler.npz", allow_pickle=False) as stored:
        persons, key = stored["pids"], f"K{instances}_R{world}_r{rank}"
        first, second = stored[key], stored[f"{key}/epoch1"]

    def batches(order, epoch):
        config = SamplerConfig(batch_size=instances, instances=instances, order=order)
        return identity_batches(persons, config, seed=1234, epoch=epoch, rank=rank, world=world).ravel()

    np.testing.assert_array_equal(batches("reshuffled", 0), first)
    np.testing.assert_array_equal(batches("reshuffled", 1), second)
    for epoch in (0, 1, 7):
        np.testing.assert_array_equal(batches("official", epoch), first)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=8, max_size=20),
    instances=st.integers(1, 4),
    world=st.integers(1, 3),
    seed=st.integers(0, 2**40),
)
def test_every_group_is_one_person_and_processes_share_no_group(sizes, instances, world, seed):
    persons = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    config = SamplerConfig(batch_size=2 * instances, instances=instances)
    ranks = [identity_batches(persons, config, seed=seed, epoch=3, rank=rank, world=world) for rank in range(world)]
    assert len({batches.shape for batches in ranks}) == 1
    groups = np.concatenate([batches.reshape(-1, instances) for batches in ranks])
    assert (persons[groups] == persons[groups[:, :1]]).all()
    rows, times = np.unique(groups, return_counts=True)
    repeated = rows[times > 1]
    images = np.array(sizes)[persons[repeated] // 7]
    assert (images < instances).all()  # only people with fewer than K images repeat one


def test_global_random_state_is_left_alone():
    """A call between two draws of someone else does not change what they draw."""
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    identity_batches(np.repeat(np.arange(8), 3), SamplerConfig(batch_size=8, instances=4), seed=1, epoch=0)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_batch_not_divisible_names_both_keys_and_a_mend():
    with pytest.raises(UsageError, match=r"sampler.batch_size=10 .* sampler.instances=4: .* sampler.batch_size=12"):
        identity_batches(np.zeros(50, np.int64), SamplerConfig(batch_size=10, instances=4), seed=0, epoch=0)


def test_too_few_images_for_one_batch_is_an_error():
    with pytest.raises(DataError, match=r"6 training images of 2 people make \d groups .* lower sampler.batch_size=8"):
        identity_batches(np.repeat([0, 1], 3), SamplerConfig(batch_size=8, instances=2), seed=0, epoch=0, world=2)
