"""Ranking: exact against the authors' codes and a naive reference, whatever the blocks, ties and devices."""

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import counting
from benchmarks.distances import full_precision
from benchmarks.protocols import LabelRows, ignored
from benchmarks.ranking import Features, Ranking, rank, rank_distances
from datasets.base import Ignore, Protocol
from datasets.errors import DataError, UsageError

STANDARD = Protocol("general", "query", "gallery", Ignore.SAME_CAMERA)
CHANGING = Protocol("cc", "query", "gallery", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)
SAME = Protocol("sc", "query", "gallery", Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES)
EVERYTHING = Protocol("none", "query", "gallery", Ignore.NOTHING)
PROTOCOLS = [STANDARD, CHANGING, SAME]
SLOW = ("market_3368x15913", "prcc_same_3873x3384", "prcc_diff_3543x3384")
CASES = (
    *(f"small_50x200_{name}" for name in ("s0", "s1", "s2", "ties5", "ties50", "alltied")),
    *("hand_3x6", "tinygal_20x30", "intfeat_50x200"),
    *("ltcc_493x7050", "ltcc_493x7050_ties4", "ltcc_intfeat_493x7050"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
)
UNTIED = (
    *("hand_3x6", "tinygal_20x30", "ltcc_493x7050", *(f"small_50x200_s{seed}" for seed in range(3))),
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
)


@pytest.fixture(scope="session")
def cases(golden: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cases", golden / "eval" / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def expected(golden: Path) -> dict:
    return json.loads((golden / "eval" / "golden.json").read_text())


@pytest.fixture(scope="session")
def per_query(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "eval" / "golden_per_query.npz", allow_pickle=False) as file:
        return dict(file)


def labels_of(case: dict[str, np.ndarray]) -> tuple[LabelRows, LabelRows]:
    query, gallery = (
        LabelRows(case[f"{side}_pids"], case[f"{side}_camids"], case[f"{side}_clothes"], None) for side in "qg"
    )
    return query, gallery


def features_of(embeddings: np.ndarray, labels: LabelRows) -> Features:
    return Features(torch.from_numpy(embeddings), labels.person, labels.camera, labels.clothes, labels.tracklet)


def assert_golden(rankings: dict[str, Ranking], name: str, expected: dict, per_query: dict[str, np.ndarray]) -> None:
    for protocol, ranking in rankings.items():
        scores, golden = ranking.scores(), expected[name][protocol]
        valid = ranking.matches > 0
        assert scores["queries"] == golden["queries"]
        if not golden["queries"]:
            assert math.isnan(scores["mAP"])
            continue
        assert scores["mAP"] == pytest.approx(golden["mAP"], abs=1e-12)
        for place in (1, 5, 10, 20):
            assert scores[f"R{place}"] == pytest.approx((golden["cmc"] + [1.0] * 20)[place - 1], abs=1e-12)
        np.testing.assert_allclose(ranking.average_precision[valid], per_query[f"{name}|{protocol}|AP"], atol=1e-12)
        np.testing.assert_array_equal(ranking.first_match[valid] - 1, per_query[f"{name}|{protocol}|first0"])
    if expected[name]["mINP"] is not None:
        standard = rankings["general"]
        assert standard.scores()["mINP"] == pytest.approx(expected[name]["mINP"], abs=1e-12)
        penalty = standard.inverse_negative_penalty[standard.matches > 0]
        np.testing.assert_allclose(penalty, per_query[f"{name}|general|INP"], atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_official_evaluators_are_matched_per_query(
    name: str, cases: ModuleType, expected: dict, per_query: dict[str, np.ndarray]
) -> None:
    case = cases.CASES[name]()
    assert cases.digest(case) == expected[name]["sha256"], "the inputs are those of the golden run"
    rankings = rank_distances(case["distmat"], *labels_of(case), PROTOCOLS)
    assert_golden(rankings, name, expected, per_query)
    assert any(ranking.tied.any() for ranking in rankings.values()) == expected[name]["ties"]


@pytest.mark.parametrize("name", UNTIED)
def test_older_conventions_are_matched(name: str, cases: ModuleType, golden: Path) -> None:
    """Nothing ignored (DIFFER on Celeb-reID), and precision measured by trapezoids (layumi, official Celeb-reID)."""
    variants = json.loads((golden / "eval" / "variants.json").read_text())
    assert set(variants) == {*UNTIED[: -len(SLOW)], *SLOW}, "these codes leave the order of ties to the sorting"
    case = cases.CASES[name]()
    trapezoids = Protocol("trapezoids", "query", "gallery", Ignore.SAME_CAMERA, area="trapezoids")
    rankings = rank_distances(case["distmat"], *labels_of(case), [EVERYTHING, trapezoids])
    found, expected = rankings["none"].scores(), variants[name]["unfiltered"]
    assert found["mAP"] == pytest.approx(expected["mAP"], abs=1e-12)
    assert found["R1"] == pytest.approx(expected["R1"], abs=1e-6), "they compute CMC in fp32"
    for code in ("trapezoids", "trapezoids_celeb"):
        assert rankings["trapezoids"].scores()["mAP"] == pytest.approx(variants[name][code], abs=1e-12)


@pytest.mark.parametrize("name", ["intfeat_50x200", "ltcc_intfeat_493x7050"])
def test_features_that_no_blas_can_round_match_the_golden_values(
    name: str, cases: ModuleType, expected: dict, per_query: dict[str, np.ndarray]
) -> None:
    """The whole way from features; CAL's distance is the negative dot product, cosine without normalising."""
    case = cases.CASES[name]()
    query, gallery = (features_of(case[f"{side}f"], labels) for side, labels in zip("qg", labels_of(case), strict=True))
    rankings = rank(query, gallery, PROTOCOLS, normalise=False)
    assert_golden(rankings, name, expected, per_query)
    dot = 1 + case["distmat"][np.arange(len(query.person)), rankings["general"].top_index[:, 0]]
    np.testing.assert_array_equal(rankings["general"].top_distance[:, 0], dot)


def naive(distance: np.ndarray, query: LabelRows, gallery: LabelRows, protocol: Protocol, q: int) -> dict:
    """One query, straight from the definitions."""
    hidden = ignored(protocol, query, gallery)[q]
    order = [g for g in np.argsort(distance[q], kind="stable") if not hidden[g]]
    correct = [bool(gallery.person[g] == query.person[q]) for g in order]
    ranks = [place for place, hit in enumerate(correct, start=1) if hit]
    found = [k / place for k, place in enumerate(ranks, start=1)]
    matches = {distance[q, g] for g in order if gallery.person[g] == query.person[q]}
    return {
        "average_precision": sum(found) / len(found) if found else math.nan,
        "inverse_negative_penalty": found[-1] if found else math.nan,
        "first_match": ranks[0] if ranks else -1,
        "matches": len(ranks),
        "ignored": int(hidden.sum()),
        "tied": any(distance[q, g] in matches and gallery.person[g] != query.person[q] for g in order),
        "order": order,
        "correct": correct,
    }


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, LabelRows, LabelRows]:
    """Few identities, cameras, clothes and distances: ignored entries, lonely queries and ties are the rule."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries, entries = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    persons, levels = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 7, 1000]))

    def labels(number: int) -> LabelRows:
        person, camera, outfit, walk = (random.integers(0, high, number) for high in (persons, 3, 2, 3))
        return LabelRows(person, camera, person * 2 + outfit, person * 3 + walk)

    distance = random.integers(-levels, levels, (queries, entries)) * draw(st.sampled_from([1.0, 0.1, 1e30]))
    return distance.astype(draw(st.sampled_from([np.float32, np.float64]))), labels(queries), labels(entries)


@settings(deadline=None, max_examples=150)
@given(world=worlds(), keep=st.integers(0, 45), chunk=st.integers(1, 9))
def test_every_column_equals_a_naive_reference(world: tuple, keep: int, chunk: int) -> None:
    """Ties, ignored entries, queries without a match, galleries smaller than the kept lists, any block size."""
    distance, query, gallery = world
    tracklet = Protocol("tracklet", "query", "gallery", Ignore.SAME_TRACKLET)
    protocols = [*PROTOCOLS, EVERYTHING, tracklet]
    rankings = rank_distances(distance, query, gallery, protocols, keep=keep, chunk=chunk)
    for protocol in protocols:
        ranking = rankings[protocol.name]
        for q in range(len(distance)):
            reference = naive(distance, query, gallery, protocol, q)
            order, correct = reference.pop("order")[:keep], reference.pop("correct")[:keep]
            for column, value in reference.items():
                assert getattr(ranking, column)[q] == pytest.approx(value, nan_ok=True), column
            assert ranking.top_index[q].tolist() == order + [-1] * (keep - len(order))
            assert ranking.top_correct[q].tolist() == correct + [False] * (keep - len(order))
            np.testing.assert_array_equal(ranking.top_distance[q, : len(order)], distance[q, order])
            assert np.isnan(ranking.top_distance[q, len(order) :]).all()


@settings(deadline=None, max_examples=50)
@given(world=worlds(), keep=st.integers(0, 45))
def test_the_way_of_the_gpu_counts_the_same_as_the_way_of_the_cpu(world: tuple, keep: int) -> None:
    distance, query, gallery = world
    mask = query.person[:, None] == gallery.person[None]
    own = np.argsort(~mask, axis=1, kind="stable")[:, : max(1, mask.sum(axis=1).max())]
    present = np.take_along_axis(mask, own, axis=1)
    near = np.where(present, np.take_along_axis(distance, own, axis=1), np.inf).astype(distance.dtype)
    order = near.argsort(axis=1, kind="stable")
    own, near = np.take_along_axis(own, order, axis=1), np.take_along_axis(near, order, axis=1)
    buckets = counting.count_by_buckets(distance.copy(), own, present, near, keep)
    sorting = counting.count_by_sorting(torch.from_numpy(distance.copy()), own, present, near, keep)
    for name in ("ahead", "nearer", "as_near"):
        np.testing.assert_array_equal(getattr(buckets, name)[present], getattr(sorting, name)[present], err_msg=name)
    np.testing.assert_array_equal(buckets.nearest, sorting.nearest)
    np.testing.assert_array_equal(buckets.nearest_distance, sorting.nearest_distance)


@settings(deadline=None, max_examples=50)
@given(world=worlds())
def test_ties_broken_the_best_and_the_worst_way_enclose_the_average_precision(world: tuple) -> None:
    """A favourable tie puts the match ahead of every equally near non-match, an unfavourable one behind them all."""
    distance, query, gallery = world
    ranking = rank_distances(distance, query, gallery, STANDARD)
    match = query.person[:, None] == gallery.person[None]
    for column, behind in (("highest_average_precision", ~match), ("lowest_average_precision", match)):
        place = np.stack([np.lexsort((late, row)) for late, row in zip(behind, distance, strict=True)])
        broken = np.empty_like(distance)
        np.put_along_axis(broken, place, np.arange(distance.shape[1])[None].astype(distance.dtype), axis=1)
        reference = rank_distances(broken, query, gallery, STANDARD).average_precision
        np.testing.assert_allclose(getattr(ranking, column), reference, atol=1e-12)
    bounds = np.stack([ranking.lowest_average_precision, ranking.highest_average_precision])
    untied = ~ranking.tied
    np.testing.assert_array_equal(bounds[:, untied], np.stack([ranking.average_precision[untied]] * 2))


def world_of_features(queries: int = 40, entries: int = 300, dimensions: int = 16, seed: int = 0) -> tuple:
    random = np.random.default_rng(seed)

    def side(number: int) -> Features:
        person = random.integers(0, 12, number)
        embeddings = random.integers(-4, 5, (number, dimensions)).astype(np.float32)
        return features_of(embeddings, LabelRows(person, random.integers(0, 3, number), person * 2 + number % 2, None))

    return side(queries), side(entries)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_block_size_changes_nothing(metric: str) -> None:
    query, gallery = world_of_features()
    whole = rank(query, gallery, STANDARD, metric=metric, normalise=False)  # type: ignore[call-overload]
    for chunk in (1, 7, 40):
        part = rank(query, gallery, STANDARD, metric=metric, normalise=False, chunk=chunk)  # type: ignore[call-overload]
        for name, column in vars(whole).items():
            np.testing.assert_array_equal(getattr(part, name), column, err_msg=name)


def test_several_threads_find_what_one_finds_and_leave_torch_as_it_was() -> None:
    query, gallery = world_of_features()
    alone = rank(query, gallery, STANDARD, normalise=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        shared = rank(query, gallery, STANDARD, normalise=False)
        gallery.embeddings[0, 0] = math.nan
        with pytest.raises(DataError):
            rank(query, gallery, STANDARD)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for name, column in vars(alone).items():
        np.testing.assert_array_equal(getattr(shared, name), column, err_msg=name)


def test_distances_are_those_of_the_metric() -> None:
    query, gallery = world_of_features()
    q, g = (side.embeddings.double().numpy() for side in (query, gallery))
    unit_q, unit_g = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (q, g))
    square = ((q[:, None] - g[None]) ** 2).sum(axis=2)
    unit_square = ((unit_q[:, None] - unit_g[None]) ** 2).sum(axis=2)
    for distance, metric, normalise in (
        (1 - unit_q @ unit_g.T, "cosine", True),
        (1 - q @ g.T, "cosine", False),
        (unit_square, "euclidean", True),
        (square, "euclidean", False),
    ):
        found = rank(query, gallery, STANDARD, metric=metric, normalise=normalise)  # type: ignore[call-overload]
        reference = np.take_along_axis(distance, found.top_index, axis=1)
        np.testing.assert_allclose(found.top_distance, reference, atol=2e-6)


def test_one_protocol_gives_a_ranking_and_several_give_one_each_in_their_order() -> None:
    query, gallery = world_of_features()
    several = rank(query, gallery, PROTOCOLS)
    assert list(several) == ["general", "cc", "sc"]
    for protocol in PROTOCOLS:
        single = rank(query, gallery, protocol)
        np.testing.assert_array_equal(single.average_precision, several[protocol.name].average_precision)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_features_that_are_not_finite_are_refused_by_row(side: str, value: float) -> None:
    query, gallery = world_of_features()
    features = {"query": query, "gallery": gallery}[side]
    features.embeddings[[17, 30], 3] = value
    with pytest.raises(DataError, match=f"Row 17 of the {side} features"):
        rank(query, gallery, STANDARD)


def test_distances_that_are_not_finite_are_refused_by_row() -> None:
    distance = np.zeros((9, 30), dtype=np.float32)
    distance[7, 2] = math.nan
    labels = LabelRows(np.ones(30, dtype=np.int64), np.arange(30), np.arange(30), None)
    with pytest.raises(DataError, match="Row 7 of the distances"):
        rank_distances(distance, LabelRows.of(labels, np.arange(9)), labels, EVERYTHING, chunk=2)


def test_an_unknown_metric_gets_a_suggestion() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown metric cosin\. Did you mean cosine\? Available: cosine, euclidean\."
    ):
        rank(*world_of_features(), STANDARD, metric="cosin")  # type: ignore[call-overload]


def test_images_of_nobody_must_have_been_left_out() -> None:
    query, gallery = world_of_features()
    gallery.person[5] = -1
    with pytest.raises(DataError, match="gallery split"):
        rank(query, gallery, STANDARD)


def test_a_feature_of_zeros_is_as_far_from_everything_as_an_orthogonal_one() -> None:
    query, gallery = world_of_features()
    query.embeddings[3] = 0
    found = rank(query, gallery, EVERYTHING)
    assert (found.top_distance[3] == 1).all()
    assert found.top_index[3].tolist() == list(range(50)), "all tied: the gallery's order"
    assert found.tied[3]


def test_without_a_valid_query_scores_are_nan_and_say_so() -> None:
    query, gallery = world_of_features()
    gallery.person[:] = 99
    found = rank(query, gallery, STANDARD)
    scores = found.scores()
    assert scores.pop("queries") == 0
    assert list(scores) == ["mAP", "R1", "R5", "R10", "R20", "mINP"]
    assert all(math.isnan(score) for score in scores.values())
    assert (found.first_match == -1).all()
    assert (found.top_index >= 0).all(), "what lay nearest can still be shown"


def test_a_saved_ranking_is_read_back(tmp_path: Path) -> None:
    protocol = Protocol("single-shot", "query", "gallery", Ignore.SAME_CAMERA, draws=3)
    for found in rank(*world_of_features(), [STANDARD, protocol]).values():
        found.save(tmp_path / "rankings" / "standard@last.npz")
        again = Ranking.load(tmp_path / "rankings" / "standard@last.npz")
        for name, column in vars(found).items():
            np.testing.assert_array_equal(getattr(again, name), column, err_msg=name)
        assert [file.name for file in (tmp_path / "rankings").iterdir()] == ["standard@last.npz"]


@pytest.mark.parametrize("content", [b"", b"not a ranking", None])
def test_a_file_that_is_no_ranking_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "broken.npz"
    if content is None:
        np.savez(file, other=np.zeros(3))
    else:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz"):
        Ranking.load(file)


def test_single_shot_scores_are_means_over_galleries_of_one_image_each() -> None:
    query, gallery = world_of_features()
    found = rank(query, gallery, Protocol("single-shot", "query", "gallery", Ignore.SAME_CAMERA, draws=4), keep=5)
    assert found.drawn is not None
    each = []
    for rows in found.drawn:
        assert sorted(gallery.person[rows]) == sorted(set(gallery.person.tolist()))
        drawn = LabelRows.of(gallery, rows)
        each.append(rank(query, features_of(gallery.embeddings[rows].numpy(), drawn), STANDARD, keep=5))
    precision = np.stack([ranking.average_precision for ranking in each])
    counted = (~np.isnan(precision)).any(axis=0)
    assert np.isnan(precision[:, counted]).any(), "some draws leave a query without a match: those do not count"
    assert np.isnan(found.average_precision[~counted]).all()
    np.testing.assert_allclose(found.average_precision[counted], np.nanmean(precision[:, counted], axis=0))
    first = np.stack([ranking.first_match for ranking in each], axis=1)
    np.testing.assert_array_equal(found.first_match, first)
    hits = [np.mean([place <= 5 for place in row if place > 0]) for row in first[counted]]
    np.testing.assert_allclose(found.hits(5)[counted], hits)
    np.testing.assert_array_equal(found.top_index, found.drawn[0][each[0].top_index])
    assert found.scores()["queries"] == (first > 0).any(axis=1).sum()


def test_shortcuts_of_the_training_do_not_reach_the_products() -> None:
    """bf16 products, switched on for speed, would change scores in the third digit."""
    query, gallery = world_of_features(dimensions=256)
    query.embeddings.normal_(generator=torch.Generator().manual_seed(0))
    gallery.embeddings.normal_(generator=torch.Generator().manual_seed(1))
    exact = rank(query, gallery, STANDARD).top_distance
    switch = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            np.testing.assert_array_equal(rank(query, gallery, STANDARD).top_distance, exact)
        assert switch.fp32_precision == "bf16", "and the training finds its switch as it left it"
    finally:
        switch.fp32_precision = before
    with full_precision():
        assert switch.fp32_precision == "ieee"


@pytest.mark.slow
def test_ten_thousand_queries_against_a_large_gallery_stay_within_bounded_memory() -> None:
    """Blocks of queries, never the 5 GB of all distances. A child process: the peak of this one knows other tests."""
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "benchmarks.perf.ranking",
        "--sizes",
        "large",
        "--dimensions",
        "16",
        "--rounds",
        "0",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    (row,) = json.loads(done.stdout)
    assert (row["queries"], row["gallery"]) == (10_000, 125_000)
    assert row["extra_memory_mb"] < 700
