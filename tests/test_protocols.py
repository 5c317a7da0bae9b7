"""Protocols: what a query must not see, which protocols a name chooses, how single-shot galleries are drawn."""

import hashlib

import numpy as np
import pytest

from benchmarks.protocols import LabelRows, choose, draw_single_shot, ignored
from datasets.base import Ignore, Protocol
from datasets.errors import DataError, UsageError


def column(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


QUERY = LabelRows(column(1), column(0), column(10), column(5))
GALLERY = LabelRows(
    person=column(1, 1, 1, 1, 2, 2),
    camera=column(0, 0, 1, 1, 0, 1),
    clothes=column(10, 11, 10, 11, 10, 11),
    tracklet=column(5, 6, 7, 8, 5, 9),
)


def protocol(ignore: Ignore, name: str = "tried") -> Protocol:
    return Protocol(name, "query", "gallery", ignore)


@pytest.mark.parametrize(
    ("ignore", "hidden"),
    [
        (Ignore.NOTHING, []),
        (Ignore.SAME_CAMERA, [0, 1]),
        (Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES, [0, 1, 2]),
        (Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES, [0, 1, 3]),
        (Ignore.SAME_TRACKLET, [0]),
    ],
)
def test_conditions_are_joined_by_or_and_other_people_always_stay(ignore: Ignore, hidden: list[int]) -> None:
    found = ignored(protocol(ignore), QUERY, GALLERY)
    assert found.shape == (1, 6)
    assert np.flatnonzero(found[0]).tolist() == hidden


def test_chosen_pairs_get_the_same_answer_as_in_the_full_table() -> None:
    tried = protocol(Ignore.SAME_CAMERA)
    rows, columns = np.array([[3], [0]]), np.array([[1, 2, 5], [4, 4, 0]])
    np.testing.assert_array_equal(
        ignored(tried, GALLERY, GALLERY, rows, columns), ignored(tried, GALLERY, GALLERY)[rows, columns]
    )


@pytest.mark.parametrize(("ignore", "label"), [(Ignore.SAME_CLOTHES, "clothes"), (Ignore.SAME_TRACKLET, "tracklet")])
def test_a_label_that_a_protocol_needs_must_be_there(ignore: Ignore, label: str) -> None:
    """-1 is no outfit: two unlabelled images do not wear the same one."""
    without = LabelRows(column(1), column(0), column(-1), None)
    with pytest.raises(DataError, match=f"The protocol tried compares the {label}"):
        ignored(protocol(ignore), without, GALLERY)
    assert not ignored(protocol(Ignore.NOTHING), without, GALLERY).any()


def test_a_distractor_needs_no_labels() -> None:
    distractors = LabelRows(column(0, 0), column(-1, -1), column(-1, -1), None)
    assert not ignored(protocol(Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES), QUERY, distractors).any()


OFFERED = [protocol(Ignore.SAME_CAMERA, name) for name in ("cloth-changing", "standard", "same-clothes")]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("all", ["cloth-changing", "standard", "same-clothes"]),
        (("all",), ["cloth-changing", "standard", "same-clothes"]),
        ("headline", ["cloth-changing"]),
        (["same-clothes", "cloth-changing", "same-clothes"], ["cloth-changing", "same-clothes"]),
        ("standard", ["standard"]),
    ],
)
def test_names_choose_protocols_in_the_order_of_the_dataset(names: str | list[str], chosen: list[str]) -> None:
    assert [found.name for found in choose(OFFERED, names)] == chosen


def test_an_unknown_protocol_gets_a_suggestion() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown protocol cloths-changing\. Did you mean cloth-changing\? Available: "
    ):
        choose(OFFERED, ["standard", "cloths-changing"])


def test_choosing_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="No protocol"):
        choose(OFFERED, [])


def test_single_shot_galleries_hold_one_image_of_each_identity_as_documented() -> None:
    person = column(7, 3, 7, 7, 3, 9)
    drawn = draw_single_shot(person, 20)
    assert drawn.shape == (20, 3)
    for number, rows in enumerate(drawn):
        assert rows.tolist() == sorted(rows)
        assert sorted(person[rows]) == [3, 7, 9]
        text = f"single-shot draw {number} person 7".encode()
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % 3
        assert [0, 2, 3][place] in rows
    assert set(drawn.ravel().tolist()) == set(range(6)), "in 20 draws every image is drawn"


def test_the_images_drawn_of_an_identity_do_not_depend_on_the_other_identities() -> None:
    person = np.repeat(np.arange(1, 9), 5)
    alone = draw_single_shot(person[:5], 10)
    np.testing.assert_array_equal(draw_single_shot(person, 10)[:, :1], alone)
