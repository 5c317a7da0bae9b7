"""Clips are CAL's: its training pieces, its test clips, its temporal crop; every frame of a test tracklet counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datasets.clips import ClipConfig, clip_weights, covering_clips, pieces, training_positions
from tests.trees import golden_rows

TRACKLETS = st.integers(1, 300), st.integers(1, 20), st.integers(1, 6)
"""frames, length, stride"""


def frame_numbers(stored: list) -> list[int]:
    """The frames of a golden row, numbered from 1; more than 40 are stored as [first, last, how many]."""
    if len(stored) == 3 and isinstance(stored[2], int):
        first, last = (int(Path(path).stem) for path in stored[:2])
        assert last - first + 1 == stored[2]
        return list(range(first, last + 1))
    return [int(Path(path).stem) for path in stored]


@pytest.mark.parametrize(("name", "length"), [("CAL__ccvid", 16), ("CAL__ccvid_len8", 8)])
@pytest.mark.parametrize("split", ["query", "gallery"])
def test_test_clips_are_those_of_cal_in_its_order(golden, name, length, split):
    lists = golden_rows(golden, name)
    found = [
        [position + 1 for position in clip]
        for frames, *_ in lists[split]
        for clip in covering_clips(len(frame_numbers(frames)), length, 4).tolist()
    ]
    assert found == [frame_numbers(clip) for clip, *_ in lists[f"recombined_{split}"]]
    ends = np.cumsum([len(covering_clips(len(frame_numbers(frames)), length, 4)) for frames, *_ in lists[split]])
    assert ends.tolist() == [end for _, end in lists[f"{split}_vid2clip_index"]]


def test_training_pieces_are_those_of_cal(golden):
    lists = golden_rows(golden, "CAL__ccvid_len8")
    tracklets = [frame_numbers(frames) for frames, *_ in lists["train"]]
    rows = [(number, frame) for number, frames in enumerate(tracklets) for frame in frames]
    cut = pieces(np.array([number for number, _ in rows]), 64)
    found = [[frame for _, frame in rows[start : start + count]] for start, count in cut.tolist()]
    assert found == [frame_numbers(frames) for frames, *_ in lists["train_dense"]]


@given(st.lists(st.integers(1, 30), max_size=8), st.integers(0, 12))
def test_pieces_are_a_partition_that_stays_within_tracklets(lengths: list[int], piece: int) -> None:
    tracklet = np.repeat(np.arange(len(lengths)) % 3 + 7, lengths)  # the same number again is another run
    found = pieces(tracklet, piece)
    assert found.shape == (len(found), 2)
    assert [row for start, count in found.tolist() for row in range(start, start + count)] == list(range(len(tracklet)))
    for start, count in found.tolist():
        assert len(set(tracklet[start : start + count].tolist())) == 1
        assert piece == 0 or count < 2 * piece
    assert len(found) == sum(max(1, length // piece) if piece else 1 for length in lengths)


@given(*TRACKLETS)
@example(70, 8, 4)
def test_every_frame_is_in_a_test_clip_and_the_weights_sum_to_one(frames: int, length: int, stride: int) -> None:
    clips = covering_clips(frames, length, stride)
    assert clips.shape == (-(-frames // length), length)
    uses = Counter(clips.ravel().tolist())
    assert set(uses) == set(range(frames))
    filled_up = range(frames // length * length, frames)
    assert all(count == 1 for frame, count in uses.items() if frame not in filled_up)
    weights = clip_weights(frames, length, stride)
    assert weights.shape == (frames,)
    assert weights.dtype == np.float64
    assert weights.sum() == pytest.approx(1, abs=1e-12)


@given(*TRACKLETS, st.integers(0, 2**32))
def test_weights_are_the_mean_over_clips_of_the_mean_over_frames(frames, length, stride, seed):
    features = np.random.default_rng(seed).normal(size=(frames, 3))
    expected = features[covering_clips(frames, length, stride)].mean(axis=1).mean(axis=0)
    np.testing.assert_allclose(clip_weights(frames, length, stride) @ features, expected, atol=1e-12)


@given(*TRACKLETS, st.integers(0, 2**32))
def test_a_training_sample_is_cal_s_temporal_crop(frames, length, stride, seed):
    found = training_positions(frames, length, stride, np.random.default_rng(seed))
    assert found.shape == (length,)
    assert found.min() >= 0
    assert found.max() < frames
    if frames >= length * stride:
        assert (np.diff(found) == stride).all()
    elif frames >= length:
        borders = np.arange(length + 1) * frames // length
        assert ((borders[:-1] <= found) & (found < borders[1:])).all()
    else:
        assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    ("frames", "length", "stride", "possible"),
    [
        (40, 8, 4, {tuple(range(start, start + 32, 4)) for start in range(12)}),  # the last starts that fit, too
        (8, 4, 2, {(0, 2, 4, 6), (1, 3, 5, 7)}),  # just long enough for the stride
        (5, 3, 2, {(0, second, third) for second in (1, 2) for third in (3, 4)}),
        (2, 3, 2, {(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)}),
    ],
)
def test_every_training_sample_that_the_rule_allows_occurs_and_no_other(frames, length, stride, possible):
    generator = np.random.default_rng(0)
    drawn = (training_positions(frames, length, stride, generator).tolist() for _ in range(400))
    assert {tuple(positions) for positions in drawn} == possible


@pytest.mark.parametrize("frames", [3, 6])
def test_a_sample_of_one_frame_is_any_frame_with_equal_chance(frames):
    """Image methods train on CCVID this way, on pieces shorter than the stride too."""
    generator = np.random.default_rng(0)
    drawn = np.concatenate([training_positions(frames, 1, 4, generator) for _ in range(6000)])
    counts = np.bincount(drawn, minlength=frames)
    assert np.abs(counts / 6000 - 1 / frames).max() < 0.03


def test_a_generator_in_the_same_state_draws_the_same_sample():
    draws = [training_positions(100, 8, 4, np.random.default_rng(5)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]


def test_defaults_are_those_of_cal_for_an_image_method():
    assert ClipConfig().model_dump() == {"piece": 64, "length": 1, "stride": 4, "test_length": 8, "test_stride": 4}


@pytest.mark.parametrize("key", ["length", "stride", "test_length", "test_stride"])
def test_a_length_of_zero_is_refused(key):
    with pytest.raises(ValueError, match=key):
        ClipConfig(**{key: 0})
