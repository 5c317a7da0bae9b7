"""Whether a run counts is one judgement: lists, pages and tables say the same of the same folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.comparison import rows_of
from benchmarks.records import RunFolder
from benchmarks.run_states import judge
from reports.listing import list_runs
from reports.run_facts import read_run
from tests.evidence_runs import write_run

DAMAGES: dict[str, Callable[[RunFolder], object]] = {
    "spec.yaml is missing": lambda run: (run.path / "spec.yaml").unlink(),
    "spec.yaml is damaged": lambda run: (run.path / "spec.yaml").write_text("method: 3"),
    "status.json is damaged": lambda run: (run.path / "status.json").write_text("{"),
    "status.json is damaged: restore": lambda run: (run.path / "status.json").write_text("{}"),
    "data.json is missing": lambda run: (run.path / "data.json").unlink(),
    "lacks 'selection'": lambda run: (run.path / "data.json").write_text("{}"),
    "metrics.jsonl has lost its scores": lambda run: (run.path / "metrics.jsonl").unlink(),
    "metrics.jsonl is damaged": lambda run: (run.path / "metrics.jsonl").write_text("{\n"),
    "metrics.jsonl is damaged: restore": lambda run: (run.path / "metrics.jsonl").write_text("{}\n"),
    "standard@last.npz is missing": lambda run: run.ranking("standard", "last").unlink(),
    "standard@last.npz is not": lambda run: run.ranking("standard", "last").write_bytes(b"PK"),
    "query.npz is missing": lambda run: shutil.rmtree(run.path / "splits"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_list_and_report_call_the_same_runs_damaged(said: str, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    DAMAGES[said](run)
    found = judge(run)
    assert (found.state, found.counts) == ("damaged", False)
    assert said in found.reason
    (line,) = list_runs({"runs": str(tmp_path)})
    assert line.split()[:2] == [run.run_id, "damaged"]
    assert said in line
    facts = read_run(run)
    assert (facts.state, facts.reason) == (found.state, found.reason)
    (row,) = rows_of([run])
    assert (row.runs, row.unfinished) == ((), (run,))


@pytest.mark.parametrize("state", ["failed", "stopped", "running"])
def test_a_run_that_broke_off_before_it_had_a_configuration_is_listed_as_what_it_is(state: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "ltcc-differ-aaaa-s0")
    run.path.mkdir()
    run.set_status(state, reason="no space is left on the disk")
    assert list(list_runs({"runs": str(tmp_path)})) == [f"{run.run_id:<48} {state:<8} no space is left on the disk"]
    assert read_run(run).state == state


def test_a_finished_run_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert judge(run).counts
    assert judge(run).reason == ""
