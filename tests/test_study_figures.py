"""Figures of studies: every kind of study gives pictures or a sentence, and the same study the same bytes."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import Dimension, Study
from reports.figures.style import NothingToShowError, Picture
from reports.studies.axes import drawn_at, log_ticks, positions
from reports.studies.contours import hull, smoothed
from reports.studies.everything import figures_of_study
from reports.studies.history import history
from reports.studies.points import ends, value_limits
from reports.studies.words import best_first, objectives, short_names, value_text
from tests.study_examples import HOSTILE, all_failed, choices, differ_on_ltcc, every_study, two_objectives

STUDIES = every_study()
Drawn = Callable[[str], list[Picture | str]]
ALWAYS = {"history", "slices", "contours", "parallel"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """The figures of a study, drawn once."""
    return cache(lambda name: draw(STUDIES[name], tmp_path_factory.mktemp(name)))


def draw(study: Study, folder: Path) -> list[Picture | str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph or a layout that matplotlib complains about is a fault
        return list(figures_of_study(study, folder))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_gives_pictures_or_says_why_not(name: str, drawn: Drawn) -> None:
    """One trial, all failed, 300 trials, 12 keys, several objectives, words as choices, hostile names."""
    study = STUDIES[name]
    found = drawn(name)
    pictures = [one for one in found if isinstance(one, Picture)]
    kinds = {picture.name for picture in pictures}
    assert kinds >= ALWAYS or study.best is None
    assert ("pareto" in kinds) == (len(study.objectives) > 1)
    assert ("confirmation" in kinds) == (study.confirmation is not None)
    for picture in pictures:
        assert picture.png.read_bytes().startswith(b"\x89PNG")
        assert picture.pdf.read_bytes().startswith(b"%PDF")
    assert all(one.startswith(f"{study.name}: no ") and one.endswith(".") for one in found if isinstance(one, str))


def test_captions_say_what_is_shown_of_which_study_and_how(drawn: Drawn) -> None:
    captions = {one.name: one.caption for one in drawn("differ_on_ltcc") if isinstance(one, Picture)}
    assert captions.keys() == ALWAYS | {"confirmation", "importance", "course"}
    for caption in captions.values():
        for said in (
            "Study ltcc-differ-weights: differ on ltcc",
            "mean over seeds (0, 1)",
            "protocol cloth-changing: of the query's person",
            "selection validation (each run's best epoch on held-out training identities)",
            "none of the test split",
            "31 complete, 6 pruned, 2 failed, 1 lost of 40 trials asked for.",
        ):
            assert said in caption
    assert "PED-ANOVA (Watanabe et al., IJCAI 2023) over 31 complete trials" in captions["importance"]
    assert "(2, 3, 4)" in captions["confirmation"]


def test_names_of_markup_and_300_letters_stand_whole_in_captions(drawn: Drawn) -> None:
    pictures = [one for one in drawn("hostile") if isinstance(one, Picture)]
    assert pictures
    assert all(HOSTILE in picture.caption for picture in pictures)


@pytest.mark.parametrize("name", ["differ_on_ltcc", "two_objectives"])
def test_the_same_study_gives_the_same_bytes(name: str, drawn: Drawn, tmp_path: Path) -> None:
    for before, after in zip(drawn(name), draw(STUDIES[name], tmp_path), strict=True):
        if isinstance(before, Picture) and isinstance(after, Picture):
            assert before.png.read_bytes() == after.png.read_bytes(), before.name
            assert before.pdf.read_bytes() == after.pdf.read_bytes(), before.name
        else:
            assert before == after


def test_without_a_complete_trial_the_sentence_counts_the_others(tmp_path: Path) -> None:
    with pytest.raises(NothingToShowError, match="7 failed of 7 trials asked for"):
        history(all_failed(), tmp_path)


def test_a_seed_without_a_score_is_named_beside_the_confirmation(drawn: Drawn) -> None:
    (caption,) = [one.caption for one in drawn("differ_on_ltcc") if isinstance(one, Picture) and "fresh" in one.caption]
    assert "Without a score: trial 35, seed 4: The GPU ran out of memory." in caption


# --- what the pictures are computed from ---


def test_far_outliers_do_not_squeeze_the_axis_and_the_defaults_stay_on_it() -> None:
    study = differ_on_ltcc()
    (goal,) = objectives(study)
    low, high = ends(study, goal)
    values = np.array([100 * trial.values[0] for trial in study.trials if trial.values])
    assert low > values.min()
    assert high == values.max()
    default = study.trials[0]
    poor = default.model_copy(update={"values": (0.01,)})
    with_poor_default = study.model_copy(update={"trials": (poor, *study.trials[1:])})
    assert value_limits(with_poor_default, goal)[0] < 1.0


def test_a_cost_is_better_when_it_is_lower() -> None:
    study = two_objectives()
    cost = objectives(study)[1]
    values = [trial.values[1] for trial in study.trials if trial.values]
    assert ends(study, cost)[0] == min(values)
    assert (cost.label, cost.text(1234.5)) == ("seconds", "1,234")


def test_trials_stand_best_first_and_the_others_after_them() -> None:
    order = best_first(differ_on_ltcc())
    values = [trial.values[0] for trial in order if trial.values]
    assert values == sorted(values, reverse=True)
    assert [trial.state for trial in order[31:]] == ["pruned"] * 6 + ["failed"] * 2 + ["lost"]
    assert max(order[31].course) >= max(order[32].course)


def test_places_on_an_axis_are_logarithmic_or_one_for_each_choice() -> None:
    weight = Dimension(key="w", low=0.01, high=1.0, log=True, default=0.1)
    assert positions(weight, [], [0.01, 0.1, 1.0, None]) == pytest.approx([0, 0.5, 1, np.nan], nan_ok=True)
    study = choices()
    backbone, reversal = study.space[:2]
    assert drawn_at(backbone, study.trials, ["resnet50", "eva02_large"]).tolist() == [0, 2]
    assert drawn_at(reversal, study.trials, [False, True]).tolist() == [1, 0]
    assert np.isnan(drawn_at(reversal, study.trials, [1])).all(), "true is not 1"


@pytest.mark.parametrize(("low", "high"), [(0.05, 5.0), (1e-5, 1e-3), (0.9, 1.1), (1e-12, 1e12), (0.3, 0.9)])
def test_a_logarithmic_axis_has_two_to_five_ticks(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 5
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in ticks)


def test_contours_are_weighted_means_and_need_an_area() -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    values = np.array([1.0, 2.0, 3.0, 4.0])
    found = smoothed(places, values, np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]))
    assert found == pytest.approx([1.0, 2.5, 4.0], abs=1e-6)
    assert hull(places) is not None
    assert hull(places[:2]) is None
    assert hull(np.column_stack([np.linspace(0, 1, 9)] * 2)) is None


def test_keys_are_called_by_as_few_of_their_last_parts_as_tell_them_apart() -> None:
    names = short_names(["method.weights.triplet", "method.triplet", "method.temperature"])
    assert list(names.values()) == ["weights.triplet", "method.triplet", "temperature"]


def test_values_are_printed_to_three_digits_and_typed_exactly() -> None:
    assert [value_text(one) for one in (0.123456, 3e-5, 0.0, 12.0, True, None, "a", 7, 1e7)] == (
        ["0.123", "3e-5", "0", "12", "true", "none", "a", "7", "1e7"]
    )
    assert value_text(0.1234567, exact=True) == "0.1234567"
