"""`ablate`: a method's rows, generated ones and grids are run once, recognised by the table, and written as tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import run
from benchmarks.ablation_plans import plan_ablation
from benchmarks.ablations import ablation_rows, changes_of, grid_rows, loss_terms
from benchmarks.comparison import rows_of
from benchmarks.records import RunStore
from benchmarks.resolve import resolve
from benchmarks.spec import to_plain
from benchmarks.studies import Value, studies
from datasets.errors import UsageError
from methods import METHODS
from reports.tables import ablation_tables
from tests.evidence_runs import write_run
from tests.test_plugin import forget_everything

CAMERA = "method.camera_strength"
FULL = ["identity", "triplet", "biometric", "non_biometric"]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget_everything()


@pytest.fixture
def nameless(tmp_path: Path) -> str:
    """A plugin like the baseline that names no ablation rows."""
    file = tmp_path / "nameless.py"
    file.write_text(
        '"""Nameless."""\nfrom methods import METHODS\nfrom methods.baseline import Baseline\n\n\n'
        '@METHODS.register("nameless")\nclass Nameless(Baseline):\n    ablations = {}\n',
        encoding="utf-8",
    )
    return f"plugin={file}"


def nameless_words(tiny: list[str], tmp_path: Path) -> list[str]:
    kept = [word for word in tiny if not word.startswith(("method", "captions", "train.epochs"))]
    return ["method=nameless", "method.backbone=resnet_tiny", *kept, "train.epochs=1", f"out={tmp_path / 'report'}"]


def runs_in(tmp_path: Path) -> list[str]:
    return [folder.run_id for folder in RunStore(tmp_path / "runs")]


# --- names and what they change ---


def test_a_row_has_one_name_wherever_it_is_generated() -> None:
    """In a grid the method's own name for a combination counts: else one configuration would have two."""
    grid = grid_rows("differ", FULL)
    assert len(grid) == 15, "2^4 combinations, without the one in which nothing is on"
    assert {"full", "baseline", "biometric", "non_biometric"} <= set(grid)
    for row, changes in grid.items():
        assert dict(changes_of("differ", row)) == dict(changes), "and the name is enough to make the row again"


def test_every_term_that_is_on_is_left_out_where_a_method_names_no_rows(nameless: str) -> None:
    run._load_plugin([nameless])
    assert loss_terms("nameless") == ["identity", "triplet", "centre"]
    assert list(ablation_rows("nameless", ["identity", "triplet"])) == ["full", "without_identity", "without_triplet"]


@pytest.mark.parametrize("method", METHODS.entries)
def test_the_rows_of_every_method_can_be_planned(method: str) -> None:
    study = plan_ablation({"method.name": method, "dataset.name": "synthetic"})
    assert len(study.plans) > 4


def test_a_generated_row_is_recognised_by_its_configuration(tmp_path: Path) -> None:
    """By the table, in the order of the grid, with check marks for what is on; the full model first."""
    words = {"method.name": "differ", "dataset.name": "synthetic"}
    names = ["without_triplet", "without_triplet+biometric", "full", "non_biometric"]
    for number, row in enumerate(names):
        spec = to_plain(resolve(words, ablation=row).spec)
        write_run(tmp_path, "differ", dataset="synthetic", configuration=f"{number:08d}", spec=spec)
    (table,) = ablation_tables(rows_of(list(RunStore(tmp_path))), ())
    marks = {line[0].text: [cell.text for cell in line[1:5]] for line in table.rows}
    assert list(marks) == ["non_biometric", "full", "without_triplet", "without_triplet+biometric"]
    assert marks["without_triplet"] == ["✓", "", "✓", "✓"]
    assert marks["without_triplet+biometric"] == ["✓", "", "", "✓"]


def test_the_caption_says_whether_rows_were_tuned(tmp_path: Path) -> None:
    for number, row in enumerate(("full", "baseline")):
        spec = to_plain(resolve({"method.name": "differ", "dataset.name": "ltcc"}, ablation=row).spec)
        write_run(tmp_path, "differ", configuration=f"{number:08d}", spec=spec)
    rows = rows_of(list(RunStore(tmp_path)))
    assert "none is re-tuned" in ablation_tables(rows, ())[0].caption
    assert "tuned for ten trials" in ablation_tables(rows, (), "Each was tuned for ten trials.")[0].caption


# --- the verb ---


def test_the_rows_that_a_method_names_are_run_and_tabled(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["ablate", *tiny, "rows=baseline,camera_1,no_camera", "seed=0,1", f"out={tmp_path / 'report'}"]
    assert run.main(words) == 0
    first = capsys.readouterr().out
    assert "camera_1 is the same configuration as full, and runs once" in first
    assert len(runs_in(tmp_path)) == 6
    written = tmp_path / "report/ablations/synthetic-differ-ablation"
    latex = (written / "synthetic-differ-ablation.tex").read_text(encoding="utf-8")
    assert "\\toprule" in latex
    assert "none is re-tuned" in " ".join(latex.replace("\\allowbreak{}", "").split())
    assert {file.suffix for file in written.iterdir()} == {".md", ".tex", ".csv", ".html"}
    events = {folder.run_id: folder.events() for folder in RunStore(tmp_path / "runs")}
    assert run.main(words) == 0
    again = capsys.readouterr().out
    assert "6 runs: 6 finished, 0 to do" in again
    assert first[first.index("· ablation") :] == again[again.index("· ablation") :], "the table is made from the record"
    assert {folder.run_id: folder.events() for folder in RunStore(tmp_path / "runs")} == events


def test_a_method_without_rows_of_its_own_leaves_out_each_term(
    tiny: list[str], tmp_path: Path, nameless: str, capsys: pytest.CaptureFixture
) -> None:
    assert run.main(["ablate", nameless, *nameless_words(tiny, tmp_path)]) == 0
    table = (tmp_path / "report/ablations/synthetic-nameless-ablation/synthetic-nameless-ablation.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == ["configuration", "loss terms<br>identity", "loss terms<br>triplet"] or lines[0][0]
    assert lines[2:] == [["full", "✓", "✓"], ["without\\_identity", "", "✓"], ["without\\_triplet", "✓", ""]]


def test_a_grid_says_its_size_before_it_starts(
    tiny: list[str], tmp_path: Path, nameless: str, capsys: pytest.CaptureFixture
) -> None:
    words = ["ablate", nameless, *nameless_words(tiny, tmp_path), "method.weights.centre=0.001", "grid=true"]
    assert run.main([*words, "seed=0,1", "dry=true"]) == 0
    printed = capsys.readouterr().out
    assert "7 of 7 combinations of identity, triplet, centre can be trained, 14 runs." in printed
    assert "to do  without_identity+triplet" in printed
    assert not (tmp_path / "runs").exists()


def test_a_row_wins_over_the_words_that_make_the_full_model() -> None:
    """Else `without_centre` would be the full model wherever the centre loss was switched on by hand."""
    study = plan_ablation({"method.name": "baseline", "dataset.name": "synthetic", "augment.erase": "0.3"})
    erase = {study.rows[plan.spec.run_id]: plan.spec.augment.erase for plan in study.plans}
    assert (erase["full"], erase["no_erasing"]) == (0.3, 0.0)
    origins = {study.rows[plan.spec.run_id]: plan.origins["augment.erase"] for plan in study.plans}
    assert (origins["full"], origins["no_erasing"]) == ("command line", "ablation no_erasing")


def test_a_combination_that_a_method_cannot_be_trained_with_is_left_out_with_the_reason() -> None:
    study = plan_ablation({"method.name": "cssc", "dataset.name": "synthetic"}, grid=True)
    assert len(study.plans) == 2
    assert any("left out without_identity. " in said and "triplet_start" in said for said in study.remarks)


def test_what_fails_is_told_at_the_end_and_the_rest_goes_on(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["ablate", *tiny, "rows=baseline,mlp", f"out={tmp_path / 'report'}"]
    failing = resolve({"method.name": "differ", **_small(tiny)}, ablation="baseline").spec.run_id
    (tmp_path / "runs" / failing).mkdir(parents=True)
    (tmp_path / "runs" / failing / "checkpoints").mkdir()
    (tmp_path / "runs" / failing / "checkpoints" / "last.pt").write_bytes(b"damaged")
    (tmp_path / "runs" / failing / "data.json").write_text("{}", encoding="utf-8")
    assert run.main(words) == 3
    printed = capsys.readouterr()
    assert "differ on synthetic · ablation" in printed.out, "the two others are compared"
    assert printed.err.splitlines()[-1] == "1 of 3 runs failed; the same command tries them again."
    assert f"{failing} failed: " in printed.err


def _small(tiny: list[str]) -> dict[str, str]:
    pairs = dict(word.split("=", 1) for word in tiny)
    return {"dataset.name": pairs.pop("dataset")} | {key: value for key, value in pairs.items() if key != "method"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["method=differ", "rows=basline"], "differ has no ablation row basline. Did you mean baseline?"),
        (["method=differ", "rows=without_triplets"], "Did you mean without_triplet?"),
        (["method=differ", "rows=without_identity+foo"], "without_identity+foo: differ has no loss term foo."),
        (["method=differ", "rows=full,full"], "rows=full,full is the full model alone: name a row to compare it with"),
        (["method=zeroshot", "grid=true"], "zeroshot has no loss terms to combine; leave out grid=true."),
        (["method=baseline", "grid=true", "method.weights.triplet=0"], "1 loss term to combine; switch on method.wei"),
        (["method=differ", "grid=true", "rows=mlp"], "leave out one of grid=true and rows="),
        (["method=differ", "format=htm"], "Unknown format=htm. Did you mean html?"),
        (["method=differ", "grid=1"], "write grid=true or grid=false"),
        (["method=differ", "train.epoch=1"], "Unknown key train.epoch"),
    ],
)
def test_a_slip_is_a_sentence_with_its_mend(words: list[str], sentence: str, capsys: pytest.CaptureFixture) -> None:
    assert run.main(["ablate", "dataset=synthetic", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_nothing_to_leave_out_is_said(nameless: str) -> None:
    run._load_plugin([nameless])
    with pytest.raises(UsageError, match="names no ablation rows, and fewer than two of its loss terms are on"):
        plan_ablation({"method.name": "nameless", "dataset.name": "synthetic", "method.weights.triplet": "0"})


# --- an equal budget for every row ---


@pytest.mark.slow
def test_retuned_rows_get_a_study_each_on_a_seed_that_is_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The table names the rows as ever, shows what each was tuned to, and says so; a second call trains nothing."""
    config = f"config={Path(__file__).parent.parent / 'docs' / 'examples' / 'tiny.yaml'}"
    places = [f"{name}={tmp_path / name}" for name in ("runs", "cache")]
    common = ["ablate", "method=differ", "dataset=synthetic", config, "train.epochs=2", "device=cpu", *places]
    command = [*common, "rows=no_camera", "seed=0", "retune=2", f"out={tmp_path / 'report'}", "format=md"]
    assert run.main(command) == 0
    printed = capsys.readouterr().out
    assert "Every row is re-tuned: the best of 2 trials" in printed
    found = {folder.name: folder.load() for folder in studies(tmp_path / "runs")}
    assert len(found) == 2
    for study in found.values():
        assert study.seeds == (1,)
        assert [trial.state for trial in study.trials] == ["complete", "complete"]
    searched = sorted(len(study.space) for study in found.values())
    assert searched == [6, 7], "the row sets the camera's strength, so that it is not searched"
    tested = [folder for folder in RunStore(tmp_path / "runs") if folder.status()["state"] == "done"]
    assert len(tested) == 2
    for folder in tested:
        method = folder.spec()["method"]
        without = method["camera_strength"] == 0
        (study,) = [one for one in found.values() if (CAMERA not in [key.key for key in one.space]) == without]
        assert study.best is not None
        assert _weights(study.best.params).items() <= method["weights"].items(), "what its own study found"
    (table,) = (tmp_path / "report").rglob("*.md")
    assert "| no\\_camera |" in table.read_text(encoding="utf-8")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").glob("*/metrics.jsonl")}
    assert run.main(command) == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").glob("*/metrics.jsonl")} == before
    assert "re-tuned" in capsys.readouterr().out


def _weights(params: Mapping[str, Value]) -> dict[str, Value]:
    start = "method.weights."
    return {key.removeprefix(start): value for key, value in params.items() if key.startswith(start)}


@pytest.mark.parametrize("word", ["0", "many"])
def test_a_budget_is_a_number(word: str, tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main(["ablate", *tiny, f"retune={word}", "dry=true"]) == 2
    assert f"retune={word}: say how many trials each row gets" in capsys.readouterr().err
    assert run.main(["ablate", *tiny, "space.method.weights.triplet=0..1"]) == 2
    assert "is for retune=N" in capsys.readouterr().err
