"""Runs side by side: a failure stops only itself, nothing is trained twice, a signal leaves checkpoints."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import run
from benchmarks import launch as launching
from benchmarks.child import Outcome, Place, places
from benchmarks.interruption import StoppedError
from benchmarks.launch import Progress, launch
from benchmarks.records import RunFolder, RunStore
from benchmarks.resolve import Resolved, resolve
from benchmarks.words import parse_words
from reports.running import Overview, overview_table
from tests.test_experiment import assert_equal_runs
from tests.test_resume import ROOT

FAILING = '''"""A method that fails as it is told to."""

import errno
import os
import signal

from methods import METHODS
from methods.baseline import Baseline


@METHODS.register("failing")
class Failing(Baseline):
    """Fails in its first step."""

    class Config(Baseline.Config):
        how: str = "raise"
        """raise, full, diverge, not, or the name of a signal."""

    def losses(self, batch, phase="model"):
        if self.config.how == "raise":
            raise RuntimeError("planted\\nwith a second line")
        if self.config.how == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.config.how.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[self.config.how])
        factor = float("nan") if self.config.how == "diverge" else 1.0
        return {name: factor * term for name, term in super().losses(batch, phase).items()}
'''


def started(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "run.py", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def place_of(words: Sequence[str]) -> Path:
    return Path(next(word.removeprefix("runs=") for word in words if word.startswith("runs=")))


def states(words: Sequence[str]) -> dict[str, str]:
    """The end of each run's id, its seed → its state."""
    folders = place_of(words).glob("*/status.json")
    return {file.parent.name.rpartition("-")[2]: json.loads(file.read_text())["state"] for file in folders}


def changed(words: Sequence[str], *more: str) -> list[str]:
    own = {word.partition("=")[0] for word in more}
    return [*(word for word in words if word.partition("=")[0] not in own), *more]


def wait_for(due: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not due():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# --- children that need no training: what launch does with them ---


class Acted:
    """Stands in for Child: writes the folder as told by the seed, and ends when asked for the second time."""

    log: list[tuple[str, int]] = []
    acts: Mapping[int, Sequence[Outcome]] = {}

    def __init__(self, plan: Resolved, place: Place):
        self.plan, self.place, self.seconds = plan, place, 1.0
        self.run = RunStore(plan.session.runs).open(plan.spec.run_id)
        self.asked = 0
        self.log.append(("start", plan.spec.seed))
        self.act = list(self.acts.get(plan.spec.seed, ()))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return []

    def poll(self) -> Outcome | None:
        self.asked += 1
        if self.asked < 2:
            return None
        seed, run_id = self.plan.spec.seed, self.plan.spec.run_id
        tries = sum(one == ("start", seed) for one in self.log)
        outcome = self.act[tries - 1] if tries <= len(self.act) else Outcome(run_id, "done", 1.0, 0)
        self.log.append((outcome.state, seed))
        return outcome

    def stop(self) -> None:
        self.log.append(("stop", self.plan.spec.seed))

    def kill(self) -> None:
        self.log.append(("kill", self.plan.spec.seed))


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> type[Acted]:
    monkeypatch.setattr(launching, "Child", Acted)
    monkeypatch.setattr(launching, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(launching, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(Acted, "log", [])
    monkeypatch.setattr(Acted, "acts", {})
    return Acted


def plans_of(tiny: list[str], seeds: int) -> list[Resolved]:
    return [resolve(parse_words(changed(tiny, f"seed={seed}"))) for seed in range(seeds)]


def made_done(plan: Resolved, state: str = "done") -> None:
    folder = RunStore(plan.session.runs).open(plan.spec.run_id)
    folder.set_status(state)


def test_what_is_finished_is_skipped_and_outcomes_are_in_the_order_of_plans(
    tiny: list[str], acted: type[Acted]
) -> None:
    plans, heard = plans_of(tiny, 4), []
    made_done(plans[1])
    made_done(plans[2], "stopped")
    outcomes = launch(plans, [Place("cpu", 1)] * 2, heard.append)
    assert [one.run_id for one in outcomes] == [plan.spec.run_id for plan in plans]
    assert [one.state for one in outcomes] == ["done"] * 4
    assert sorted(seed for what, seed in acted.log if what == "start") == [0, 2, 3]
    assert heard[0]["event"] == "jobs", "what is to do is told before anything starts"
    assert (heard[0]["done"], heard[0]["total"]) == (1, 4)
    ends = [event for event in heard if event["event"] == "job-end"]
    assert [event["done"] for event in ends] == [2, 3, 4]


def test_never_more_at_once_than_places_and_each_place_once(tiny: list[str], acted: type[Acted]) -> None:
    wanted = [Place("cuda:0", 1), Place("cuda:1", 1)]
    used: list[list[Place]] = []
    launch(
        plans_of(tiny, 5),
        wanted,
        lambda event: used.append([one.place for one in event["running"].values()]) if "running" in event else None,
    )
    assert max(map(len, used)) == 2
    assert all(len(set(at_once)) == len(at_once) for at_once in used)
    assert {place.device for at_once in used for place in at_once} == {"cuda:0", "cuda:1"}


def test_a_run_whose_status_is_damaged_has_failed_and_the_others_go_on(tiny: list[str], acted: type[Acted]) -> None:
    plans = plans_of(tiny, 3)
    for plan, text in ((plans[0], "{"), (plans[1], "{}")):
        folder = RunStore(plan.session.runs).open(plan.spec.run_id).path
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(text)
    outcomes = launch(plans, [Place("cpu", 1)], lambda event: None)
    assert [one.state for one in outcomes] == ["failed", "failed", "done"]
    assert "status.json is damaged" in outcomes[0].reason
    assert outcomes[0].exit_code == 3
    assert [seed for what, seed in acted.log if what == "start"] == [2]


def test_a_run_whose_folder_cannot_be_made_has_failed_and_the_others_go_on(tiny: list[str]) -> None:
    """A file stands where the folder should be."""
    plans = plans_of(tiny, 1)
    plans[0].session.runs.mkdir()
    (plans[0].session.runs / plans[0].spec.run_id).write_text("")
    heard: list[Mapping[str, Any]] = []
    (outcome,) = launch(plans, [Place("cpu", 1)], heard.append)
    assert outcome.state == "failed"
    assert plans[0].spec.run_id in outcome.reason
    assert [event["outcome"] for event in heard if event["event"] == "job-end"] == [outcome]


def test_who_loses_the_race_for_a_folder_waits_and_takes_over_what_is_left(tiny: list[str], acted: type[Acted]) -> None:
    """The child found the folder locked (76): the run is not failed, and is tried again when the lock is gone."""
    plans = plans_of(tiny, 2)
    acted.acts = {0: [Outcome(plans[0].spec.run_id, "failed", 1.0, 76)]}
    outcomes = launch(plans, [Place("cpu", 1)], lambda event: None)
    assert [one.state for one in outcomes] == ["done", "done"]
    assert [seed for what, seed in acted.log if what == "start"] == [0, 1, 0]


def test_a_run_that_another_process_writes_is_waited_for_and_not_started(tiny: list[str], acted: type[Acted]) -> None:
    (plan,) = plans_of(tiny, 1)
    folder, waited = RunStore(plan.session.runs).open(plan.spec.run_id), []
    with contextlib.ExitStack() as other:
        other.enter_context(folder.locked())

        def listen(event: Mapping[str, Any]) -> None:
            if event["event"] == "jobs" and event["elsewhere"]:
                waited.append(event)
                if len(waited) == 5:
                    folder.set_status("done")
                    other.close()

        (outcome,) = launch([plan], [Place("cpu", 1)], listen)
    assert outcome.state == "done"
    assert acted.log == []


def test_a_signal_stops_the_children_and_starts_no_more(
    tiny: list[str], acted: type[Acted], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = plans_of(tiny, 3)
    acted.acts = {0: [Outcome(plans[0].spec.run_id, "stopped", 1.0, 75)]}
    heard: list[Mapping[str, Any]] = []

    def listen(event: Mapping[str, Any]) -> None:
        heard.append(event)
        if event["event"] == "job-start":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoppedError, match="SIGINT"):
        launch(plans, [Place("cpu", 1)], listen)
    assert acted.log == [("start", 0), ("stop", 0), ("stopped", 0)]
    assert heard[-1]["stopping"] == "SIGINT"


def test_a_second_signal_kills(tiny: list[str], acted: type[Acted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acted, "poll", lambda self: None)

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] == "job-start" or event.get("stopping"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError, match="SIGTERM"):
        launch(plans_of(tiny, 2), [Place("cpu", 1)], listen)
    assert acted.log[-1] == ("kill", 0)


def test_children_that_do_not_stop_in_time_are_killed(
    tiny: list[str], acted: type[Acted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "STOP_SECONDS", 0.1)
    killed = Outcome("", "stopped", 1.0, -9)
    monkeypatch.setattr(Acted, "poll", lambda self: killed if ("kill", self.plan.spec.seed) in self.log else None)

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] == "job-start" and event["run"].endswith("s1"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        launch(plans_of(tiny, 2), [Place("cpu", 1)] * 2, listen)
    assert acted.log[-2:] == [("kill", 0), ("kill", 1)]


def test_places_share_the_cores_and_take_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    assert places(1, "cpu") == [Place("cpu", cores)]
    assert places(100, "cpu") == [Place("cpu", 1)] * 100
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [place.device for place in places(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [place.device for place in places(2, "cuda:1")] == ["cuda:1", "cuda:1"]
    assert [place.device for place in places(2, "cpu")] == ["cpu", "cpu"]


# --- the command line ---


@pytest.mark.parametrize("word", ["0", "x", "-1", "1.5", "2,3"])
def test_jobs_that_are_no_number_above_zero(tiny: list[str], word: str, capsys: pytest.CaptureFixture) -> None:
    assert run.main([*tiny, f"jobs={word}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"jobs={word}: say how many runs at once, such as jobs=2")
    assert error.count("\n") == 1
    assert not place_of(tiny).exists()


def test_jobs_under_torchrun(tiny: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run.main([*tiny, "jobs=2"]) == 2
    assert "torchrun" in capsys.readouterr().err


def test_a_folder_of_runs_that_cannot_be_made(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert run.main(changed(tiny, f"runs={tmp_path / 'file' / 'runs'}", "seed=0,1", "jobs=2")) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert str(tmp_path / "file") in error


def test_a_plan_is_for_children_only(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"hello\n")))
    assert run.main(["train", "plan=-"]) == 2
    assert "say method=NAME" in capsys.readouterr().err


def test_dry_lists_and_counts(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    plans = plans_of(tiny, 4)
    made_done(plans[1])
    made_done(plans[2], "stopped")
    made_done(plans[3], "trained")
    assert run.main([*tiny, "seed=0,1,2,3", "jobs=2", "dry=true"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["to do", "done", "stopped", "trained"]
    assert last == "4 runs: 1 done, 3 to do"
    assert run.main([*tiny, "seed=0,1,2,3", "test=false", "dry=true"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 runs: 2 done, 2 to do"


# --- the overview ---


OVERVIEW = {
    "event": "jobs",
    "running": {"synthetic-differ-00000000-s12": Progress(3, 10, 75.0, 200.0, Place("cuda:1", 4))},
    "done": 2,
    "failed": 1,
    "elsewhere": 1,
    "total": 8,
    "eta": 400.0,
    "stopping": None,
}


@pytest.mark.parametrize("width", [40, 60, 120])
def test_the_live_overview_fits_and_keeps_the_end_of_a_name(width: int) -> None:
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(overview_table(OVERVIEW, width))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "-s12" in text
    assert "epoch 3/10" in text
    head = " ".join(text.split())
    assert "3/8 · 2 done, 1 failed, 1 running, 3 waiting, 1 run by another command" in head
    assert "about 6 min 40 s left" in head
    assert ("cuda:1" in text) == ("3 min 20 s left" in text) == (width == 120)


def test_in_a_pipe_one_line_for_each_start_and_end_and_quiet_tells_only_failures(capsys: pytest.CaptureFixture) -> None:
    events = [
        OVERVIEW,
        {"event": "job-start", "run": "a-s1", "place": Place("cpu", 2)},
        OVERVIEW,
        {"event": "job-end", "outcome": Outcome("a-s1", "done", 90.0, 0), "done": 1, "total": 2},
        {"event": "job-end", "outcome": Outcome("a-s2", "failed", 2.0, 3, "[red] is no colour"), "done": 2, "total": 2},
    ]
    for quiet in (False, True):
        with Overview(quiet=quiet) as overview:
            for event in events:
                overview(event)
    lines = capsys.readouterr().out.splitlines()
    failure = "[2/2] a-s2: failed after 2 s: [red] is no colour"
    assert lines == [
        "8 runs: 2 done, 1 failed, 1 running, 3 waiting, 1 run by another command",
        "a-s1: started on cpu, threads: 2",
        "[1/2] a-s1: done after 1 min 30 s",
        failure,
        failure,
    ]


# --- real children ---


def test_a_child_keeps_what_it_printed_and_its_scores_are_those_of_the_bare_command(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*tiny, "jobs=1"]) == 0
    printed = capsys.readouterr().out
    (folder,) = RunStore(place_of(tiny))
    assert f"{folder.run_id}: started on cpu" in printed
    assert f"[1/1] {folder.run_id}: done after" in printed
    console = folder.console.read_text()
    assert "epoch   2" in console
    assert console.splitlines()[-1] == str(folder.path)
    other = changed(tiny, f"runs={tmp_path / 'other'}")
    assert run.main(other) == 0
    (bare,) = RunStore(place_of(other))
    assert_equal_runs(bare, folder)
    before = folder.events()
    assert run.main([*tiny, "jobs=1"]) == 0
    assert "1 run: 1 done" in capsys.readouterr().out
    assert folder.events() == before
    assert folder.console.read_text() == console


@pytest.fixture
def failing(tiny: list[str], tmp_path: Path) -> list[str]:
    """Words of a baseline that fails as method.how says."""
    (tmp_path / "failing.py").write_text(FAILING)
    own = ("method.", "captions.")
    return [
        f"plugin={tmp_path / 'failing.py'}",
        *(word for word in changed(tiny, "method=failing") if not word.startswith(own)),
        *("method.backbone=resnet10t", "method.last_stride=2", "method.pretrained=false", "quiet=true"),
    ]


@pytest.mark.slow
def test_each_failure_is_recorded_and_told_while_the_others_finish(failing: list[str]) -> None:
    """A plugin that raises, a process killed as the OOM killer does, a full disk, a loss that diverges."""
    words = changed(failing, "method.how=raise,SIGKILL,full,diverge,not", "jobs=2")
    place = place_of(words)
    ids = [line.split("  ")[0] for line in started([*words, "dry=true"]).communicate()[0].splitlines()[:-1]]
    process = started(words)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 2, "a plugin's mistake is the first failure"
    assert "Traceback" not in error
    found = [RunFolder(place / run_id).status() for run_id in ids]
    assert [one["state"] for one in found] == ["failed", "failed", "failed", "failed", "done"]
    assert found[0]["reason"].startswith("RuntimeError: planted")
    assert found[1]["reason"] == "killed by SIGKILL: was memory used up?"
    assert "No space left on device" in found[2]["reason"]
    assert "diverged" in found[3]["reason"]
    *told, last = error.strip().splitlines()
    assert [line.partition(" ")[0] for line in told] == ids[:4], "told again at the end, in the order of the list"
    assert "failing.py, line" in told[0]
    assert "planted" in told[0]
    assert "killed by SIGKILL" in told[1]
    assert "No space left on device; name another place" in told[2]
    assert last == "4 of 5 runs failed; the same command tries them again."
    assert "cloth-changing" in out, "the table of those that finished"
    assert ids[4] not in out, "quiet tells failures only"


@pytest.mark.slow
def test_a_damaged_dataset_fails_its_runs_and_no_others(tiny: list[str], tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("dataset=")]
    (tmp_path / "data" / "LTCC_ReID").mkdir(parents=True)
    own = [word for word in words if word.startswith("dataset.")]
    words = [word for word in words if word not in own]
    process = started([*words, "dataset=ltcc,prcc", f"data={tmp_path / 'data'}", "jobs=2"])
    out, error = process.communicate(timeout=600)
    assert process.returncode == 3, error
    assert "2 of 2 runs failed" in error
    assert error.count("\n") == 3, error
    assert "Traceback" not in out


LONG = ("train.epochs=60", "select.holdout=0.45", "seed=0,1,2", "jobs=2")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of LONG, never broken off."""
    from tests.conftest import tiny_words

    folder = tmp_path_factory.mktemp("unbroken")
    process = started(changed(tiny_words(folder), *LONG))
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return folder / "runs"


def assert_as_unbroken(place: Path, unbroken: Path) -> None:
    folders, others = list(RunStore(place)), list(RunStore(unbroken))
    assert [one.run_id for one in folders] == [one.run_id for one in others]
    for one, other in zip(folders, others, strict=True):
        assert_equal_runs(other, one)
        assert [event["epoch"] for event in one.events("epoch")] == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_checkpoints_and_the_same_command_ends_with_the_same_bits(
    tiny: list[str], unbroken: Path, number: signal.Signals
) -> None:
    words = changed(tiny, *LONG)
    process, place = started(words), place_of(words)
    wait_for(lambda: len(list(place.glob("*/checkpoints/last.pt"))) == 2)
    process.send_signal(number)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 75, error
    assert error.startswith(f"Stopped by {number.name}: the same command goes on")
    assert "failed" not in out
    assert states(words) == {"s0": "stopped", "s1": "stopped"}, out
    assert all(not folder.is_locked() for folder in RunStore(place))
    again = started(words)
    assert again.communicate(timeout=600)[1] == ""
    assert again.returncode == 0
    assert_as_unbroken(place, unbroken)


@pytest.mark.slow
def test_a_signal_before_the_children_listen_to_signals(tiny: list[str]) -> None:
    words = changed(tiny, *LONG)
    process, place = started(words), place_of(words)
    wait_for(lambda: list(place.glob("*/console.log")))
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 75, error
    assert "failed" not in out
    assert set(states(words).values()) <= {"stopped"}


@pytest.mark.slow
def test_children_do_not_outlive_a_parent_that_is_killed(tiny: list[str], unbroken: Path) -> None:
    words = changed(tiny, *LONG)
    process, place = started(words), place_of(words)
    wait_for(lambda: len(list(place.glob("*/checkpoints/last.pt"))) == 2)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(folder.is_locked() for folder in RunStore(place)), 60)
    assert states(words) == {"s0": "stopped", "s1": "stopped"}
    again = started(words)
    assert again.communicate(timeout=600)[1] == ""
    assert_as_unbroken(place, unbroken)


@pytest.mark.slow
def test_two_commands_at_once_share_the_runs(tiny: list[str], unbroken: Path) -> None:
    words = changed(tiny, *LONG)
    both = [started(words), started(words)]
    for process in both:
        out, error = process.communicate(timeout=400)
        assert process.returncode == 0, error
        assert error == ""
        assert "failed" not in out
        assert "cloth-changing" in out
    assert_as_unbroken(place_of(words), unbroken)
    for folder in RunStore(place_of(words)):
        assert len(folder.starts()) == 1, "each run was trained once"


@pytest.mark.slow
def test_mirrors_are_passed_on_to_children(tiny: list[str]) -> None:
    words = changed(tiny, "wandb=offline", "jobs=1")
    process = started(words)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    (folder,) = RunStore(place_of(words))
    assert folder.starts()[0]["session"]["wandb"] == "offline"
    assert (folder.path / "wandb.json").exists()
