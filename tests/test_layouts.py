"""The synthetic world on disk: every official layout, read by the official release's adapter, safe to break off."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.protocols import ignored
from datasets import DATASETS
from datasets.base import MARKER, ReIDDataset, Samples
from datasets.captions import ASPECTS, CaptionConfig, caption_features
from datasets.checks import check, count
from datasets.errors import UsageError
from datasets.layouts import LAYOUTS, TEXT_MODEL, finished, write_layout
from datasets.synthetic import Row, Synthetic, SyntheticConfig

TINY = SyntheticConfig(people=3, test_people=3, wardrobe=8, tracklets=1, frames=2, cameras=3, height=64)
WORLD = Synthetic(config=TINY)


@dataclass(frozen=True)
class Written:
    out: Path
    dataset: ReIDDataset
    rows: dict[str, Row]
    """Path in the dataset's folder → what was drawn."""

    @property
    def folder(self) -> Path:
        return self.out / self.dataset.folder

    def drawn(self, samples: Samples) -> list[Row]:
        return [self.rows[path] for path in samples.paths]


def names(written: Written, folder: str) -> list[str]:
    """Names of the images somewhere below a folder of the dataset."""
    return sorted(Path(path).name for path in written.rows if path.startswith(f"{folder}/"))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """Layout → that release of the tiny world; each is written once."""
    known: dict[str, Written] = {}

    def release(layout: str) -> Written:
        if layout not in known:
            out = tmp_path_factory.mktemp(layout)
            dataset = DATASETS.get(layout)(out)
            assert write_layout(layout, out, TINY) == out / dataset.folder
            rows = {path: row for row, path in LAYOUTS[layout](WORLD).images}
            known[layout] = Written(out, DATASETS.get(layout)(out), rows)
        return known[layout]

    return release


@pytest.fixture(params=LAYOUTS)
def written(request: pytest.FixtureRequest, releases: Callable[[str], Written]) -> Written:
    return releases(request.param)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_decides(labels: Iterable[object], values: Iterable[object]) -> None:
    """Rows with the same label have the same value."""
    value_of: dict[object, object] = {}
    for label, value in zip(labels, values, strict=True):
        assert value_of.setdefault(label, value) == value, label


# --- what every layout has ---


def test_the_adapter_finds_nothing_wrong_with_it(written):
    """Names, lists, counts as the marker says, readable images, nobody in both halves."""
    assert check(written.dataset, deep=True) == []
    for split in written.dataset.splits:
        assert len(written.dataset.split(split)) > 0


def test_the_marker_counts_what_the_adapter_counts(written):
    marker = json.loads((written.folder / MARKER).read_text())
    splits = written.dataset.splits
    assert marker["counts"] == {split: asdict(count(written.dataset.split(split))) for split in splits}
    assert marker["counts"]["train"]["persons"] == TINY.people
    assert marker["config"]["test_people"] == TINY.test_people


def test_as_many_test_people_ask_as_the_configuration_says(written):
    queries = {protocol.query for protocol in written.dataset.protocols()} & set(written.dataset.splits)
    assert queries
    for query in queries:
        assert count(written.dataset.split(query)).persons == TINY.test_people


def test_pixels_and_masks_are_those_of_the_world(written):
    for split in written.dataset.splits:
        path = written.dataset.split(split).paths[-1]
        image, labels = WORLD.render(written.rows[path])
        assert np.array_equal(written.dataset.read_mask(path), labels)
        difference = np.abs(written.dataset.read_image(path).astype(int) - image).mean()
        assert difference == 0 if path.endswith(".png") else 0 < difference < 8  # JPEG blurs the noise


def test_every_file_was_planned_and_has_a_mask_of_its_size(written):
    images = [path for path in written.folder.rglob("*") if path.suffix in (".png", ".jpg")]
    assert sorted(str(path.relative_to(written.folder)) for path in images) == sorted(written.rows)
    masks = [path for path in (written.out / "masks").rglob("*") if path.is_file()]
    assert sorted(masks) == sorted(written.dataset.mask_path(path) for path in written.rows)
    for path in written.rows:
        assert written.dataset.read_mask(path).shape == written.dataset.read_image(path).shape[:2]


def test_captions_cover_the_training_split_and_are_those_of_the_world(written):
    dataset, folder = written.dataset, written.out / "captions" / written.dataset.folder
    samples = dataset.split("train")
    stored = caption_features(dataset, samples, CaptionConfig(text_model=TEXT_MODEL, summary=True), folder)
    assert stored.rows.tolist() == list(range(len(samples)))
    assert stored.features.shape == (len(samples), len(ASPECTS), 512)
    sentences = json.loads((folder / "train_captions.json").read_text())
    assert sentences == {dataset.caption_key(path): list(WORLD.sentences(written.rows[path])) for path in samples.paths}
    summaries = json.loads((folder / "train_caption_summary_biometric.json").read_text())
    assert {int(person): summary["text"] for person, summary in summaries.items()} == {
        person: WORLD.caption_summary(row.person)
        for person, row in zip(samples.person.tolist(), written.drawn(samples), strict=True)
    }


def test_labels_are_those_of_what_was_drawn(written):
    """A person has one number, an outfit of theirs one clothes label, over all splits, and the other way round."""
    dataset = written.dataset
    halves = [dataset.splits] if dataset.one_numbering else [("train",), ("query", "gallery")]
    for half in halves:
        parts = [dataset.split(split) for split in half]
        rows = [row for part in parts for row in written.drawn(part)]
        person, camera, clothes = (
            np.concatenate([getattr(part, column) for part in parts]).tolist()
            for column in ("person", "camera", "clothes")
        )
        known = [index for index, number in enumerate(person) if number or dataset.name in ("ltcc", "prcc", "ccvid")]
        assert_decides([person[index] for index in known], [rows[index].person for index in known])
        assert_decides([rows[index].person for index in known], [person[index] for index in known])
        labelled = [index for index in known if clothes[index] >= 0]
        outfits = [(rows[index].person, rows[index].outfit) for index in labelled]
        assert_decides([clothes[index] for index in labelled], outfits)
        assert_decides(outfits, [clothes[index] for index in labelled])
        if camera[0] >= 0:
            assert_decides(camera, [row.camera for row in rows])
        if parts[0].tracklet is not None:
            tracklets = [number for part in parts if part.tracklet is not None for number in part.tracklet.tolist()]
            assert_decides(tracklets, [row.numbers for row in rows])


def test_every_protocol_leaves_matches(written):
    """Of the headline protocol and of the one that an epoch is chosen by, to every query of who changes clothes."""
    headline, *others = written.dataset.protocols()
    for protocol in (headline, written.dataset.validation(), *others):
        query, gallery = written.dataset.split(protocol.query), written.dataset.split(protocol.gallery)
        same_person = query.person[:, None] == gallery.person[None]
        answered = (same_person & ~ignored(protocol, query, gallery)).any(axis=1)
        if protocol in others:
            assert answered.any(), protocol.name
        else:
            changes = [len(WORLD.wardrobe_of(row.person)) > 1 for row in written.drawn(query)]
            assert answered[changes].all(), protocol.name
            assert any(changes)


# --- what one layout has ---


def test_ltcc_has_the_names_and_labels_of_the_world(releases):
    release = releases("ltcc").dataset
    for name in WORLD.splits:
        drawn, read = WORLD.split(name), release.split(name)
        drawn = drawn.take(np.argsort([Path(path).name for path in drawn.paths], kind="stable"))
        assert [Path(path).name for path in read.paths] == [Path(path).name for path in drawn.paths]
        for column in ("person", "camera", "clothes"):
            assert np.array_equal(getattr(read, column), getattr(drawn, column))


def test_ltcc_lists_all_people_who_change_clothes(releases):
    folder = releases("ltcc").folder / "info"
    for half, people in (("train", range(3)), ("test", range(3, 6))):
        lists = {
            kind: (folder / f"{kind}_id_{half}.txt").read_text().splitlines()
            for kind in ("cloth-change", "cloth-unchange")
        }
        changing = [str(person) for person in people if len(WORLD.wardrobe_of(person)) > 1]
        assert lists["cloth-change"] == changing
        assert lists["cloth-unchange"] == [str(person) for person in people if str(person) not in changing]


@pytest.mark.parametrize("layout", ["prcc", "celeb_reid", "celeb_reid_light", "ccvid", "vc_clothes"])
def test_nobody_is_there_who_never_changes_clothes(layout):
    """One person in ten of the world owns a single outfit; who is left out is replaced by the next."""
    world = Synthetic(config=TINY.model_copy(update={"people": 30}))
    assert any(len(world.wardrobe_of(person)) == 1 for person in range(33))
    outfits: dict[int, set[int]] = {}
    for row, _ in LAYOUTS[layout](world).images:
        outfits.setdefault(row.person, set()).add(row.outfit)
    assert len(outfits) == 33
    assert all(len(worn) > 1 for worn in outfits.values())


def test_prcc_changes_clothes_under_camera_c_and_validates_on_the_people_it_trains_on(releases):
    written = releases("prcc")
    outfits = {path.split("/")[3][0]: row.outfit for path, row in written.rows.items() if "rgb/train" in path}
    assert outfits == {"A": 1, "B": 1, "C": 2}
    train, val = (written.dataset.split(split) for split in ("train", "val"))
    assert set(train.person.tolist()) == set(val.person.tolist())
    assert not set(written.drawn(train)) & set(written.drawn(val))


def test_celebrities_of_the_test_are_others_under_the_same_numbers(releases):
    written = releases("celeb_reid")
    train, query = (written.dataset.split(split) for split in ("train", "query"))
    assert set(train.person.tolist()) == set(query.person.tolist()) == {1, 2, 3}
    assert not {row.person for row in written.drawn(train)} & {row.person for row in written.drawn(query)}


def test_celebrities_of_the_light_dataset_are_seen_once_in_an_outfit():
    """As many images as outfits, as long as the world has others: more than anybody owns."""
    world = Synthetic(config=TINY.model_copy(update={"tracklets": 3, "wardrobe": 60}))
    worn: dict[int, list[int]] = {}
    for row, _ in LAYOUTS["celeb_reid_light"](world).images:
        worn.setdefault(row.person, []).append(world.outfits_for(row.person)[row.outfit - 1])
    assert [len(outfits) for outfits in worn.values()] == [6] * 6
    assert all(len(set(outfits)) == 6 for outfits in worn.values())


def test_ccvid_has_walks_of_different_length_in_the_order_of_their_steps(releases):
    written = releases("ccvid")
    lengths = set()
    for split in written.dataset.splits:
        samples = written.dataset.split(split)
        assert samples.tracklet is not None
        for tracklet in np.unique(samples.tracklet).tolist():
            rows = np.flatnonzero(samples.tracklet == tracklet)
            assert [written.rows[samples.paths[row]].step for row in rows] == list(range(len(rows)))
            lengths.add(len(rows))
    assert lengths == {1, 2, 3}


def test_ccvid_starts_every_person_s_clothes_tags_at_zero_and_changes_them_with_the_session(releases):
    lines = (releases("ccvid").folder / "train.txt").read_text().splitlines()
    tags: dict[str, dict[str, str]] = {}
    for folder, person, tag in (line.split("\t") for line in lines):
        assert tags.setdefault(person, {}).setdefault(folder.partition("/")[0], tag) == tag
    assert len(tags) == 3
    for sessions in tags.values():
        assert sessions["session1"] == "u0_l0_s0_c0_a0"
        assert len(set(sessions.values())) == len(sessions) >= 2


def test_vc_clothes_has_the_same_clothes_under_cameras_2_and_3_and_others_under_4(releases):
    written = releases("vc_clothes")
    outfit = {(row.person, row.camera): row.outfit for row in written.rows.values()}
    for person in {person for person, _ in outfit}:
        assert outfit[person, 2] == outfit[person, 3] != outfit[person, 4]
        assert outfit[person, 1] != outfit[person, 2]


def test_deepchange_has_a_day_for_each_outfit_and_queries_from_tracklets_of_the_gallery(releases):
    dataset = releases("deepchange").dataset
    for query, gallery in (("val_query", "val_gallery"), ("query", "gallery")):
        asked, answering = dataset.split(query).tracklet, dataset.split(gallery).tracklet
        assert asked is not None
        assert answering is not None
        assert set(asked.tolist()) <= set(answering.tolist())


def test_last_has_strangers_in_both_galleries_and_a_doubled_underscore(releases):
    written = releases("last")
    for half in ("val", "test"):
        strangers = [name for name in names(written, f"{half}/gallery") if name.startswith("000000_")]
        assert strangers
        assert not any(name.startswith("000000") for name in names(written, f"{half}/query"))
    people = [{row.person for path, row in written.rows.items() if path.startswith(f"{half}/gallery/000000/")}
              for half in ("val", "test")]  # fmt: skip
    assert not people[0] & people[1]
    assert sum("__" in path for path in written.rows) == 1
    assert {name[-7:-4] for name in names(written, "test")} == {"000"}
    assert "000" not in {name[-7:-4] for name in names(written, "train")}


def test_market_has_strangers_and_bad_detections_and_one_outfit_a_person(releases):
    written = releases("market1501")
    gallery = written.dataset.split("gallery")
    assert sum(name.startswith("-1_") for name in names(written, "bounding_box_test")) == TINY.test_people
    assert sum(name.startswith("0000_") for name in names(written, "bounding_box_test")) == (gallery.person == 0).sum()
    assert (gallery.person == 0).any()
    assert {row.outfit for row in written.rows.values()} == {1}


@pytest.mark.parametrize(
    ("layout", "update", "message"),
    [
        ("ccvid", {"cameras": 5, "tracklets": 3}, r"cameras=5 times tracklets=3 are 15"),
        ("market1501", {"cameras": 7}, r"6 cameras, but cameras=7"),
    ],
)
def test_a_world_that_the_names_have_no_numbers_for_is_refused_before_anything_is_written(
    tmp_path, layout, update, message
):
    with pytest.raises(UsageError, match=message):
        write_layout(layout, tmp_path, TINY.model_copy(update=update))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("update", [{}, {"people": 500, "test_people": 500, "tracklets": 1}, {"frames": 100}])
def test_names_are_unique_in_small_and_large_worlds(layout, update):
    release = LAYOUTS[layout](Synthetic(config=TINY.model_copy(update=update)))
    paths = [path for _, path in release.images] + list(release.texts)
    assert len(set(paths)) == len(paths)


# --- writing ---


def test_workers_change_nothing_but_the_time(releases, tmp_path):
    written = releases("prcc")
    calls: list[tuple[int, int]] = []
    write_layout("prcc", tmp_path, TINY, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert contents(tmp_path) == contents(written.out)
    total = len(written.rows)
    assert calls == [(number, total) for number in range(1, total + 1)]


def test_a_finished_world_is_left_as_it_is(releases):
    out = releases("ltcc").out
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert finished("ltcc", out, TINY)
    assert write_layout("ltcc", out, TINY) == out / "LTCC_ReID"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_another_world_is_never_written_over_a_finished_one(releases):
    out, other = releases("ltcc").out, TINY.model_copy(update={"seed": 9})
    assert not finished("ltcc", out, other)
    with pytest.raises(UsageError, match="delete it or choose another output folder"):
        write_layout("ltcc", out, other)


@pytest.mark.parametrize("marker", ["{", "[]", '{"layout": "ltcc"}', "no counts"])
def test_a_damaged_marker_does_not_count_as_finished(releases, tmp_path, marker):
    whole = json.loads((releases("ltcc").folder / MARKER).read_text())
    del whole["counts"]
    (tmp_path / "LTCC_ReID").mkdir()
    (tmp_path / "LTCC_ReID" / MARKER).write_text(json.dumps(whole) if marker == "no counts" else marker)
    assert not finished("ltcc", tmp_path, TINY)


@pytest.mark.parametrize("folder", ["LTCC_ReID/train", "masks/LTCC_ReID", "captions/LTCC_ReID"])
def test_a_half_written_or_foreign_folder_is_refused_and_untouched(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "something").write_text("of mine")
    assert not finished("ltcc", tmp_path, TINY)
    with pytest.raises(UsageError, match="LTCC_ReID"):
        write_layout("ltcc", tmp_path, TINY)
    assert contents(tmp_path) == {f"{folder}/something": b"of mine"}


def test_a_run_that_breaks_off_leaves_no_marker(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_layout("ltcc", tmp_path, TINY, progress=interrupt)
    assert (tmp_path / "LTCC_ReID" / "train").is_dir()
    assert not (tmp_path / "LTCC_ReID" / MARKER).exists()
    assert not finished("ltcc", tmp_path, TINY)


def test_an_unknown_layout_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match="Did you mean ltcc"):
        write_layout("lttc", tmp_path, TINY)
