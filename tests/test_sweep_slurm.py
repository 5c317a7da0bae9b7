"""launcher=slurm: what is asked of the cluster, and workers that come back where their time was over.

Everything is real, submitit too, but for the cluster (fake_slurm.py): none was at hand.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import run
from benchmarks.words import parse_words
from datasets.errors import UsageError
from sweeps import command
from sweeps.plan import read_plan
from sweeps.slurm import SlurmOptions, read_slurm
from tests.fake_slurm import install
from tests.test_sweep import ROOT, only_study, states, words

pytest.importorskip("submitit")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder in which the cluster writes down what it is asked for. Its jobs end with the test."""
    state = tmp_path / "cluster"
    state.mkdir()
    monkeypatch.setenv("PATH", f"{install(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setattr(command, "CLUSTER_SECONDS", 0.3)
    yield state
    for file in state.glob("*.pid"):
        subprocess.run(["scancel", file.stem, "--signal=KILL"], check=False)


def asked(state: Path, job: int = 4001) -> dict[str, str]:
    """Option → value of the script that was submitted."""
    script = (state / f"{job}.sh").read_text()
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.MULTILINE))


def logs(folder: Path) -> str:
    return "\n".join(file.read_text() for file in sorted((folder / "runs").rglob("slurm/*_log.out")))


def codes(state: Path, job: str, ends: int = 1) -> list[str]:
    """Exit codes of a job that has ended so often. The command that submits is done before the job's process is."""
    file, until = state / f"{job}.codes", time.monotonic() + 120
    while time.monotonic() < until and not (file.exists() and file.read_text().count("\n") >= ends):
        time.sleep(0.05)
    return file.read_text().split()


# --- what is asked of the cluster ---


def test_the_words_become_options_of_one_job_array(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """wait=false says the job's number and ends; the same command again submits no second array beside the first."""
    monkeypatch.setenv("FAKE_SLURM_HOLDS", "1")
    options = ["partition=gpu,long", "time=90", "gpus=1", "cpus=6", "mem=1.5", "parallel=2", "setup=module load cuda"]
    told = words(tmp_path, "launcher=slurm", "workers=3", "wait=false", "trials=4", "confirm=0", "study=one")
    told += [f"slurm.{option}" for option in options]
    assert run.main(told) == 0
    said = capsys.readouterr().out
    assert "job 4001 submitted to Slurm with 3 tasks" in said
    assert "`scancel 4001` ends it" in said
    found = asked(cluster)
    expected = {
        "job-name": "one",
        "partition": "gpu,long",
        "time": "90",
        "gpus-per-node": "1",
        "cpus-per-task": "6",
        "mem": "1536M",
        "array": "0-2%2",
        "signal": "USR2@120",
        "requeue": "",
    }
    assert {key: found[key].strip("'") for key in expected} == expected
    script = (cluster / "4001.sh").read_text()
    assert f"export PYTHONPATH={ROOT}" in script
    assert script.index("\nmodule load cuda\n") < script.index("srun")
    assert run.main(told) == 0
    assert "job 4001 is still queued or runs" in capsys.readouterr().out
    assert len(list(cluster.glob("*.sh"))) == 1
    assert states(only_study(tmp_path)) == {"waiting": 1}


def test_one_worker_is_a_job_and_not_an_array_and_a_cpu_needs_no_gpu(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_HOLDS", "1")
    assert run.main(words(tmp_path, "launcher=slurm", "wait=false", "trials=4", "confirm=0")) == 0
    assert not asked(cluster).keys() & {"array", "gpus-per-node", "partition", "mem"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("slurm.partitoin=gpu", r"Unknown key slurm\.partitoin\. Did you mean partition\?"),
        ("slurm.time=soon", r"slurm\.time=soon: .*integer.* It is: Minutes of one task"),
        ("slurm.time=0", r"slurm\.time=0: .*greater"),
        ("slurm.signal=600 slurm.time=10", r"slurm\.signal=600: a task of slurm\.time=10 minutes would stop"),
        ("launcher=slrum", r"Unknown launcher=slrum\. Available: slurm"),
        ("launcher= slurm.cpus=2", r"slurm\.cpus is for a cluster: say launcher=slurm"),
    ],
)
def test_wrong_words_are_refused_with_their_mend(told: str, said: str) -> None:
    values = {"launcher": "slurm", **dict(word.split("=") for word in told.split())}
    with pytest.raises(UsageError, match=said):
        read_slurm(values, values["launcher"])


def test_every_option_is_documented() -> None:
    assert all(field.description for field in SlurmOptions.model_fields.values())


def test_a_study_is_the_same_one_with_and_without_a_cluster(tmp_path: Path) -> None:
    """So that a sweep begun on one machine goes on on a cluster, and the command that a report shows runs anywhere."""
    here = read_plan(parse_words(words(tmp_path)[1:]))
    there = read_plan(parse_words(words(tmp_path, "launcher=slurm", "slurm.time=30", "wait=false")[1:]))
    assert there.name == here.name
    assert there.definition == here.definition
    assert there.command == here.command


def test_a_machine_without_slurm_and_a_refused_job_are_one_sentence(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    told = words(tmp_path, "launcher=slurm", "trials=1", "confirm=0")
    monkeypatch.setenv("FAKE_SLURM_REFUSES", "invalid partition specified: gpu")
    assert run.main(told) == 2
    said = capsys.readouterr().err
    assert "Slurm refuses the job" in said
    assert "invalid partition specified: gpu" in said
    assert said.count("\n") == 1
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert run.main(told) == 2
    assert capsys.readouterr().err.startswith("launcher=slurm needs sbatch, which is not here")


# --- what the jobs do ---


@pytest.mark.slow
def test_a_sweep_on_a_cluster_is_carried_out_by_its_jobs_and_confirmed_by_them(
    tmp_path: Path, cluster: Path, capsys: pytest.CaptureFixture
) -> None:
    """The command that submits trains nothing itself; said again, it submits nothing."""
    told = words(tmp_path, "launcher=slurm", "workers=2", "trials=3", "confirm=1", "confirm_seeds=2", "study=one")
    assert run.main(told) == 0, logs(tmp_path)
    study = only_study(tmp_path)
    assert states(study) == {"complete": 3}, logs(tmp_path)
    assert study.confirmation is not None
    assert all(len(row.by_seed) == 2 for row in study.confirmation.rows)
    assert (asked(cluster)["array"], asked(cluster, 4002)["array"]) == ("0-1%2", "0-1%2")
    commands = {file.read_text() for file in (tmp_path / "runs").glob("*/environment.json")}
    assert all("plan=-" in one for one in commands)
    capsys.readouterr()
    assert run.main(told) == 0
    assert "submitted" not in capsys.readouterr().out
    assert len(list(cluster.glob("*.sh"))) == 2
    assert codes(cluster, "4001_0") == ["0"]


def in_the_middle(folder: Path, act: Callable[[], object]) -> threading.Thread:
    """Calls `act` when a trial has written a checkpoint that is not its last."""

    def watch() -> None:
        until = time.monotonic() + 120
        while not list((folder / "runs").glob("*/checkpoints/last.pt")) and time.monotonic() < until:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_task_whose_time_is_over_goes_back_into_the_queue_and_on_from_its_checkpoint(
    tmp_path: Path, cluster: Path
) -> None:
    """SIGUSR2 to every process of the job: only submitit's hears it. No trial is lost for good, none counts twice."""
    told = words(tmp_path, "launcher=slurm", "trials=2", "confirm=0", "train.epochs=12", "study=one", "pruner=none")
    signalling = in_the_middle(tmp_path, lambda: subprocess.run(["scancel", "4001", "--signal=USR2"], check=True))
    assert run.main(told) == 0, logs(tmp_path)
    signalling.join()
    assert (cluster / "requeued").read_text().count("\n") == 1, logs(tmp_path)
    assert codes(cluster, "4001", ends=2)[1:] == ["0"], logs(tmp_path)
    study = only_study(tmp_path)
    assert states(study) == {"complete": 2, "lost": 1}
    (lost,) = [trial for trial in study.trials if trial.state == "lost"]
    (instead,) = [trial for trial in study.trials if trial.replaces == lost.number]
    assert instead.params == lost.params
    (run_id,) = instead.runs
    starts = (tmp_path / "runs" / run_id / "environment.json").read_text().count('"command"')
    assert starts == 2, "the run went on"
    epochs = (tmp_path / "runs" / run_id / "metrics.jsonl").read_text().count('"event": "epoch"')
    assert epochs == 12, "and did nothing twice"


@pytest.mark.slow
def test_a_cancelled_job_leaves_checkpoints_stays_cancelled_and_the_same_command_goes_on(
    tmp_path: Path, cluster: Path, capsys: pytest.CaptureFixture
) -> None:
    told = words(tmp_path, "launcher=slurm", "trials=1", "confirm=0", "train.epochs=12", "study=one")
    cancelling = in_the_middle(tmp_path, lambda: subprocess.run(["scancel", "4001"], check=True))
    assert run.main(told) == 3
    cancelling.join()
    assert "has ended without a trial" in capsys.readouterr().err
    assert codes(cluster, "4001") == ["75"], logs(tmp_path)
    assert not (cluster / "requeued").exists()
    assert run.main(told) == 0, logs(tmp_path)
    assert states(only_study(tmp_path)) == {"complete": 1, "lost": 1}
    assert codes(cluster, "4002") == ["0"]
