"""The synthetic world: determinism, labels that give every protocol a meaning, masks and captions that are true."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from datasets import DATASETS
from datasets.base import Ignore
from datasets.contact_sheet import CELL, contact_sheet
from datasets.errors import DataError, UsageError
from datasets.masks import LABEL_SETS, PALETTE, Lip, colour_mask
from datasets.synthetic import Synthetic, SyntheticConfig
from datasets.world.drawing import draw_person
from datasets.world.people import CLOTH_COLOURS, Garment, Outfit, make_person
from datasets.world.pose import Pose, View
from datasets.world.shapes import Canvas

SMALL = SyntheticConfig(people=6, test_people=8, wardrobe=8, frames=2)


@pytest.fixture(scope="module")
def world() -> Synthetic:
    return Synthetic(config=SMALL)


@pytest.fixture(scope="module")
def default_world() -> Synthetic:
    return Synthetic()


def test_the_same_config_gives_identical_pixels_masks_and_words_whatever_was_drawn_before(world):
    samples = world.split("train")
    chosen = list(range(0, len(samples), 7))
    forwards = {row: world.read_image(samples.paths[row]) for row in chosen}
    again = Synthetic(config=SMALL)
    for row in reversed(chosen):
        path = samples.paths[row]
        assert np.array_equal(again.read_mask(path), world.read_mask(path))
        assert np.array_equal(again.read_image(path), forwards[row])
    assert again.caption_texts(samples.take([9])) == [world.caption_texts(samples)[9]]
    assert again.fingerprint(samples) == world.fingerprint(samples)


def test_another_process_draws_the_same_bytes(world):
    path = world.split("query").paths[3]
    program = (
        "import hashlib; from datasets.synthetic import Synthetic, SyntheticConfig;"
        f"world = Synthetic(config=SyntheticConfig(**{SMALL.model_dump()}));"
        f"print(hashlib.sha256(world.read_image({path!r}).tobytes()).hexdigest())"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == hashlib.sha256(world.read_image(path).tobytes()).hexdigest()


def test_another_seed_is_another_world(world):
    other = Synthetic(config=SMALL.model_copy(update={"seed": 1}))
    path = next(path for path in world.split("train").paths if path in other.split("train").paths)
    pictures = world.read_image(path), other.read_image(path)
    assert pictures[0].shape != pictures[1].shape or np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5
    assert world.fingerprint(world.split("train")) != other.fingerprint(world.split("train"))


def test_the_frames_of_a_walk_differ_but_show_the_same_walk(world):
    samples = world.split("train")
    first, second = np.flatnonzero(samples.tracklet == samples.tracklet[0])
    rows = [world.row(samples.paths[row]) for row in (first, second)]
    scenes = [world.scene(row) for row in rows]
    assert scenes[0].pose.yaw == scenes[1].pose.yaw
    assert scenes[0].pose.phase != scenes[1].pose.phase
    assert world.read_image(samples.paths[first]).tobytes() != world.read_image(samples.paths[second]).tobytes()


def test_default_sizes(default_world):
    sizes = {name: len(default_world.split(name)) for name in default_world.splits}
    assert 1700 <= sizes["train"] <= 2300
    assert 250 <= sizes["query"] <= 400
    assert 1000 <= sizes["gallery"] <= 1700
    assert len(np.unique(default_world.split("train").person)) == 60
    assert len(np.unique(default_world.split("gallery").person)) == 60


def test_splits_are_disjoint_and_test_people_are_never_trained_on(default_world):
    train, query, gallery = (default_world.split(name) for name in ("train", "query", "gallery"))
    stems = [path.split("/")[1] for samples in (train, query, gallery) for path in samples.paths]
    assert len(set(stems)) == len(stems)
    assert not set(train.person) & set(gallery.person)
    assert set(query.person) == set(gallery.person)


def test_each_person_outfit_and_camera_asks_once(default_world):
    query, gallery = default_world.split("query"), default_world.split("gallery")
    asking = list(zip(query.clothes.tolist(), query.camera.tolist(), strict=True))
    assert len(set(asking)) == len(asking)
    assert set(asking) == set(zip(gallery.clothes.tolist(), gallery.camera.tolist(), strict=True))


@pytest.mark.parametrize(
    "config", [SyntheticConfig(), SyntheticConfig(cameras=2), SyntheticConfig(seed=5, cameras=12, tracklets=1)]
)
def test_every_query_of_a_person_who_changes_clothes_has_a_match_in_every_protocol(config):
    world = Synthetic(config=config)
    query, gallery = world.split("query"), world.split("gallery")
    for protocol in world.protocols():
        person = query.person[:, None] == gallery.person
        camera = query.camera[:, None] == gallery.camera
        clothes = query.clothes[:, None] == gallery.clothes
        hidden = np.zeros_like(person)
        for condition, rows in {
            Ignore.SAME_CAMERA: camera,
            Ignore.SAME_CLOTHES: clothes,
            Ignore.OTHER_CLOTHES: ~clothes,
        }.items():
            if condition in protocol.ignore:
                hidden |= rows
        answered = (person & ~hidden).any(axis=1)
        changes = np.array([len(world.wardrobe_of(number)) > 1 for number in query.person.tolist()])
        expected = changes if protocol.name == "cloth-changing" else np.ones(len(query), dtype=bool)
        assert np.array_equal(answered, expected), protocol.name
    assert world.protocols()[0].name == "cloth-changing"


def test_outfits_are_shared_between_people_and_a_few_people_never_change(default_world):
    for people in (range(60), range(60, 120)):
        wardrobes = [default_world.wardrobe_of(person) for person in people]
        owners = np.bincount([outfit for wardrobe in wardrobes for outfit in wardrobe])
        assert (owners[owners > 0] > 1).mean() > 0.5
        sizes = np.array([len(wardrobe) for wardrobe in wardrobes])
        assert set(sizes) <= {1, 2, 3, 4}
        assert 0 < (sizes == 1).sum() < 15
        assert all(len(set(wardrobe)) == len(wardrobe) for wardrobe in wardrobes)


def test_clothes_are_numbered_over_the_dataset_and_belong_to_one_person(default_world):
    samples = default_world.split("train")
    assert len(np.unique(samples.clothes)) == sum(len(default_world.wardrobe_of(person)) for person in range(60))
    pairs = np.unique(np.stack([samples.clothes, samples.person]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]


def test_a_tracklet_is_one_walk_of_one_person_in_one_outfit_past_one_camera(default_world):
    samples = default_world.split("train")
    columns = np.stack([samples.tracklet, samples.person, samples.clothes, samples.camera])
    assert np.unique(columns, axis=1).shape[1] == len(np.unique(samples.tracklet))
    assert set(np.unique(samples.tracklet, return_counts=True)[1]) == {default_world.config.frames}


def test_mask_fits_the_image_and_holds_a_whole_person(world):
    samples = world.split("gallery")
    seen: set[int] = set()
    for path in samples.paths[::3]:
        image, labels = world.read_image(path), world.read_mask(path)
        assert image.dtype == labels.dtype == np.uint8
        assert image.shape == (*labels.shape, 3)
        present = set(np.unique(labels).tolist())
        assert present <= set(range(len(Lip)))
        assert Lip.BACKGROUND in present
        assert present & {Lip.FACE, Lip.HAIR}
        assert present & {Lip.PANTS, Lip.SKIRT}
        assert 0.12 < (labels > 0).mean() < 0.6
        rows = np.flatnonzero((labels > 0).any(axis=1))
        assert rows[-1] - rows[0] > 0.7 * len(labels)
        seen |= present
    assert {Lip.HAIR, Lip.FACE, Lip.UPPER_CLOTHES, Lip.COAT, Lip.PANTS, Lip.LEFT_SHOE, Lip.RIGHT_SHOE} <= seen


def test_the_picture_changes_where_the_mask_says_clothes_are(world):
    """Two outfits of one drawing differ inside the clothes and nowhere near the head: image and mask share geometry."""
    canvases = []
    for colour in ("red", "teal"):
        dressed = Outfit(
            0, Garment("jumper", colour), Garment("trousers", colour), Garment("shoes", colour), None, None, False
        )
        canvas = Canvas(np.full((192, 96, 3), 0.5, np.float32), np.zeros((192, 96), np.uint8))
        draw_person(canvas, make_person(0, 4), dressed, Pose(1.0, 0.6, True, False), View(0.6, 0.1, 90, (48, 180)), 0)
        canvases.append(canvas)
    changed = np.abs(canvases[0].image - canvases[1].image).max(axis=2) > 0.02
    assert np.array_equal(canvases[0].labels, canvases[1].labels)
    clothes = np.isin(canvases[0].labels, sorted(LABEL_SETS["lip"].clothing))
    assert changed[clothes].mean() > 0.99
    assert changed[np.isin(canvases[0].labels, [Lip.FACE, Lip.HAIR])].mean() < 0.05


def test_captions_name_the_colours_that_are_drawn(default_world):
    """Plain tops called red have more red than blue in their pixels, those called blue the reverse, in any light."""
    tints: dict[str, list[float]] = {"red": [], "blue": []}
    samples = default_world.split("train")
    for path, sentences in zip(samples.paths, default_world.caption_texts(samples), strict=True):
        upper = default_world.scene(default_world.row(path)).outfit.upper
        assert f"{upper.colour} {upper.kind}" in sentences[2]
        if upper.colour in tints and upper.pattern == "plain" and len(tints[upper.colour]) < 12:
            labels = default_world.read_mask(path)
            top = default_world.read_image(path)[np.isin(labels, [Lip.UPPER_CLOTHES, Lip.COAT])].mean(axis=0)
            tints[upper.colour].append(float(top[0] - top[2]))
    assert min(map(len, tints.values())) >= 5
    assert min(tints["red"]) > 0 > max(tints["blue"])


def test_captions_tell_the_carried_bag_and_the_place_and_never_a_number(default_world):
    samples = default_world.split("query")
    captions = default_world.caption_texts(samples)
    for path, sentences in zip(samples.paths, captions, strict=True):
        scene = default_world.scene(default_world.row(path))
        assert len(sentences) == 6
        assert not any(character.isdigit() for sentence in sentences for character in sentence)
        assert all(sentence[0].isupper() and sentence.endswith(".") and "{" not in sentence for sentence in sentences)
        assert (scene.outfit.bag is not None) == ("carries a" in sentences[4])
        assert ("indoors" in sentences[5]) <= scene.camera.indoors
        assert ("woman" in sentences[0]) == scene.person.woman
    assert len({sentences[0] for sentences in captions}) > 60, "several wordings for each person"


def test_the_summary_of_a_person_agrees_with_the_captions(default_world):
    people = {row.person: default_world.scene(row).person for row in default_world.rows["train"]}
    texts = {number: default_world.caption_summary(number) for number in people}
    assert len(set(texts.values())) > 30
    for number, person in people.items():
        assert ("woman" in texts[number]) == person.woman
        assert f"{person.skin} skin" in texts[number]
        assert ("glasses" in texts[number]) == person.glasses


@pytest.mark.parametrize(
    "path",
    ["train/999_1_c1_000000.png", "train/000_9_c1_000000.png", "gallery/000_1_c1_000000.png", "000_1_c1_000000.png"],
)
def test_a_name_from_elsewhere_is_refused(world, path):
    with pytest.raises(DataError, match="no image of this synthetic world"):
        world.read_image(path)


def test_an_unknown_split_is_refused(world):
    with pytest.raises(UsageError, match="validation"):
        world.split("validation")


@pytest.mark.parametrize("wrong", [{"cameras": 1}, {"cameras": 13}, {"people": 0}, {"frames": 1}, {"colour": "red"}])
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(ValidationError):
        SyntheticConfig(**wrong)


def test_every_field_of_the_config_is_documented():
    undocumented = {name for name, field in SyntheticConfig.model_fields.items() if not field.description}
    assert undocumented <= {"name"}, "the name is documented in DatasetConfig"


def test_the_adapter_is_registered_and_imports_no_torch():
    assert DATASETS.get("synthetic") is Synthetic
    program = "import sys, datasets.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_contact_sheet_shows_one_person_a_row(world):
    plain = contact_sheet(world, "train", 2, 4)
    assert plain.shape == (2 * CELL[0], 4 * CELL[1], 3)
    assert plain.std() > 20
    with_masks = contact_sheet(world, "train", 2, 4, masks=True)
    mask_cell = with_masks[: CELL[0], CELL[1] : 2 * CELL[1]]
    assert np.array_equal(mask_cell[0, 0], PALETTE[Lip.BACKGROUND])


def test_each_label_has_a_colour_of_its_own():
    assert len(np.unique(PALETTE, axis=0)) == len(Lip) == len(PALETTE)
    assert colour_mask(np.array([[5, 9]], np.uint8)).shape == (1, 2, 3)


def test_cloth_colours_are_told_apart():
    """Two names for one colour would make captions false."""
    values = np.array(list(CLOTH_COLOURS.values()))
    distances = np.linalg.norm(values[:, None] - values, axis=2)[~np.eye(len(values), dtype=bool)]
    assert distances.min() > 0.12
