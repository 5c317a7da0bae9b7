"""Retrieval pictures show what the protocol compared: the right images in order, framed as they were judged."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import run as command_line
from benchmarks.pooling import pooled
from benchmarks.protocols import ignored
from benchmarks.ranking import Features, Ranking, rank
from benchmarks.records import RunFolder, RunStore
from benchmarks.run_features import keep_features
from benchmarks.spec import ClipConfig, EvaluateConfig
from benchmarks.splits import save_samples
from datasets.base import Ignore, Protocol, Samples
from datasets.errors import DataError, UsageError
from datasets.masks import Atr, Lip
from datasets.synthetic import Synthetic, SyntheticConfig
from reports.figures.style import CORRECT, GREY, WRONG
from reports.heads import BAND, hide_head
from reports.retrieval import Options, choose_queries, common_protocol, strips, write_retrieval
from reports.retrieval.choosing import choose
from reports.retrieval.drawing import distance_text
from reports.retrieval.layout import Layout
from reports.retrieval.lettering import fitted, shrunk, width
from reports.retrieval.lists import read_lists
from reports.retrieval.strips import Strip, Verdict, file_name
from reports.retrieval.writing import pages_of

WORLD: dict[str, Any] = {"people": 2, "test_people": 6, "tracklets": 2, "frames": 3, "height": 64}
SAME_CAMERA, SAME_CLOTHES = Ignore.SAME_CAMERA, Ignore.SAME_CLOTHES
PROTOCOLS = (
    Protocol("cloth-changing", "query", "gallery", SAME_CAMERA | SAME_CLOTHES),
    Protocol("standard", "query", "gallery", SAME_CAMERA),
    Protocol("single-shot", "query", "gallery", Ignore.NOTHING | SAME_CAMERA, draws=3),
    Protocol("walks", "gallery", "gallery", Ignore.SAME_TRACKLET, pool="frames"),
)
Make = Callable[..., RunFolder]


def _features(samples: Samples, seed: int) -> Features:
    """Random features that know a little of the person and more of the clothes."""
    generator = np.random.default_rng(seed)
    people, clothes = generator.normal(size=(1000, 16)), generator.normal(size=(100_000, 16))
    vectors = 2 * generator.normal(size=(len(samples), 16)) + people[samples.person] + clothes[samples.clothes]
    return Features(
        torch.from_numpy(vectors).float(), samples.person, samples.camera, samples.clothes, samples.tracklet
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A finished run with random features."""

    def made(
        method: str = "baseline",
        seed: int = 0,
        *,
        world: dict[str, Any] = WORLD,
        evaluate: dict[str, Any] | None = None,
        selection: str = "last",
        only: Sequence[str] = (),
    ) -> RunFolder:
        folder = RunStore(tmp_path / "runs").open(f"synthetic-{method}-0123abcd-s{seed}")
        config = EvaluateConfig(**(evaluate or {}))
        spec = {"method": {"name": method}, "dataset": {"name": "synthetic", **world}, "seed": seed}
        folder.path.mkdir(parents=True)
        (folder.path / "spec.yaml").write_text(yaml.safe_dump(spec | {"evaluate": evaluate or {}}))
        protocols = [protocol for protocol in PROTOCOLS if not only or protocol.name in only]
        described = [asdict(protocol) | {"ignore": str(protocol.ignore)} for protocol in protocols]
        (folder.path / "data.json").write_text(json.dumps({"selection": selection, "protocols": described}))
        dataset = Synthetic(config=SyntheticConfig(**world))
        splits = {name: dataset.split(name) for name in ("query", "gallery")}
        features = {name: _features(samples, seed) for name, samples in splits.items()}
        for name, samples in splits.items():
            save_samples(folder.split(name), samples)
        keep_features(folder, selection, features, config)
        for protocol in protocols:
            asked, answers = features[protocol.query], features[protocol.gallery]
            if protocol.pool:
                asked, answers = (pooled(one, protocol.pool, ClipConfig()) for one in (asked, answers))
            ranking = rank(asked, answers, protocol, metric=config.metric, normalise=config.normalise)
            ranking.save(folder.ranking(protocol.name, selection))
            folder.append({"event": "scores", "selection": selection, "protocol": protocol.name, **ranking.scores()})
        folder.set_status("done")
        return folder

    return made


def _expected(run: RunFolder, protocol: Protocol, row: int) -> tuple[Samples, np.ndarray, np.ndarray, np.ndarray]:
    """Gallery, and its rows by distance to query `row`, their distances and what is hidden: everything, by hand."""
    dataset = Synthetic(config=SyntheticConfig(**WORLD))
    query, gallery = dataset.split("query"), dataset.split("gallery")
    seed = run.spec()["seed"]
    a, b = (_features(samples, seed).embeddings.double().numpy() for samples in (query, gallery))
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (a, b)]
    distance = 1 - unit[1] @ unit[0][row]
    order = np.argsort(distance, kind="stable")
    return gallery, order, distance[order], ignored(protocol, query, gallery)[row, order]


# --- what is shown ---


def test_a_line_holds_the_nearest_visible_entries_in_order_and_judges_them(make: Make) -> None:
    run = make()
    strip = strips([run], "cloth-changing", [3])[0]
    gallery, order, distance, hidden = _expected(run, PROTOCOLS[0], 3)
    rows = order[~hidden][:10]
    entries = strip.lines[0].entries
    assert [entry.path for entry in entries] == [gallery.paths[row] for row in rows]
    assert [entry.distance for entry in entries] == pytest.approx(distance[~hidden][:10].tolist(), abs=1e-5)
    assert [entry.rank for entry in entries] == list(range(1, 11))
    judged = [entry.verdict is Verdict.CORRECT for entry in entries]
    assert judged == [gallery.person[row] == strip.query.person for row in rows]
    assert set(judged) == {True, False}, "the example shows both"


def test_ignored_entries_stand_greyed_where_their_distance_puts_them(make: Make) -> None:
    run = make()
    strip = strips([run], "cloth-changing", [3], Options(show_ignored=True, k=12))[0]
    gallery, order, _, hidden = _expected(run, PROTOCOLS[0], 3)
    entries = strip.lines[0].entries
    assert [entry.path for entry in entries] == [gallery.paths[row] for row in order[:12]]
    assert [entry.verdict is Verdict.IGNORED for entry in entries] == hidden[:12].tolist()
    assert hidden[:12].any()
    ranks = [entry.rank for entry in entries if entry.verdict is not Verdict.IGNORED]
    assert ranks == list(range(1, len(ranks) + 1)), "an ignored entry takes no rank"
    assert all(entry.rank is None for entry in entries if entry.verdict is Verdict.IGNORED)


@pytest.mark.parametrize("evaluate", [{"normalise": False}, {"metric": "euclidean", "normalise": False}])
def test_ignored_entries_are_placed_by_the_distance_that_the_run_was_scored_with(
    make: Make, evaluate: dict[str, Any]
) -> None:
    entries = strips([make(evaluate=evaluate)], "standard", [3], Options(show_ignored=True, k=20))[0].lines[0].entries
    distances = [entry.distance for entry in entries]
    assert distances == sorted(distances)
    assert {Verdict.IGNORED, Verdict.WRONG} <= {entry.verdict for entry in entries}


def test_a_single_shot_line_is_of_the_first_gallery_and_hides_only_what_was_drawn(make: Make) -> None:
    run = make()
    strip = strips([run], "single-shot", [3], Options(show_ignored=True, k=20))[0]
    ranking = Ranking.load(run.ranking("single-shot", "last"))
    assert ranking.drawn is not None
    paths = Synthetic(config=SyntheticConfig(**WORLD)).split("gallery").paths
    shown = [entry.path for entry in strip.lines[0].entries]
    assert sorted(shown) == sorted(paths[row] for row in ranking.drawn[0]), "one image a person, each once"
    assert "first of 3 single-shot galleries" in strip.caption


def test_a_tracklet_is_shown_by_its_middle_image_with_its_own_labels(make: Make) -> None:
    run = make()
    strip = strips([run], "walks", [1])[0]
    samples = Synthetic(config=SyntheticConfig(**WORLD)).split("gallery")
    assert samples.tracklet is not None
    images = np.flatnonzero(samples.tracklet == np.unique(samples.tracklet)[1])
    assert strip.query.path == samples.paths[images[len(images) // 2]]
    ranking = Ranking.load(run.ranking("walks", "last"))
    starts = np.flatnonzero(np.r_[True, np.diff(samples.tracklet) != 0])
    nearest = ranking.top_index[1, :10]
    assert [entry.person for entry in strip.lines[0].entries] == samples.person[starts[nearest]].tolist()
    assert "Tracklets are compared" in strip.caption
    with pytest.raises(UsageError, match="pools tracklets before their features are scaled"):
        strips([run], "walks", [1], Options(show_ignored=True))


def test_pooled_entries_can_be_placed_where_features_are_kept_unscaled(make: Make) -> None:
    run = make(evaluate={"normalise": False, "metric": "euclidean"})
    entries = strips([run], "walks", [1], Options(show_ignored=True))[0].lines[0].entries
    assert [entry.verdict for entry in entries].count(Verdict.IGNORED) == 1
    assert entries[0].distance == pytest.approx(0, abs=1e-3), "a walk is nearest to itself, and is not asked for"


def test_several_runs_are_lines_in_the_order_named_and_told_apart(make: Make) -> None:
    runs = [make("differ", 1), make("baseline"), make("differ", 0)]
    strip = strips(runs, "cloth-changing", [0])[0]
    assert [line.name for line in strip.lines] == ["differ, seed 1", "baseline", "differ, seed 0"]
    assert all(run.run_id in strip.caption for run in runs)


def test_a_choice_made_on_the_test_set_carries_its_dagger(make: Make) -> None:
    strip = strips([make(selection="oracle")], "standard", [0])[0]
    assert "selection oracle †" in strip.caption
    assert strip.lines[0].score.endswith("†")


# --- choosing ---


def _precision(run: RunFolder) -> np.ndarray:
    return Ranking.load(run.ranking("cloth-changing", "last")).average_precision


def _persons() -> np.ndarray:
    return Synthetic(config=SyntheticConfig(**WORLD)).split("query").person


def test_the_worst_and_the_best_are_those_of_each_person_over_the_runs(make: Make) -> None:
    runs = [make(), make("differ")]
    mean = np.mean([_precision(run) for run in runs], axis=0)
    person = _persons()
    worst, best = (choose_queries(runs, "cloth-changing", how) for how in ("worst:3", "best:3"))
    assert mean[worst[0]] == np.nanmin(mean)
    assert mean[best[0]] == np.nanmax(mean)
    for rows in (worst, best):
        assert len({person[row] for row in rows}) == len(rows) == 3, "three people"
    assert mean[worst].tolist() == sorted(mean[worst])
    assert mean[best].tolist() == sorted(mean[best], reverse=True)


def test_queries_on_which_two_runs_differ_favour_each_of_them(make: Make) -> None:
    runs = [make(), make("differ", 1)]
    gain = _precision(runs[1]) - _precision(runs[0])
    rows = choose_queries(runs, "cloth-changing", "disagree:4")
    signs = np.sign(gain[rows]).tolist()
    assert signs == sorted(signs, reverse=True)
    assert set(signs) == {1.0, -1.0}
    assert gain[rows[0]] == np.nanmax(gain)


def test_random_queries_are_the_same_every_time(make: Make) -> None:
    run = make()
    rows = choose_queries([run], "cloth-changing", "random:4")
    assert rows == choose_queries([run], "cloth-changing", "random:4")
    assert len({_persons()[row] for row in rows}) == 4
    assert not np.isnan(_precision(run)[rows]).any(), "only queries that have a match"


def test_queries_are_named_by_row_and_by_path(make: Make) -> None:
    run = make()
    paths = Synthetic(config=SyntheticConfig(**WORLD)).split("query").paths
    valid = np.flatnonzero(~np.isnan(_precision(run))).tolist()
    stem = paths[valid[2]].removeprefix("query/").removesuffix(".png")
    how = f"{valid[1]},{stem},{paths[valid[0]]},{stem[:-4]}"
    assert choose_queries([run], "cloth-changing", how) == [valid[1], valid[2], valid[0]]


def test_more_than_there_are_and_queries_without_a_match_are_said(make: Make) -> None:
    run = make()
    lists = read_lists([run], "cloth-changing")
    people = len(np.unique(_persons()[~np.isnan(_precision(run))]))
    chosen = choose(lists, "worst:100")
    assert len(chosen.rows) == people
    assert chosen.remarks == [f"{people} queries are shown and not 100: there are no more, with one a person."]
    without, valid = (int(np.flatnonzero(np.isnan(_precision(run)) == missing)[0]) for missing in (True, False))
    chosen = choose(lists, f"{without},{valid}")
    assert chosen.rows == [valid]
    assert "no valid match under cloth-changing: left out" in chosen.remarks[0]
    with pytest.raises(UsageError, match="choose others"):
        choose(lists, str(without))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("wurst:3", "Did you mean worst"),
        ("worst", "worst:12"),
        ("worst:0", "write a number of queries"),
        ("best:many", "such as best:12"),
        ("disagree:2", "needs two runs"),
        ("100000", "has the queries 0 …"),
        ("query/", "write more of one"),
        ("nobody", "neither a row nor part of the path"),
        ("1,,2", "neither a row"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_a_sentence(make: Make, how: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choose_queries([make()], "cloth-changing", how)


# --- what does not go together ---


def test_runs_on_other_data_or_other_queries_have_no_common_picture(make: Make) -> None:
    one, other = make(), make("differ", world=WORLD | {"seed": 5})
    with pytest.raises(UsageError, match="different datasets"):
        strips([one, other], "standard", [0])
    third = make("cal")
    samples = Synthetic(config=SyntheticConfig(**WORLD)).split("query")
    save_samples(third.split("query"), samples.take(np.arange(len(samples))[::-1]))
    with pytest.raises(UsageError, match="different queries"):
        strips([one, third], "standard", [0])


def test_unknown_protocols_and_selections_are_refused_with_what_there_is(make: Make) -> None:
    run = make(only=["standard", "single-shot"])
    assert common_protocol([run, make("differ")]) == "standard"
    with pytest.raises(UsageError, match="Did you mean standard"):
        strips([run], "standart", [0])
    with pytest.raises(UsageError, match="Available: last"):
        strips([run], "standard", [0], Options(selection="oracle"))
    with pytest.raises(UsageError, match="does not exist"):
        strips([run], "standard", [9999])
    with pytest.raises(UsageError, match="choose 1 to 20"):
        Options(k=0)


def test_evidence_of_other_images_is_refused(make: Make) -> None:
    run = make()
    samples = Synthetic(config=SyntheticConfig(**WORLD)).split("gallery")
    save_samples(run.split("gallery"), samples.take(np.arange(5)))
    with pytest.raises(DataError, match="evaluate the run again"):
        strips([run], "standard", [0])


def test_features_that_disagree_with_the_recorded_distances_are_refused(make: Make) -> None:
    run = make()
    samples = Synthetic(config=SyntheticConfig(**WORLD)).split("gallery")
    keep_features(run, "last", {"gallery": _features(samples, 99)}, EvaluateConfig())
    with pytest.raises(DataError, match="gives other distances"):
        strips([run], "standard", [0], Options(show_ignored=True))


def test_re_ranked_lists_cannot_show_what_they_ignored(make: Make) -> None:
    run = make()
    spec = run.spec() | {"evaluate": {"rerank": {"method": "k-reciprocal"}}}
    (run.path / "spec.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(UsageError, match="was re-ranked"):
        strips([run], "standard", [0], Options(show_ignored=True))
    assert strips([run], "standard", [0])


def test_a_dataset_whose_folder_is_gone_is_named(make: Make) -> None:
    run = make()
    (run.path / "spec.yaml").write_text(yaml.safe_dump({"method": {"name": "baseline"}, "dataset": {"name": "ltcc"}}))
    strip = strips([run], "standard", [0], Options(places={"data": "/nowhere"}))[0]
    with pytest.raises(DataError, match="data=/nowhere is not a folder"):
        strip.image()


# --- pictures ---


def _frames(strip: Strip) -> list[str]:
    """The colour of each entry's frame, from the picture's pixels."""
    image = np.asarray(strip.image())
    layout = Layout.of([strip], 225)
    assert image.shape[1] == round(layout.width * 225 / 72)
    found = []
    for order in range(len(strip.lines)):
        top = 3 + layout.header + order * layout.line + layout.over
        for place in range(len(strip.lines[order].entries)):
            x, y = layout.left(place) + layout.snap(1.7) / 2, top + layout.inner[1] / 2
            red, green, blue = image[int(y * 225 / 72), int(x * 225 / 72)].tolist()
            found.append(f"#{red:02X}{green:02X}{blue:02X}")
    return found


def test_frames_are_blue_for_the_person_red_for_others_and_grey_for_the_ignored(make: Make) -> None:
    strip = strips([make(), make("differ", 1)], "cloth-changing", [3], Options(show_ignored=True))[0]
    colours = {Verdict.CORRECT: CORRECT, Verdict.WRONG: WRONG, Verdict.IGNORED: GREY}
    expected = [colours[entry.verdict] for line in strip.lines for entry in line.entries]
    assert _frames(strip) == expected
    assert set(expected) == set(colours.values()), "the example shows all three"


def test_pictures_are_no_wider_than_a_screen_and_the_same_every_time(make: Make) -> None:
    run = make()
    for options in (Options(), Options(k=1), Options(k=20, labels=False), Options(k=20, show_ignored=True)):
        first, again = (strips([run], "standard", [3], options)[0].image() for _ in range(2))
        assert first.width <= 1600
        assert first.tobytes() == again.tobytes()


def test_a_list_shorter_than_the_line_leaves_places_empty(make: Make) -> None:
    """A single-shot gallery has one image of each of six people."""
    strip = strips([make()], "single-shot", [3], Options(k=10))[0]
    assert len(strip.lines[0].entries) < 10
    assert strip.image().width == strips([make("differ")], "standard", [3], Options(k=10))[0].image().width


def test_hidden_heads_are_hidden_in_the_picture(make: Make) -> None:
    run = make()
    clear, hidden = (strips([run], "standard", [3], Options(blur_faces=blur, k=1))[0] for blur in (False, True))
    path = clear.query.path
    mask = Synthetic(config=SyntheticConfig(**WORLD)).read_mask(path)
    head = np.isin(mask, [Lip.HAT, Lip.HAIR, Lip.SUNGLASSES, Lip.FACE])
    changed = (clear.read(path) != hidden.read(path)).any(axis=2)
    assert changed[head].mean() > 0.9
    assert not changed[round(0.5 * len(mask)) :].any()
    assert clear.image().tobytes() != hidden.image().tobytes()


def test_the_verb_writes_pages_strips_and_captions_the_same_bytes_every_time(make: Make, tmp_path: Path) -> None:
    make()
    make("differ", 1)
    words = ["retrieval", "run=synthetic-baseline,synthetic-differ", f"runs={tmp_path / 'runs'}", "queries=worst:1"]
    for folder in ("one", "two"):
        assert command_line.main([*words, "k=1", f"out={tmp_path / folder}"]) == 0
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    names = [f"retrieval-cloth-changing.{kind}" for kind in ("pdf", "png", "txt")]
    assert sorted(one)[:3] == names
    assert [name.startswith("strip-cloth-changing-") for name in sorted(one)[3:]] == [True]
    captions = one["retrieval-cloth-changing.txt"].decode()
    assert all(name in captions for name in one if not name.endswith(".txt"))
    assert str(tmp_path) not in captions


def test_pages_hold_seven_lines_and_share_the_queries_evenly() -> None:
    sizes = {lines: [page.stop - page.start for page in pages_of(12, lines)] for lines in (1, 2, 7, 9)}
    assert sizes == {1: [6, 6], 2: [3] * 4, 7: [1] * 12, 9: [1] * 12}
    assert pages_of(8, 1) == [slice(0, 4), slice(4, 8)]
    assert pages_of(0, 1) == []


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("querys=worst:2", "Did you mean queries"),
        ("k=ten", "such as k=10"),
        ("k=21", "choose 1 to 20"),
        ("faces=hide", "faces=blur"),
        ("show_ignored=yes", "show_ignored=true or show_ignored=false"),
        ("labels=no", "labels=true or labels=false"),
        ("protocol=cloth", "was not scored under cloth"),
        ("selection=best", "Available: last"),
    ],
)
def test_unknown_words_are_refused_with_the_mend(make: Make, tmp_path: Path, word: str, sentence: str) -> None:
    make()
    key, _, value = word.partition("=")
    with pytest.raises(UsageError, match=sentence):
        list(write_retrieval({"run": "synthetic-baseline", "runs": str(tmp_path / "runs"), key: value}))
    with pytest.raises(UsageError, match="Say of which runs"):
        list(write_retrieval({"runs": str(tmp_path / "runs")}))


# --- heads and letters ---


def _noise(height: int = 100, across: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, across, 3), dtype=np.uint8)


def test_a_parsed_head_loses_its_detail_and_nothing_else_changes() -> None:
    image, mask = _noise(), np.zeros((50, 20), dtype=np.uint8)
    mask[3:10, 7:13], mask[10:13, 8:12], mask[13:40, 5:15] = Lip.HAIR, Lip.FACE, Lip.COAT
    hidden = hide_head(image, mask, "lip")
    inside = np.zeros((100, 40), dtype=bool)
    inside[6:26, 14:26] = True
    beside = np.ones((100, 40), dtype=bool)
    beside[4:28, 12:28] = False
    assert (hidden[beside] == image[beside]).all()
    steps = np.abs(np.diff(hidden[6:26, 16:24].astype(int), axis=0))
    assert steps.mean() < 0.1 * np.abs(np.diff(image[6:26, 16:24].astype(int), axis=0)).mean()
    other = image.copy()
    other[inside] = np.roll(image[inside], 1, axis=0)
    assert np.abs(hide_head(other, mask, "lip")[inside].astype(int) - hidden[inside].astype(int)).mean() < 12, (
        "another face with the same averages looks the same"
    )


def test_without_a_mask_the_top_of_the_crop_is_hidden() -> None:
    image = _noise()
    hidden = hide_head(image, None, "lip")
    band = round(BAND * 100)
    assert (hidden[band:] == image[band:]).all()
    assert np.abs(np.diff(hidden[:band].astype(int), axis=1)).mean() < 12
    assert (hidden == hide_head(image, np.zeros((100, 40), np.uint8), "lip")).all(), "nor with a mask without a head"


def test_a_mask_of_another_label_set_does_not_leave_the_head_visible() -> None:
    """ATR's face is LIP's scarf, its upper clothes are LIP's sunglasses: what looks like a head lies too low."""
    image, mask = _noise(), np.zeros((100, 40), dtype=np.uint8)
    mask[5:20, 12:28], mask[20:60, 8:32] = Atr.FACE, Atr.UPPER_CLOTHES
    hidden = hide_head(image, mask, "lip")
    assert np.abs(np.diff(hidden[5:20, 12:28].astype(int), axis=0)).mean() < 12


def test_labels_of_any_length_and_script_fit_their_room() -> None:
    for text in ("long" * 75, "方法-метод-Ω" * 20, "a b" * 100, "$x_{2}$ & 100 % <script>", "\n\t", ""):
        lines = fitted(text, 60, 6.5, bold=True, lines=3)
        assert len(lines) <= 3
        assert all(width(line, 6.5, bold=True) <= 60 for line in lines)
        line, size = shrunk(text, 40, 5.4, 3.6)
        assert 3.6 <= size <= 5.4
        assert width(line, size) <= 40
    assert fitted("long" * 75, 60, 6.5, lines=1)[0].endswith("…")
    assert shrunk("67/6702/2", 40, 5.4, 3.6) == ("67/6702/2", 5.4)


def test_a_strip_with_hostile_names_is_as_wide_as_a_page(make: Make) -> None:
    strip = strips([make(), make("differ")], "standard", [3])[0]
    names = ("x" * 300, '<script>alert("$\\alpha$")</script> 方法 %&_{}')
    hostile = replace(
        strip, lines=tuple(replace(line, name=name) for line, name in zip(strip.lines, names, strict=True))
    )
    assert abs(hostile.image().width - strip.image().width) < 5, "images shrink a little, the page does not grow"


def test_file_names_are_safe_and_distances_have_no_minus_zero() -> None:
    assert file_name('strip-00003-<a "b">/../ü中.x') == "strip-00003-a-b-..-.x"
    assert len(file_name("strip-" + "long" * 75)) == 100
    assert [distance_text(value) for value in (-1e-7, 0.12345, 312.456, float("nan"))] == [
        "0.000",
        "0.123",
        "312.5",
        "–",
    ]


def test_a_sheet_is_one_small_picture(make: Make, tmp_path: Path) -> None:
    make()
    file = tmp_path / "sheet.png"
    words = {"run": "synthetic-baseline", "runs": str(tmp_path / "runs"), "queries": "worst:2", "sheet": str(file)}
    assert list(write_retrieval(words)) == [str(file)]
    with Image.open(file) as image:
        assert image.mode == "P"
        assert image.width <= 900


@pytest.mark.slow
def test_features_that_a_run_did_not_keep_are_computed_for_ignored_entries(tiny: list[str], tmp_path: Path) -> None:
    assert command_line.main([*tiny, "keep_features=false", "quiet=true"]) == 0
    run = next(iter(RunStore(tmp_path / "runs")))
    assert not (run.path / "features").exists()
    entries = strips([run], "standard", [0], Options(show_ignored=True, k=20))[0].lines[0].entries
    assert Verdict.IGNORED in {entry.verdict for entry in entries}
    distances = [entry.distance for entry in entries]
    assert distances == pytest.approx(sorted(distances), abs=2e-3)
    assert (run.path / "features").exists()
