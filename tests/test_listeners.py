"""Listeners of a run: a mirror that fails, hangs or is missing costs a warning and never the training."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records import RunFolder
from benchmarks.resolve import Resolved, resolve
from benchmarks.spec import Session
from datasets.errors import UsageError
from datasets.files import write_json
from reports import listeners
from reports.console import Reporter
from reports.listeners import Listeners, LiveMirror, TensorBoard, listening

EPOCH = {"loss": 1.0, "lr": 0.1, "terms": {"identity": 1.0}, "gradient_share": {}, "waiting": 0.0, "seconds": 1.0}
SCORES = {"mAP": 0.5, "R1": 0.6, "R5": 0.7, "R10": 0.8, "R20": 0.9, "mINP": 0.2}


class Heard(Reporter):
    """Remembers what it would print."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.events: list[str] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.events.append(event["event"])

    def on_warning(self, event: Mapping[str, Any]) -> None:
        self.warnings.append(event["message"])

    def say(self, text: str) -> None:
        self.notes.append(text)


class Mirror:
    """Counts its calls and raises when told to."""

    name = "a mirror"

    def __init__(self, fails: str = ""):
        self.fails, self.calls = fails, []

    def catch_up(self) -> None:
        self._called("catch_up")

    def close(self) -> None:
        self._called("close")

    def _called(self, action: str) -> None:
        self.calls.append(action)
        if action == self.fails:
            raise ConnectionResetError("Connection lost")


def test_every_event_reaches_the_terminal_and_settled_ones_the_mirrors() -> None:
    """Not «start»: a resumed run is about to drop the events that it repeats."""
    reporter, mirror = Heard(), Mirror()
    hear = Listeners(reporter, [mirror])
    for kind in ("start", "note", "epoch-start", "step", "epoch", "validation", "scores"):
        hear({"event": kind})
    hear.close()
    assert reporter.events == ["start", "note", "epoch-start", "step", "epoch", "validation", "scores"]
    assert mirror.calls == ["catch_up"] * 4 + ["close"]


@pytest.mark.parametrize("fails", ["catch_up", "close"])
def test_a_failing_mirror_is_warned_of_once_and_the_others_go_on(fails: str) -> None:
    reporter, broken, sound = Heard(), Mirror(fails), Mirror()
    hear = Listeners(reporter, [broken, sound])
    for _ in range(3):
        hear({"event": "epoch"})
    hear.close()
    assert sound.calls == ["catch_up"] * 3 + ["close"]
    assert len(reporter.warnings) == 1
    assert "ConnectionResetError: Connection lost" in reporter.warnings[0]
    assert broken.calls.count(fails) == 1


def test_an_error_of_the_terminal_is_not_swallowed() -> None:
    """A closed pipe ends the program, as it did before there were mirrors."""

    class Closed(Heard):
        def __call__(self, event: Mapping[str, Any]) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Listeners(Closed(), [])({"event": "epoch"})


# --- which mirrors ---


def plan(tmp_path: Path, **words: Any) -> Resolved:
    values = {"method.name": "baseline", "dataset.name": "synthetic", "runs": str(tmp_path / "runs")}
    return resolve({**values, **words})


def test_nothing_is_mirrored_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with listening(plan(tmp_path), Heard()) as hear:
        assert hear.mirrors == []
    assert not (tmp_path / "runs").exists()


def test_online_in_a_file_is_refused(tmp_path: Path) -> None:
    """A configuration file is passed on and forgotten; what uploads people's pictures is typed each time."""
    file = tmp_path / "config.yaml"
    file.write_text("wandb: online\n")
    resolved = resolve({"method.name": "baseline", "dataset.name": "synthetic"}, file)
    with pytest.raises(UsageError, match="type it on the command line"), listening(resolved, Heard()):
        pass


def test_the_mirrors_keys_do_not_change_the_runs_id(tmp_path: Path) -> None:
    plain = plan(tmp_path)
    other = plan(tmp_path, wandb="offline", wandb_project="x", wandb_entity="y", tensorboard=True)
    assert plain.spec.run_id == other.spec.run_id


def test_the_terms_are_shown_before_anything_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, mirror = Heard(), Mirror()
    monkeypatch.setattr(listeners, "LiveMirror", lambda *_: mirror)
    with listening(plan(tmp_path, wandb="online"), reporter):
        assert any("Drawn by this program" in note for note in reporter.notes)
        assert mirror.calls == []
    assert mirror.calls == ["close"]


def test_mirrors_are_closed_when_the_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror()
    monkeypatch.setattr(listeners, "LiveMirror", lambda *_: mirror)
    with pytest.raises(ZeroDivisionError), listening(plan(tmp_path, wandb="offline"), Heard()):
        raise ZeroDivisionError
    assert mirror.calls == ["close"]


# --- the process beside the training ---


def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> tuple[LiveMirror, Heard]:
    """A mirror whose other end is `program`."""
    file = tmp_path / "other_end.py"
    file.write_text(program)
    monkeypatch.setattr(listeners, "PROGRAM", file)
    reporter = Heard()
    return LiveMirror(RunFolder(tmp_path / "runs" / "a-s0"), Session(wandb="offline"), reporter), reporter


def test_what_the_other_end_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys\nfor number, _ in enumerate(sys.stdin): print('heard', number)\nprint('warning: oh')"
    mirror, reporter = live(tmp_path, monkeypatch, program)
    mirror.catch_up()
    mirror.catch_up()
    mirror.close()
    assert reporter.notes == ["heard 0", "heard 1"]
    assert reporter.warnings == ["oh"]


def test_another_end_that_hangs_is_killed_in_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "CLOSING_SECONDS", 1.0)
    mirror, _ = live(tmp_path, monkeypatch, "import time\ntime.sleep(600)")
    began = time.time()
    for _ in range(100_000):  # more lines than a pipe holds
        mirror._wake()
    mirror.catch_up()
    assert time.time() - began < 10, "nobody reads, and nobody waits for it"
    with pytest.raises(TimeoutError, match="mirrors what is missing"):
        mirror.close()
    assert time.time() - began < 20
    assert mirror.process.poll() is not None


def test_another_end_that_dies_without_a_word_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, _ = live(tmp_path, monkeypatch, "raise SystemExit(3)")
    mirror.process.wait()
    with pytest.raises(RuntimeError, match="ended with 3, see "):
        mirror.catch_up()


def test_a_run_that_never_began_is_no_error_at_the_other_end(tmp_path: Path) -> None:
    """Data that are missing stop the training before there is a folder to mirror."""
    words = [f"follow={tmp_path / 'runs' / 'a-s0'}", f"runs={tmp_path / 'runs'}", "wandb=offline"]
    program = [sys.executable, str(listeners.PROGRAM), "wandb", *words]
    done = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# --- TensorBoard ---


def finished(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "a-s0")
    write_json(run.path / "spec.yaml", {})
    write_json(run.path / "data.json", {"selection": "oracle"})
    return run


def curves(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    return {name: [(one.step, round(one.value, 5)) for one in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_event_files_hold_the_curves_by_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = finished(tmp_path)
    run.append({"event": "epoch", "epoch": 1, **EPOCH})
    board = TensorBoard(run)
    board.catch_up()
    run.append({"event": "epoch", "epoch": 2, **EPOCH, "loss": 0.5})
    run.append({"event": "scores", "selection": "oracle", "epoch": 2, "protocol": "cloth-changing", **SCORES})
    board.close()
    found = curves(run)
    assert found["loss/total"] == [(1, 1.0), (2, 0.5)]
    assert found["oracle †/cloth-changing/mAP"] == [(2, 0.5)], "never without its dagger"


def test_a_resumed_run_leaves_one_curve(tmp_path: Path) -> None:
    """The epoch that a kill cost is trained again; its first try is not drawn beside it."""
    pytest.importorskip("tensorboard")
    run = finished(tmp_path)
    for number in (1, 2):
        run.append({"event": "epoch", "epoch": number, **EPOCH})
    TensorBoard(run).catch_up()  # killed here
    run.rewind(lambda event: event["epoch"] < 2)
    board = TensorBoard(run)
    board.catch_up()
    run.append({"event": "epoch", "epoch": 2, **EPOCH, "loss": 0.25})
    board.close()
    assert curves(run)["loss/total"] == [(1, 1.0), (2, 0.25)]


def test_without_the_package_the_run_goes_on_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    reporter = Heard()
    with listening(plan(tmp_path, tensorboard=True), reporter) as hear:
        assert hear.mirrors == []
    assert reporter.warnings == ["tensorboard=true needs a package: pip install tensorboard."]
