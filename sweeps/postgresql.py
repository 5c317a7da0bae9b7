"""A study in PostgreSQL: for workers on several machines, through restarts of the database.

What decides how many trials there are happens under an advisory lock, which the database frees when its connection
dies. The end of a locked piece asks whether the lock was held all the time; if not, `patiently` repeats the piece, and
the trial that was begun without the lock is given up: a worker that looks for a trial has none.
"""

import contextlib
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from datasets.errors import DataError, UsageError

from .storage import WORKER, running, without_password

T = TypeVar("T")
PATIENCE_SECONDS = 300.0
"""How long a database may be away before a worker gives up."""
TABLES = 0x63637265696400
"""Key of the advisory lock under which the tables are made; those of studies are made of their names."""
_CONNECTION = {
    "connect_timeout": 10,
    "options": "-c timezone=UTC",  # heartbeats are compared between machines, and are kept without a zone
    "keepalives_idle": 30,  # a network that is gone says nothing by itself
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
OPTIONS: dict[str, Any] = {"pool_pre_ping": True, "connect_args": _CONNECTION}
"""Of SQLAlchemy's engine."""


class PostgreSQL:
    """A database that workers of several machines reach. It may be restarted while they work."""

    def __init__(self, url: str, study: str, grace: int, warn: Callable[[str], None]):
        """Makes the tables where there are none. Raises UsageError, DataError."""
        self.shown, self.warn = without_password(url), warn
        self.name = ""
        self.grace = grace
        self._interval, self._last_beat = max(1, grace // 4), 0.0
        self._key = int.from_bytes(study.encode()[-7:], "big")  # equal ends of two names only make them wait
        self._forget: Callable[[], None] = lambda: None
        try:
            self._rdb = self._opened(re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url))
        except ImportError:
            raise UsageError("storage=postgresql://… needs a package: pip install 'psycopg[binary]'.") from None
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise self._unusable(error) from None
        self.backend: BaseStorage = self._rdb
        self._forget = self._rdb.remove_session

    def _opened(self, url: str) -> RDBStorage:
        """At once, where it cannot be reached: patience is for a database that was there."""
        engine = create_engine(url, **OPTIONS)
        try:
            engine.connect().close()
            return self.patiently(lambda: self._with_tables(engine, url))
        finally:
            engine.dispose()

    def _with_tables(self, engine: Engine, url: str) -> RDBStorage:
        with _locked(engine, TABLES), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RDBStorage(url, engine_kwargs=OPTIONS, heartbeat_interval=self._interval, grace_period=self.grace)

    def _unusable(self, error: Exception) -> DataError:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()
        said = (reason[0] if reason else type(error).__name__).rstrip(".")
        return DataError(f"storage={self.shown} cannot be used ({said}): mend that, the same command goes on.")

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """A lock of the database, which goes when the connection does. Raises SQLAlchemy's errors when it went."""
        return _locked(self._rdb.engine, self._key)

    def join(self) -> None:
        self.name = uuid.uuid4().hex[:12]

    def claim(self, trial: optuna.Trial) -> None:
        self._rdb.record_heartbeat(trial._trial_id)
        self._last_beat = time.monotonic()
        trial.set_user_attr(WORKER, self.name)

    def beat(self, trial: optuna.Trial) -> None:
        if time.monotonic() - self._last_beat > self._interval:
            self._rdb.record_heartbeat(trial._trial_id)
            self._last_beat = time.monotonic()

    def fail_stale(self, study: optuna.Study) -> None:
        """Those without a heartbeat for the grace period; and those that nobody claimed, or that this worker began
        but did not hear of: this is called when it runs none."""
        for trial in running(study):
            if trial.user_attrs.get(WORKER) in (None, self.name):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        if self._is_long_up():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(study)

    def _is_long_up(self) -> bool:
        """Whether every worker has had the grace period to come back since the database was started."""
        with self._rdb.engine.connect() as connection:
            since = text("SELECT now() - pg_postmaster_start_time() > make_interval(secs => :grace)")
            return bool(connection.execute(since, {"grace": self.grace}).scalar())

    def patiently(self, action: Callable[[], T]) -> T:
        """Raises DataError where the database stays away, or refuses the question."""
        until, pause = time.monotonic() + PATIENCE_SECONDS, 0.2
        warned = False
        while True:
            try:
                return action()
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                unusable = self._unusable(error)
                if not _is_away(error) or time.monotonic() > until:
                    raise unusable from None
                self._forget()
            if not warned and pause > 1:
                warned = True
                self.warn(f"{unusable} Trying again for {PATIENCE_SECONDS / 60:.0f} minutes.")
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


@contextlib.contextmanager
def _locked(engine: Engine, key: int) -> Iterator[None]:
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        try:
            yield
        finally:
            _require_alive(connection)


def _require_alive(connection: Connection) -> None:
    """Raise where the connection, and with it the lock, was lost meanwhile."""
    connection.execute(text("SELECT 1"))


def _is_away(error: Exception) -> bool:
    """Whether the database could not be asked: not whether it refused."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )
