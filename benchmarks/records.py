"""The run folder: the only truth about a run. Everything printed, plotted or mirrored is made from it.

    runs/<dataset>-<method>-<spec hash>-s<seed>/
        spec.yaml           the resolved configuration
        environment.json    versions, commit, device, command of each start
        data.json           counts and fingerprint of the dataset's files, held-out identities
        metrics.jsonl       one event a line: epoch, validation, scores, …
        rankings/<protocol>@<selection>.npz      the evidence behind each score, per query
        features/<split>@<selection>.npz         features of the headline's test images, half precision
        bias.json heat_maps.npz                  what `report` measured with the model (clothing_bias.py, heat_maps.py)
        wandb.json tensorboard/                  what was mirrored, and event files
        splits/<split>.npz                       paths and labels of the images that rankings speak of
        checkpoints/last.pt                      resumable: tensors and plain values only
        checkpoints/<selection>.safetensors      weights only
        status.json         running | done | failed | stopped, with a heartbeat; with "test": false for a run
                            whose test split stays closed: it ends trained, or pruned by a sweep, instead of done
        console.log         what a run in a process of its own printed

A run that is being written holds a lock, so that the same command started twice does not write one folder twice.
"""

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml

from datasets.errors import CCReIDError, DataError, UsageError
from datasets.files import write_json, write_text

HEARTBEAT_SECONDS = 30.0
MARKS = ("spec.yaml", "status.json", "metrics.jsonl", "data.json", "environment.json", "checkpoints/last.pt")
"""Any of them tells a run's folder from others below `runs`, such as those that `evaluate features=FILE` writes."""

T = TypeVar("T")


class BusyError(UsageError):
    """Another process writes the run's folder."""


@dataclass
class RunFolder:
    """One run's folder."""

    path: Path
    test: bool = True
    """False while a process writes it that leaves the test split closed."""
    _last_heartbeat: float = 0.0

    @property
    def run_id(self) -> str:
        return self.path.name

    def exists(self) -> bool:
        """Whether a run has written anything here; what it left may be damaged."""
        return not self.run_id.startswith(".") and any((self.path / mark).is_file() for mark in MARKS)

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    def weights(self, selection: str) -> Path:
        return self.path / "checkpoints" / f"{selection}.safetensors"

    def ranking(self, protocol: str, selection: str) -> Path:
        return self.path / "rankings" / f"{protocol}@{selection}.npz"

    def features(self, split: str, selection: str) -> Path:
        return self.path / "features" / f"{split}@{selection}.npz"

    def split(self, name: str) -> Path:
        return self.path / "splits" / f"{name}.npz"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing. Raises BusyError when another process does; the lock dies with its process."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            if not _acquired(lock):
                raise BusyError(f"{self.path} is being written by another process: wait for it or stop it.") from None
            for left_over in self.path.rglob(".*.tmp"):  # of a process that was killed while it wrote
                left_over.unlink()
            yield

    def is_locked(self) -> bool:
        """Whether some process writes the folder just now."""
        return is_held(self.path / ".lock")

    # --- what a run says about itself ---

    def describe(self, spec: Mapping[str, Any], data: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write what the run is made of. Raises DataError where the data changed since its last checkpoint."""
        spec_text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True)
        if not (self.path / "spec.yaml").exists():
            write_text(self.path / "spec.yaml", spec_text)
        data_file = self.path / "data.json"
        if self.checkpoint.exists():
            joined = _together(self.data(), json.loads(json.dumps(data)))
            if joined is None:
                raise DataError(
                    f"The dataset's files changed while {self.run_id} was being trained (see {data_file}): "
                    f"restore them, or delete the run's folder to start again."
                )
            data = joined
        write_json(data_file, data)
        write_json(self.path / "environment.json", [*self.starts(), environment])

    def starts(self) -> list[dict[str, Any]]:
        """One entry for each time the run was started or resumed."""
        file = self.path / "environment.json"
        starts = _read(file, json.loads, list) if file.exists() else []
        if not all(isinstance(start, dict) for start in starts):
            raise DataError(f"{file} is damaged: restore it, or delete the run's folder to start again.")
        return starts

    def data(self) -> dict[str, Any]:
        """What data.json says."""
        return _read(self.path / "data.json", json.loads, dict)

    @property
    def headline(self) -> str:
        """The selection whose scores are the run's result."""
        return self.data()["selection"]

    def spec(self) -> dict[str, Any]:
        return _read(self.path / "spec.yaml", yaml.safe_load, dict)

    # --- status ---

    def status(self) -> dict[str, Any]:
        file = self.path / "status.json"
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"state": "new"}
        status = _parsed(file, text, json.loads, dict)
        if "state" not in status:
            raise DataError(f"{file} is damaged: restore it, or delete the run's folder to start again.")
        return status

    def set_status(self, state: str, **more: Any) -> None:
        self._last_heartbeat = time.time()
        status = {
            "state": state,
            "heartbeat": self._last_heartbeat,
            "pid": os.getpid(),
            "host": platform.node(),
            **({} if self.test else {"test": False}),
            **more,
        }
        write_json(self.path / "status.json", status)

    def beat(self, **more: Any) -> None:
        """Say «still running» from time to time; cheap to call at every step."""
        if time.time() - self._last_heartbeat > HEARTBEAT_SECONDS:
            self.set_status("running", **more)

    # --- events ---

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event to metrics.jsonl and flush it, so that a crash loses at most a half-written line."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        file = self.path / "metrics.jsonl"
        found = list(_complete_lines(file)) if file.exists() else []
        return [event for event in found if kind in (None, event["event"])]

    def rewind(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the events that the run is about to repeat."""
        kept = [event for event in self.events() if keep(event)]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(event) + "\n" for event in kept))

    def scores(self) -> list[dict[str, Any]]:
        """The final table: one row per selection and protocol. Raises DataError where a finished run has none."""
        rows = self.events("scores")
        if not rows and self.status()["state"] == "done":
            raise DataError(
                f"{self.path / 'metrics.jsonl'} has lost its scores: restore it, or delete the run's folder."
            )
        return rows


def is_held(path: Path) -> bool:
    """Whether a living process holds this lock."""
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _acquired(lock: IO[str]) -> bool:
    """Whether the lock could be had; whoever only asks for it (`is_locked`) holds it for a moment."""
    for _ in range(5):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


OF_THE_TEST = ("splits", "masks", "protocols", "differences")
"""Keys of data.json under which less stands while the test split is closed."""


def _together(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
    """What two starts of one run say of its data, the test split closed in either; None where they contradict."""
    joined = dict(now)
    for key in {*before, *now}:
        one, other = before.get(key), now.get(key)
        if one == other:
            continue
        if key not in OF_THE_TEST:
            return None
        if isinstance(one, dict) and isinstance(other, dict):
            if any(one[name] != other[name] for name in one.keys() & other.keys()):
                return None
            joined[key] = {**one, **other}
        elif isinstance(one, list) and isinstance(other, list):
            joined[key] = max(one, other, key=len)
            if not all(entry in joined[key] for entry in (*one, *other)):
                return None
        else:
            return None
    return joined


def _complete_lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):  # the last line of a killed run may be cut off
            event = _parsed(file, line, json.loads, dict)
            if "event" not in event:
                raise DataError(f"{file} is damaged: restore it, or delete the run's folder to start again.")
            yield event


def _read(file: Path, parse: Callable[[str], Any], kind: type[T]) -> T:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{file} is missing: restore it, or delete the run's folder to start again.") from None
    return _parsed(file, text, parse, kind)


def _parsed(file: Path, text: str, parse: Callable[[str], Any], kind: type[T]) -> T:
    try:
        value = parse(text)
    except (ValueError, yaml.YAMLError):
        value = None
    if not isinstance(value, kind):
        raise DataError(f"{file} is damaged: restore it, or delete the run's folder to start again.")
    return value


class RunStore:
    """A folder of run folders is the database."""

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RunStore":
        """Where the command line, else the variable CCREID_RUNS, says; `runs` when neither does."""
        return cls(Path(values.get("runs") or os.environ.get("CCREID_RUNS") or "runs").expanduser())

    @property
    def hint(self) -> str:
        """Where to look, for who asked for a run that is not there."""
        if next(iter(self), None) is None:
            return "it holds no runs; say runs=DIR, or train one: `python run.py method=baseline dataset=synthetic`."
        where = "" if self.root == Path("runs") else f" runs={self.root}"
        return f"`python run.py list runs{where}` shows what is there."

    def open(self, run_id: str) -> RunFolder:
        """The folder of a run that may not exist yet."""
        return RunFolder(self.root / run_id)

    def get(self, run_id: str) -> RunFolder:
        """The folder of a run that exists, by its id, a path to it, or an unambiguous beginning of the id."""
        for exact in (RunFolder(self.root / run_id), RunFolder(Path(run_id))):
            if exact.exists():
                return exact
        matching = [run for run in self if run.run_id.startswith(run_id)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise UsageError(f"run={run_id} means {len(matching)} runs: {', '.join(run.run_id for run in matching)}.")
        raise UsageError(f"No run {run_id} in {self.root}: {self.hint}")

    def __iter__(self) -> Iterator[RunFolder]:
        for path in sorted(self.root.glob("*/")):
            if (run := RunFolder(path)).exists():
                yield run

    def find(self, **query: Any) -> list[RunFolder]:
        """Runs whose spec has all these values; a key is written with «__» for a dot: find(method__name="differ").

        A run whose spec.yaml cannot be read is none of them.
        """
        return [run for run in self if _matches(run, query)]

    def group(self, *by: str) -> dict[tuple[Any, ...], list[RunFolder]]:
        """Runs by the values of these keys; without keys by everything but the seed."""
        groups: dict[tuple[Any, ...], list[RunFolder]] = {}
        for run in self:
            key = tuple(_lookup(run.spec(), name) for name in by) if by else (run.run_id.rpartition("-s")[0],)
            groups.setdefault(key, []).append(run)
        return groups


def _matches(run: RunFolder, query: Mapping[str, Any]) -> bool:
    try:
        spec = run.spec()
    except DataError:
        return False
    return all(_lookup(spec, key) == value for key, value in query.items())


def _lookup(values: Any, key: str) -> Any:
    for name in key.replace("__", ".").split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


@contextmanager
def recorded(folder: RunFolder, *, test: bool = True) -> Iterator[None]:
    """Hold the run's folder and leave a status that says how the body ended. `test`: whether the test split is open."""
    with folder.locked():
        folder.test = test
        folder.set_status("running")
        try:
            yield
        except CCReIDError as error:
            folder.set_status("stopped" if error.exit_code == 75 else "failed", reason=str(error))
            raise
        except BaseException as error:
            folder.set_status("failed", reason=f"{type(error).__name__}: {error}")
            raise
        folder.set_status("done" if test else "trained")
