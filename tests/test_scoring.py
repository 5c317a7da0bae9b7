"""From features to rankings: derived splits, tracklets, and what other conventions do to the same features."""

import numpy as np
import pytest
import torch

from benchmarks.pooling import pooled, runs
from benchmarks.ranking import Features, rank
from benchmarks.scoring import compare, embed_splits, score
from benchmarks.spec import EvaluateConfig
from benchmarks.splits import Splits
from datasets.base import Ignore, IntArray, Protocol, ReIDDataset, Samples
from datasets.clips import ClipConfig, covering_clips
from datasets.errors import DataError


class Walks(ReIDDataset):
    """Eight tracklets of four people in memory; `later` is made of the second half of both splits."""

    name = "walks"
    splits = ("query", "gallery")
    frames = {"query": (3, 20, 9, 1), "gallery": (8, 5, 33, 12)}

    def split(self, name: str) -> Samples:
        if name == "later":
            return _joined([self.split(own).take(np.flatnonzero(self.split(own).person >= 2)) for own in self.splits])
        person = np.repeat(np.arange(4), self.frames[name])
        side = self.splits.index(name)
        paths = tuple(f"{name}/{row:03d}.jpg" for row in range(len(person)))
        return Samples(paths, person, np.full(len(person), side), person * 10 + side, tracklet=person * 2 + side)

    def protocols(self) -> tuple[Protocol, ...]:
        return (Protocol("standard", "query", "gallery", Ignore.SAME_CAMERA, pool="frames"),)


def _joined(parts: list[Samples]) -> Samples:
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("person", "camera", "clothes", "tracklet")
    }
    return Samples(tuple(path for part in parts for path in part.paths), **columns)


@pytest.fixture
def walks(tmp_path) -> Walks:
    return Walks(tmp_path)


def features_of(samples: Samples, seed: int = 0) -> Features:
    embeddings = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(samples), 6)).astype(np.float32))
    return Features(embeddings, samples.person, samples.camera, samples.clothes, samples.tracklet)


def test_a_derived_split_takes_the_features_of_the_images_it_is_made_of(walks: Walks) -> None:
    """Nothing is embedded twice, and what no protocol needs is not embedded at all."""
    asked: list[tuple[str, int]] = []

    def embed(split: str, rows: IntArray) -> torch.Tensor:
        asked.append((split, len(rows)))
        return torch.tensor([[walks.splits.index(split), row] for row in rows.tolist()], dtype=torch.float32)

    protocols = [Protocol("later", "later", "gallery", Ignore.NOTHING)]
    found = embed_splits(Splits(walks), protocols, embed)
    query, gallery = walks.split("query"), walks.split("gallery")
    assert sorted(asked) == [("gallery", len(gallery)), ("query", int((query.person >= 2).sum()))]
    expected = [[0, row] for row in np.flatnonzero(query.person >= 2)]
    expected += [[1, row] for row in np.flatnonzero(gallery.person >= 2)]
    assert found["later"].embeddings.tolist() == expected
    assert found["later"].person.tolist() == walks.split("later").person.tolist()


def test_selected_rows_of_a_split_are_a_split(walks: Walks) -> None:
    splits = Splits(walks)
    splits.select("held", "gallery", np.array([2, 5]))
    assert splits.samples("held").paths == ("gallery/002.jpg", "gallery/005.jpg")
    places, rows = splits.parts("held")["gallery"]
    assert (places.tolist(), rows.tolist()) == ([0, 1], [2, 5])


def test_the_mean_over_frames_and_over_clips(walks: Walks) -> None:
    """From the definitions; with 20 frames three clips of 8 cover the walk, the last with frames that count again."""
    samples = walks.split("query")
    features, config = features_of(samples), ClipConfig()
    frames, clips, unit = (pooled(features, pool, config) for pool in ("frames", "clips", "unit-clips"))
    assert frames.person.tolist() == [0, 1, 2, 3]
    assert frames.tracklet is not None
    assert frames.tracklet.tolist() == [0, 2, 4, 6]
    own = features.embeddings[3:23]
    covering = torch.from_numpy(covering_clips(20, config.test_length, config.test_stride))
    means = torch.stack([own[clip].mean(dim=0) for clip in covering])
    torch.testing.assert_close(frames.embeddings[1], own.mean(dim=0))
    torch.testing.assert_close(clips.embeddings[1], means.mean(dim=0))
    torch.testing.assert_close(unit.embeddings[1], torch.stack([mean / mean.norm() for mean in means]).mean(dim=0))
    assert not torch.allclose(clips.embeddings[1], frames.embeddings[1]), "frames of the last clip count again"
    torch.testing.assert_close(clips.embeddings[3], features.embeddings[-1])


def test_tracklets_are_ranked_by_their_pooled_features(walks: Walks) -> None:
    config, clips = EvaluateConfig(), ClipConfig()
    features = {name: features_of(walks.split(name), seed) for seed, name in enumerate(walks.splits)}
    (found,) = compare(features, walks.protocols(), config, clips)
    query, gallery = (pooled(features[name], "frames", clips) for name in walks.splits)
    expected = rank(query, gallery, walks.protocols()[0])
    assert found.matches.tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)


def test_images_without_tracklets_cannot_be_pooled_and_scattered_ones_are_refused(walks: Walks) -> None:
    samples = walks.split("query")
    alone = Features(torch.zeros(2, 3), *(np.arange(2) for _ in range(3)))
    with pytest.raises(DataError, match="belong to no tracklets"):
        pooled(alone, "frames", ClipConfig())
    assert samples.tracklet is not None
    with pytest.raises(DataError, match="do not follow each other"):
        runs(np.array([1, 1, 2, 1]))
    starts, lengths = runs(samples.tracklet)
    assert (starts.tolist(), lengths.tolist()) == ([0, 3, 23, 32], [3, 20, 9, 1])


def test_score_keeps_the_order_of_the_protocols(walks: Walks) -> None:
    protocols = [
        Protocol("images", "query", "gallery", Ignore.NOTHING),
        *walks.protocols(),
        Protocol("clips", "query", "gallery", Ignore.NOTHING, pool="clips"),
    ]
    table = {name: features_of(walks.split(name), seed).embeddings for seed, name in enumerate(walks.splits)}
    found = score(Splits(walks), protocols, lambda own, rows: table[own][rows], EvaluateConfig(), ClipConfig())
    assert [len(ranking.matches) for ranking in found] == [33, 4, 4]
