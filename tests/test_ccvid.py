"""CCVID's tracklets agree with the official codes; a list, folder or frame that is not CCVID's is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.base import Counts, Ignore
from datasets.ccvid import CCVID, CCVIDConfig
from datasets.errors import DataError, UsageError
from tests.trees import AWKWARD_NAMES, build_tree, dense, golden_rows

SPLITS = ("train", "query", "gallery")
LISTS = {
    "train": {"session1/076_01": "u0_l0_s0_c0_a0", "session2/076_04": "u1_l0_s0_c0_a0"},
    "query": {"session1/001_01": "u0_l0_s0_c0_a0", "session3/001_02": "u1_l1_s0_c0_a0"},
    "gallery": {"session2/001_01": "u1_l0_s0_c0_a0", "session1/002_12": "u0_l0_s0_c0_a0"},
}
FRAMES = 21


def frame_paths(stored: list) -> list[str]:
    """The frames of a golden row, below CCVID; more than 40 are stored as [first, last, how many]."""
    paths = [path for path in stored if isinstance(path, str)]
    if len(paths) < len(stored):
        folder, last = Path(paths[0]).parent, int(Path(paths[1]).stem)
        paths = [f"{folder}/{number:05d}.jpg" for number in range(1, last + 1)]
        assert len(paths) == stored[2]
    return [path.removeprefix("CCVID/") for path in paths]


def write_lists(root: Path, lists: dict[str, dict[str, str]], separator: str = "\t") -> None:
    for split, tracklets in lists.items():
        lines = [separator.join((folder, folder[9:12], tag)) for folder, tag in tracklets.items()]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def golden_tree(golden: Path, tmp_path_factory) -> Path:
    """The generated tree of the golden lists, whose text files are `make_trees.py`'s."""
    root = tmp_path_factory.mktemp("ccvid")
    lists = golden_rows(golden, "CAL__ccvid")
    frames = [path for split in SPLITS for stored, *_ in lists[split] for path in frame_paths(stored)]
    build_tree(root / "CCVID", frames)
    first, changed, both = "u0_l0_s0_c0_a0", "u1_l0_s0_c0_a0", "u1_l1_s0_c0_a0"
    tags = {
        "train": (("session1/{}_01", first), ("session2/{}_04", changed)),
        "query": (("session1/{}_01", first), ("session3/{}_02", both)),
        "gallery": (("session1/{}_02", first), ("session2/{}_01", changed), ("session3/{}_01", both)),
    }
    people = {"train": ("076", "100"), "query": ("001", "002"), "gallery": ("001", "002")}
    write_lists(
        root / "CCVID",
        {s: {folder.format(p): tag for p in people[s] for folder, tag in tags[s]} for s in SPLITS},
    )
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few tracklets of empty files, to be damaged."""
    root = tmp_path / "data/CCVID"
    for tracklets in LISTS.values():
        for folder in tracklets:
            (root / folder).mkdir(parents=True)
            for number in range(1, FRAMES + 1):
                (root / folder / f"{number:05d}.jpg").touch()
    write_lists(root, LISTS)
    return root


@pytest.mark.parametrize("peer", ["CAL", "GEFF"])
def test_lists_agree_with_the_official_codes_tracklet_for_tracklet(golden_tree, golden, peer):
    lists, dataset = golden_rows(golden, f"{peer}__ccvid"), CCVID(golden_tree)
    labels = {}
    for split in SPLITS:
        samples = dataset.split(split)
        frames = [frame_paths(stored) for stored, *_ in lists[split]]
        assert list(samples.paths) == [path for tracklet in frames for path in tracklet]
        lengths = [len(tracklet) for tracklet in frames]
        first = np.cumsum([0, *lengths[:-1]])
        assert len(np.unique(samples.tracklet)) == len(frames)
        for column in (samples.person, samples.camera, samples.clothes, samples.tracklet):
            assert column.tolist() == np.repeat(column[first], lengths).tolist(), "a tracklet has one label"
        labels[split] = samples.take(first)
        assert labels[split].camera.tolist() == [camera for _, _, camera, _ in lists[split]]
    assert dense(labels["train"].person) == [person for _, person, _, _ in lists["train"]]
    assert dense(labels["train"].clothes) == [clothes for *_, clothes in lists["train"]]
    tested = lists["query"] + lists["gallery"]
    both = (labels["query"], labels["gallery"])
    assert np.concatenate([part.person for part in both]).tolist() == [person for _, person, _, _ in tested]
    assert dense(np.concatenate([part.clothes for part in both])) == [clothes for *_, clothes in tested]


def test_labels_are_unique_over_the_dataset_and_made_of_the_names(tree):
    """The same person and tag are one outfit in every split; the same tag of two people is not."""
    samples = {split: CCVID(tree).split(split).take([0, FRAMES]) for split in SPLITS}
    assert samples["train"].clothes.tolist() == [760000000000, 760100000000]
    assert samples["query"].clothes.tolist() == [10000000000, 10101000000]
    assert samples["gallery"].clothes.tolist() == [10100000000, 20000000000]
    assert samples["gallery"].camera.tolist() == [1, 12]
    assert samples["query"].camera.tolist() == [1, 14], "walk 2 of session 3"
    assert [samples[split].tracklet.tolist() for split in SPLITS] == [[76101, 76204], [1101, 1302], [1201, 2112]]


def test_numbers_of_the_tag_keep_apart_up_to_two_digits(tree):
    """With too small a radix u0_l10 would be u1_l0."""
    tags = ["u0_l10_s0_c0_a0", "u1_l0_s0_c0_a0", "u0_l1_s0_c0_a0", "u0_l0_s0_c0_a99", "u0_l0_s0_c1_a0"]
    folders = [f"session1/001_{walk:02d}" for walk in range(1, 6)]
    for folder in folders:
        (tree / folder).mkdir(exist_ok=True)
        (tree / folder / "00001.jpg").touch()
    write_lists(tree, {"query": dict(zip(folders, tags, strict=True))})
    assert len(np.unique(CCVID(tree).split("query").clothes)) == len(tags)


@pytest.mark.parametrize("separator", ["\t", " ", "  \t"])
def test_columns_of_a_list_are_separated_by_tabs_or_spaces(tree, separator):
    write_lists(tree, LISTS, separator)
    assert len(CCVID(tree).split("gallery")) == 2 * FRAMES


def test_tracklets_are_in_the_order_of_the_list(tree):
    expected = CCVID(tree).split("train").tracklet
    write_lists(tree, {"train": dict(reversed(LISTS["train"].items()))})
    assert CCVID(tree).split("train").tracklet.tolist() == expected[::-1].tolist()


def test_frames_are_thinned_by_their_number_in_one_half_only(tree):
    """DIFFER's first release trains on every tenth frame."""
    dataset = CCVID(tree, CCVIDConfig(train_every=10))
    assert [path[-9:] for path in dataset.split("train").paths] == ["00010.jpg", "00020.jpg"] * 2
    assert len(dataset.split("query")) == len(dataset.split("gallery")) == 2 * FRAMES
    dataset = CCVID(tree, CCVIDConfig(test_every=7))
    assert len(dataset.split("train")) == 2 * FRAMES
    assert len(dataset.split("query")) == len(dataset.split("gallery")) == 2 * 3


def test_a_tracklet_is_never_thinned_away(tree):
    """It would be missing from query or gallery without a word."""
    with pytest.raises(UsageError, match=r"session1/001_01 has no frame .* multiple of 30: .* smaller dataset.test_ev"):
        CCVID(tree, CCVIDConfig(test_every=30)).split("query")


def test_caption_keys_tell_tracklets_apart(tree):
    dataset = CCVID(tree)
    assert dataset.caption_key("session1/076_01/00001.jpg") == "session1/076_01/00001"
    assert len({dataset.caption_key(path) for path in dataset.split("train").paths}) == 2 * FRAMES


@pytest.mark.parametrize("name", [*AWKWARD_NAMES, "CCVID", "session3", "001_01"])
def test_labels_do_not_depend_on_the_folders_above(tree, tmp_path, name):
    expected = CCVID(tree).split("query")
    moved = tree.rename(tmp_path / name)
    found = CCVID(moved).split("query")
    assert found.paths == expected.paths
    assert found.camera.tolist() == expected.camera.tolist()
    assert found.clothes.tolist() == expected.clothes.tolist()


def test_symbolic_link_as_root(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert len(CCVID(tmp_path / "link").split("train")) == 2 * FRAMES


def test_upper_case_extension_is_read_and_leftovers_are_not(golden_tree, tree):
    folder = tree / "session1/076_01"
    (folder / "00001.jpg").write_bytes((golden_tree / "CCVID/session1/076_01/00001.jpg").read_bytes())
    (folder / "00001.jpg").rename(folder / "00001.JPG")
    for name in (".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    samples = CCVID(tree).split("train")
    assert len(samples) == 2 * FRAMES
    assert samples.paths[0] == "session1/076_01/00001.JPG"
    assert CCVID(tree).read_image(samples.paths[0]).shape == (16, 8, 3)


@pytest.mark.parametrize("name", ["1.jpg", "00001.png", "000001.jpg", "00001.jpg.part"])
def test_foreign_file_is_refused_by_name(tree, name):
    (tree / "session1/001_01" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"session1/001_01/{name} is not named like CCVID's frames.*\(1 of 22 are not"):
        CCVID(tree).split("query")


@pytest.mark.parametrize(
    "line",
    [
        "session1/001_05\t001",
        "session1/001_05\t001\tu0_l0_s0_c0",
        "session1/001_05\t001\tu100_l0_s0_c0_a0",
        "session4/001_05\t001\tu0_l0_s0_c0_a0",
        "session1/001_13\t001\tu0_l0_s0_c0_a0",
        "session1/001_05\t002\tu0_l0_s0_c0_a0",
        "../session1/001_05\t001\tu0_l0_s0_c0_a0",
    ],
    ids=["two columns", "short tag", "large number", "session", "walk", "two people", "elsewhere"],
)
def test_line_that_is_not_ccvid_s_is_refused_with_its_number(tree, line):
    """A walk of 13 would be the camera of walk 1 in session 3; folder and column must name one person."""
    with (tree / "query.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DataError, match=r"query.txt, line 4: .*session.* is not FOLDER PERSON CLOTHES"):
        CCVID(tree).split("query")


def test_tracklet_that_is_listed_twice_is_refused(tree):
    """Its frames would answer twice, perhaps in two outfits."""
    with (tree / "query.txt").open("a") as file:
        file.write("session3/001_02 001 u0_l0_s0_c0_a0")
    with pytest.raises(DataError, match=r"query.txt, line 3: session3/001_02 is listed twice"):
        CCVID(tree).split("query")


def damage_list(tree: Path) -> None:
    (tree / "query.txt").write_bytes(b"\xff\xfe\x00")


def remove_folder(tree: Path) -> None:
    (tree / "session3/001_02").rename(tree / "session3/elsewhere")


def empty_folder(tree: Path) -> None:
    for frame in (tree / "session3/001_02").iterdir():
        frame.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tree: (tree / "query.txt").unlink(), "query.txt does not exist: .* only train.txt and gallery.txt th"),
        (lambda tree: (tree / "query.txt").write_text("\n\n"), "query.txt lists no tracklets"),
        (damage_list, "query.txt cannot be read"),
        (remove_folder, "session3/001_02 does not exist"),
        (empty_folder, "session3/001_02 holds no images"),
    ],
)
def test_what_is_missing_is_named(tree, damage: Callable[[Path], object], message):
    damage(tree)
    assert len(CCVID(tree).split("train")) == 2 * FRAMES, "the other splits can still be read"
    with pytest.raises(DataError, match=message):
        CCVID(tree).split("query")


def test_missing_root_and_unknown_split_are_refused(tree, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist: expected the folder of CCVID with train.txt, query"):
        CCVID(tmp_path / "nowhere").split("train")
    with pytest.raises(UsageError, match="no split test: choose one of train, query, gallery"):
        CCVID(tree).split("test")


def test_cal_s_protocols_are_reported_and_other_pools_only_by_name():
    protocols = DATASETS.get("ccvid")(Path("unused")).protocols()
    rules = {
        "cloth-changing": Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES,
        "standard": Ignore.SAME_CAMERA,
        "same-clothes": Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES,
    }
    pools = {"": ("clips", True), "-frames": ("frames", False), "-unit-clips": ("unit-clips", False)}
    assert [(p.name, p.ignore, p.pool, p.reported) for p in protocols] == [
        (name + suffix, rule, *pool) for suffix, pool in pools.items() for name, rule in rules.items()
    ]
    assert {(p.query, p.gallery) for p in protocols} <= {("query", "gallery")}
    assert all(p.source for p in protocols)


def test_published_counts_are_of_tracklets_so_that_thinning_frames_does_not_contradict_them():
    assert CCVID.statistics["train"] == Counts(persons=75, clothes=159, tracklets=948)
    assert all(counts.images is None for counts in CCVID.statistics.values())
    assert sum(counts.tracklets or 0 for counts in CCVID.statistics.values()) == 2856, "the released lists together"
