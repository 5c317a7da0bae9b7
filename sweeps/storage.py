"""Where a study lives: a journal beside the runs, or PostgreSQL (postgresql.py). Both say which trials are stale.

A trial that is running and whose worker is dead is lost. In the journal a worker holds a lock as long as it lives; in
PostgreSQL it leaves heartbeats (Optuna's). What decides how many trials there are happens one process at a time
(`exclusive`), so that no trial is begun twice or beyond the budget.
"""

import contextlib
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.records import is_held
from benchmarks.studies import StudyFolder
from datasets.errors import UsageError

from .journal import Journal, held

T = TypeVar("T")
STORAGE_VARIABLE = "CCREID_STORAGE"
"""Names the database where no word does."""
WORKER = "worker"
"""Attribute of a trial: who runs it."""


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


def open_storage(
    folder: StudyFolder, url: str | None, grace: int, warn: Callable[[str], None] = lambda message: None
) -> Storage:
    """`url`: None for the journal. `grace`: seconds without a heartbeat after which a worker counts as dead. `warn`
    hears of a database that is away for a while.

    Raises UsageError for a URL of another kind, DataError where the storage cannot be reached or written.
    """
    if url is None:
        return JournalFile(folder)
    if not re.match(r"postgres(ql)?(\+psycopg)?://", url):
        raise UsageError(
            f"storage={without_password(url)}: write postgresql://USER@HOST/DATABASE, or leave it out for a journal in "
            f"{folder.path} (SQLite is not made for several processes)."
        )
    from .postgresql import PostgreSQL

    return PostgreSQL(url, folder.name, grace, warn)


def without_password(url: str) -> str:
    """To be shown: neither user:PASSWORD@ nor ?password=PASSWORD, also where it holds an @ itself."""
    return re.sub(r"((?:^|[?&])(?:ssl)?password=)[^&]*", r"\1…", re.sub(r"(://[^:/@]*):.*@", r"\1:…@", url))


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
        for trial in running(study):
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


def running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
