"""Every label of every label set is told to be clothing or not, with the numbers that parsers write."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from datasets.errors import DataError
from datasets.masks import (
    LABEL_SETS,
    Atr,
    LabelSetName,
    Lip,
    MaskConfig,
    Merged,
    Pascal,
    clothing_table,
    require_labels_of,
)

CLOTHING: dict[LabelSetName, set[int]] = {
    "lip": {3, 5, 6, 7, 8, 9, 10, 11, 12, 18, 19},
    "atr": {4, 5, 6, 7, 8, 9, 10, 16, 17},
    "pascal": {2, 5, 6},
    "merged12": {2, 3, 4, 5, 6, 7, 10, 11},
}
ARMS_AND_LEGS: dict[LabelSetName, set[int]] = {
    "lip": {14, 15, 16, 17},
    "atr": {12, 13, 14, 15},
    "pascal": {3, 4},
    "merged12": {8, 9},
}
OF_ATR = {
    "head": {Atr.HAT, Atr.HAIR, Atr.SUNGLASSES, Atr.FACE},
    "shoes": {Atr.LEFT_SHOE, Atr.RIGHT_SHOE},
    "legs": {Atr.LEFT_LEG, Atr.RIGHT_LEG},
    "arms": {Atr.LEFT_ARM, Atr.RIGHT_ARM},
}
"""What the merge makes of several of ATR's labels; the others keep their names."""


@pytest.mark.parametrize(("name", "count"), [("lip", 20), ("atr", 18), ("pascal", 7), ("merged12", 12)])
def test_labels_are_numbered_without_gaps_as_many_as_the_parser_has(name, count):
    assert [int(label) for label in LABEL_SETS[name].labels] == list(range(count))
    assert len(LABEL_SETS[name].names) == count


def test_names_stand_at_the_parsers_numbers():
    """SCHP's lists; a shifted enumeration would black out the wrong parts without any error."""
    assert LABEL_SETS["lip"].names[5:8] == ("upper-clothes", "dress", "coat")
    assert LABEL_SETS["lip"].names[18:] == ("left-shoe", "right-shoe")
    assert LABEL_SETS["atr"].names[8:12] == ("belt", "left-shoe", "right-shoe", "face")
    assert LABEL_SETS["atr"].names[16:] == ("bag", "scarf")
    assert LABEL_SETS["pascal"].names == (
        "background",
        "head",
        "torso",
        "upper-arms",
        "lower-arms",
        "upper-legs",
        "lower-legs",
    )
    assert LABEL_SETS["merged12"].names[6:10] == ("belt", "shoes", "legs", "arms")


@pytest.mark.parametrize("name", LABEL_SETS)
def test_every_label_is_background_or_in_exactly_one_group(name):
    known = LABEL_SETS[name]
    groups = [0, *known.clothing, *known.body, *known.head]
    assert sorted(groups) == [int(label) for label in known.labels]


@pytest.mark.parametrize("name", LABEL_SETS)
def test_clothing_is_the_published_set(name):
    table = clothing_table(name)
    assert table.shape == (256,)
    assert table.dtype == bool
    assert set(np.flatnonzero(table)) == CLOTHING[name]
    assert set(np.flatnonzero(clothing_table(name, body=True))) == CLOTHING[name] | ARMS_AND_LEGS[name]


def test_the_merge_is_clothing_where_atr_is():
    """The 12 classes are ATR's merged: a mask in either numbering blacks out the same pixels."""
    into = {label: merged for merged, labels in OF_ATR.items() for label in labels}
    for label in Atr:
        merged = Merged[into.get(label, label.name.lower()).upper()]
        assert clothing_table("atr")[label] == clothing_table("merged12")[merged], label.name
        assert clothing_table("atr", body=True)[label] == clothing_table("merged12", body=True)[merged], label.name


def test_a_table_is_indexed_by_a_mask_and_knows_no_foreign_label():
    mask = np.array([[Lip.HAT, Lip.COAT], [Lip.FACE, 255]], dtype=np.uint8)
    assert clothing_table("lip")[mask].tolist() == [[False, True], [False, False]]


def test_hats_and_heads_are_kept():
    for name, label in (("lip", Lip.HAT), ("atr", Atr.HAT), ("pascal", Pascal.HEAD), ("merged12", Merged.HEAD)):
        assert not clothing_table(name, body=True)[label]


def test_the_configuration_offers_every_label_set_and_no_other():
    assert set(get_args(LabelSetName)) == set(LABEL_SETS)
    assert MaskConfig() == MaskConfig(label_set="lip", missing="error")
    with pytest.raises(ValidationError):
        MaskConfig.model_validate({"label_set": "scnet12"})
    assert all(field.description for field in MaskConfig.model_fields.values())


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_label_beyond_the_set_is_refused_with_its_mask_and_the_sets_that_have_it(name):
    last = len(LABEL_SETS[name].labels) - 1
    masks = np.full((600, 2, 3), last, dtype=np.uint8)
    require_labels_of(name, masks, str)
    masks[555, 1, 2] = last + 1
    with pytest.raises(DataError, match=rf"^555 holds the label {last + 1}, and masks.label_set={name} ends at {last}"):
        require_labels_of(name, masks, str)


def test_the_mend_of_a_foreign_label_is_a_larger_set_or_numbers():
    masks = np.full((1, 2, 2), 17, dtype=np.uint8)
    with pytest.raises(DataError, match=r"masks\.label_set=lip or masks\.label_set=atr"):
        require_labels_of("pascal", masks, str)
    masks[:] = 255
    with pytest.raises(DataError, match="save label numbers"):
        require_labels_of("lip", masks, str)
