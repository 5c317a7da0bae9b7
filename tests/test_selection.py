"""Which epoch is reported, and that the choice is made without the test set."""

import numpy as np
import pytest

from benchmarks.protocols import ignored
from benchmarks.selection import FEWEST_HELD_OUT, Selector, hold_out, marked
from benchmarks.spec import SelectConfig
from datasets.base import Ignore, Protocol, Samples

CLOTH_CHANGING = Protocol("cloth-changing", "query", "gallery", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)


def world(persons: int, outfits: int = 2, cameras: int = 2, images: int = 2) -> Samples:
    """Every person in every outfit before every camera; person 0 never changes."""
    rows = [
        (person, camera, person * 10 + outfit)
        for person in range(persons)
        for outfit in range(outfits if person else 1)
        for camera in range(cameras)
        for _ in range(images)
    ]
    person, camera, clothes = np.array(rows).T
    return Samples(tuple(map(str, range(len(rows)))), person, camera, clothes)


def test_held_out_identities_are_not_trained_on_and_every_image_has_one_place() -> None:
    samples = world(60)
    holdout = hold_out(samples, CLOTH_CHANGING, SelectConfig(holdout=0.2))
    assert holdout is not None
    assert len(holdout.persons) == 12
    assert not set(samples.person[holdout.training]) & set(holdout.persons)
    parts = np.concatenate([holdout.training, holdout.query, holdout.gallery])
    assert sorted(parts) == list(range(len(samples)))


def test_every_held_out_query_can_be_answered_under_the_headline_protocol() -> None:
    samples = world(60)
    holdout = hold_out(samples, CLOTH_CHANGING, SelectConfig(holdout=0.5))
    assert holdout is not None
    assert 0 not in holdout.persons, "who never changes clothes cannot be asked for"
    query, gallery = samples.take(holdout.query), samples.take(holdout.gallery)
    good = (query.person[:, None] == gallery.person) & ~ignored(CLOTH_CHANGING, query, gallery)
    assert good.any(axis=1).all()


def test_where_tracklets_are_compared_whole_tracklets_ask() -> None:
    """In CCVID every walk has a camera number of its own: one walk of each outfit asks, the others answer."""
    pooled = Protocol("cloth-changing", "query", "gallery", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES, pool="clips")
    rows = [(person, walk, person * 10 + walk % 2) for person in range(30) for walk in range(4) for _ in range(3)]
    person, walk, clothes = np.array(rows).T
    samples = Samples(tuple(map(str, range(len(rows)))), person, walk, clothes, tracklet=person * 10 + walk)
    holdout = hold_out(samples, pooled, SelectConfig(holdout=0.2))
    assert holdout is not None
    assert samples.tracklet is not None
    asking, answering = set(samples.tracklet[holdout.query]), set(samples.tracklet[holdout.gallery])
    assert not asking & answering, "no walk is torn apart"
    assert len(asking) == 6 * 2
    assert len(answering) == 6 * 2
    assert len(holdout.query) == 6 * 2 * 3


def test_one_image_is_no_match_of_itself() -> None:
    """Where nothing is ignored (Celeb-reID), who has a single image cannot be asked for."""
    unfiltered = Protocol("standard", "query", "gallery", Ignore.NOTHING)
    person = np.r_[np.arange(20), np.arange(10, 20)]
    none = np.full(len(person), -1)
    samples = Samples(tuple(map(str, range(30))), person, none, none)
    holdout = hold_out(samples, unfiltered, SelectConfig(holdout=0.4))
    assert holdout is not None
    assert set(holdout.persons) <= set(range(10, 20))


def test_the_choice_of_identities_depends_on_its_own_seed_only() -> None:
    one, two = (hold_out(world(60), CLOTH_CHANGING, SelectConfig(seed=seed)) for seed in (0, 1))
    assert one is not None
    assert two is not None
    again = hold_out(world(60), CLOTH_CHANGING, SelectConfig(seed=0))
    assert again is not None
    assert (one.persons == again.persons).all()
    assert (one.persons != two.persons).any()


def test_too_few_identities_are_not_held_out() -> None:
    assert hold_out(world(10 * FEWEST_HELD_OUT - 6), CLOTH_CHANGING, SelectConfig(holdout=0.1)) is None
    assert hold_out(world(60, outfits=1), CLOTH_CHANGING, SelectConfig(holdout=0.2)) is None, "nobody changes clothes"


def test_the_earlier_epoch_wins_a_tie_and_no_number_never_wins() -> None:
    selector = Selector("validation")
    assert [selector.offer(epoch, score) for epoch, score in enumerate([0.2, 0.2, float("nan"), 0.3], start=1)] == [
        True,
        False,
        False,
        True,
    ]
    assert Selector(**selector.state()) == selector
    assert selector.epoch == 4


@pytest.mark.parametrize(("rule", "printed"), [("oracle", "oracle †"), ("validation", "validation"), ("last", "last")])
def test_a_choice_made_on_the_test_set_carries_a_dagger(rule: str, printed: str) -> None:
    assert marked(rule) == printed
