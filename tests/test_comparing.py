"""Run folders side by side: which runs make a row, what tells rows apart, and the verdict of `compare`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import query_scores
from benchmarks.comparison import Row, compared, rows_of, run_names
from benchmarks.evidence import Ranking
from benchmarks.query_scores import SAMPLED
from benchmarks.records import RunFolder, RunStore
from benchmarks.resolve import resolve
from benchmarks.spec import to_plain
from benchmarks.splits import save_samples
from datasets.base import Samples
from datasets.errors import DataError, UsageError
from reports.comparing import compare_runs

PEOPLE, QUERIES = 30, 120
PERSON = np.repeat(np.arange(PEOPLE), QUERIES // PEOPLE)
PROTOCOLS = ("cloth-changing", "standard")
EVALUATE = {"metric": "cosine", "rerank": {"method": "none"}}
Plain = dict[str, Any]


def ranking(average_precision: np.ndarray) -> Ranking:
    """Queries whose first match is at rank 1 where they score more than a half, else at rank 3; the first has none."""
    valid = np.arange(QUERIES) > 0
    none = np.zeros((QUERIES, 0))
    return Ranking(
        *[np.where(valid, average_precision, np.nan)] * 4,
        first_match=np.where(valid, np.where(average_precision > 0.5, 1, 3), -1),
        matches=valid.astype(np.int64),
        ignored=np.zeros(QUERIES, dtype=np.int64),
        tied=np.zeros(QUERIES, dtype=bool),
        top_index=none.astype(np.int64),
        top_distance=none,
        top_correct=none.astype(bool),
    )


def finished(
    root: Path,
    run_id: str,
    *,
    gain: float = 0.0,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    selection: str = "validation",
    files: Mapping[str, str] | None = None,
    protocols: tuple[str, ...] = PROTOCOLS,
    pool: str | None = None,
    person: np.ndarray = PERSON,
) -> RunFolder:
    """A run folder as a finished training leaves it; scores are chance, `gain` better, the same for an equal id."""
    folder = started(root, run_id, changes)
    rows = [{"name": name, "query": "query", "gallery": "gallery", "pool": pool} for name in protocols]
    fingerprints = {"train": "11111111aa", "query": "22222222aa", "gallery": "33333333aa"} | dict(files or {})
    splits = {name: {"fingerprint": fingerprint} for name, fingerprint in fingerprints.items()}
    folder.path.joinpath("data.json").write_text(
        json.dumps({"selection": selection, "protocols": rows, "splits": splits})
    )
    save_samples(folder.split("query"), Samples(tuple(map(str, range(QUERIES))), person, PERSON, PERSON))
    hard, luck = np.random.default_rng(0), np.random.default_rng(list(run_id.encode()))
    base = 0.3 + 0.3 * hard.random(PEOPLE)[PERSON]
    for protocol in protocols:
        scores = base + gain + luck.normal(0, 0.03, QUERIES) + luck.normal(0, 0.003)
        ranking(scores).save(folder.ranking(protocol, selection))
        folder.append({"event": "scores", "selection": selection, "protocol": protocol, "mAP": 0.5})
    folder.set_status("done")
    return folder


def started(root: Path, run_id: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> RunFolder:
    """A run that has written its configuration, and nothing else."""
    dataset, method = run_id.split("-")[:2]
    folder = RunStore(root).open(run_id)
    for sub in ("", "rankings", "splits"):
        (folder.path / sub).mkdir(parents=True, exist_ok=True)
    spec: Plain = {"method": {"name": method}, "dataset": {"name": dataset}, "evaluate": EVALUATE, "seed": 0}
    for section, values in (changes or {}).items():
        spec[section] = spec.get(section, {}) | dict(values)
    (folder.path / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture
def two_methods(tmp_path: Path) -> Path:
    """Three seeds each; ours is 10 points better under both protocols."""
    for seed in range(3):
        finished(tmp_path, f"world-ours-aaaa-s{seed}", gain=0.1)
        finished(tmp_path, f"world-plain-bbbb-s{seed}")
    return tmp_path


def text(root: Path, **words: str) -> str:
    return "\n".join(compare_runs({"runs": str(root), **words}))


# --- rows ---


def test_unfinished_seeds_are_counted_and_left_out_of_the_numbers(two_methods: Path) -> None:
    """Whatever their folders lack: nothing but a configuration, a damaged data.json, a damaged status."""
    states = {"failed": 3, "stopped": 4, "running": 5}
    for state, seed in states.items():
        started(two_methods, f"world-ours-aaaa-s{seed}").set_status(state)
    (two_methods / "world-ours-aaaa-s4" / "data.json").write_text("{")
    started(two_methods, "world-ours-aaaa-s6")
    (two_methods / "world-ours-aaaa-s6" / "status.json").write_text("[")
    (two_methods / "world-ours-aaaa-s5" / "spec.yaml").write_text("a: [")
    ours, plain = rows_of(list(RunStore(two_methods)))
    assert [run.run_id[-1] for run in ours.runs] == ["0", "1", "2"]
    assert [run.run_id[-1] for run in ours.unfinished] == ["3", "4", "5", "6"]
    assert (ours.name, plain.unfinished) == ("ours", ())
    assert ours.sample("standard", "mAP").values.shape == (3, QUERIES)


def test_a_row_without_a_finished_run_has_no_numbers_and_says_so(tmp_path: Path) -> None:
    run = started(tmp_path, "world-ours-aaaa-s0")
    run.set_status("diverged")
    (run.path / "spec.yaml").write_text("a: [")
    (row,) = rows_of([run])
    assert (row.runs, row.selections, row.protocols(), row.dataset) == ((), [], [], "world")
    with pytest.raises(DataError, match="no finished run"):
        row.sample("standard", "mAP")


def test_a_damaged_finished_run_is_left_out_by_name(two_methods: Path) -> None:
    """Its status still says done; who compares is told which file is damaged, and of the last one it is an error."""
    for seed in (1, 2, 0):
        (two_methods / f"world-ours-aaaa-s{seed}" / "data.json").write_text("{")
        if seed:
            said = text(two_methods, a="world-ours", b="world-plain")
            assert f"aaaa-s{seed}/data.json is damaged" in said.splitlines()[0]
    with pytest.raises(DataError, match=r"aaaa-s0/data\.json is damaged"):
        text(two_methods, a="world-ours", b="world-plain")


def test_every_metric_of_a_query_can_be_sampled(two_methods: Path) -> None:
    row = rows_of(list(RunStore(two_methods)))[0]
    of = {metric: row.sample("standard", metric).values for metric in SAMPLED}
    assert np.isnan([values[:, 0] for values in of.values()]).all(), "the first query has no match"
    assert np.array_equal(of["mAP"][:, 1:] > 0.5, of["R1"][:, 1:] == 1)
    assert (of["R5"][:, 1:] == 1).all()
    with pytest.raises(UsageError, match="Did you mean mAP"):
        row.sample("standard", "MAP")


def test_a_ranking_is_read_once_for_all_cells_of_a_table(two_methods: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def load(path: Path) -> Ranking:
        read.append(path)
        return original(path)

    original = Ranking.load
    monkeypatch.setattr(query_scores.Ranking, "load", load)
    row = rows_of(list(RunStore(two_methods)))[0]
    for metric in SAMPLED:
        row.sample("standard", metric)
    assert len(read) == len(set(read))
    ranking(np.full(QUERIES, 0.9)).save(row.runs[0].ranking("standard", "validation"))
    assert row.sample("standard", "mAP").values[0, 1] == 0.9, "a file that changed is read again"


def test_seeds_of_other_files_do_not_share_a_row(two_methods: Path) -> None:
    finished(two_methods, "world-ours-aaaa-s3", files={"train": "99999999bb"})
    started(two_methods, "world-ours-aaaa-s4").set_status("running")
    ours, changed, _ = rows_of(list(RunStore(two_methods)))
    assert ours.name == "ours (train files 11111111)"
    assert changed.name == "ours (train files 99999999)"
    assert ([run.run_id[-1] for run in changed.runs], len(ours.runs)) == (["3"], 3)
    assert len(ours.unfinished) == 1, "what had read no files yet stands with the first"
    with pytest.raises(DataError, match="run on different files"):
        text(two_methods, a="world-ours-aaaa-s0", b="world-plain-bbbb-s0")


def test_seeds_that_were_asked_different_queries_are_refused(two_methods: Path) -> None:
    other = finished(two_methods, "world-ours-aaaa-s3", person=PERSON[::-1].copy())
    row = Row("ours", "world", (RunFolder(two_methods / "world-ours-aaaa-s0"), other))
    with pytest.raises(DataError, match=r"aaaa-s0 and world-ours-aaaa-s3 were asked different queries"):
        row.sample("standard", "mAP")
    plain = rows_of([RunFolder(two_methods / "world-plain-bbbb-s0")])[0]
    with pytest.raises(DataError, match="not asked the same queries under standard"):
        compared(Row("ours", "world", (other,)), plain, "standard", "mAP")


# --- names ---


def names(root: Path, *changes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    runs = [started(root, f"world-ours-{number:04d}-s0", change) for number, change in enumerate(changes)]
    return [row.name for row in rows_of(runs)]


def test_configurations_of_one_method_say_what_differs(tmp_path: Path) -> None:
    found = names(tmp_path, {"method": {"weight": 1.0}}, {"method": {"weight": 0.5}})
    assert found == ["ours (method.weight=1.0)", "ours (method.weight=0.5)"]
    alone = names(tmp_path / "alone", {"method": {"weight": 1.0}})
    assert alone == ["ours"]


def test_rows_of_an_ablation_say_where_they_leave_the_full_model(tmp_path: Path) -> None:
    full = {"triplet": 1.0, "centre": True, "pull": 2, "push": [1, 2]}
    off = [full | change for change in ({"triplet": 0.0}, {"centre": False}, {"pull": 0}, {"push": None})]
    found = names(tmp_path, *({"method": method} for method in (off[0], full, *off[1:])))
    said = ["triplet=0.0", "centre=false", "pull=0", "push=none"]
    assert found == ["ours", *(f"ours (method.{what})" for what in said)], "the full model first"


def test_a_hash_tells_apart_what_differs_in_too_much(tmp_path: Path) -> None:
    found = names(tmp_path, {"train": dict.fromkeys("abcd", 1)}, {"train": dict.fromkeys("abcd", 2)})
    assert found == ["ours (0000)", "ours (0001)"]


def test_names_are_unique(tmp_path: Path) -> None:
    """Equal configurations of different versions have different hashes, those of a copied folder not even that."""
    assert names(tmp_path, {}, {}) == ["ours (0000)", "ours (0001)"]
    copied = started(tmp_path, "world-ours-copy-0000-s0")
    assert [row.name for row in rows_of([*list(RunStore(tmp_path))[:1], copied])] == [
        "world-ours-0000",
        "world-ours-copy-0000",
    ]


def differ(root: Path, *words: dict[str, Any]) -> list[RunFolder]:
    """Runs of a real method, whose recipe is known."""
    runs = []
    for number, changes in enumerate(words):
        spec = to_plain(resolve({"method.name": "differ", "dataset.name": "synthetic", **changes}).spec)
        run = started(root, f"synthetic-differ-{number:04d}-s0")
        run.path.joinpath("spec.yaml").write_text(yaml.safe_dump(spec))
        runs.append(run)
    return runs


def test_what_a_recipe_says_is_in_no_name(tmp_path: Path) -> None:
    """The recipe itself is plainly the method; others say where they leave it, not what they share with each other."""
    shared = {"train.epochs": 2}
    runs = differ(
        tmp_path,
        shared,
        shared | {"optimiser.lr": 0.5},
        shared | {"method.weights.non_biometric": 0.0},
        shared | {"method.weights.non_biometric": 0.0, "optimiser.lr": 0.5},
    )
    found = ["differ", "differ (optimiser.lr=0.5)", "differ: biometric", "differ: biometric (optimiser.lr=0.5)"]
    assert [row.name for row in rows_of(runs)] == found
    assert run_names(runs) == found
    assert run_names(runs[1:3]) == found[1:3], "also beside fewer"
    assert [row.name for row in rows_of(runs[1:2])] == ["differ"], "alone there is nothing to tell apart"


def test_seeds_of_one_configuration_beside_each_other_say_their_seed(tmp_path: Path) -> None:
    runs = [started(tmp_path, f"world-ours-aaaa-s{seed}", {}) for seed in (0, 1)]
    for seed, run in enumerate(runs):
        run.path.joinpath("spec.yaml").write_text(yaml.safe_dump(run.spec() | {"seed": seed}))
    assert run_names(runs) == ["ours, seed 0", "ours, seed 1"]


# --- the verb ---


def test_a_better_method_is_called_better_from_either_side(two_methods: Path) -> None:
    found = text(two_methods, a="world-ours-aaaa-s0", b="world-plain-bbbb-s2")
    assert "A: ours on world, 3 seeds (0, 1, 2), selection validation" in found
    assert "Keep in mind" not in found
    for protocol in PROTOCOLS:
        assert f"ours is better than plain under {protocol}: +" in found
    assert "with Holm's correction for 2 protocols" in found
    assert f"of {QUERIES - 1} queries by {PEOPLE} people" in found
    assert "plain is better" not in text(two_methods, a="world-plain", b="world-ours")
    assert "ours is better than plain" in text(two_methods, a="world-plain", b="world-ours")


def test_no_difference_comes_with_what_could_have_been_seen(tmp_path: Path) -> None:
    for method in ("ours-aaaa", "plain-bbbb"):
        for seed in range(3):
            finished(tmp_path, f"world-{method}-s{seed}")
    found = text(tmp_path, a="world-ours", b="world-plain")
    assert "No difference was found under standard; one below " in found
    assert " mAP could not have been seen with these seeds and people." in found


def test_the_metric_can_be_chosen(two_methods: Path) -> None:
    assert "standard · R1 of" in text(two_methods, a="world-ours", b="world-plain", metric="R1")
    with pytest.raises(UsageError, match="Did you mean R1"):
        text(two_methods, a="world-ours", b="world-plain", metric="R11")


def test_a_comma_list_takes_these_runs_only(two_methods: Path) -> None:
    found = text(two_methods, a="world-ours-aaaa-s0,world-ours-aaaa-s2", b="world-plain")
    assert "A: ours on world, 2 seeds (0, 2)" in found


def test_what_is_not_done_is_said_and_left_out(two_methods: Path) -> None:
    started(two_methods, "world-ours-aaaa-s3").set_status("failed")
    found = text(two_methods, a="world-ours", b="world-plain")
    assert "3 seeds (0, 1, 2), selection validation; left out: world-ours-aaaa-s3 is failed" in found


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [((1, 1), "nothing is known about training's chance"), ((1, 3), "A has one seed"), ((2, 1), "and p is too sure")],
)
def test_a_single_seed_is_warned_about(tmp_path: Path, seeds: tuple[int, int], sentence: str) -> None:
    for method, number in zip(("ours-aaaa", "plain-bbbb"), seeds, strict=True):
        for seed in range(number):
            finished(tmp_path, f"world-{method}-s{seed}")
    assert sentence in text(tmp_path, a="world-ours", b="world-plain")


def test_unequal_conditions_are_warned_about(tmp_path: Path) -> None:
    finished(tmp_path, "world-ours-aaaa-s0", selection="oracle")
    changes = {"evaluate": EVALUATE | {"rerank": {"method": "k-reciprocal"}}}
    files = {"train": "99999999bb"}
    finished(tmp_path, "world-plain-bbbb-s0", changes=changes, files=files, pool="frames", protocols=("standard",))
    found = text(tmp_path, a="world-ours", b="world-plain")
    assert "by oracle † for A and by validation for B, which flatters A" in found
    assert "standard does not mean the same for both: pool is None for A and frames for B." in found
    assert "rerank.method is none for A and k-reciprocal for B" in found
    assert "trained on different files" in found
    assert "cloth-changing" not in found, "only one of them was scored under it"
    assert "Holm" not in found, "one test needs no correction"


@pytest.mark.parametrize(
    ("a", "b", "error", "sentence"),
    [
        ("world-ours", "", UsageError, "b=ID is missing"),
        ("world-ours", "world-ours-aaaa-s1", UsageError, "the same configuration"),
        ("world", "world-ours", UsageError, "a=world means 2 configurations"),
        ("nobody", "world-ours", UsageError, "No run nobody"),
        ("world-ours-aaaa-s0,world-plain-bbbb-s0", "world-plain", UsageError, "2 configurations"),
        ("world-ours", "other-ours", DataError, "only methods on one dataset"),
        ("world-ours", "world-broken", DataError, "no run of world-broken-dddd is done"),
        ("world-ours", "world-moved", DataError, r"tested on different files \(gallery\)"),
        ("world-ours", "world-alone", DataError, "no common protocol"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    two_methods: Path, a: str, b: str, error: type[Exception], sentence: str
) -> None:
    if b == "other-ours":
        finished(two_methods, "other-ours-cccc-s0")
    elif b == "world-broken":
        started(two_methods, "world-broken-dddd-s0").set_status("failed")
    elif b == "world-moved":
        finished(two_methods, "world-moved-eeee-s0", files={"gallery": "99999999bb"})
    elif b == "world-alone":
        finished(two_methods, "world-alone-ffff-s0", protocols=("same-clothes",))
    with pytest.raises(error, match=sentence):
        text(two_methods, **{side: given for side, given in (("a", a), ("b", b)) if given})
