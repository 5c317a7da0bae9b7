"""Probes find what was put into features and nothing else; wrong matches are compared by what their pixels wear."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import clothing_bias, probes
from benchmarks.clothing_bias import MEASURES, NO_IMAGES, ensure_bias, measure_bias, read_bias
from benchmarks.clothing_colours import (
    LOWER_LABELS,
    NEAREST,
    UPPER_LABELS,
    asked_about,
    clothing_colours,
    similarly_dressed,
)
from benchmarks.comparison import Row
from benchmarks.evidence import Ranking
from benchmarks.probes import Probe, camera_probe, clothes_probe, identity_probe, spread, standardised, thinned
from benchmarks.protocols import LabelRows
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened, reopen
from datasets.base import IntArray
from datasets.errors import DataError
from datasets.masks import LABEL_SETS, Lip
from reports.figures.bias import bias_figure
from tests.small_runs import copied, small_run

PEOPLE, OUTFITS, CAMERAS, SHOTS, WIDTH = 30, 3, 4, 3, 96


def world(outfits: int = OUTFITS, cameras: int = CAMERAS) -> LabelRows:
    """Everybody in each of their outfits before every camera, SHOTS times."""
    grid = np.indices((PEOPLE, outfits, cameras, SHOTS)).reshape(4, -1)
    return LabelRows(grid[0], grid[2], grid[0] * 10 + grid[1], None)


def made_of(*columns: IntArray, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """[N, WIDTH] a random direction for each value of each column, and noise."""
    rng = np.random.default_rng(seed)
    features = noise * rng.standard_normal((len(columns[0]), WIDTH))
    for column in columns:
        directions = rng.standard_normal((column.max() + 1, WIDTH))
        features += directions[column]
    return standardised(features.astype(np.float32))


def accuracy(probe: Probe | str) -> float:
    assert isinstance(probe, Probe)
    return probe.accuracy


def identity(features: np.ndarray, labels: LabelRows) -> tuple[Probe, Probe]:
    found = identity_probe(features, labels)
    assert isinstance(found, dict)
    return found["same_outfit"], found["other_outfit"]


# --- probes: the truth is known ---


def test_features_of_nothing_but_clothes() -> None:
    """A person is known in the outfit that was learnt and lost in another; outfits are told apart, cameras are not."""
    labels = world()
    features = made_of(labels.clothes)
    same, other = identity(features, labels)
    assert same.accuracy > 0.95
    assert other.accuracy < 3 * other.chance
    assert accuracy(clothes_probe(features, labels)) > 0.95
    assert accuracy(camera_probe(features, labels)) < 0.35, "chance is 0.25"


def test_features_of_nothing_but_identity() -> None:
    labels = world()
    features = made_of(labels.person)
    same, other = identity(features, labels)
    assert same.accuracy > 0.95
    assert other.accuracy > 0.95
    clothes = clothes_probe(features, labels)
    assert accuracy(clothes) == pytest.approx(1 / OUTFITS, abs=0.06)
    assert accuracy(camera_probe(features, labels)) < 0.35


def test_features_of_nothing_but_the_camera() -> None:
    """The camera is no clue to the outfit, since both halves of a wardrobe are seen by cameras of their own."""
    labels = world()
    features = made_of(labels.camera)
    assert accuracy(camera_probe(features, labels)) > 0.95
    same, other = identity(features, labels)
    assert max(same.accuracy, other.accuracy) < 0.1
    assert accuracy(clothes_probe(features, labels)) == pytest.approx(1 / OUTFITS, abs=0.06)


def test_the_camera_does_not_pass_for_an_outfit() -> None:
    """Each outfit before cameras of its own: what the camera adds to a feature is taken away first."""
    grid = np.indices((PEOPLE, 2, 2, SHOTS)).reshape(4, -1)
    person, outfit = grid[0], grid[1]
    camera = (2 * outfit + grid[2] + person) % 4  # another pair of cameras from person to person
    labels = LabelRows(person, camera, person * 10 + outfit, None)
    clothes = clothes_probe(made_of(labels.camera), labels)
    assert accuracy(clothes) == pytest.approx(0.5, abs=0.08)
    assert accuracy(clothes_probe(made_of(labels.camera, labels.clothes), labels)) > 0.9


def test_noise_is_worth_no_more_than_chance() -> None:
    labels = world()
    features = np.random.default_rng(1).standard_normal((len(labels.person), WIDTH)).astype(np.float32)
    same, other = identity(features, labels)
    for probe in (same, other, clothes_probe(features, labels), camera_probe(features, labels)):
        assert isinstance(probe, Probe)
        assert abs(probe.accuracy - probe.chance) < 0.06
    assert same.chance == pytest.approx(1 / PEOPLE)


def test_both_halves_of_identity_are_asked_before_cameras_that_were_not_learnt() -> None:
    """Features that know a person only together with the camera know nobody before another one."""
    labels = world()
    same, other = identity(made_of(labels.person * CAMERAS + labels.camera), labels)
    assert same.accuracy < 0.15
    assert other.accuracy < 0.15
    assert (same.held_out, other.held_out) == ("cameras", "cameras")


def test_where_an_outfit_has_one_camera_walks_are_held_out_and_without_walks_images() -> None:
    grid = np.indices((PEOPLE, 2, 2, SHOTS)).reshape(4, -1)
    person, outfit, walk = grid[:3]
    clothes = person * 10 + outfit
    features = made_of(clothes)
    with_walks = LabelRows(person, outfit, clothes, clothes * 10 + walk)
    without = LabelRows(person, outfit, clothes, None)
    for labels, name in ((with_walks, "walks"), (without, "images")):
        clothes_found = clothes_probe(features, labels)
        assert isinstance(clothes_found, Probe)
        assert clothes_found.held_out == name
        assert identity(features, labels)[0].held_out == name


def test_missing_labels_are_a_sentence() -> None:
    labels = world()
    none = np.full(len(labels.person), -1)
    features = made_of(labels.person)
    undressed = LabelRows(labels.person, none, none, None)
    assert identity_probe(features, undressed) == "Fewer than 5 people have labelled images in two outfits."
    assert clothes_probe(features, undressed) == "Fewer than 5 people have labelled images in two outfits."
    assert camera_probe(features, undressed) == "The images have no labels of two cameras or more."
    few = LabelRows.of(labels, np.flatnonzero(labels.person < 4))
    assert camera_probe(features[labels.person < 4], few) == "The images show fewer than 5 people."


def test_thinning_leaves_something_of_everything() -> None:
    labels = world()
    rows = thinned(labels, most=2 * PEOPLE * OUTFITS * CAMERAS)
    cells = np.stack([labels.person, labels.clothes, labels.camera])[:, rows]
    assert (np.unique(cells, axis=1, return_counts=True)[1] == 2).all()
    assert len(np.unique(cells, axis=1).T) == PEOPLE * OUTFITS * CAMERAS
    assert np.array_equal(rows, np.unique(rows))
    assert np.array_equal(thinned(labels), np.arange(len(labels.person))), "few enough already"
    fewer = thinned(labels, most=100)
    assert 50 < len(fewer) <= 100
    assert len(np.unique(labels.person[fewer])) == 100 // (OUTFITS * CAMERAS), "whole people are left out"
    assert np.ptp(labels.person[fewer]) > PEOPLE / 2, "evenly"


def test_spread_is_even() -> None:
    assert spread(np.arange(10), 5).tolist() == [0, 2, 4, 6, 8]
    assert spread(np.arange(3), 5).tolist() == [0, 1, 2]


def test_a_constant_dimension_is_no_trouble() -> None:
    features = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    features[:, 2] = 7
    scaled = standardised(features)
    assert np.isfinite(scaled).all()
    assert scaled.std(axis=0) == pytest.approx([1, 1, 0, 1], abs=1e-5)


@pytest.mark.slow
def test_the_probes_take_seconds_at_the_size_of_a_dataset() -> None:
    import time

    rng = np.random.default_rng(0)
    person = rng.integers(0, 150, 10_000)
    labels = LabelRows(person, rng.integers(0, 12, 10_000), person * 10 + rng.integers(0, 4, 10_000), None)
    embeddings = rng.standard_normal((10_000, 2048), dtype=np.float32)
    started = time.perf_counter()
    rows = thinned(labels)
    features, labels = standardised(embeddings[rows]), LabelRows.of(labels, rows)
    for probe in (identity_probe, clothes_probe, camera_probe):
        assert not isinstance(probe(features, labels), str)
    assert len(rows) <= probes.MOST_IMAGES
    assert time.perf_counter() - started < 20


# --- what is worn ---


def test_colours_are_those_of_the_garments() -> None:
    """Red above, blue below, without a mask by bands; CIELAB of sRGB red and blue as colour tables have it."""
    image = np.full((100, 50, 3), 128, dtype=np.uint8)
    image[20:52], image[52:92] = (255, 0, 0), (0, 0, 255)
    red, blue = (53.24, 80.09, 67.20), (32.30, 79.19, -107.86)
    assert clothing_colours(image, None) == pytest.approx([*red, *blue], abs=0.3)


def test_a_mask_finds_garments_outside_the_bands() -> None:
    image = np.full((100, 50, 3), 128, dtype=np.uint8)
    mask = np.zeros((100, 50), dtype=np.uint8)
    image[:, :6], mask[:, :6] = (255, 0, 0), Lip.COAT
    image[:, 44:], mask[:, 44:] = (0, 0, 255), Lip.SKIRT
    found = clothing_colours(image, mask)
    assert found[:3] == pytest.approx([53.24, 80.09, 67.20], abs=0.3)
    assert found[3:] == pytest.approx([32.30, 79.19, -107.86], abs=0.3)
    half = mask[::2, ::2]
    assert clothing_colours(image, half) == pytest.approx(found), "a mask of another size is stretched"
    mask[mask == Lip.SKIRT] = Lip.DRESS
    both = clothing_colours(image, mask)
    assert both[3:] == pytest.approx([32.30, 79.19, -107.86], abs=0.3), "a dress is worn below"
    assert both[:3] == pytest.approx((found[:3] + found[3:]) / 2, abs=0.3), "and above"


def test_a_garment_that_a_mask_hardly_shows_is_looked_for_in_its_band() -> None:
    image = np.full((100, 50, 3), 128, dtype=np.uint8)
    mask = np.zeros((100, 50), dtype=np.uint8)
    mask[0, 0] = Lip.PANTS
    image[0, 0] = (255, 0, 0)
    assert clothing_colours(image, mask)[3:] == pytest.approx([53.59, 0, 0], abs=0.1)


def test_every_label_set_has_garments_above_and_below() -> None:
    for labels in LABEL_SETS.values():
        for garments in (UPPER_LABELS, LOWER_LABELS):
            worn = {labels.labels(number) for number, name in enumerate(labels.names) if name in garments}
            assert worn
            assert worn <= labels.clothing
    everything = {name for labels in LABEL_SETS.values() for name in labels.names}
    assert everything >= UPPER_LABELS | LOWER_LABELS, "no name is misspelt"


def wrong_ranking(first: IntArray) -> Ranking:
    """Of queries that have a match somewhere and the gallery row `first` [Q], someone else's, at rank 1."""
    count = len(first)
    nothing, zeros = np.zeros(count), np.zeros(count, dtype=np.int64)
    return Ranking(
        average_precision=nothing,
        lowest_average_precision=nothing,
        highest_average_precision=nothing,
        inverse_negative_penalty=nothing,
        first_match=zeros + 2,
        matches=zeros + 1,
        ignored=zeros,
        tied=np.zeros(count, dtype=bool),
        top_index=first[:, None],
        top_distance=nothing[:, None],
        top_correct=np.zeros((count, 1), dtype=bool),
    )


def shared_wardrobe(outfits: int = 100) -> tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray], np.ndarray]:
    """Each query wears what one other person wears too: person and outfit of queries and gallery, colours [U, 6]."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(-50, 50, (2 * outfits, 6))
    colours[outfits:] = colours[:outfits] + 0.1  # the double
    unit = np.arange(2 * outfits)
    return (unit[:outfits], unit[:outfits]), (unit, unit), colours


def test_wrong_matches_that_wear_the_same_are_found() -> None:
    query, gallery, colours = shared_wardrobe()
    ranking = wrong_ranking(np.arange(100) + 100)
    asked, sample = asked_about(ranking, query[1], gallery[1])
    found = similarly_dressed(ranking, asked, query, gallery, colours, np.isin(np.arange(200), sample))
    assert found["accuracy"] == 1
    assert found["chance"] == pytest.approx(NEAREST, abs=0.01)
    assert found["images"] == 100
    assert found["selectivity"] == pytest.approx(0.95, abs=0.01)


def test_wrong_matches_at_random_wear_the_same_by_chance() -> None:
    query, gallery, colours = shared_wardrobe()
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        ranking = wrong_ranking((np.arange(100) + rng.integers(1, 200, 100)) % 200)  # anybody else
        found.append(similarly_dressed(ranking, np.arange(100), query, gallery, colours, np.ones(200, dtype=bool)))
    assert np.mean([one["accuracy"] for one in found]) == pytest.approx(found[0]["chance"], abs=0.015)


def test_right_matches_and_queries_without_one_are_not_asked_about() -> None:
    ranking = wrong_ranking(np.array([3, 4, 5, 6]))
    ranking.top_correct[0, 0] = True
    ranking.matches[1] = 0
    ranking.top_index[2, 0] = -1
    asked, sample = asked_about(ranking, np.arange(4), np.array([0, 0, 1, 1, 2, 2, 2]))
    assert asked.tolist() == [3]
    assert sample.tolist() == [0, 1, 2]


# --- a run ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("run"), dataset__test_people=8, dataset__wardrobe=8)


@pytest.fixture
def finished(trained: RunFolder, tmp_path: Path) -> RunFolder:
    return copied(trained, tmp_path)


def opened(folder: RunFolder) -> Reopened:
    return reopen(folder, {}, lambda event: None)


def test_a_run_is_measured_once_and_says_what_it_means(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_bias(finished) is None
    bias = ensure_bias(opened(finished))
    assert bias == read_bias(finished)
    for name in MEASURES:
        measured = bias[name]
        assert 0 <= measured["accuracy"] <= 1
        assert measured["selectivity"] == pytest.approx(measured["accuracy"] - measured["chance"], abs=2e-6)
        assert measured["images"] > 0
    assert bias["similar_clothes"]["by"] == "masks"
    assert bias["images_used"] == bias["images"]
    assert (bias["selection"], bias["protocol"]) == (finished.headline, "cloth-changing")
    before = (finished.path / "bias.json").read_bytes()
    monkeypatch.setattr(clothing_bias, "measure_bias", None)
    assert ensure_bias(opened(finished)) == bias
    monkeypatch.undo()
    measure_bias(opened(finished))
    assert (finished.path / "bias.json").read_bytes() == before, "the same features give the same bytes"


def test_a_run_that_kept_no_features_computes_them(finished: RunFolder) -> None:
    expected = ensure_bias(opened(finished))
    shutil.rmtree(finished.path / "features")
    (finished.path / "bias.json").unlink()
    with pytest.raises(DataError, match="the run kept no features"):
        measure_bias(opened(finished))
    assert ensure_bias(opened(finished)) == expected


def test_without_the_images_the_probes_are_there_and_the_rest_follows(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours are looked up as soon as there are images; no path of this machine stands in the file."""

    def missing(*arguments: object) -> None:
        raise DataError("/home/someone/data is not a folder.")

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.reopening.open_dataset", missing)
        bias = ensure_bias(opened(finished))
    assert bias["similar_clothes"] == {"reason": NO_IMAGES}
    assert "accuracy" in bias["camera"]
    assert "/home" not in (finished.path / "bias.json").read_text(encoding="utf-8")
    complete = ensure_bias(opened(finished))
    assert "accuracy" in complete["similar_clothes"]
    assert complete == read_bias(finished)


@pytest.mark.parametrize("content", ["", "{}", "[1", "null"])
def test_a_damaged_file_is_named_with_its_mend(finished: RunFolder, content: str) -> None:
    (finished.path / "bias.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"bias\.json is damaged: delete it"):
        read_bias(finished)


def test_the_figure_is_the_same_bytes_again_and_counts_what_it_lacks(finished: RunFolder, tmp_path: Path) -> None:
    unmeasured = Row("nothing of it", "synthetic", ())
    assert bias_figure([Row("differ", "synthetic", (finished,)), unmeasured], tmp_path / "none") is None
    ensure_bias(opened(finished))
    rows = [Row("a $name_{x}$ of <b>some</b> length, much too long for a margin", "synthetic", (finished,)), unmeasured]
    one, two = bias_figure(rows, tmp_path / "one"), bias_figure(rows, tmp_path / "two")
    assert one is not None
    assert two is not None
    assert one.png.read_bytes() == two.png.read_bytes()
    assert one.pdf.read_bytes() == two.pdf.read_bytes()
    assert "Configurations that were not measured: 1." in one.caption
    assert one.caption == two.caption


def test_a_damaged_file_takes_no_other_seed_out_of_the_figure(finished: RunFolder, tmp_path: Path) -> None:
    ensure_bias(opened(finished))
    broken = copied(finished, tmp_path / "broken")
    (broken.path / "bias.json").write_text("{")
    picture = bias_figure([Row("differ", "synthetic", (finished, broken))], tmp_path)
    assert picture is not None
    assert picture.caption.endswith("Left out, since a file is damaged: 1.")
    assert "bias.json is damaged" in picture.left_out[0]
    with pytest.raises(DataError, match=r"bias\.json is damaged"):
        bias_figure([Row("differ", "synthetic", (broken,))], tmp_path)
