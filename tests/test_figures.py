"""Figures: what they show is computed by functions that are checked here, and the same runs give the same bytes."""

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import run
from benchmarks.comparison import Row, rows_of
from benchmarks.evidence import RANKS, Ranking
from benchmarks.records import RunFolder, RunStore
from benchmarks.reopening import Reopened, reopen
from datasets.base import Ignore, Protocol, Samples
from datasets.errors import DataError
from reports.figures.captions import captioned, clusters_of, examples, telling_words
from reports.figures.clothing_ranks import clothing_ranks, rank_bins, ranks_by_clothes
from reports.figures.cmc import cmc, cmc_of
from reports.figures.confusion import (
    ONLY,
    OTHER,
    SAME,
    STILL,
    WRONG,
    clothing_confusion,
    outcomes,
    parts_of,
    resting_on_clothes,
    same_clothes_among_matches,
)
from reports.figures.course import course_of, mean_over
from reports.figures.distances import (
    OTHER_CLOTHES,
    OTHER_PERSON,
    SAME_CLOTHES,
    SAME_PERSON,
    distances_between,
    groups_of,
    separation,
)
from reports.figures.embedding import chosen_images, outfits_within_person, people_with_most_outfits, tsne
from reports.figures.everything import figures_of_rows, figures_of_run
from reports.figures.evidence import compared, own_pairs, protocols_of
from reports.figures.names import drawable, file_name, label, lines_of, shortened
from reports.figures.queries import Paired, average_precision_against, paired
from reports.figures.spread import seed_spread
from reports.figures.style import NothingToShowError, Picture, paper_style, save
from reports.figures.training import training_curves
from reports.retrieval.lettering import fitted

HOSTILE = '<script>alert("x")</script> a_b $x^2$ 行人 Ünï\n' + "long " * 60


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny methods, one of them with two seeds and captions."""
    root = tmp_path_factory.mktemp("figures")
    words = [
        "dataset=synthetic",
        "dataset.people=12",
        "dataset.test_people=6",
        "dataset.tracklets=1",
        "dataset.frames=2",
        "dataset.height=64",
        "image.height=32",
        "image.width=16",
        "method.embed_dim=32",
        "method.depth=1",
        "method.num_heads=2",
        "sampler.batch_size=16",
        "train.epochs=2",
        "device=cpu",
        "quiet=true",
        f"runs={root / 'runs'}",
        f"cache={root / 'cache'}",
    ]
    for more in (
        ["method=differ", "captions.text_model=hashing-16", "seed=0,1", "select.rule=oracle"],
        ["method=differ", "captions.text_model=hashing-16", "method.weights.triplet=0.5"],
    ):
        assert run.main([*words, *more]) == 0
    return root / "runs"


@pytest.fixture(scope="module")
def rows(runs: Path) -> list[Row]:
    """Sorted so that the one with two seeds is first."""
    return sorted(rows_of(list(RunStore(runs))), key=lambda row: -len(row.runs))


@pytest.fixture(scope="module")
def reopened(rows: list[Row], runs: Path) -> Reopened:
    return reopen(rows[0].runs[0], {"cache": str(runs.parent / "cache"), "device": "cpu"}, lambda event: None)


def samples(person: list[int], clothes: list[int], camera: list[int], kind: str) -> Samples:
    paths = tuple(f"{kind}/{row}" for row in range(len(person)))
    return Samples(paths, *(np.array(column) for column in (person, camera, clothes)))


# --- everything at once ---


@pytest.fixture(scope="module")
def drawn(rows: list[Row], reopened: Reopened, tmp_path_factory: pytest.TempPathFactory) -> list[Picture | str]:
    return list(everything(rows, reopened, tmp_path_factory.mktemp("drawn")))


def everything(rows: list[Row], reopened: Reopened, folder: Path) -> Iterator[Picture | str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph or a layout that matplotlib complains about is a fault
        yield from figures_of_rows(rows, folder)
        yield from figures_of_run(reopened, folder)


def test_every_figure_is_made_or_its_absence_explained(drawn: list[Picture | str]) -> None:
    pictures = [one for one in drawn if isinstance(one, Picture)]
    kinds = {
        "cmc",
        "seeds",
        "clothing",
        "clothing-ranks",
        "ap",
        "training",
        "distances",
        "tsne",
        "clothing-texts",
    }
    assert {kind for kind in kinds if any(picture.name.endswith(kind) for picture in pictures)} == kinds
    assert len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert len(picture.name) <= 80
        assert picture.png.read_bytes().startswith(b"\x89PNG")
        assert picture.pdf.read_bytes().startswith(b"%PDF")
        assert picture.caption.endswith(".")
    assert [one for one in drawn if isinstance(one, str)] == [
        f"synthetic, {protocol}: no confusion by clothing, since matches in one kind of clothes are hidden."
        for protocol in ("cloth-changing", "same-clothes")
    ]


def test_captions_name_protocol_seeds_and_selection(drawn: list[Picture | str]) -> None:
    """A choice made on the test set carries its dagger."""
    captions = [one.caption for one in drawn if isinstance(one, Picture) and one.name.endswith("cmc")]
    assert len(captions) == 3
    assert "cloth-changing protocol" in captions[0]
    assert "2 seeds, selection oracle †" in captions[0]
    assert "1 seed, selection last" in captions[0]


@pytest.mark.slow
def test_a_second_call_gives_the_same_bytes(
    rows: list[Row], reopened: Reopened, drawn: list[Picture | str], tmp_path: Path
) -> None:
    for before, after in zip(drawn, everything(rows, reopened, tmp_path), strict=True):
        if isinstance(before, Picture) and isinstance(after, Picture):
            assert before.png.read_bytes() == after.png.read_bytes(), before.name
            assert before.pdf.read_bytes() == after.pdf.read_bytes(), before.name
        else:
            assert before == after


def test_hostile_names_come_out(rows: list[Row], tmp_path: Path) -> None:
    """Markup, mathematics, other scripts and 300 characters: no warning, no crash, the whole name in the caption."""
    strange = [replace(rows[0], name=HOSTILE), replace(rows[1], name=HOSTILE + "2")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = [make(strange, "standard", tmp_path) for make in (cmc, seed_spread, clothing_confusion)]
        pictures.append(average_precision_against(strange[0], strange[1], "standard", tmp_path))
        pictures += [clothing_ranks(strange, tmp_path), training_curves(strange[0], tmp_path)]
    assert all(HOSTILE in picture.caption for picture in pictures)
    assert all(picture.name.replace("-", "").replace(".", "").isalnum() for picture in pictures)


# --- cumulative matches ---


def test_cmc_agrees_with_the_scores(rows: list[Row]) -> None:
    for protocol in rows[0].protocols():
        curves = cmc_of(rows[0], protocol, 20)
        assert curves.shape == (2, 20)
        assert (np.diff(curves) >= 0).all()
        for curve, run_ in zip(curves, rows[0].runs, strict=True):
            scores = Ranking.load(run_.ranking(protocol, run_.headline)).scores()
            assert [curve[rank - 1] for rank in RANKS] == pytest.approx([scores[f"R{rank}"] for rank in RANKS])


# --- training ---


def test_a_course_is_what_the_run_recorded(rows: list[Row]) -> None:
    run_ = rows[0].runs[0]
    course = course_of(run_)
    assert course is not None
    events = run_.events("epoch")
    assert course.epochs.tolist() == [1, 2]
    assert course.terms["triplet"].tolist() == [event["terms"]["triplet"] for event in events]
    assert course.rule == "oracle"
    best = max(run_.events("validation"), key=lambda event: event["mAP"])
    assert course.chosen == best["epoch"]


def test_terms_of_a_later_phase_start_later(rows: list[Row], tmp_path: Path) -> None:
    """CAL's clothes terms begin after some epochs: the curve starts there, the mean is over the seeds that have one."""
    run_ = copied(rows[0].runs[0], tmp_path)
    events = run_.events()
    for event in events:
        if event["event"] == "epoch" and event["epoch"] == 2:
            event["terms"]["clothes"] = 3.0
            event["gradient_share"]["clothes"] = 0.0
    (run_.path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    course = course_of(run_)
    assert course is not None
    assert np.isnan(course.terms["clothes"][0])
    assert course.terms["clothes"][1] == 3.0
    assert training_curves(run_, tmp_path).png.exists()


def test_a_mean_is_over_the_seeds_that_have_a_number() -> None:
    epochs, means = mean_over(
        [(np.array([1.0, 2.0]), np.array([1.0, np.nan])), (np.array([2.0, 3.0]), np.array([4.0, 6.0]))]
    )
    assert epochs.tolist() == [1, 2, 3]
    assert means.tolist() == [1, 4, 6]


def test_an_unfinished_seed_is_shown_and_counted(rows: list[Row], tmp_path: Path) -> None:
    row = Row(rows[0].name, rows[0].dataset, rows[0].runs[:1], (copied(rows[0].runs[1], tmp_path),))
    assert "dashed: 1 not finished" in training_curves(row, tmp_path).caption
    assert "1 seed, 1 unfinished" in cmc([row], "standard", tmp_path).caption


@pytest.mark.parametrize("content", ["{\n", '{"event": "epoch", "epoch": 1}\n'])
def test_a_damaged_seed_alone_is_left_out_of_the_training_curves(content: str, rows: list[Row], tmp_path: Path) -> None:
    """The others keep their figure, which says how many are not in it and names the file."""
    broken = copied(rows[0].runs[1], tmp_path)
    (broken.path / "metrics.jsonl").write_text(content)
    row = Row(rows[0].name, rows[0].dataset, rows[0].runs[:1], (broken,))
    picture = training_curves(row, tmp_path)
    assert picture.caption.endswith("Left out, since a file is damaged: 1.")
    assert [str(broken.path / "metrics.jsonl") in sentence for sentence in picture.left_out] == [True]
    made = list(figures_of_rows([Row("broken", "synthetic", (), (broken,)), row], tmp_path))
    assert [isinstance(one, DataError) for one in made if "metrics.jsonl" in str(one)][:1] == [True]
    assert any(isinstance(one, Picture) and one.title == f"Training of {row.name}" for one in made)


def test_a_run_without_training_says_so(rows: list[Row], tmp_path: Path) -> None:
    run_ = copied(rows[0].runs[0], tmp_path)
    run_.rewind(lambda event: event["event"] == "scores")
    with pytest.raises(NothingToShowError, match="nothing was trained"):
        training_curves(run_, tmp_path)


def test_a_configuration_without_a_finished_run_is_named(rows: list[Row], tmp_path: Path) -> None:
    failed = Row("broken", "synthetic", (), (copied(rows[0].runs[0], tmp_path),))
    found = list(figures_of_rows([failed], tmp_path))
    assert found[0] == "synthetic, broken: no scores, since no run is finished."
    assert [one.name for one in found[1:] if isinstance(one, Picture)]


def copied(run_: RunFolder, folder: Path) -> RunFolder:
    shutil.copytree(run_.path, folder / "copy" / run_.run_id)
    return RunFolder(folder / "copy" / run_.run_id)


# --- queries ---


def test_average_precision_is_paired_query_by_query(rows: list[Row]) -> None:
    found = paired(rows[1], rows[0], "standard")
    one = rows[1].sample("standard", "mAP").values
    counts = ~np.isnan(one[0])
    assert found.a.tolist() == one[0][counts].tolist()
    assert found.difference.mean() == pytest.approx(
        rows[1].sample("standard", "mAP").of_seeds.mean() - rows[0].sample("standard", "mAP").of_seeds.mean()
    )


def test_shares_count_better_equal_and_worse() -> None:
    found = Paired(np.array([0.5, 0.5, 0.5004, 0.1]), np.array([0.4, 0.6, 0.5, 0.6]))
    assert found.shares() == (0.25, 0.25, 0.5)


def test_many_queries_are_counted_in_hexagons(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = average_precision_against(rows[1], rows[0], "standard", tmp_path).png.read_bytes()
    monkeypatch.setattr("reports.figures.queries.MOST_DOTS", 3)
    assert average_precision_against(rows[1], rows[0], "standard", tmp_path).png.read_bytes() != before


def test_rows_with_other_queries_are_not_compared(rows: list[Row], tmp_path: Path) -> None:
    run_ = copied(rows[1].runs[0], tmp_path)
    path = run_.ranking("standard", run_.headline)
    ranking = Ranking.load(path)
    lost = ranking.average_precision.copy()
    lost[np.flatnonzero(~np.isnan(lost))[0]] = np.nan
    replace(ranking, average_precision=lost).save(path)
    with pytest.raises(NothingToShowError, match="not asked the same queries"):
        paired(Row("other", "synthetic", (run_,)), rows[0], "standard")


# --- distances ---

QUERY = samples([1, 1, 2], [10, 11, 20], [0, 1, 0], "q")
GALLERY = samples([1, 1, 2, 3], [10, 10, 21, -1], [0, 1, 1, 1], "g")


def test_pairs_are_grouped_by_person_and_clothes() -> None:
    """Of one person, pairs that the camera rule hides are left out; the clothes rule does not count."""
    changing = Protocol("cloth-changing", "q", "g", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)
    found = {
        name: sorted(zip(*(side.tolist() for side in pairs), strict=True))
        for name, pairs in groups_of(QUERY, GALLERY, changing).items()
    }
    assert found == {
        SAME_CLOTHES: [(0, 1)],
        OTHER_CLOTHES: [(1, 0), (2, 2)],
        OTHER_PERSON: [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (2, 3)],
    }


def test_unlabelled_clothes_are_of_one_person_only() -> None:
    unlabelled = replace(GALLERY, clothes=np.full(4, -1))
    assert list(groups_of(QUERY, unlabelled, Protocol("all", "q", "g", Ignore.NOTHING))) == [SAME_PERSON, OTHER_PERSON]


def test_an_image_is_not_its_own_pair() -> None:
    asks, answers = own_pairs(GALLERY, GALLERY, Protocol("all", "g", "g", Ignore.NOTHING))
    assert sorted(zip(asks.tolist(), answers.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_a_sample_of_the_pairs_is_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    many = samples(generator.integers(0, 9, 200).tolist(), [0] * 200, [0] * 200, "q")
    other = replace(many, paths=tuple(f"g/{path}" for path in many.paths))
    protocol = Protocol("all", "q", "g", Ignore.NOTHING)
    first, second = (groups_of(many, other, protocol, most=500) for _ in range(2))
    assert len(first[SAME_CLOTHES][0]) == 500
    assert 0 < len(first[OTHER_PERSON][0]) <= 500
    for name in first:
        assert np.array_equal(first[name][0], second[name][0])
        same = many.person[first[name][0]] == other.person[first[name][1]]
        assert same.all() if name == SAME_CLOTHES else not same.any()


def test_distances_are_those_of_the_ranking(rows: list[Row]) -> None:
    from reports.figures.distances import kept

    run_ = rows[0].runs[0]
    protocol = protocols_of(run_)["standard"]
    query, gallery = kept(run_, protocol)
    ranking = Ranking.load(run_.ranking("standard", run_.headline))
    pairs = np.arange(len(query)), ranking.top_index[:, 0]
    found = distances_between(query, gallery, pairs, "cosine")
    assert found == pytest.approx(ranking.top_distance[:, 0], abs=2e-3), "half precision was kept"
    assert distances_between(query, gallery, pairs, "euclidean") == pytest.approx(2 * found, abs=1e-5)


def test_separation_is_the_area_under_the_roc_curve() -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    near, far = generator.normal(0, 1, 300).round(1), generator.normal(1, 1, 500).round(1)
    labels = np.r_[np.ones(300), np.zeros(500)]
    found = separation(near, far)
    assert found.area == pytest.approx(roc_auc_score(labels, -np.r_[near, far]))
    assert found.sensitivity == pytest.approx((far.mean() - near.mean()) / np.sqrt((near.var() + far.var()) / 2))


def test_a_run_without_kept_features_says_so(rows: list[Row], tmp_path: Path) -> None:
    run_ = copied(rows[0].runs[0], tmp_path)
    shutil.rmtree(run_.path / "features")
    found = [one for one in figures_of_run(run_, tmp_path) if isinstance(one, str)]
    assert len(found) == 3
    assert sum("kept no features" in reason for reason in found) == 2
    assert "dataset's files were not opened" in found[2]


# --- maps ---


def test_people_with_most_outfits_are_chosen() -> None:
    found = samples([1, 1, 2, 2, 2, 3, 3, 4], [0, 1, 2, 3, 2, 4, 4, 5], [0] * 8, "q")
    assert people_with_most_outfits(found, 2).tolist() == [1, 2]
    assert people_with_most_outfits(found, 3).tolist() == [1, 2, 3], "of one outfit each, the one with more images"
    assert outfits_within_person(found).tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert chosen_images(found, np.array([1, 2])).tolist() == [0, 1, 2, 3, 4]
    assert chosen_images(found, np.array([1, 2]), most=4).tolist() == [0, 1, 2, 4]


def test_without_clothes_labels_the_map_shows_cameras(rows: list[Row], tmp_path: Path) -> None:
    from benchmarks.splits import load_samples, save_samples

    run_ = copied(rows[0].runs[0], tmp_path)
    for split in ("query", "gallery"):
        found = load_samples(run_.split(split))
        save_samples(run_.split(split), replace(found, clothes=np.full(len(found), -1)))
    picture = tsne(run_, tmp_path)
    assert "right by camera" in picture.caption
    assert "outfit " not in picture.caption.partition("Silhouette")[2]


# --- captions ---


def test_telling_words_are_those_of_few_clusters() -> None:
    clusters = [["A red coat and shoes.", "Red hat, shoes"], ["The blue coat and shoes", "Blue t-shirt, shoes"]]
    assert telling_words(clusters, 2) == [("red", "hat"), ("blue", "t-shirt")]


def test_examples_show_different_people_first() -> None:
    found = samples([1, 1, 2, 1, 3], [0] * 5, [0] * 5, "q")
    assert examples(found, np.array([1, 0, 3, 4, 2]), 4).tolist() == [1, 4, 2, 0]


def test_clusters_hold_every_training_image_once(reopened: Reopened) -> None:
    found = captioned(reopened)
    clusters = clusters_of(found)
    assert sorted(np.concatenate([cluster.rows for cluster in clusters]).tolist()) == list(range(len(found.samples)))
    assert all(cluster.words for cluster in clusters)
    sizes = [len(cluster.rows) for cluster in clusters]
    assert sizes == sorted(sizes, reverse=True)


def test_captions_of_a_method_without_are_not_looked_for(reopened: Reopened) -> None:
    weights = reopened.spec.method.weights.model_copy(update={"biometric": 0.0, "non_biometric": 0.0})  # type: ignore
    spec = reopened.spec.model_copy(update={"method": reopened.spec.method.model_copy(update={"weights": weights})})
    with pytest.raises(NothingToShowError, match="the method reads none"):
        captioned(replace(reopened, spec=spec))


# --- clothing ---


def ranking_of(first: list[int], nearest: list[int], matches: list[int]) -> Ranking:
    """Of queries whose first match is at these ranks, whose nearest visible entry is that gallery row."""
    count, nothing = len(first), np.zeros(len(first))
    return Ranking(
        *[nothing] * 4,
        first_match=np.array(first),
        matches=np.array(matches),
        ignored=np.zeros(count, dtype=int),
        tied=np.zeros(count, dtype=bool),
        top_index=np.array(nearest)[:, None],
        top_distance=np.zeros((count, 1)),
        top_correct=(np.array(first) == 1)[:, None],
    )


def test_nearest_answers_are_counted_by_person_and_clothes() -> None:
    """Queries in clothes 0; the last one has no match and does not count."""
    clothes = np.array([0, 1, 2])
    seen = ranking_of([1, 1, 3, 1, -1], [0, 1, 2, 0, 0], [2, 2, 2, 2, 0])
    assert outcomes(seen, np.zeros(5, dtype=int), clothes) == {SAME: 0.5, OTHER: 0.25, WRONG: 0.25}
    hidden = ranking_of([1, 1, 2, 4, -1], [1, 1, 2, 2, 0], [1, 1, 1, 1, 0])
    found = resting_on_clothes(seen, hidden, np.zeros(5, dtype=int), clothes)
    assert found == {OTHER: 0.25, STILL: 0.25, ONLY: 0.25, WRONG: 0.25}


def test_what_rests_on_clothes_agrees_with_the_scores(rows: list[Row]) -> None:
    """Over the queries that count under both: right with the outfit is R1 of one protocol, without, of the other."""
    for row in rows:
        found = parts_of(row, "standard")
        assert sum(found.values()) == pytest.approx(1)
        seen, hidden = [], []
        for run_ in row.runs:
            one, other = (Ranking.load(run_.ranking(name, run_.headline)) for name in ("standard", "cloth-changing"))
            both = (one.matches > 0) & (other.matches > 0)
            seen.append(one.hits(1)[both].mean())
            hidden.append(other.hits(1)[both & (one.first_match == 1)].sum() / both.sum())
        assert 1 - found[WRONG] == pytest.approx(np.mean(seen))
        assert found[OTHER] + found[STILL] == pytest.approx(np.mean(hidden))


def test_the_share_of_matches_in_the_same_clothes(rows: list[Row]) -> None:
    run_ = rows[0].runs[0]
    protocol = protocols_of(run_)["standard"]
    query, gallery = compared(run_, protocol)
    found = same_clothes_among_matches(run_, protocol)
    for row in range(len(query)):
        own = (gallery.person == query.person[row]) & (gallery.camera != query.camera[row])
        if own.any():
            assert found[row] == pytest.approx((gallery.clothes[own] == query.clothes[row]).mean())
        else:
            assert np.isnan(found[row])


def test_ranks_by_clothes_are_those_of_the_two_protocols(rows: list[Row]) -> None:
    run_ = rows[0].runs[0]
    found = ranks_by_clothes(run_)
    assert found is not None
    same, other = (
        Ranking.load(run_.ranking(name, run_.headline)).first_match for name in ("same-clothes", "cloth-changing")
    )
    both = (same > 0) & (other > 0)
    assert both.any()
    assert np.array_equal(np.stack(found), np.stack([same[both], other[both]]))
    edges = rank_bins(700)
    assert edges[0] == 0.5
    assert edges[-1] > 700
    assert (edges % 1 == 0.5).all(), "every rank lies inside a bin"


def test_unlabelled_clothes_tell_no_confusion(rows: list[Row], tmp_path: Path) -> None:
    from benchmarks.splits import load_samples, save_samples

    run_ = copied(rows[0].runs[0], tmp_path)
    query = load_samples(run_.split("query"))
    save_samples(run_.split("query"), replace(query, clothes=np.full(len(query), -1)))
    with pytest.raises(NothingToShowError, match="clothes are not labelled"):
        clothing_confusion([Row("x", "synthetic", (run_,))], "standard", tmp_path)


# --- names ---


def test_labels_are_short_and_keep_their_ends() -> None:
    assert shortened("baseline") == "baseline"
    assert shortened("a" * 100 + " 364c3ce5", 20) == "a" * 13 + "…" + "4c3ce5"
    assert len(shortened(HOSTILE, 24)) <= 24


def test_characters_without_a_shape_stand_as_numbers() -> None:
    assert drawable("Größe\tλ\x00 \U0001f9cd") == "Größe λ U+1F9CD"
    assert "\n" not in drawable(HOSTILE)


def test_a_label_carries_the_dagger(rows: list[Row]) -> None:
    assert label(rows[0]).endswith(" †")
    assert not label(rows[1]).endswith("†")


def test_a_name_that_is_too_long_breaks_before_its_bracket(rows: list[Row]) -> None:
    name = "differ: no_camera (optimiser.lr=0.1)"
    assert label(replace(rows[1], name=name)) == "differ: no_camera\n(optimiser.lr=0.1)"
    assert label(replace(rows[0], name=name)) == "differ: no_camera †\n(optimiser.lr=0.1)"
    assert label(replace(rows[1], name="differ (364c3ce5)")) == "differ (364c3ce5)"
    assert lines_of(["one", "of\ntwo"]) == 2
    assert fitted("cal (364c3ce5)", 45, 7.5, lines=3) == ["cal", "(364c3ce5)"], "a hash is not broken"
    assert fitted("differ (train.epochs=4)", 54, 7.5, lines=3)[0] == "differ"


def test_file_names_are_plain_short_and_different() -> None:
    assert file_name("synthetic", "cloth-changing", "cmc") == "synthetic-cloth-changing-cmc"
    assert file_name("ltcc", "baseline 364c3ce5", "ap") == "ltcc-baseline-364c3ce5-ap"
    names = {file_name("x", name, "cmc") for name in (HOSTILE, HOSTILE + "2", "行人", "人行", "A", "a", "a_b", "a-b")}
    assert len(names) == 8
    assert all(len(name) <= 80 and name.endswith("cmc") for name in names)


def test_mathematics_is_not_read_in_names(tmp_path: Path) -> None:
    """An odd dollar, or an unknown command, would stop matplotlib; a pair would vanish."""
    from matplotlib import pyplot

    with paper_style():
        figure, axes = pyplot.subplots()
        axes.set_title(r"$\nonsense{$ _ ^ \alpha $x$")
        assert save(figure, tmp_path, "odd", "odd", "odd.").pdf.exists()


def test_a_single_seed_has_no_spread(rows: list[Row], tmp_path: Path) -> None:
    assert seed_spread(rows[1:], "standard", tmp_path).png.exists()
