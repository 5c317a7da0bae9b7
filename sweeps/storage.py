"""Where a study lives: a journal beside the runs, or PostgreSQL for several machines. Both say which trials are stale.

A trial that is running and whose worker is dead is lost. In the journal a worker holds a lock as long as it lives; in
PostgreSQL it leaves heartbeats (Optuna's). What decides how many trials there are happens one process at a time
(`exclusive`), so that no trial is begun twice or beyond the budget.
"""

import contextlib
import fcntl
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.studies import StudyFolder
from datasets.errors import DataError, UsageError

from .journal import Journal, held

T = TypeVar("T")
WORKER = "worker"
"""Attribute of a trial: who runs it."""
PATIENCE_SECONDS = 300.0
"""How long a database may be away before a worker gives up."""


class Storage(Protocol):
    @property
    def backend(self) -> BaseStorage: ...

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time, over all machines."""
        ...

    def join(self) -> None:
        """Begin to live as a worker."""
        ...

    def claim(self, trial: optuna.Trial) -> None:
        """Say that this worker runs the trial; within `exclusive`."""
        ...

    def beat(self, trial: optuna.Trial) -> None:
        """Say that it still does; cheap to call often."""
        ...

    def fail_stale(self, study: optuna.Study) -> None:
        """End running trials whose worker is dead, without a reason; within `exclusive`."""
        ...

    def patiently(self, action: Callable[[], T]) -> T:
        """`action`, again while the storage is away for a time; it must not matter whether it is done twice."""
        ...


def open_storage(folder: StudyFolder, url: str | None, grace: int) -> Storage:
    """`url`: None for the journal. `grace`: seconds without a heartbeat after which a worker counts as dead.

    Raises UsageError for a URL of another kind, DataError where the storage cannot be reached or written.
    """
    if url is None:
        return JournalFile(folder)
    if not re.match(r"postgres(ql)?(\+psycopg)?://", url):
        raise UsageError(
            f"storage={without_password(url)}: write postgresql://USER@HOST/DATABASE, or leave it out for a journal in "
            f"{folder.path} (SQLite is not made for several processes)."
        )
    return PostgreSQL(url, folder.name, grace)


def without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", url)


class JournalFile:
    """A file, for the processes of one machine, or of several that share a file system with working locks."""

    def __init__(self, folder: StudyFolder):
        self.workers = folder.path / "workers"
        self._exclusive = folder.path / "exclusive.lock"
        self.backend: BaseStorage = JournalStorage(Journal(folder.journal))
        self.name = ""
        self._life = contextlib.ExitStack()

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        return held(self._exclusive)

    def join(self) -> None:
        self.workers.mkdir(exist_ok=True)
        self.name = uuid.uuid4().hex[:12]
        self._life.enter_context(held(self._lock_of(self.name)))

    def claim(self, trial: optuna.Trial) -> None:
        trial.set_user_attr(WORKER, self.name)

    def beat(self, trial: optuna.Trial) -> None:
        """The lock says it."""

    def fail_stale(self, study: optuna.Study) -> None:
        for trial in _running(study):
            if not self._lives(trial.user_attrs.get(WORKER)):
                study.tell(trial.number, state=TrialState.FAIL)

    def _lives(self, worker: str | None) -> bool:
        """A trial without a worker was begun by one that died before it could claim it."""
        if worker is None:
            return False
        return worker == self.name or is_held(self._lock_of(worker))

    def _lock_of(self, worker: str) -> Path:
        return self.workers / f"{worker}.lock"

    def patiently(self, action: Callable[[], T]) -> T:
        return action()


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


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


class PostgreSQL:
    """A database that workers of several machines reach. It may be restarted while they work."""

    def __init__(self, url: str, study: str, grace: int):
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        self.shown = without_password(url)
        interval = max(1, grace // 4)
        self._interval, self._last_beat = interval, 0.0
        self._key = int.from_bytes(study.encode()[-7:], "big")  # of the advisory lock; a collision only makes wait
        engine = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self.backend: RDBStorage = RDBStorage(
                    re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url),
                    engine_kwargs=engine,
                    heartbeat_interval=interval,
                    grace_period=grace,
                )
        except ImportError:
            raise UsageError("storage=postgresql://… needs a package: pip install 'psycopg[binary]'.") from None
        except (SQLAlchemyError, ArgumentError, optuna.exceptions.OptunaError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> DataError:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()
        return DataError(f"storage={self.shown} cannot be used ({reason[0] if reason else type(error).__name__}).")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """A lock of the database, which goes when the connection does."""
        from sqlalchemy import text

        with self.backend.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": self._key})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})

    def join(self) -> None:
        """Nothing to do: heartbeats begin with the first trial."""

    def claim(self, trial: optuna.Trial) -> None:
        self.backend.record_heartbeat(trial._trial_id)
        self._last_beat = time.monotonic()
        trial.set_user_attr(WORKER, uuid.uuid4().hex[:12])

    def beat(self, trial: optuna.Trial) -> None:
        if time.monotonic() - self._last_beat > self._interval:
            self._last_beat = time.monotonic()
            self.backend.record_heartbeat(trial._trial_id)

    def fail_stale(self, study: optuna.Study) -> None:
        """Those without a heartbeat for the grace period, or without a worker: begun, but never claimed."""
        optuna.storages.fail_stale_trials(study)
        for trial in _running(study):
            if WORKER not in trial.user_attrs:
                study.tell(trial.number, state=TrialState.FAIL)

    def patiently(self, action: Callable[[], T]) -> T:
        """Raises DataError where the database stays away."""
        from sqlalchemy.exc import DBAPIError

        until, pause = time.monotonic() + PATIENCE_SECONDS, 0.2
        while True:
            try:
                return action()
            except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
                if time.monotonic() > until:
                    raise self._unreachable(error) from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


def known_to(storage: Storage, name: str) -> Any:
    """The study of this name, or None."""
    names = storage.patiently(lambda: optuna.get_all_study_names(storage.backend))
    return optuna.load_study(study_name=name, storage=storage.backend) if name in names else None
