"""Intervals and comparisons respect that queries of one person are correlated and that seeds are few."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import Sample, compare, estimate, holm


def world(
    generator: np.random.Generator, *, people: int = 60, queries: int = 6, seeds: int = 3, gain: float = 0.0
) -> tuple[Sample, Sample]:
    """Two methods on the same people: a hard person is hard for both, each training is a little off."""
    person = np.repeat(np.arange(people), queries)
    hardness = generator.normal(0, 0.15, people)
    samples = []
    for extra in (0.0, gain):
        liking = generator.normal(0, 0.05, people)
        training = generator.normal(0, 0.01, (seeds, 1))
        noise = generator.normal(0, 0.1, (seeds, len(person)))
        samples.append(Sample(0.5 + extra + hardness[person] + liking[person] + training + noise, person))
    return samples[0], samples[1]


def test_the_mean_and_the_spread_over_seeds_leave_out_queries_that_do_not_count() -> None:
    values = np.array([[0.2, 0.4, np.nan], [0.4, 0.8, np.nan]])
    found = estimate(Sample(values, np.array([1, 2, 3])))
    assert found.mean == pytest.approx(0.45)
    assert found.deviation == pytest.approx(np.std([0.3, 0.6], ddof=1))
    assert found.seeds == 2
    assert found.low <= found.mean <= found.high


def test_one_seed_has_no_spread_and_no_query_gives_no_number() -> None:
    assert np.isnan(estimate(Sample(np.array([[0.2, 0.4]]), np.array([1, 2]))).deviation)
    nothing = estimate(Sample(np.full((2, 2), np.nan), np.array([1, 2])))
    assert np.isnan(nothing.mean)


def test_queries_of_one_person_count_as_one_draw() -> None:
    """Ten copies of each query tell nothing new: the interval stays as wide."""
    generator = np.random.default_rng(0)
    once, _ = world(generator, queries=1, seeds=1)
    tenfold = Sample(np.repeat(once.values, 10, axis=1), np.repeat(once.person, 10))
    one, ten = estimate(once), estimate(tenfold)
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high))


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    """The true score of the world is 0.5, over people and trainings."""
    generator = np.random.default_rng(1)
    inside = 0
    for number in range(200):
        found = estimate(world(generator)[0], seed=number, resamples=400)
        inside += found.low <= 0.5 <= found.high
    assert 0.89 <= inside / 200 <= 0.985


def test_a_method_without_a_gain_is_rarely_called_better() -> None:
    generator = np.random.default_rng(2)
    found = [compare(*world(generator), seed=number, resamples=400).p < 0.05 for number in range(200)]
    assert np.mean(found) <= 0.11, "three seeds make the bootstrap a little too sure; much more would be wrong"


def test_pairing_finds_a_gain_that_separate_intervals_hide() -> None:
    a, b = world(np.random.default_rng(3), gain=0.06)
    found = compare(b, a)
    assert found.difference == pytest.approx(0.06, abs=0.03)
    assert found.low > 0
    assert found.p < 0.05
    assert estimate(a).high > estimate(b).low, "side by side the intervals overlap"


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(4)
    size = np.median([compare(*world(generator), resamples=400).detectable for _ in range(20)])
    found = [compare(*reversed(world(generator, gain=float(size))), resamples=400).low > 0 for _ in range(100)]
    assert 0.65 <= np.mean(found) <= 0.95


def test_different_queries_are_not_compared() -> None:
    a = Sample(np.zeros((1, 2)), np.array([1, 2]))
    with pytest.raises(ValueError, match="same queries"):
        compare(a, Sample(np.zeros((1, 2)), np.array([1, 3])))


@pytest.mark.parametrize("values", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8], []])
def test_holm_s_correction_is_the_one_that_textbooks_give(values: list[float]) -> None:
    order = np.argsort(values)
    expected = np.zeros(len(values))
    running = 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(values) - rank) * values[place]))
        expected[place] = running
    assert holm(values) == pytest.approx(expected.tolist())
    if values:
        assert min(holm(values)) >= stats.false_discovery_control(values).min() - 1e-12, "never milder than the FDR's"
