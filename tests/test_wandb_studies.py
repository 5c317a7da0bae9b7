"""Sweeps in W&B, read back from disk: trials in their study's group, and the study's tables and figures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.records import RunFolder
from benchmarks.studies import Study, StudyFolder
from datasets.errors import UsageError
from reports.studies.roles import Role, role_of
from reports.wandb_client import forget_connection
from tests.study_examples import differ_on_ltcc, one_trial
from tests.test_wandb_mirror import (
    EVENTS,
    GROUP,
    RUN,
    final_summary,
    folders,
    history,
    inspected,
    mirror,
    nobody,
    written,
)

__all__ = ["nobody"]
NAME = "one-trial"


@pytest.fixture(scope="module", autouse=True)
def own_service() -> Iterator[None]:
    """wandb's service keeps the folders of the test that started it; other files' tests look at theirs."""
    yield
    forget_connection()


def with_run(study: Study, *, confirms: bool = False) -> Study:
    """The study, one of whose trials, or confirmations, is RUN."""
    if confirms and study.confirmation:
        first = study.confirmation.rows[0].model_copy(update={"runs": (RUN,)})
        rows = (first, *study.confirmation.rows[1:])
        return study.model_copy(update={"confirmation": study.confirmation.model_copy(update={"rows": rows})})
    trial = study.trials[0].model_copy(update={"runs": (RUN,)})
    return study.model_copy(update={"trials": (trial, *study.trials[1:])})


def trial_run(store: Path, state: str = "trained") -> RunFolder:
    """A run whose test split stayed closed."""
    events = [event for event in EVENTS if event["event"] != "scores"]
    run = written(store, events, state=state, test=False)
    run.ranking("cloth-changing", "validation").unlink()
    return run


def test_a_trial_is_in_its_study_s_group_and_says_what_it_is(tmp_path: Path) -> None:
    run = trial_run(tmp_path)
    assert role_of(run) == Role("train", GROUP, ())
    StudyFolder(tmp_path, NAME).save(with_run(one_trial()))
    said = mirror(tmp_path)
    assert any(f"{RUN}: trained, 4 points" in line for line in said)
    records = inspected(folders(tmp_path)[0])
    (identity,) = records["run"]
    assert (identity["job_type"], identity["run_group"]) == ("sweep-trial", NAME)
    assert "sweep:one-trial" in identity["tags"]
    assert final_summary(records)["validation/mAP"] == 0.4, "of the chosen epoch"
    assert records["exit"][0]["exit_code"] == 0
    assert any("1 of 1 runs are up to date" in line for line in mirror(tmp_path))


@pytest.mark.parametrize(("state", "code"), [("pruned", 0), ("failed", 1)])
def test_being_pruned_is_no_failure(tmp_path: Path, state: str, code: int) -> None:
    trial_run(tmp_path, state)
    StudyFolder(tmp_path, NAME).save(with_run(one_trial()))
    mirror(tmp_path)
    assert inspected(folders(tmp_path)[0])["exit"][0]["exit_code"] == code


def test_a_confirmation_says_so_and_a_tested_run_stays_an_ordinary_one(tmp_path: Path) -> None:
    study = with_run(differ_on_ltcc(), confirms=True)
    StudyFolder(tmp_path, study.name).save(study)
    run = trial_run(tmp_path)
    assert role_of(run) == Role("confirm", study.name, (f"sweep:{study.name}",))
    run.set_status("done")
    assert role_of(run) == Role("train", GROUP, (f"sweep:{study.name}",))


def test_a_run_that_becomes_part_of_a_sweep_is_mirrored_again(tmp_path: Path) -> None:
    trial_run(tmp_path)
    mirror(tmp_path, run=RUN)
    StudyFolder(tmp_path, NAME).save(with_run(one_trial()))
    assert any("4 points" in line for line in mirror(tmp_path))


def test_a_study_s_tables_and_figures_read_back(tmp_path: Path) -> None:
    study = differ_on_ltcc()
    StudyFolder(tmp_path, study.name).save(study)
    said = mirror(tmp_path)
    assert f"{study.name}-sweep: 40 trials, 7 figures." in said
    (folder,) = folders(tmp_path, f"{study.name}-sweep")
    records = inspected(folder)
    (identity,) = records["run"]
    assert (identity["job_type"], identity["run_group"]) == ("report", study.name)
    assert identity["tags"] == [f"sweep:{study.name}", "differ", "ltcc"]
    assert identity["config"]["update"]["objectives"] == ["cloth-changing mAP"]
    assert "trials" not in identity["config"]["update"]
    (row,) = history(records)
    assert {key.split(".")[0] for key in row if key.startswith("sweep/")} == {
        f"sweep/{name}"
        for name in ("tables", "history", "importance", "slices", "contours", "parallel", "course", "confirmation")
    }
    assert len(list(folder.rglob("*.png"))) == 7
    (page,) = folder.rglob("*.html")
    assert "Trials of ltcc-differ-weights" in page.read_text(encoding="utf-8")
    summary = final_summary(records)
    assert (summary["chosen"], summary["best_trial"]) == ("trial 19", 34)
    assert summary["confirmed"] < summary["tuned"]

    assert not any("7 figures" in line for line in mirror(tmp_path)), "nothing is mirrored twice"
    assert folders(tmp_path, f"{study.name}-sweep") == [folder]


def test_a_store_with_neither_runs_nor_studies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such runs"):
        mirror(tmp_path)
