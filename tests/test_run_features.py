"""The features that a run keeps are those it was scored with; a missing or damaged file is one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.distribution import joined
from benchmarks.evidence import Ranking
from benchmarks.ranking import Features, rank
from benchmarks.records import RunFolder
from benchmarks.reopening import reopen
from benchmarks.run_features import has_features, keep_features, kept_features
from benchmarks.spec import EvaluateConfig
from benchmarks.splits import save_samples
from datasets.base import Samples
from datasets.errors import DataError
from tests.small_runs import copied, small_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("run"), dataset__test_people=8)


@pytest.fixture
def finished(trained: RunFolder, tmp_path: Path) -> RunFolder:
    return copied(trained, tmp_path)


def small_split(folder: RunFolder, count: int = 4) -> Features:
    """`count` images with labels, whose list is saved as a run does it."""
    numbers = np.arange(count)
    samples = Samples(tuple(f"{number}.jpg" for number in numbers), numbers, numbers % 2, numbers)
    save_samples(folder.split("query"), samples)
    return Features(torch.randn(count, 8), samples.person, samples.camera, samples.clothes)


def test_kept_features_are_those_that_the_evaluation_compares(finished: RunFolder, tmp_path: Path) -> None:
    """Of unit length, row by row the model's own, and they rank as the run did."""
    assert has_features(finished, finished.headline, "query", "gallery")
    reopened = reopen(finished, {"cache": str(tmp_path / "cache")}, lambda event: None)
    query, gallery = (kept_features(finished, split) for split in ("query", "gallery"))
    with joined("cpu") as world:
        embed = reopened.embedder(reopened.method(), world)
        exact = torch.nn.functional.normalize(embed("gallery", np.arange(len(gallery.person))), dim=1)
    assert torch.allclose(gallery.embeddings, exact, atol=1e-3), "half precision of features of unit length"
    protocol = reopened.data.headline
    again, recorded = rank(query, gallery, protocol), Ranking.load(finished.ranking(protocol.name, finished.headline))
    assert np.allclose(again.top_distance[:, 0], recorded.top_distance[:, 0], atol=2e-3)
    assert again.scores()["mAP"] == pytest.approx(recorded.scores()["mAP"], abs=0.02)
    assert np.array_equal(again.matches, recorded.matches)


def test_they_take_two_bytes_a_number_and_none_when_not_wanted(finished: RunFolder, tmp_path: Path) -> None:
    with np.load(finished.features("query", finished.headline)) as file:
        assert file["embeddings"].dtype == np.float16
    bare = small_run(tmp_path / "without", train__epochs=0, keep_features="false")
    assert not has_features(bare, bare.headline, "query")
    with pytest.raises(DataError, match=r"query@last\.npz is missing"):
        kept_features(bare, "query")


def test_numbers_too_large_for_half_precision_are_kept_in_full(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    folder = RunFolder(tmp_path)
    found = small_split(folder)
    large = Features(found.embeddings * 1e6, found.person, found.camera, found.clothes)
    keep_features(folder, "last", {"query": large}, EvaluateConfig(normalise=False))
    assert torch.equal(kept_features(folder, "query", "last").embeddings, large.embeddings)
    assert not recwarn.list


def test_without_normalisation_lengths_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    found = small_split(folder)
    keep_features(folder, "last", {"query": found}, EvaluateConfig(normalise=False))
    kept = kept_features(folder, "query", "last").embeddings
    assert torch.allclose(kept.norm(dim=1), found.embeddings.norm(dim=1), rtol=1e-3)


@pytest.mark.parametrize("content", [b"", b"not a zip archive", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_named_with_its_mend(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    keep_features(folder, "last", {"query": small_split(folder)}, EvaluateConfig())
    folder.features("query", "last").write_bytes(content)
    with pytest.raises(DataError, match=r"query@last\.npz is not a file of features .*: delete it"):
        kept_features(folder, "query", "last")


def test_features_of_other_images_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    keep_features(folder, "last", {"query": small_split(folder)}, EvaluateConfig())
    small_split(folder, count=5)
    with pytest.raises(DataError, match="is of other images than"):
        kept_features(folder, "query", "last")
