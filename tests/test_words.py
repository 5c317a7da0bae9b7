"""The words of the command line."""

import pytest

from benchmarks.words import parse_words, product
from datasets.errors import UsageError


def test_short_keys_are_written_out() -> None:
    assert parse_words(["method=differ", "dataset=ltcc", "train.epochs=3"]) == {
        "method.name": "differ",
        "dataset.name": "ltcc",
        "train.epochs": "3",
    }


@pytest.mark.parametrize("word", ["train.epochs", "=3", "epochs 3"])
def test_a_word_without_key_and_value_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        parse_words([word])


def test_a_key_given_twice_is_refused_rather_than_one_silently_winning() -> None:
    with pytest.raises(UsageError, match=r"dataset\.name is given twice"):
        parse_words(["dataset=ltcc", "dataset.name=prcc"])


def test_comma_lists_become_every_combination() -> None:
    found = list(product({"method.name": "a,b", "seed": "0,1", "image.mean": "[0.5, 0.5, 0.5]", "data": "x,y"}))
    assert [(row["method.name"], row["seed"]) for row in found] == [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")]
    assert all(row["image.mean"] == [0.5, 0.5, 0.5] for row in found), "a bracketed value is one value"
    assert all(row["data"] == "x,y" for row in found), "a path may hold a comma"


def test_none_is_nothing_and_broken_brackets_are_refused() -> None:
    assert next(product({"method.triplet_margin": "none"})) == {"method.triplet_margin": None}
    with pytest.raises(UsageError, match=r"image\.mean"):
        next(product({"image.mean": "[0.5, 0.5"}))


def test_a_range_of_seeds_is_a_list() -> None:
    assert [one["seed"] for one in product({"seed": "0..3,7, 9..10"})] == ["0", "1", "2", "3", "7", "9", "10"]
    assert list(product({"seed": "5..5"})) == [{"seed": "5"}]
    assert list(product({"method.name": "a..b"})) == [{"method.name": "a..b"}], "other words keep their dots"
    with pytest.raises(UsageError, match=r"seed=9\.\.3 runs backwards: write seed=3\.\.9"):
        next(product({"seed": "9..3"}))
    for word in ("0..", "..3", "0..b"):
        with pytest.raises(UsageError, match=r"is no range: write it as seed=0\.\.9, both ends included"):
            next(product({"seed": word}))
