"""Re-ranking: the distances of the published codes, from sparse vectors and in blocks, whatever ties."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.protocols import LabelRows
from benchmarks.ranking import Features, Ranking, rank, rank_distances
from benchmarks.reranking import RerankConfig, reranked
from datasets.base import Ignore, Protocol
from datasets.errors import DataError, UsageError
from methods import k_reciprocal
from methods.k_reciprocal import encode, jaccard, nearest

EVERYTHING = Protocol("everything", "query", "gallery", Ignore.NOTHING)
SINGLE_SHOT = Protocol("single-shot", "query", "gallery", Ignore.SAME_CAMERA, draws=3)
USUAL = RerankConfig(method="k-reciprocal")
WIDE = RerankConfig(method="k-reciprocal", k1=50, k2=15)
"""What DIFFER's and MADE's codes ask for."""
HALF, SINGLE = np.float16, np.float32
PEERS = {
    "DIFFER k1=20 k2=6 l=0.3 (float16 V)": (USUAL, HALF, 1),
    "DIFFER default k1=50 k2=15 l=0.3": (WIDE, HALF, 1),
    "CSSC k1=20 k2=6 l=0.3 (float16 V)": (USUAL, HALF, 1),
    "fast-reid rerank.py k1=20 k2=6 l=0.3 (fp32, input = euclid, squared inside)": (USUAL, SINGLE, 1),
    "torchreid utils/rerank.py (input = squared euclid, squared again inside)": (USUAL, SINGLE, 2),
}
"""Name in the golden file → options, type of V and of the Jaccard distances, power of the squared distance."""
FAST_REID = "fast-reid rerank.py k1=20 k2=6 l=0.3 (fp32, input = euclid, squared inside)"
TORCHREID = "torchreid utils/rerank.py (input = squared euclid, squared again inside)"


def dense_vectors(distance: np.ndarray, counts: tuple[int, int, int], dtype: type) -> np.ndarray:
    """V [N, N] from distances [N, N], straight from the paper; `counts` of neighbours, half and average as in ours."""
    neighbours, half, average = counts
    first = distance.copy()
    np.fill_diagonal(first, -np.inf)
    order = first.argsort(axis=1, kind="stable")

    def mutual(row: int, count: int) -> set[int]:
        return {other for other in order[row, :count] if row in order[other, :count]}

    vectors = np.zeros(distance.shape, dtype)
    for row in range(len(distance)):
        found = mutual(row, neighbours)
        smaller = [mutual(member, half) for member in found]
        members = sorted(found.union(*(part for part in smaller if 3 * len(part & found) > 2 * len(part))))
        weights = np.exp(-distance[row, members])
        vectors[row, members] = weights / weights.sum()
    return np.stack([vectors[near].mean(axis=0, dtype=np.float32) for near in order[:, :average]]).astype(dtype)


def dense_jaccard(vectors: np.ndarray) -> np.ndarray:
    shared = np.zeros_like(vectors)
    for column in vectors.T:  # one by one and in the type of V, because the codes with float16 round each sum
        shared += np.minimum(column[:, None], column)
    return 1 - shared / (2 - shared)


def squared_distances(features: np.ndarray) -> np.ndarray:
    square = (features**2).sum(axis=1)
    return np.maximum(square[:, None] + square - 2 * features @ features.T, 0)


def dense(features: np.ndarray, queries: int, config: RerankConfig, dtype: type = SINGLE, power: int = 1) -> np.ndarray:
    """[Q, G] re-ranked distances with whole matrices in memory."""
    distance = squared_distances(features) ** power
    distance /= np.maximum(distance.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    counts = (config.k1 + 1, round(config.k1 / 2) + 1, config.k2)
    shared = dense_jaccard(dense_vectors(distance, counts, dtype))
    return ((1 - config.weight) * shared + config.weight * distance)[:queries, queries:]


def ours(query: np.ndarray, gallery: np.ndarray, config: RerankConfig, normalise: bool = True) -> np.ndarray:
    block = reranked(torch.from_numpy(query), torch.from_numpy(gallery), config, "euclidean", normalise)
    found = block(slice(0, len(query)))
    return (found.values + found.shift).numpy()


@pytest.fixture(scope="session")
def published(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "eval" / "rerank_golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="session")
def scores(golden: Path) -> dict[str, tuple[float, float]]:
    values = json.loads((golden / "eval" / "rerank_golden.json").read_text())
    return {name: value["mAP_R1"] for name, value in values.items() if "mAP_R1" in value}


def output(published: dict[str, np.ndarray], peer: str) -> np.ndarray:
    return published[f"out_{published['names'].tolist().index(peer)}"]


def features_of(embeddings: np.ndarray, person: np.ndarray) -> Features:
    nothing = np.zeros(len(person), dtype=np.int64)
    return Features(torch.from_numpy(embeddings), person, nothing, nothing)


def labels_of(person: np.ndarray) -> LabelRows:
    nothing = np.zeros(len(person), dtype=np.int64)
    return LabelRows(person, nothing, nothing, None)


@pytest.mark.parametrize("peer", PEERS)
def test_the_dense_reference_is_each_published_code(published: dict, peer: str) -> None:
    """So that what is compared with it is compared with all of them; float16 storage is all that sets some apart."""
    config, dtype, power = PEERS[peer]
    found = dense(np.concatenate([published["q"], published["g"]]), 30, config, dtype, power)
    np.testing.assert_allclose(found, output(published, peer), atol=5e-7)


@pytest.mark.parametrize("peer", PEERS)
def test_distances_are_the_published_codes_but_for_their_oddities(published: dict, peer: str) -> None:
    """fp32 agrees to 1e-6. Of the others, what float16 or squaring twice changes is all that differs."""
    config, dtype, power = PEERS[peer]
    everything = np.concatenate([published["q"], published["g"]])
    oddity = dense(everything, 30, config, dtype, power) - dense(everything, 30, config)
    found = ours(published["q"], published["g"], config)
    np.testing.assert_allclose(found, output(published, peer) - oddity, atol=1e-6)
    largest = np.abs(oddity).max()
    assert largest == 0 if peer == FAST_REID else largest > 0.08 if peer == TORCHREID else 0.002 < largest < 0.004


@pytest.mark.parametrize("peer", PEERS)
def test_scores_are_the_published_codes(published: dict, scores: dict, peer: str) -> None:
    """Ours for fp32; the others' distances scored by us, whose mAP ours is within 0.001 of."""
    config, person = PEERS[peer][0], (published["pid_q"], published["pid_g"])
    query, gallery = features_of(published["q"], person[0]), features_of(published["g"], person[1])
    theirs = rank_distances(output(published, peer), labels_of(person[0]), labels_of(person[1]), EVERYTHING).scores()
    assert (theirs["mAP"], theirs["R1"]) == pytest.approx(scores[peer], abs=1e-9)
    found = rank(query, gallery, EVERYTHING, rerank=config).scores()
    assert (found["mAP"], found["R1"]) == pytest.approx(scores[peer], abs=1e-9 if peer == FAST_REID else 1e-3)
    plain = rank(query, gallery, EVERYTHING).scores()
    assert (plain["mAP"], plain["R1"]) == pytest.approx(scores["original squared euclid"], abs=1e-9)


def test_distances_may_lie_in_memory_in_any_order() -> None:
    """Re-ranking codes return transposed matrices, and numpy's choice of columns is one; counting goes row by row."""
    random = np.random.default_rng(0)
    distance = random.permutation(20 * 50).reshape(20, 50).astype(np.float32)
    query, gallery = labels_of(random.integers(0, 4, 20)), labels_of(random.integers(0, 4, 50))
    gallery.camera[:] = 1
    for protocol in (EVERYTHING, SINGLE_SHOT):
        expected = rank_distances(torch.from_numpy(distance), query, gallery, protocol)
        for matrix in (distance, np.asfortranarray(distance)):
            assert_same(rank_distances(matrix, query, gallery, protocol), expected)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Features [N, D] whose products fp32 holds exactly, many of them equal, and how many of them ask."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries, entries = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    high, dimensions = draw(st.sampled_from([0, 1, 3, 40])), draw(st.integers(1, 6))
    features = random.integers(-high, high + 1, (queries + entries, dimensions)).astype(np.float32)
    return features, queries


@settings(deadline=None, max_examples=150)
@given(
    world=worlds(), k1=st.integers(1, 60), k2=st.integers(1, 60), weight=st.sampled_from([0, 0.3, 1]), few=st.booleans()
)
def test_sparse_blocks_equal_dense_matrices(
    world: tuple[np.ndarray, int], k1: int, k2: int, weight: float, few: bool
) -> None:
    """Ties, duplicates, equal features throughout, more neighbours than images, any size of the blocks."""
    features, queries = world
    config = RerankConfig(method="k-reciprocal", k1=k1, k2=k2, weight=weight)
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(k_reciprocal, "VALUES_AT_A_TIME", 50)
            patch.setattr(k_reciprocal, "ENTRIES_AT_A_TIME", 50)
        found = ours(features[:queries], features[queries:], config, normalise=False)
    np.testing.assert_allclose(found, dense(features, queries, config), atol=2e-6)


@settings(deadline=None, max_examples=50)
@given(world=worlds(), neighbours=st.integers(1, 30), half=st.integers(1, 15), average=st.integers(1, 8))
def test_encodings_without_scale_equal_dense_matrices(
    world: tuple[np.ndarray, int], neighbours: int, half: int, average: int
) -> None:
    """As clustering asks for them: all distances to all, exp(-d) of the distance itself."""
    features = world[0] / np.float32(8)
    vectors = encode(
        torch.from_numpy(features), neighbours=neighbours, half=half, average=average, scaled=False
    ).vectors
    expected = dense_vectors(squared_distances(features), (neighbours, half, average), SINGLE)
    np.testing.assert_allclose(vectors.toarray(), expected, atol=1e-6)
    assert (vectors.data.dtype, vectors.indices.dtype) == (np.float32, np.int32), "half of what scipy falls back to"
    found = jaccard(vectors, vectors.tocsc())
    np.testing.assert_allclose(found, dense_jaccard(expected), atol=2e-6)
    np.testing.assert_allclose(found, found.T, atol=1e-6)
    assert np.abs(found.diagonal()).max() < 1e-6
    assert found.min() >= 0


def test_an_image_is_its_own_nearest_and_equal_ones_follow_by_row() -> None:
    """Else an image with more than k1 duplicates would be in no neighbourhood, its own included."""
    index, farthest = nearest(torch.tensor([[1.0], [1.0], [1.0], [3.0], [1.0]]), 3)
    assert index.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]
    assert farthest.tolist() == [4, 4, 4, 4, 4]


def clustered(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit features [N, 16] around a centre for each of ten people; the people [N]."""
    random = np.random.default_rng(seed)
    person = random.integers(0, 10, number)
    centres = np.random.default_rng(0).normal(size=(10, 16))
    features = centres[person] + random.normal(size=(number, 16))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), person


def made(queries: int = 40, entries: int = 150) -> tuple[Features, Features]:
    def side(number: int, seed: int) -> Features:
        embeddings, person = clustered(number, seed)
        random = np.random.default_rng(seed)
        return Features(torch.from_numpy(embeddings), person, random.integers(0, 3, number), person)

    return side(queries, 1), side(entries, 2)


def assert_same(found: Ranking, expected: Ranking) -> None:
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)
    np.testing.assert_array_equal(found.first_match, expected.first_match)
    np.testing.assert_array_equal(found.top_index, expected.top_index)


def test_blocks_and_metric_do_not_change_a_ranking() -> None:
    """On unit features the cosine and the squared Euclidean distance differ by a factor, which cancels."""
    query, gallery = made()
    whole = rank(query, gallery, EVERYTHING, rerank=USUAL)
    assert whole.scores()["mAP"] > rank(query, gallery, EVERYTHING).scores()["mAP"] + 0.05
    assert_same(rank(query, gallery, EVERYTHING, rerank=USUAL, chunk=7), whole)
    assert_same(rank(query, gallery, EVERYTHING, rerank=USUAL, metric="euclidean"), whole)


def test_each_single_shot_gallery_is_re_ranked_on_its_own() -> None:
    """What was not drawn must not lend its neighbourhood."""
    query, gallery = made()
    ranking = rank(query, gallery, SINGLE_SHOT, rerank=USUAL)
    assert ranking.drawn is not None
    for draw, rows in enumerate(ranking.drawn):
        part = Features(gallery.embeddings[rows], gallery.person[rows], gallery.camera[rows], gallery.clothes[rows])
        alone = rank(query, part, Protocol("one", "query", "gallery", Ignore.SAME_CAMERA), rerank=USUAL)
        np.testing.assert_array_equal(ranking.first_match[:, draw], alone.first_match)


def test_the_whole_weight_on_the_original_distance_ranks_as_without() -> None:
    query, gallery = made()
    config = RerankConfig(method="k-reciprocal", weight=1)
    assert_same(rank(query, gallery, EVERYTHING, rerank=config), rank(query, gallery, EVERYTHING))


def test_collapsed_features_give_finite_distances() -> None:
    """Equal features but for rounding: the largest distance may be 0, and nothing is divided by it."""
    query, gallery = np.full((3, 8), 0.3, np.float32), np.full((60, 8), 0.3, np.float32)
    gallery[7] = np.nextafter(gallery[7], np.float32(1))
    found = ours(query, gallery, USUAL)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_no_matrix_of_all_images_is_ever_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's memory is watched whole, torch's by the only products that have a row and a column for each image."""
    number, sizes = 2500, []
    features = torch.from_numpy(clustered(number, 3)[0])
    monkeypatch.setattr(k_reciprocal, "VALUES_AT_A_TIME", 2**16)
    monkeypatch.setattr(k_reciprocal, "ENTRIES_AT_A_TIME", 2**16)
    addmm = torch.addmm

    def watched(*given, **named) -> torch.Tensor:
        product = addmm(*given, **named)
        sizes.append(product.numel())
        return product

    monkeypatch.setattr(torch, "addmm", watched)
    tracemalloc.start()
    block = reranked(features[:500], features[500:], USUAL, "cosine", True)
    block(slice(0, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= max(2**16, 100 * 2000)
    assert sum(sizes) > number * number, "all pairs were looked at"
    assert peak < 4 * number * number / 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_by_row(bad: float) -> None:
    query, gallery = made()
    gallery.embeddings[17, 3] = bad
    with pytest.raises(DataError, match="Row 17 of the gallery features"):
        rank(query, gallery, EVERYTHING, rerank=USUAL)


def test_what_is_not_a_distance_is_refused() -> None:
    query, gallery = made()
    with pytest.raises(UsageError, match=r"evaluate.normalise=true or evaluate.metric=euclidean"):
        rank(query, gallery, EVERYTHING, rerank=USUAL, normalise=False)
    with pytest.raises(UsageError, match=r"Unknown metric cosin. Did you mean cosine"):
        rank(query, gallery, EVERYTHING, rerank=USUAL, metric="cosin")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"weight": 1.5}, {"method": "k-reciprocl"}, {"lambda": 0.3}])
def test_impossible_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        RerankConfig(**wrong)
