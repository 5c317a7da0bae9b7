"""Suites: the papers' tables as data, and one command that runs what is missing and shows all of a table."""

import re
from pathlib import Path

import pytest
import yaml

import run
from benchmarks.comparison import rows_of
from benchmarks.protocols import choose
from benchmarks.published import load_published
from benchmarks.records import RunStore
from benchmarks.spec import to_plain
from benchmarks.suite import load_suite, published_of, suite_names
from benchmarks.suite_plans import SuitePlan, plan_suite
from datasets import DATASETS
from datasets.errors import DataError
from reports.tables import Table, suite_table, to_csv, to_latex
from tests.evidence_runs import write_run

PAGE = Path(__file__).parent.parent / "docs/suites.md"
REDUCED = ["suite=synthetic", "reduced=true", "device=cpu", "quiet=true"]


def folders(folder: Path) -> list[str]:
    return [f"runs={folder / 'runs'}", f"cache={folder / 'cache'}", f"out={folder / 'report'}"]


# --- the files ---


@pytest.mark.parametrize("name", suite_names())
def test_every_row_and_column_of_a_suite_resolves(name: str) -> None:
    """Without any data: a row whose words no longer fit its method, or a renamed protocol, shows here."""
    planned = plan_suite({"suite": name})
    suite = planned.suite
    assert {dataset for _, dataset in planned.plans} == set(suite.datasets)
    for (row, dataset), plans in planned.plans.items():
        assert [plan.spec.seed for plan in plans] == list(suite.seeds), row
        protocols = DATASETS.get(dataset)(Path()).protocols()
        scored = {protocol.name for protocol in choose(protocols, plans[0].spec.evaluate.protocols)}
        assert {column.protocol for column in suite.columns_of(dataset)} <= scored, f"{dataset} is not scored so"
    assert len(planned.all) == len(planned.plans) * len(suite.seeds), "and no two rows are one configuration"


@pytest.mark.parametrize("name", suite_names())
def test_published_references_lead_somewhere(name: str) -> None:
    suite, entries = load_suite(name), load_published()
    for row in suite.rows:
        found = published_of(suite, row, entries)
        assert bool(found) == bool(row.published), f"{name}: nothing is recorded of {row.name}"
        assert row.method or any(entry.mAP is not None for entry in found.values()), (
            f"{row.name} would be an empty line"
        )


def test_the_reduced_size_is_the_same_table_made_small() -> None:
    whole, small = plan_suite({"suite": "synthetic"}), plan_suite({"suite": "synthetic", "reduced": "true"})
    assert small.suite.columns == whole.suite.columns
    assert len(small.all) < len(whole.all)
    assert all(plan.spec.train.epochs <= 2 for plan in small.all)


def test_where_a_value_comes_from(capsys: pytest.CaptureFixture) -> None:
    """A suite stands between a method's recipe and what is typed."""
    assert run.main([*REDUCED, "method=differ", "seed=0", "optimiser.lr=0.01", "print=config"]) == 0
    printed = capsys.readouterr().out.split("# synthetic-differ-")[2].splitlines()
    origin = {line.partition(":")[0]: line.partition("# ")[2] for line in printed if ": " in line}
    assert origin["train.epochs"] == "suite synthetic-reduced"
    assert origin["method.embed_dim"] == "suite synthetic-reduced"
    assert origin["optimiser.lr"] == "command line"
    assert origin["optimiser.name"] == "recipe differ/synthetic"


# --- a whole table ---


def test_a_suite_runs_what_is_missing_and_a_second_call_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*REDUCED, *folders(tmp_path)]) == 0
    first = capsys.readouterr().out
    events = {folder.run_id: folder.events() for folder in RunStore(tmp_path / "runs")}
    assert len(events) == 6
    assert run.main([*REDUCED, *folders(tmp_path)]) == 0
    again = capsys.readouterr().out
    assert "6 runs: 6 finished, 0 to do" in again
    assert {folder.run_id: folder.events() for folder in RunStore(tmp_path / "runs")} == events
    start = "Every method on the synthetic world, reduced"
    assert first[first.index(start) :] == again[again.index(start) :], "the table is made from the record"
    written = {file.name: file.read_bytes() for file in (tmp_path / "report/suites/synthetic-reduced").iterdir()}
    assert {name.rpartition(".")[2] for name in written} == {"md", "tex", "csv", "html"}
    assert run.main(["report", *REDUCED, *folders(tmp_path), "format=md,tex"]) == 0
    assert again[again.index(start) :] == capsys.readouterr().out.lstrip("\n"), "report prints the same"
    assert run.main([*REDUCED, *folders(tmp_path), "dry=true"]) == 0
    assert "done  DIFFER, its baseline" in capsys.readouterr().out


def test_what_is_not_on_disk_is_said_in_one_sentence_each_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A dataset without its folder and captions that are not there are no failure; no data at all is one."""
    words = ["suite=differ_ablation", *folders(tmp_path), "seed=0"]
    assert run.main([*words, "dry=true"]) == 3
    assert "has nothing to run, since none of its data is here: say data=DIR" in capsys.readouterr().err
    assert run.main(words) == 3
    printed, said = capsys.readouterr()
    assert "has nothing to run, since none of its data is here: say data=DIR" in said
    assert printed.count(": left out. ") == 3
    assert "ltcc: left out. dataset=ltcc needs its files: say data=DIR or set the variable CCREID_DATA." in printed
    assert "0 runs: 0 finished, 0 to do" in printed
    assert "baseline, published" in printed, "what the papers say is shown all the same"
    data = tmp_path / "data"
    small = ["people=8", "test_people=4", "tracklets=1", "frames=2", "height=64"]
    assert run.main(["synthesize", "layout=ltcc", f"out={data}", *small]) == 0
    capsys.readouterr()
    assert run.main([*words, f"data={data}", "dry=true"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"prcc: left out. {data} has no folder prcc: unpack the dataset there." in printed
    assert any(said.startswith("+ biometric, + non-biometric, DIFFER on ltcc: left out. ") for said in printed), (
        "its captions are those of another text model, which the baseline does not read"
    )
    assert [said.split("  ")[1:] for said in printed if "  to do" in said] == [["to do", "baseline"]]


def test_parsing_masks_that_are_not_there_are_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "data/LTCC_ReID").mkdir(parents=True)
    words = ["suite=ifd_main", "method=ifd,cssc", "dataset=ltcc", f"data={tmp_path / 'data'}", "dry=true"]
    assert run.main([*words, *folders(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"IFD on ltcc: left out. {tmp_path / 'data/masks/LTCC_ReID'} does not exist" in printed
    assert printed.count("to do  CSSC") == 3


def test_a_run_that_fails_leaves_the_others_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = [*REDUCED, *folders(tmp_path), "seed=0"]
    first = plan_suite({"suite": "synthetic", "reduced": "true", "seed": "0"}).all[0].spec.run_id
    checkpoints = tmp_path / "runs" / first / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.pt").write_bytes(b"damaged")
    (tmp_path / "runs" / first / "data.json").write_text("{}", encoding="utf-8")
    assert run.main(words) == 3
    printed = capsys.readouterr()
    assert f"{first} failed: " in printed.err
    assert printed.err.splitlines()[-1] == "1 of 3 runs failed; the same command tries them again."
    assert "DIFFER, its baseline" in printed.out


# --- the table itself ---


def recorded(root: Path, planned: SuitePlan, **means: float) -> Table:
    """The suite's table where every row has runs on the datasets in `means`, with scores around that."""
    results = {}
    for number, ((row, dataset), plans) in enumerate(planned.plans.items()):
        if dataset in means:
            protocols = tuple(column.protocol for column in planned.suite.columns_of(dataset))
            where = root / str(number)
            for plan in plans:
                write_run(
                    where,
                    plan.spec.method.name,
                    dataset=dataset,
                    configuration=plan.spec.hash,
                    seed=plan.spec.seed,
                    mean=means[dataset],
                    protocols=protocols,
                    spec={key: value for key, value in to_plain(plan.spec).items() if key != "seed"},
                )
            (results[row, dataset],) = rows_of(list(RunStore(where)))
    return suite_table(planned.suite, results)


def line(table: Table, name: str) -> dict[tuple[str, str], str]:
    (cells,) = [row for row in table.rows if row[0].text == name]
    return {(column.group, column.title): cell.text for column, cell in zip(table.columns, cells, strict=True)}


def test_differences_are_ours_minus_the_published_number(tmp_path: Path) -> None:
    table = recorded(tmp_path, plan_suite({"suite": "ifd_ablation"}), prcc=0.5)
    names = [row[0].text for row in table.rows if row[0].text.startswith("IFD")]
    assert names[3:] == ["IFD", "IFD, published", "IFD, ours − published"]
    where = ("prcc · cloth-changing", "mAP")
    ours, theirs, difference = (line(table, name)[where] for name in names[3:])
    assert theirs == "61.7"
    found = float(difference.rstrip("*").replace("−", "-"))
    assert found == pytest.approx(float(ours.partition(" ")[0]) - 61.7, abs=0.11)
    assert difference.endswith("*"), "the published number lies outside of our interval"
    assert line(table, "IFD, ours − published")["ltcc · cloth-changing", "mAP"] == "–"
    for said in ("Not run here: ltcc.", "3 seeds a row", "Selection: last", "outside of our 95 % interval"):
        assert said in table.caption
    assert "IFD, published,61.7" not in to_csv(table)
    (csv_line,) = [
        one
        for one in to_csv(table).splitlines()
        if ",IFD,," in one and "prcc,cloth-changing,mAP" in one and "measured" in one
    ]
    assert '"IFD, published"' in csv_line


def test_a_caption_says_when_ours_and_theirs_are_of_other_epochs(tmp_path: Path) -> None:
    table = recorded(tmp_path, plan_suite({"suite": "cssc_main", "method.name": "cssc", "seed": "0"}), prcc=0.5)
    assert "the best epoch on the test set, ours is not: select.rule=oracle" in table.caption


def test_a_number_from_memory_is_marked(tmp_path: Path) -> None:
    table = recorded(tmp_path, plan_suite({"suite": "differ_main", "method.name": "cal", "dataset.name": "ccvid"}))
    assert line(table, "CAL, published")["cloth-changing", "mAP"] == "79.6 ‡"
    assert "‡: known by heart" in to_latex(table).replace(r"\ddag{}", "‡")


def test_rows_without_any_published_number_have_no_empty_grey_line(tmp_path: Path) -> None:
    table = recorded(tmp_path, plan_suite({"suite": "differ_main", "dataset.name": "prcc"}))
    names = [row[0].text for row in table.rows]
    assert "DIFFER, its baseline" in names
    assert "DIFFER, its baseline, published" not in names


# --- a suite of one's own, and slips ---


@pytest.fixture
def own() -> dict:
    return {
        "title": "Mine",
        "source": "me",
        "columns": [{"dataset": "synthetic", "protocol": "standard"}],
        "rows": [{"name": "base", "method": "baseline", "set": {"method.weights.triplet": 0.5}}],
    }


def written(folder: Path, content: dict) -> str:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def test_a_suite_may_be_a_file_of_one_s_own(tmp_path: Path, own: dict) -> None:
    planned = plan_suite({"suite": written(tmp_path, own), "seed": "3"})
    (plan,) = planned.all
    assert plan.spec.seed == 3
    assert dict(plan.spec.method.weights)["triplet"] == 0.5
    assert plan.origins["method.weights.triplet"] == "suite mine"


def test_the_example_of_the_docs_is_a_suite(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    file = tmp_path / "mine.yaml"
    file.write_text(example, encoding="utf-8")
    assert len(plan_suite({"suite": str(file)}).all) == 18, "three rows that are run, two datasets, three seeds"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": [{"name": "x", "method": "basline"}]}, "names the method basline, which is not known. Did you mean"),
        ({"columns": [{"dataset": "ltc", "protocol": "standard"}]}, "names the dataset ltc"),
        ({"rows": [{"name": "x"}]}, "a row has a method, published numbers, or both"),
        (
            {"rows": [{"name": "x", "published": {"method": "made"}, "ablation": "y"}]},
            "ablation and set change a method",
        ),
        ({"rows": [{"name": "x", "method": "cal"}, {"name": "x", "method": "cal"}]}, "the row x is there twice"),
        ({"titel": "x"}, "titel: Extra inputs are not permitted"),
        ({"columns": [{"dataset": "ltcc", "protocol": "standard", "metrics": ["map"]}]}, "columns.0.metrics.0"),
    ],
)
def test_a_defective_suite_is_refused_by_its_entry(tmp_path: Path, own: dict, change: dict, sentence: str) -> None:
    with pytest.raises(DataError, match=r"mine\.yaml") as error:
        load_suite(written(tmp_path, own | change))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["suite=difer_main"], "Unknown suite difer_main. Did you mean differ_main? Available: cssc_ablation"),
        (["suite=nowhere.yaml"], "suite=nowhere.yaml: there is no such file."),
        (["suite=differ_main", "reduced=true"], "suite=differ_main has no reduced size: leave out reduced=true."),
        (["suite=differ_main", "dataset=ltc"], "has no dataset ltc. Did you mean ltcc?"),
        (["suite=differ_main", "method=made"], "suite=differ_main has no method made. It has: cal, fire"),
        (["suite=synthetic", "train.epochs=1,2"], "has one configuration a row: choose one of train.epochs=1,2"),
        (["suite=synthetic", "train.epoch=1"], "Unknown key train.epoch (command line). Did you mean train.epochs?"),
        (["suite=synthetic", "format=htm"], "Unknown format=htm. Did you mean html?"),
    ],
)
def test_a_slip_is_a_sentence_with_its_mend(words: list[str], sentence: str, capsys: pytest.CaptureFixture) -> None:
    for verb in ([], ["report"]):
        assert run.main([*verb, *words]) == 2
        assert sentence in capsys.readouterr().err


def test_list_and_show_know_the_suites(capsys: pytest.CaptureFixture) -> None:
    assert run.main(["list", "suites"]) == 0
    assert [said.split()[0] for said in capsys.readouterr().out.splitlines()] == suite_names()
    assert run.main(["show", "suite=cssc_ablation"]) == 0
    printed = capsys.readouterr().out
    assert "method=cssc ablation=content_to_salient" in printed
    assert "published only" in printed
    assert "mAP    63.0 · R1    65.5 [paper: table IV" in printed
