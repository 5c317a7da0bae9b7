"""P × K batches: the official index lists, and what every list must satisfy."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.errors import DataError, UsageError
from datasets.samplers import SamplerConfig, _shares, identity_batches


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


@pytest.mark.parametrize("kind", ["distinct", "outfits"])
def test_too_few_people_for_one_batch_is_said_of_people_and_not_of_images(kind):
    """There are images for 25 groups, but no four different people."""
    config = SamplerConfig(kind=kind, batch_size=16, instances=4)
    people = (
        r"kind=\w+ puts 4 different people in a batch .*, and there are 3 to train on: choose sampler.batch_size=12 or"
    )
    with pytest.raises(DataError, match=people):
        identity_batches(np.repeat([0, 1, 2], 34), config, seed=0, epoch=0)


# --- outfits ---

wardrobes = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=8, max_size=12)
"""Per person the number of images of each outfit."""


def shuffled_world(wardrobes: list[list[int]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(persons, clothes) of all images in random order; outfit o of person p is p · 100 + o."""
    clothes = np.repeat(
        [person * 100 + outfit for person, sizes in enumerate(wardrobes) for outfit in range(len(sizes))],
        [size for sizes in wardrobes for size in sizes],
    )
    clothes = np.random.default_rng(seed).permutation(clothes)
    return clothes // 100, clothes


@settings(max_examples=100, deadline=None)
@given(wardrobes=wardrobes, instances=st.integers(1, 8), most=st.integers(1, 5), seed=st.integers(0, 2**40))
def test_groups_show_as_many_outfits_as_they_may_in_proportion_to_their_images(wardrobes, instances, most, seed):
    persons, clothes = shuffled_world(wardrobes, seed)
    config = SamplerConfig(kind="outfits", batch_size=2 * instances, instances=instances, outfits=most)
    batches = identity_batches(persons, config, seed=seed, epoch=1, clothes=clothes)
    for batch in batches.reshape(-1, 2, instances):
        people = persons[batch]
        assert (people == people[:, :1]).all(), "a group is one person"
        assert len(set(people[:, 0])) == 2, "a batch is of different people"
        for group in batch:
            owned = wardrobes[persons[group[0]]]
            shown, places = np.unique(clothes[group], return_counts=True)
            assert len(shown) == min(len(owned), most, instances)
            sizes = [owned[outfit % 100] for outfit in shown]
            lifted = [size * instances / sum(sizes) < 1 for size in sizes]
            for outfit, size, count in zip(shown, sizes, places, strict=True):
                exact = size * instances / sum(sizes)
                if not any(lifted):
                    assert abs(count - exact) < 1, "the largest remainders get what is left"
                assert count < exact + 1 or count == 1
                if count <= size:
                    assert len(set(group[clothes[group] == outfit])) == count, "no image twice unless it must be"


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=8), more=st.integers(0, 20))
def test_shares_are_the_nearest_to_proportion_that_leave_nobody_out(sizes, more):
    """Whole, at least one each, K in all; moving a place from one outfit to another brings none nearer."""
    places = len(sizes) + more
    shares = _shares(sizes, places)
    assert sum(shares) == places
    assert min(shares) >= 1
    exact = [size * places / sum(sizes) for size in sizes]

    def error(shares: list[int]) -> float:
        return sum((share - wanted) ** 2 for share, wanted in zip(shares, exact, strict=True))

    for giver in range(len(sizes)):
        for taker in range(len(sizes)):
            if giver != taker and shares[giver] > 1:
                moved = list(shares)
                moved[giver] -= 1
                moved[taker] += 1
                assert error(moved) > error(shares) - 1e-6


@pytest.mark.parametrize(
    ("sizes", "places", "shares"),
    [
        ([10], 8, [8]),
        ([30, 10], 8, [6, 2]),
        ([5, 5, 5], 8, [3, 3, 2]),  # equal remainders: in order
        ([50, 25, 24, 1], 8, [4, 2, 1, 1]),  # exactly 4, 2, 1.92, 0.08: the last is lifted, at the cost of the third
        ([97, 1, 1, 1], 8, [5, 1, 1, 1]),
        ([97, 1, 1, 1], 4, [1, 1, 1, 1]),
        ([49] * 7 + [1], 8, [1] * 8),
    ],
)
def test_shares_of_known_wardrobes(sizes, places, shares):
    assert _shares(sizes, places) == shares


@settings(max_examples=30, deadline=None)
@given(wardrobes=wardrobes, world=st.integers(1, 3), seed=st.integers(0, 2**40))
def test_processes_share_the_groups_of_outfits_among_them(wardrobes, world, seed):
    """Together they train each person on as many groups as its images fill at most, one at least, and equally often."""
    persons, clothes = shuffled_world(wardrobes, seed)
    config = SamplerConfig(kind="outfits", batch_size=8, instances=4)
    try:
        ranks = [
            identity_batches(persons, config, seed=seed, epoch=2, rank=rank, world=world, clothes=clothes)
            for rank in range(world)
        ]
    except DataError:
        assert world > 1, "eight people fill four batches at least"
        return
    assert len({batches.shape for batches in ranks}) == 1
    groups = persons[np.concatenate([batches.reshape(-1, 4) for batches in ranks])[:, 0]]
    for person, times in zip(*np.unique(groups, return_counts=True), strict=True):
        assert times <= max(1, sum(wardrobes[person]) // 4)


@pytest.mark.parametrize("clothes", [None, np.full(80, -1)])
def test_without_labels_of_clothes_a_group_is_any_k_different_images(clothes):
    persons = np.repeat(np.arange(8), 10)
    config = SamplerConfig(kind="outfits", batch_size=16, instances=8)
    batches = identity_batches(persons, config, seed=0, epoch=0, clothes=clothes)
    assert len(batches) == 4, "one group of eight a person"
    assert all(len(set(group)) == 8 for group in batches.reshape(-1, 8).tolist())


def test_outfits_are_drawn_anew_every_epoch_and_repeatably():
    persons, clothes = shuffled_world([[3, 4, 5, 6, 2]] * 8, 0)
    config = SamplerConfig(kind="outfits", batch_size=16, instances=8)

    def batches(epoch: int, seed: int = 5) -> np.ndarray:
        return identity_batches(persons, config, seed=seed, epoch=epoch, clothes=clothes)

    np.testing.assert_array_equal(batches(3), batches(3))
    assert not np.array_equal(batches(3), batches(4))
    shown = {int(outfit) for epoch in range(10) for outfit in clothes[batches(epoch).ravel()]}
    assert len(shown) == 8 * 5, "outfits beyond the first four have their turn"
