"""The run folder: what it promises to whoever reads it while or after it is written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.interruption import StoppedError
from benchmarks.records import RunFolder, RunStore, recorded
from datasets.errors import DataError, UsageError

SPEC = {"method": {"name": "differ"}, "dataset": {"name": "ltcc"}, "seed": 0}


def made(root: Path, run_id: str, **spec: object) -> RunFolder:
    folder = RunStore(root).open(run_id)
    with recorded(folder):
        folder.describe(SPEC | spec, {"selection": "last"}, {"command": "test"})
    return folder


def test_status_tells_how_a_run_ended(tmp_path: Path) -> None:
    folder = RunStore(tmp_path).open("a")
    assert folder.status()["state"] == "new"
    states = []

    def broken() -> None:
        with recorded(folder):
            states.append(folder.status()["state"])
            raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError):
        broken()
    assert states == ["running"]
    assert folder.status()["state"] == "failed"
    assert "bug" in folder.status()["reason"]
    with pytest.raises(StoppedError), recorded(folder):
        raise StoppedError("by SIGTERM")
    assert folder.status()["state"] == "stopped"
    with recorded(folder):
        pass
    assert folder.status()["state"] == "done"


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    """The second is refused at once; the lock of a killed process blocks nobody."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib; sys.path.insert(0, '.')\n"
            "from benchmarks.records import RunFolder\n"
            "with RunFolder(pathlib.Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)",
            str(tmp_path / "a"),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    folder = RunFolder(tmp_path / "a")
    with pytest.raises(UsageError, match="another process"), folder.locked():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with folder.locked():
        pass


def test_a_half_written_event_of_a_killed_run_is_not_read(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    folder.append({"event": "epoch", "epoch": 1})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "epoch", "epo')
    assert [event["epoch"] for event in folder.events("epoch")] == [1]
    folder.rewind(lambda event: True)
    folder.append({"event": "epoch", "epoch": 2})
    assert [event["epoch"] for event in folder.events("epoch")] == [1, 2]


def test_a_dataset_that_changed_in_mid_training_is_refused_on_resume(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    folder.describe(SPEC, {"selection": "last", "splits": "mended"}, {})
    assert folder.data()["splits"] == "mended", "nothing was trained yet"
    folder.checkpoint.parent.mkdir()
    folder.checkpoint.touch()
    with pytest.raises(DataError, match="changed while a was being trained"):
        folder.describe(SPEC, {"selection": "last", "splits": "other"}, {})


def test_every_start_is_recorded(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    folder.describe(SPEC, {"selection": "last"}, {"command": "again"})
    assert [start["command"] for start in folder.starts()] == ["test", "again"]


def test_left_over_temporary_files_are_removed(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    stale = folder.path / "checkpoints" / ".last.pt.123.tmp"
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    with folder.locked():
        assert not stale.exists()


def test_runs_are_found_and_grouped_by_their_spec(tmp_path: Path) -> None:
    for seed in (0, 1):
        made(tmp_path, f"ltcc-differ-aaaa-s{seed}", seed=seed)
    made(tmp_path, "ltcc-cal-bbbb-s0", method={"name": "cal"})
    store = RunStore(tmp_path)
    assert [run.run_id for run in store.find(method__name="differ", seed=1)] == ["ltcc-differ-aaaa-s1"]
    assert {key: len(runs) for key, runs in store.group().items()} == {
        ("ltcc-cal-bbbb",): 1,
        ("ltcc-differ-aaaa",): 2,
    }
    assert {key: len(runs) for key, runs in store.group("method.name").items()} == {("cal",): 1, ("differ",): 2}


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    made(tmp_path, "ltcc-differ-aaaa-s0")
    made(tmp_path, "ltcc-differ-aaaa-s1")
    assert RunStore(tmp_path).get("ltcc-differ-aaaa-s1").run_id == "ltcc-differ-aaaa-s1"
    with pytest.raises(UsageError, match="means 2 runs"):
        RunStore(tmp_path).get("ltcc")
    with pytest.raises(UsageError, match="No run prcc"):
        RunStore(tmp_path).get("prcc")


def test_status_is_readable_json_at_any_time(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    folder.beat(epoch=3)
    assert json.loads((folder.path / "status.json").read_text())["state"] == "done", "too soon for a heartbeat"
    folder._last_heartbeat = 0
    folder.beat(epoch=3)
    assert folder.status() | {"heartbeat": 0, "pid": 0, "host": ""} == {
        "state": "running",
        "epoch": 3,
        "heartbeat": 0,
        "pid": 0,
        "host": "",
    }


def test_starts_that_are_not_what_they_should_be_are_damage(tmp_path: Path) -> None:
    """Valid JSON of another shape must not end a report with a traceback."""
    folder = made(tmp_path, "a")
    (folder.path / "environment.json").write_text("[1]")
    with pytest.raises(DataError, match=r"environment\.json is damaged"):
        folder.starts()


# --- what is a run ---


@pytest.mark.parametrize("mark", ["spec.yaml", "status.json", "metrics.jsonl", "checkpoints/last.pt"])
def test_a_folder_in_which_a_run_left_anything_is_a_run(tmp_path: Path, mark: str) -> None:
    """A run that broke off before its configuration was written, or lost it, is not silently left out."""
    file = tmp_path / "ltcc-differ-aaaa-s0" / mark
    file.parent.mkdir(parents=True)
    file.touch()
    assert [run.run_id for run in RunStore(tmp_path)] == ["ltcc-differ-aaaa-s0"]
    assert RunStore(tmp_path).get("ltcc-differ").run_id == "ltcc-differ-aaaa-s0"
    assert RunStore(tmp_path).find(method__name="differ") == []


def test_what_lies_beside_the_runs_is_no_run(tmp_path: Path) -> None:
    """What W&B keeps, what `evaluate` writes of features and checkpoints from elsewhere, an empty folder, a file."""
    for file in (
        ".wandb/status.json",
        ".studies/one/spec.yaml",
        "features/ltcc-file-0123/scores.json",
        "checkpoints/ltcc-differ-file-0123/splits/query.npz",
        "evaluations/0123/scores.json",
        "spec.yaml",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "empty").mkdir()
    assert list(RunStore(tmp_path)) == []
