"""Who else hears a run's events: the terminal first, then mirrors that must never disturb a training.

A mirror reads the run's folder, not the event, so that what it shows after a resume is one coherent run.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.records import RunFolder, RunStore
from datasets.errors import UsageError

from .console import Reporter
from .run_scalars import METRICS, points, score_prefix
from .wandb_mirror import SAID_WHY, WARNING, terms_of

if TYPE_CHECKING:
    from benchmarks.resolve import Resolved
    from benchmarks.spec import Session

SETTLED = frozenset({"epoch-start", "epoch", "validation", "scores", "diverged"})
"""Events after which the folder holds nothing that a resumed run is about to drop."""
CLOSING_SECONDS = 180.0
"""How long the end of a run waits for its mirror, which may be uploading pictures."""
MISSING = "`python run.py wandb` mirrors what is missing"
PROGRAM = Path(__file__).parent.parent / "run.py"


class Mirror(Protocol):
    """Follows one run. An exception ends it and becomes a warning."""

    name: str

    def catch_up(self) -> None:
        """Show what the folder says by now."""
        ...

    def close(self) -> None:
        """The run has ended, well or badly, and its status says how."""
        ...


class Listeners:
    """Hands each event to the terminal and lets the mirrors catch up; one that fails is warned of once and dropped."""

    def __init__(self, reporter: Reporter, mirrors: list[Mirror]):
        self.reporter, self.mirrors = reporter, mirrors

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.reporter(event)
        if event["event"] in SETTLED:
            self._each("catch_up")

    def close(self) -> None:
        self._each("close")

    def _each(self, action: str) -> None:
        for mirror in list(self.mirrors):
            try:
                getattr(mirror, action)()
            except Exception as error:  # a mirror's failure, of whatever kind, must not end a training
                self.mirrors.remove(mirror)
                message = f"{mirror.name} failed and is left alone from here on: {type(error).__name__}: {error}"
                self.reporter.on_warning({"message": message})


@contextlib.contextmanager
def listening(plan: "Resolved", reporter: Reporter) -> Iterator[Listeners]:
    """The terminal and the mirrors that `plan` asks for, closed when the run has ended.

    Raises UsageError where wandb=online was not typed: nothing is uploaded because of a file or a variable.
    """
    session = plan.session
    if session.wandb == "online" and plan.origins.get("wandb") != "command line":
        raise UsageError(f"wandb=online ({plan.origins.get('wandb')}) uploads pictures: type it on the command line.")
    listeners = Listeners(reporter, [])
    run = RunStore(session.runs).open(plan.run_id)
    if reporter.leads and session.tensorboard:
        try:
            listeners.mirrors.append(TensorBoard(run))
        except ImportError:
            reporter.on_warning({"message": "tensorboard=true needs a package: pip install tensorboard."})
    if reporter.leads and session.wandb != "off":
        if session.wandb == "online":
            reporter.say("wandb=online uploads the run as it goes, and pictures at its end.")
            reporter.say(terms_of(plan.spec.dataset.name))
        listeners.mirrors.append(LiveMirror(run, session, reporter))
    try:
        yield listeners
    finally:
        listeners.close()


class LiveMirror:
    """W&B, in a process of its own that a line on its standard input wakes: it can hang or die without being missed.

    What it prints is passed on to the terminal. `run.py wandb follow=FOLDER` is the other end.
    """

    name = "W&B"

    def __init__(self, run: RunFolder, session: "Session", reporter: Reporter):
        self.reporter, entity = reporter, session.wandb_entity
        words = [f"follow={run.path.resolve()}", f"runs={run.path.parent.resolve()}", f"wandb={session.wandb}"]
        words += [f"project={session.wandb_project}", *[f"entity={entity}"] * (entity is not None)]
        words.append(f"faces={session.wandb_faces}")
        words += [word for word in sys.argv[1:] if word.startswith("plugin=")]
        folder = run.path.parent / ".wandb" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.said, self.errors = (folder / f"{run.run_id[:200]}.{kind}" for kind in ("out", "err"))
        self._heard = 0
        with self.said.open("wb") as said, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603 (this program)
                [sys.executable, str(PROGRAM), "wandb", *words],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the training; the mirror ends after it
            )
        if self.process.stdin is not None:
            os.set_blocking(self.process.stdin.fileno(), False)

    def catch_up(self) -> None:
        """Raises RuntimeError where the other end has died."""
        self._wake()
        self._pass_on()
        self._require_alive()

    def _wake(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):  # it has ended, or sleeps and has enough lines
                os.write(self.process.stdin.fileno(), b"\n")

    def close(self) -> None:
        """Let it mirror the rest. Raises TimeoutError where it does not end, and kills it."""
        try:
            self.process.communicate(timeout=CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self._pass_on()
            raise TimeoutError(f"not done {CLOSING_SECONDS:.0f} s after the run; {MISSING}") from None
        self._pass_on()
        self._require_alive()

    def _pass_on(self) -> None:
        """Print what it said since the last time."""
        with self.said.open("rb") as file:
            file.seek(self._heard)
            lines, _, _ = file.read().rpartition(b"\n")
        self._heard += len(lines) + bool(lines)
        for line in lines.decode(errors="replace").splitlines():
            warning, message = line.startswith(WARNING), line.removeprefix(WARNING)
            self.reporter.on_warning({"message": message}) if warning else self.reporter.say(message)

    def _require_alive(self) -> None:
        if self.process.poll() not in (None, 0, SAID_WHY):
            raise RuntimeError(f"its process ended with {self.process.returncode}, see {self.errors}; {MISSING}")


class TensorBoard:
    """Event files in runs/<id>/tensorboard, for `tensorboard --logdir runs`; written anew by each start of a run."""

    name = "TensorBoard"

    def __init__(self, run: RunFolder):
        """Raises ImportError where the package is missing."""
        from torch.utils.tensorboard import SummaryWriter

        self.run, self._make = run, SummaryWriter
        self._writer: Any = None
        self._done = 0
        """Events of the folder that are written."""

    def catch_up(self) -> None:
        if self._writer is None:
            folder = self.run.path / "tensorboard"
            for old in folder.glob("events.out.tfevents.*"):  # of a start that was broken off: events may be repeated
                old.unlink()
            self._writer = self._make(log_dir=str(folder))
        events = self.run.events()
        for event in events[self._done :]:
            for point in points([event]):
                for name, value in point.values.items():
                    self._writer.add_scalar(name, value, point.epoch, walltime=point.time)
            if event["event"] == "scores":
                prefix = score_prefix(event["selection"], self.run.headline)
                for name in METRICS:
                    self._writer.add_scalar(f"{prefix}{event['protocol']}/{name}", event[name], event["epoch"])
        self._done = len(events)
        self._writer.flush()

    def close(self) -> None:
        if (self.run.path / "spec.yaml").exists():
            self.catch_up()
            self._writer.close()
