"""Sweeps over real runs: trials in processes of their own, that never see the test split and survive being killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import run
from benchmarks.child import Outcome
from benchmarks.records import RunStore
from benchmarks.studies import Study, StudyFolder, studies
from sweeps import measuring
from sweeps.measuring import RunMeasure

ROOT = Path(__file__).parent.parent
WORLD = [
    "dataset.people=50",
    "dataset.wardrobe=20",
    "dataset.test_people=4",
    "dataset.tracklets=1",
    "dataset.frames=2",
    "dataset.height=64",
]
MODEL = [
    "method=differ",
    "image.height=32",
    "image.width=16",
    "method.embed_dim=32",
    "method.depth=1",
    "method.num_heads=2",
    "captions.text_model=hashing-16",
    "sampler.batch_size=16",
    "train.epochs=2",
    "device=cpu",
]


def words(folder: Path, *more: str) -> list[str]:
    own = {word.partition("=")[0] for word in more}
    usual = [*MODEL, "dataset=synthetic", *WORLD, "seed=0", f"runs={folder / 'runs'}", f"cache={folder / 'cache'}"]
    return ["sweep", *(word for word in usual if word.partition("=")[0] not in own), *more]


def small(folder: Path, *more: str) -> list[str]:
    """For a dataset without a tiny recipe of its own."""
    config = f"config={ROOT / 'docs' / 'examples' / 'small.yaml'}"
    sizes = ["method=differ", "image.height=32", "image.width=16", "method.embed_dim=32", "method.depth=1"]
    model = [*sizes, "method.num_heads=2", "sampler.batch_size=16", "train.epochs=2", "device=cpu", "seed=0"]
    return [
        "sweep",
        config,
        *model,
        f"runs={folder / 'runs'}",
        f"cache={folder / 'cache'}",
        *more,
    ]


def only_study(folder: Path) -> Study:
    (found,) = studies(folder / "runs")
    return found.load()


def states(study: Study) -> Counter[str]:
    return Counter(trial.state for trial in study.trials)


def test_a_sweep_leaves_ordinary_runs_with_a_closed_test_and_said_again_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = words(tmp_path, "trials=2", "confirm=0")
    assert run.main(command) == 0
    study = only_study(tmp_path)
    assert states(study) == {"complete": 2}
    assert study.confirmation is None
    store = RunStore(tmp_path / "runs")
    for trial in study.trials:
        (run_id,) = trial.runs
        folder = store.open(run_id)
        assert folder.status()["state"] == "trained"
        assert folder.scores() == []
        best = max(event["mAP"] for event in folder.events("validation"))
        assert trial.values == trial.by_seed[0] == (best,)
        assert trial.course[2] == best
        assert folder.spec()["method"]["weights"]["triplet"] == trial.params["method.weights.triplet"]
    capsys.readouterr()
    begun = time.monotonic()
    assert run.main(command) == 0
    assert time.monotonic() - begun < 20
    assert "all trials are done" in capsys.readouterr().out
    assert only_study(tmp_path) == study
    assert run.main(words(tmp_path, "trials=2", "confirm=0", "seed=1", f"study={study.name}")) == 2
    assert re.search("exists and has other seeds: choose another study=NAME", capsys.readouterr().err)
    assert only_study(tmp_path) == study


SEALED = """
from pathlib import Path
from datasets import DATASETS
from datasets.synthetic import Synthetic

@DATASETS.register("sealed")
class Sealed(Synthetic):
    "A world whose test split cannot be read without leaving a trace."

    name = "sealed"

    def split(self, name):
        if name != "train":
            Path(__file__).with_suffix(".broken").write_text(name)
            raise RuntimeError(f"labels of {name} were read")
        return super().split(name)
"""


@pytest.mark.slow
def test_no_path_of_a_sweep_reads_labels_of_the_test_split(tmp_path: Path) -> None:
    """The adapter, in whatever process, breaks the seal when it is asked for anything but training images."""
    plugin = tmp_path / "sealed.py"
    plugin.write_text(SEALED)
    sealed = [
        *WORLD,
        "captions.text_model=hashing-16",
        "dataset=sealed",
        f"plugin={plugin}",
        "objective=cloth-changing,standard",
    ]
    command = small(tmp_path, *sealed, "trials=3", "workers=2", "confirm=0")
    done = subprocess.run([sys.executable, "run.py", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert states(only_study(tmp_path)) == {"complete": 3}
    assert not plugin.with_suffix(".broken").exists()
    test = [word for word in command if word.partition("=")[0] not in ("trials", "workers", "objective", "confirm")]
    again = subprocess.run([sys.executable, "run.py", *test[1:]], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode != 0, "the same runs with the test open"
    assert plugin.with_suffix(".broken").exists(), "the seal does break"


@pytest.mark.slow
def test_a_dataset_without_its_test_files_gives_the_same_study(tmp_path: Path) -> None:
    trees = [tmp_path / "whole", tmp_path / "closed"]
    found = []
    for tree in trees:
        assert (
            run.main(
                ["synthesize", "layout=ltcc", f"out={tree}", "people=50", "test_people=4", "frames=2", "tracklets=1"]
            )
            == 0
        )
        if tree.name == "closed":
            for name in ("query", "test"):
                for file in (tree / "LTCC_ReID" / name).iterdir():
                    file.unlink()
        command = small(tree, "dataset=ltcc", f"data={tree}", "trials=1", "confirm=0")
        assert run.main(command) == 0
        found.append([(trial.params, trial.values, trial.course) for trial in only_study(tree).trials])
    assert found[0] == found[1]


@pytest.mark.slow
def test_sixteen_trials_survive_a_killed_worker(tmp_path: Path) -> None:
    """None is lost, none counted twice; the killed worker's trial is repeated from its run's checkpoint."""
    command = [sys.executable, "run.py", *words(tmp_path, "trials=16", "workers=2", "confirm=0", "study=one")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    sweep = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        victim = _worker_in_mid_trial(tmp_path, sweep)
        os.kill(victim, signal.SIGKILL)
        said, _ = sweep.communicate(timeout=500)
    finally:
        sweep.kill()
    assert "was killed by signal 9" in said
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=500)
    assert again.returncode == 0, again.stderr
    study = only_study(tmp_path)
    found = states(study)
    assert found["complete"] + found["pruned"] == 16
    assert found["lost"] == 1
    assert sum(found.values()) == 17, "nothing runs, waits or failed"
    (lost,) = [trial for trial in study.trials if trial.state == "lost"]
    (instead,) = [trial for trial in study.trials if trial.replaces == lost.number]
    assert instead.params == lost.params
    counted = [trial for trial in study.trials if trial.state in ("complete", "pruned")]
    assert len({json.dumps(trial.params) for trial in counted}) == 16
    runs = [run_id for trial in counted for run_id in trial.runs]
    assert len(runs) == len(set(runs)) == 16


def _worker_in_mid_trial(folder: Path, sweep: subprocess.Popen) -> int:
    """Process id of a worker whose trial has trained an epoch, when some trials are done."""
    journal = StudyFolder(folder / "runs", "one").journal
    while sweep.poll() is None:
        time.sleep(0.02)
        if not journal.exists() or journal.read_text().count('"values"') < 3:
            continue
        for worker in _children(sweep.pid):
            for trial in _children(worker):
                name = Path(f"/proc/{trial}/cmdline").read_text()
                if "plan=-" in name:
                    return worker
    raise AssertionError("the sweep ended before a worker could be killed")


def _children(process: int) -> Iterator[int]:
    try:
        yield from map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    except FileNotFoundError:
        return


@pytest.mark.slow
def test_a_stopped_sweep_goes_on_from_its_checkpoints_and_confirms_on_fresh_seeds(tmp_path: Path) -> None:
    """SIGTERM ends with 75; afterwards the confirmation, the test of the chosen one against the defaults, and the same
    again without training anything."""
    command = [
        sys.executable,
        "run.py",
        *words(tmp_path, "trials=4", "train.epochs=6", "confirm=1", "confirm_seeds=2", "study=one", "pruner=none"),
    ]
    sweep = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list((tmp_path / "runs").glob("*/checkpoints/last.pt")):
        time.sleep(0.05)
        assert sweep.poll() is None
    sweep.terminate()
    said, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 75, said
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    study = only_study(tmp_path)
    assert states(study) == {"complete": 4, "lost": 1}
    confirmation = study.confirmation
    assert confirmation is not None
    assert confirmation.seeds == (1, 2)
    assert [row.name for row in confirmation.rows][-1] == "defaults"
    store = RunStore(tmp_path / "runs")
    for row in confirmation.rows:
        assert row.by_seed.keys() == {1, 2}
        for seed, run_id in zip((1, 2), row.runs, strict=True):
            assert row.by_seed[seed] == max(event["mAP"] for event in store.open(run_id).events("validation"))
    tested = {folder.run_id for folder in store if folder.status()["state"] == "done"}
    expected = {confirmation.row(confirmation.chosen).runs, confirmation.row("defaults").runs}
    assert tested == {run_id for runs in expected for run_id in runs}, "only what is confirmed is tested"
    assert "fresh seeds" in done.stdout
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").glob("*/metrics.jsonl")}
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").glob("*/metrics.jsonl")} == before


@pytest.mark.slow
def test_a_sweep_without_a_single_value_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main(words(tmp_path, "trials=1", "confirm=0", "optimiser.lr=1e30")) == 3
    assert "came to an end (seed 0: Training diverged in epoch 1" in capsys.readouterr().err
    assert states(only_study(tmp_path)) == {"failed": 1}


class Writing:
    """A run that takes some time for its checkpoint."""

    plan = None

    def __init__(self) -> None:
        self.run, self.polls, self.stopping = self, 0, False

    def stop(self) -> None:
        self.stopping = True

    def poll(self) -> Outcome | None:
        self.polls += self.stopping
        return self.wait(0) if self.polls > 3 else None

    def wait(self, seconds: float) -> Outcome:
        return Outcome("one", "trained", 1.0, 0)


def test_a_worker_says_that_it_lives_while_a_pruned_run_writes_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be taken for dead, where that takes longer than the grace period."""
    monkeypatch.setattr(measuring, "POLL_SECONDS", 0.0)
    heard: list[int] = []
    watch = SimpleNamespace(idle=lambda: heard.append(child.polls), epoch=lambda *_: True)
    child = Writing()
    measured = RunMeasure(cast("Any", None), cast("Any", None))._pruned(cast("Any", child), cast("Any", watch))
    assert measured.state == "pruned"
    assert heard == [1, 2, 3]


def test_too_few_people_to_hold_out_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run.main(words(tmp_path, "dataset.people=12", "dataset.wardrobe=8")) == 2
    assert "too few training identities to hold out 10%" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/spec.yaml"))


def test_an_unreachable_database_is_one_sentence_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("psycopg")
    assert run.main(words(tmp_path, "storage=postgresql://me:secret@127.0.0.1:9/none")) == 3
    said = capsys.readouterr().err
    assert re.search(r"storage=postgresql://me:…@127\.0\.0\.1:9/none cannot be used", said)
    assert "secret" not in said
    assert said.count("\n") == 1
