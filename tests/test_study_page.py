"""Studies in a report, in lists and on the terminal: a page for each, linked, escaped, the same bytes again."""

from pathlib import Path

import pytest

import run
from benchmarks.studies import Study, StudyFolder
from reports.report import write_report
from reports.studies.commands import go_on, train_chosen
from reports.studies.page import page_stem, write_study
from tests.study_examples import HOSTILE, all_failed, differ_on_ltcc, hostile, not_begun, one_trial
from tests.test_page import Parsed

NAME = "ltcc-differ-weights"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_study(differ_on_ltcc(), folder, ["md", "tex", "csv", "html"])
    return folder / f"{NAME}.html"


def store(root: Path, *studies: Study) -> str:
    for study in studies:
        StudyFolder(root / "runs", study.name).save(study)
    return str(root / "runs")


def report(root: Path, **words: str) -> list[str]:
    return list(write_report({"runs": str(root / "runs"), "out": str(root / "report"), "quiet": "true", **words}))


# --- the page ---


def test_a_page_shows_what_was_found_and_how_to_go_on(page: Path) -> None:
    text = Parsed(page).text
    for said in (
        "confirmed on fresh seeds 2, 3, 4",
        "shrinkage of trial 34",
        "Trials of ltcc-differ-weights",
        "PED-ANOVA",
        "trial 27: The GPU ran out of memory.",
        go_on(differ_on_ltcc()),
        train_chosen(differ_on_ltcc()),
        "none of the test split",
    ):
        assert said in text, said


def test_figures_and_tables_lie_beside_the_page(page: Path) -> None:
    beside = page.parent / NAME
    assert {file.stem for file in (beside / "figures").glob("*.pdf")} >= {"history", "slices", "confirmation"}
    assert {file.name for file in (beside / "tables").iterdir()} >= {"trials.csv", "confirmation.md", "tables.tex"}


def test_the_same_study_gives_the_same_page(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "other"):
        write_study(one_trial(), tmp_path / name, ["html"])
        pages.append((tmp_path / name / "one-trial.html").read_bytes())
    assert pages[0] == pages[1]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    link = write_study(hostile(), tmp_path, ["tex"])
    assert link.page == f"{page_stem(HOSTILE)}.html"
    assert len(link.page) < 150
    content = (tmp_path / link.page).read_text(encoding="utf-8")
    assert content.count("<script>") == 1, "the page's own"
    assert "&lt;script&gt;alert(&#34;x&#34;)" in content


def test_no_folder_of_the_machine_stands_in_a_page(tmp_path: Path) -> None:
    study = all_failed()
    trial = study.trials[0].model_copy(update={"reason": f"No space left: {tmp_path}/runs/x."})
    write_study(study.model_copy(update={"trials": (trial,)}), tmp_path, [])
    assert str(tmp_path) not in (tmp_path / "all-failed.html").read_text(encoding="utf-8")


# --- in a report ---


def test_a_report_of_studies_alone_links_each(tmp_path: Path) -> None:
    store(tmp_path, one_trial(), not_begun())
    said = report(tmp_path)
    assert any(line.endswith("studies: 2 pages, one a sweep") for line in said)
    index = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for name in ("one-trial", "not-begun"):
        assert f'href="studies/{name}.html"' in index
        assert (tmp_path / "report" / "studies" / f"{name}.html").is_file()
    assert "none begun of 40 trials" in index


def test_only_studies_of_the_named_methods_are_shown_and_none_of_named_runs(tmp_path: Path) -> None:
    other = not_begun().model_copy(update={"name": "of-cal", "method": "cal"})
    runs = store(tmp_path, not_begun(), other)
    report(tmp_path, **{"method.name": "cal"})
    assert {file.stem for file in (tmp_path / "report" / "studies").glob("*.html")} == {"of-cal"}
    from reports.studies.choosing import chosen_studies

    assert chosen_studies({"runs": runs, "run": "x"}) == ([], [])
    assert [study.name for study in chosen_studies({"runs": runs, "dataset.name": "ltcc"})[0]] == [
        "not-begun",
        "of-cal",
    ]
    assert chosen_studies({"runs": runs, "dataset.name": "prcc"})[0] == []


def test_a_damaged_study_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    runs = store(tmp_path, not_begun(), one_trial())
    StudyFolder(Path(runs), "one-trial").file.write_text("{half")
    said = report(tmp_path)
    assert any("is damaged: repeat the `sweep` command" in line for line in said)
    assert "is damaged" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "report" / "studies" / "not-begun.html").is_file()


# --- on the terminal ---


def test_studies_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = store(tmp_path, differ_on_ltcc(), all_failed())
    assert run.main(["list", "studies", f"runs={runs}"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "7 failed of 7 trials · best – · confirmed –" in first
    for said in (NAME, "differ on ltcc", "31 complete, 6 pruned, 2 failed, 1 lost of 40 trials", "39.2 (trial 34)"):
        assert said in second
    assert second.endswith("confirmed 38.7 (trial 19), defaults 36.9")


def test_a_store_without_studies_says_what_makes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["list", "studies", f"runs={tmp_path}"]) == 0
    assert "`python run.py sweep` makes them" in capsys.readouterr().out


def test_a_study_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = store(tmp_path, differ_on_ltcc())
    assert run.main(["show", f"study={NAME}", f"runs={runs}"]) == 0
    out = capsys.readouterr().out
    for said in (
        "method.weights.triplet",
        "47 %",
        "confirmed on fresh seeds",
        "38.7 ± 1.0",
        "To go on: python run.py sweep",
    ):
        assert said in out, said
    assert out.count(f" runs={runs}") == 2, "else the commands would begin a study in another folder"
    assert out.count(str(tmp_path)) == 2


def test_an_unknown_study_is_one_sentence_with_the_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = store(tmp_path, one_trial())
    assert run.main(["show", "study=one-trail", f"runs={runs}"]) == 2
    assert "Did you mean one-trial?" in capsys.readouterr().err


def test_the_command_that_goes_on_is_the_study_s_own_where_it_is_known() -> None:
    study = differ_on_ltcc()
    assert go_on(study) == (
        f"python run.py sweep method=differ dataset=ltcc train.epochs=20 study={NAME} seed=0,1 trials=40 data=DIR"
    )
    known = study.model_copy(update={"command": "method=differ dataset=ltcc space.method.weights.triplet=0.1..3:log"})
    assert "space.method.weights.triplet=0.1..3:log" in go_on(known)
    words = train_chosen(study).split()
    assert "seed=2,3,4" in words
    assert {word.partition("=")[0] for word in words} >= {dimension.key for dimension in study.space}
