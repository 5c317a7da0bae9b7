"""The verb `report`: everything in one folder, the same every time, whatever state the runs are in."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

import run
from benchmarks.records import RunFolder
from datasets.errors import UsageError
from reports.preparing import Problems, prepare
from reports.report import write_report
from reports.run_facts import read_run
from tests.evidence_runs import write_run
from tests.small_runs import small_run
from tests.test_page import Parsed

# --- words ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runns=x"], "Unknown key runns. Did you mean runs?"),
        (["format=md,htm"], "Unknown format=htm. Did you mean html?"),
        (["faces=yes"], "faces=yes: write faces=blur, or faces=show, the default."),
        (["runs=nowhere"], "No such runs in nowhere"),
    ],
)
def test_wrong_words_exit_2_with_the_mend(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["report", *words]) == 2
    assert said in capsys.readouterr().err


# --- runs that cannot be shown ---


def test_runs_that_are_not_finished_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    """Neither a failed, nor a running, nor a damaged run: the page is written, and each reason is said once."""
    root = tmp_path / "runs"
    write_run(root, "cal", state="failed").set_status("failed", reason="the loss of this test is NaN")
    write_run(root, "ifd", state="running")
    (write_run(root, "fire").path / "data.json").write_text("{")
    lines = list(write_report({"runs": str(root), "out": str(tmp_path / "report"), "quiet": "true"}))
    assert [sum(part in line for line in lines) for part in ("is NaN", "sign of life", "data.json is damaged")] == [
        1
    ] * 3
    index = tmp_path / "report" / "index.html"
    assert lines[-1] == str(index)
    text = Parsed(index).text
    for said in ("failed", "running", "damaged", "the loss of this test is NaN", "0 of 3 runs finished"):
        assert said in text
    assert len(list((tmp_path / "report" / "runs").glob("*.html"))) == 3


def test_a_sentence_that_holds_for_several_runs_is_said_once(tmp_path: Path) -> None:
    problems = Problems()
    for seed in (0, 1):
        problems.add("no images", read_run(write_run(tmp_path, seed=seed)))
    problems.add("no images", read_run(write_run(tmp_path, seed=2)))
    assert len(problems.summary()) == 1
    assert problems.summary()[0].count("-s") == 3


def test_no_figure_mixes_runs_that_were_tested_on_different_images(tmp_path: Path) -> None:
    """As no table does: the smaller gallery would look like the better method."""
    write_run(tmp_path / "runs", "cal")
    write_run(tmp_path / "runs", "fire", fingerprint="bbbbbbbb", people=20)
    list(write_report({"runs": str(tmp_path / "runs"), "out": str(tmp_path / "report"), "quiet": "true"}))
    text = Parsed(tmp_path / "report" / "index.html").text
    for files in ("aaaaaaaa", "bbbbbbbb"):
        assert f"Cumulative matches, ltcc (files {files}), standard" in text
        assert f"Seeds, ltcc (files {files}), standard" in text
    assert "Cumulative matches, ltcc, standard" not in text
    assert len(list((tmp_path / "report" / "figures").glob("*standard*cmc.png"))) == 2


# --- everything, from two methods ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods × two seeds, a second or two each."""
    folder = tmp_path_factory.mktemp("trained")
    for method in ("baseline", "differ"):
        for seed in (0, 1):
            one = small_run(folder / f"{method}{seed}", method, seed=seed)
            shutil.copytree(one.path, folder / "runs" / one.run_id)
    return folder


@pytest.fixture(scope="module")
def report(trained: Path) -> tuple[Path, list[str]]:
    """OUT and what was printed."""
    out = trained / "report"
    return out, list(write_report({"runs": str(trained / "runs"), "out": str(out), "quiet": "true"}))


@pytest.mark.slow
def test_one_command_makes_every_kind_of_table_and_picture(report: tuple[Path, list[str]]) -> None:
    out, lines = report
    assert lines[-1] == str(out / "index.html")
    text = Parsed(out / "index.html").text
    assert "Not everything could be shown" not in text, lines
    for kind in ("Results", "Comparisons", "Where baseline and differ disagree most", "Cumulative matches", "Seeds"):
        assert kind in text
    for kind in ("query by query", "Clothing bias", "Training of differ", "look"):
        assert kind in text
    one = Parsed(next((out / "runs").glob("*differ*-s0.html"))).text
    for kind in ("Distances", "Map of features", "Clusters of clothing", "who is it", "best", "easiest"):
        assert kind in one, kind
    assert {file.suffix for file in (out / "tables").iterdir()} == {".md", ".tex", ".csv", ".html"}
    for folder in ("figures", "retrieval"):
        assert {".png", ".pdf"} <= {file.suffix for file in (out / folder).rglob("*.*")}


@pytest.mark.slow
def test_the_other_seeds_pages_lead_to_the_one_with_the_pictures(report: tuple[Path, list[str]]) -> None:
    for file in (report[0] / "runs").glob("*-s1.html"):
        assert file.name.replace("-s1", "-s0") in Parsed(file).attributes("href")
        assert "Training of" in Parsed(file).text


@pytest.mark.slow
def test_deleting_the_report_and_asking_again_gives_the_same_bytes(report: tuple[Path, list[str]]) -> None:
    out, lines = report
    before = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    shutil.rmtree(out)
    again = list(write_report({"runs": str(out.parent / "runs"), "out": str(out), "quiet": "true"}))
    assert again == lines
    after = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == []


@pytest.mark.slow
def test_no_page_of_real_runs_is_large_or_names_a_folder_of_the_machine(report: tuple[Path, list[str]]) -> None:
    out, _ = report
    for file in out.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert len(text) < 15e6
        assert str(out.parent) not in text
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


@pytest.mark.slow
def test_what_a_run_lacks_is_computed_and_kept(trained: Path, tmp_path: Path) -> None:
    """A run of an older version, without features, gets them; the next report finds them there."""
    source = next((trained / "runs").glob("*differ*-s0"))
    copy = RunFolder(Path(shutil.copytree(source, tmp_path / "runs" / source.name)))
    for kept in ("features", "bias.json", "heat_maps.npz"):
        path = copy.path / kept
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    values = {"runs": str(tmp_path / "runs"), "out": str(tmp_path / "report"), "quiet": "true", "format": "csv"}
    list(write_report(values))
    assert {file.name.partition("@")[0] for file in (copy.path / "features").iterdir()} == {"query", "gallery"}
    assert json.loads((copy.path / "bias.json").read_text())["protocol"] == "cloth-changing"
    assert (copy.path / "heat_maps.npz").exists()
    assert {file.suffix for file in (tmp_path / "report" / "tables").iterdir()} == {".csv"}
    before = {file: file.stat().st_mtime_ns for file in copy.path.rglob("*")}
    problems = Problems()
    prepare([read_run(copy)], {copy.run_id}, {}, lambda event: None, problems)
    assert {file: file.stat().st_mtime_ns for file in copy.path.rglob("*")} == before
    assert not problems.summary()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ({"queries": "wurst:4"}, "Did you mean worst"),
        ({"metod": "cal"}, "Did you mean method"),
        ({"format": "pdf"}, "format=pdf"),
    ],
)
def test_words_are_looked_at_before_anything_is_made(word: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        list(write_report({"runs": str(tmp_path / "runs"), "out": str(tmp_path / "report"), **word}))
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_run_without_weights_keeps_its_tables_and_says_what_is_missing(trained: Path, tmp_path: Path) -> None:
    """Scores and curves need no model; what does is named on the page, and the report goes on."""
    for source in (trained / "runs").glob("*-s0"):
        copy = Path(shutil.copytree(source, tmp_path / "runs" / source.name))
        for lost in ("features", "checkpoints"):
            shutil.rmtree(copy / lost)
        (copy / "heat_maps.npz").unlink(missing_ok=True)
        (copy / "bias.json").unlink(missing_ok=True)
    lines = list(write_report({"runs": str(tmp_path / "runs"), "out": str(tmp_path / "report"), "quiet": "true"}))
    assert any("features" in line and "cannot be read" in line for line in lines)
    page = Parsed(tmp_path / "report" / "index.html").text
    assert "Not everything could be shown" in page
    for kind in ("mAP and rank-1", "Cumulative matches", "Where baseline and differ disagree most"):
        assert kind in page


@pytest.mark.slow
def test_a_run_that_was_evaluated_under_everything_shows_it(trained: Path, tmp_path: Path) -> None:
    source = next((trained / "runs").glob("*baseline*-s0"))
    shutil.copytree(source, tmp_path / "runs" / source.name)
    runs = f"runs={tmp_path / 'runs'}"
    assert run.main(["evaluate", f"run={source.name}", runs, "protocols=all", "quiet=true"]) == 0
    started = time.monotonic()
    assert run.main(["report", runs, f"out={tmp_path / 'report'}", "quiet=true"]) == 0
    assert time.monotonic() - started < 120
    text = Parsed(next((tmp_path / "report" / "runs").glob("*.html"))).text
    for said in ("Evaluated again", "with flip", "re-ranked"):
        assert said in text


@pytest.mark.slow
def test_what_is_wrong_with_one_run_takes_nothing_from_the_others(trained: Path, tmp_path: Path) -> None:
    """A seed without its configuration, a damaged bias.json, a run of a plugin that is not loaded: each is named."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    folder = {name: next((tmp_path / "runs").glob(f"*{name}")) for name in ("baseline*-s0", "differ*-s0", "differ*-s1")}
    (folder["differ*-s1"] / "spec.yaml").unlink()
    (folder["differ*-s0"] / "bias.json").write_text("{")
    data = folder["baseline*-s0"] / "data.json"
    data.write_text(json.dumps(json.loads(data.read_text()) | {"plugins": [{"file": "mine.py", "sha256": "0"}]}))
    lines = list(write_report({"runs": str(tmp_path / "runs"), "out": str(tmp_path / "report"), "quiet": "true"}))
    assert sum("spec.yaml is missing" in line for line in lines) == 1
    assert sum("bias.json is damaged" in line for line in lines) == 1
    assert sum("say plugin=mine.py" in line for line in lines) == 1, "not again for the pictures"
    page = Parsed(tmp_path / "report" / "index.html").text
    for kind in ("Training of differ", "Training of baseline", "Clothing bias", "The hardest queries", "damaged"):
        assert kind in page


def test_a_configuration_whose_seeds_are_all_damaged_is_a_row_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A table must not look as if the configuration had never been tried."""
    for method in ("baseline", "differ"):
        runs = [write_run(tmp_path / "runs", method, seed=seed) for seed in (0, 1)]
    shutil.rmtree(runs[0].path / "rankings")
    (runs[1].path / "status.json").write_text('{"st')
    words = [f"runs={runs[0].path.parent}", f"out={tmp_path / 'report'}", "format=md"]
    assert run.main(["report", *words]) == 0
    assert "damaged, in no table" in capsys.readouterr().out
    (document,) = (tmp_path / "report" / "tables").glob("*.md")
    text = document.read_text(encoding="utf-8")
    assert "Counted, not hidden: differ: 2 of 2 seeds damaged" in text
    assert "| differ | – | 0 of 2 |" in text
