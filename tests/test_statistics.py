"""Intervals and comparisons respect that queries of one person are correlated and that seeds are few."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmarks.perf.calibration import WORLDS, World, honesty, seconds_of_a_table
from benchmarks.statistics import Sample, compare, estimate, holm

PAPER = World(person=0.9, liking=0.4)


def two(seed: int = 0, gain: float = 0.0, world: World = PAPER) -> tuple[Sample, Sample]:
    """The second method is better by `gain`; scores are kept between 0 and 1 by the world's middle."""
    one, other = world.study(np.random.default_rng(seed))
    return one, Sample(other.values + gain, other.person)


def one_query_each(people: int = 60, seed: int = 0) -> tuple[Sample, Sample]:
    """One seed, one query per person: what textbook tests are made for."""
    return two(seed, gain=0.03, world=World(seeds=(1, 1), people=people, queries=1.0, uneven=False))


# --- meaning ---


def test_the_mean_and_the_spread_over_seeds_leave_out_queries_that_do_not_count() -> None:
    values = np.array([[0.2, 0.4, np.nan], [0.4, 0.8, np.nan]])
    found = estimate(Sample(values, np.array([1, 2, 3])))
    assert found.mean == pytest.approx(0.45)
    assert found.deviation == pytest.approx(np.std([0.3, 0.6], ddof=1))
    assert found.seeds == 2
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_one_seed_has_no_spread_and_no_query_gives_no_number() -> None:
    assert np.isnan(estimate(Sample(np.array([[0.2, 0.4]]), np.array([1, 2]))).deviation)
    nothing = Sample(np.full((2, 2), np.nan), np.array([1, 2]))
    assert np.isnan([estimate(nothing).mean, estimate(nothing).low, compare(nothing, nothing).p]).all()


def test_one_person_says_nothing_about_others() -> None:
    alone = Sample(np.array([[0.2, 0.4], [0.3, 0.5]]), np.array([1, 1]))
    assert estimate(alone).mean == pytest.approx(0.35)
    assert np.isnan([estimate(alone).low, estimate(alone).high]).all()
    assert np.isnan(compare(alone, Sample(alone.values + 0.1, alone.person)).p)


def test_queries_of_one_person_count_as_one_draw() -> None:
    """Ten copies of each query tell nothing new: the interval stays as wide."""
    once, other = one_query_each()
    one, ten = estimate(once), estimate(_repeated(once))
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high))
    few, many = compare(once, other), compare(_repeated(once), _repeated(other))
    assert (few.low, few.high, few.p, few.effect) == pytest.approx((many.low, many.high, many.p, many.effect))


def _repeated(sample: Sample) -> Sample:
    return Sample(np.repeat(sample.values, 10, axis=1), np.repeat(sample.person, 10))


def test_seeds_that_scatter_widen_the_interval_and_copies_of_a_seed_do_not_narrow_it() -> None:
    sample = two(world=World(seeds=(1, 1)))[0]
    copies = Sample(np.repeat(sample.values, 3, axis=0), sample.person)
    assert estimate(copies).high - estimate(copies).low == pytest.approx(estimate(sample).high - estimate(sample).low)
    scattered = Sample(sample.values + np.array([[-0.08], [0.0], [0.08]]), sample.person)
    assert estimate(scattered).high - estimate(scattered).low > 1.5 * (estimate(copies).high - estimate(copies).low)


def test_a_single_seed_borrows_the_scatter_of_the_other_method_s_seeds() -> None:
    """Left alone it would look as sure as if its training could not have turned out otherwise."""
    loud = World(training=0.3)
    one, other = two(gain=0.1, world=loud)
    single = Sample(other.values[:1], other.person)
    assert compare(single, one).high - compare(single, one).low > compare(other, one).high - compare(other, one).low
    assert compare(single, one).p == pytest.approx(compare(one, single).p)


def test_swapping_the_methods_turns_the_signs() -> None:
    a, b = two(gain=0.02)
    one, other = compare(a, b), compare(b, a)
    assert (one.difference, one.low, one.effect) == pytest.approx((-other.difference, -other.high, -other.effect))
    assert (one.p, one.detectable) == pytest.approx((other.p, other.detectable))


def test_the_interval_leaves_out_0_exactly_where_p_is_below_5_percent() -> None:
    found = [compare(*reversed(two(seed, gain=0.025))) for seed in range(60)]
    told = [one.p < 0.05 for one in found]
    assert told == [one.low > 0 or one.high < 0 for one in found]
    assert 5 < sum(told) < 55, "both happen"


def test_methods_that_do_not_differ_at_all_are_not_told_apart() -> None:
    a, _ = two()
    same = compare(a, a)
    assert (same.difference, same.p) == (0, 1)
    assert same.detectable > 0, "its seeds scatter: of two such trainings one would have come out better"
    assert np.isnan(same.effect)
    better = compare(Sample(a.values[:1] + 0.1, a.person), Sample(a.values[:1], a.person))
    assert better.p == 0, "everybody gained exactly as much"


def test_pairing_finds_a_gain_that_separate_intervals_hide() -> None:
    a, b = two(gain=0.06)
    found = compare(b, a)
    assert found.difference == pytest.approx(0.06, abs=0.03)
    assert found.low > 0
    assert found.p < 0.05
    assert estimate(a).high > estimate(b).low, "side by side the intervals overlap"


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    size = float(np.median([compare(*two(seed)).detectable for seed in range(60)]))
    found = [compare(*reversed(two(1000 + seed, gain=size))).p < 0.05 for seed in range(200)]
    assert 0.7 <= np.mean(found) <= 0.9


def test_different_queries_are_not_compared() -> None:
    a = Sample(np.zeros((1, 2)), np.array([1, 2]))
    with pytest.raises(ValueError, match="same queries"):
        compare(a, Sample(np.zeros((1, 2)), np.array([1, 3])))
    with pytest.raises(ValueError, match="same queries"):
        compare(a, Sample(np.array([[0, np.nan]]), np.array([1, 2])))


# --- references ---


@pytest.mark.parametrize("people", [2, 5, 60])
def test_one_seed_and_one_query_per_person_is_the_paired_t_test(people: int) -> None:
    a, b = one_query_each(people)
    expected = stats.ttest_rel(a.values[0], b.values[0])
    found, interval = compare(a, b), expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    differences = a.values[0] - b.values[0]
    assert found.effect == pytest.approx(differences.mean() / differences.std(ddof=1)), "Cohen's d_z"


def test_without_a_difference_between_people_it_is_a_t_test_of_the_seeds() -> None:
    """Seeds of two methods are independent; with as much scatter Welch's test is Student's, of S - 1 + S - 1."""
    scatter, person = np.array([[-0.01], [0.0], [0.01]]), np.arange(50)
    a, b = (Sample(0.5 + gain + scatter + np.zeros((3, 50)), person) for gain in (0.0, 0.02))
    assert compare(a, b).p == pytest.approx(stats.ttest_ind(a.of_seeds, b.of_seeds).pvalue)


def test_the_interval_of_one_seed_is_the_t_interval_on_the_scale_of_log_odds() -> None:
    a, _ = one_query_each()
    expected = stats.ttest_1samp(a.values[0], 0).confidence_interval(0.95)
    found, mean = estimate(a), a.values.mean()

    def log_odds(share: float) -> float:
        return float(np.log(share / (1 - share)))

    half = (expected.high - expected.low) / 2 / (mean * (1 - mean))
    assert log_odds(found.high) - log_odds(mean) == pytest.approx(half)
    assert log_odds(mean) - log_odds(found.low) == pytest.approx(half)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005), (
        "near the middle: the same"
    )


def test_intervals_are_those_of_scipy_s_bootstrap_within_its_own_scatter() -> None:
    a, b = one_query_each(people=300)

    def mean_difference(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(one, axis=axis) - np.mean(other, axis=axis)

    random = np.random.default_rng(0)
    single = stats.bootstrap((a.values[0],), np.mean, method="BCa", rng=random).confidence_interval
    paired = stats.bootstrap((a.values[0], b.values[0]), mean_difference, paired=True, rng=random).confidence_interval
    alone, found = estimate(a), compare(a, b)
    assert (alone.low, alone.high) == pytest.approx((single.low, single.high), abs=0.003)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.003)
    assert found.high - found.low > 0.02, "the tolerance is small beside the interval"


@pytest.mark.parametrize("values", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8], [0.02, 0.02, 0.7, 1.0, 0.0]])
def test_holm_s_correction_is_that_of_statsmodels(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


def test_holm_counts_only_the_tests_that_were_made() -> None:
    assert holm([]) == []
    assert holm([0.01, float("nan"), 0.04])[::2] == pytest.approx(multipletests([0.01, 0.04], method="holm")[1])
    assert np.isnan(holm([0.01, float("nan")])[1])


# --- honesty, in worlds with known truth ---


def test_intervals_and_p_values_are_honest_with_three_seeds() -> None:
    """The issue's bounds; the standard error of 800 studies is 0.7 %."""
    found = honesty(WORLDS["3 seeds"], 800, seed=1)
    assert 0.93 <= found.coverage <= 0.97
    assert 0.015 <= found.false_positives <= 0.06


THREE_AND_MORE = [name for name, world in WORLDS.items() if min(world.seeds) >= 3 and name != "R1, high"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*THREE_AND_MORE, "1 seed, trainings alike"])
def test_intervals_and_p_values_are_honest_in_every_world(name: str) -> None:
    """Large and small seed noise, few and many people, low scores, 0/1 scores. The standard error is 0.35 %."""
    found = honesty(WORLDS[name], 4000, seed=2)
    assert 0.93 <= found.coverage <= 0.97
    assert found.false_positives <= 0.06


@pytest.mark.slow
def test_near_the_ceiling_an_interval_is_a_little_too_sure() -> None:
    """With R1 at 97 % a few people make all the errors: measured 92.8 %, a limit that docs/evaluation.md names."""
    found = honesty(WORLDS["R1, high"], 4000, seed=2)
    assert 0.915 <= found.coverage <= 0.97
    assert found.false_positives <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, world in WORLDS.items() if min(world.seeds) == 2])
def test_two_seeds_are_treated_with_care(name: str) -> None:
    found = honesty(WORLDS[name], 4000, seed=2)
    assert 0.93 <= found.coverage <= 0.985
    assert found.false_positives <= 0.06


@pytest.mark.slow
def test_one_seed_is_too_sure_and_that_is_why_captions_must_say_so() -> None:
    assert honesty(WORLDS["1 seed"], 2000).false_positives > 0.08


def test_a_table_of_ten_methods_takes_seconds_at_most() -> None:
    assert seconds_of_a_table(493, 75) < 5
