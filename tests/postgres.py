"""A real PostgreSQL on loopback for tests: its own data folder, its own port, gone afterwards whatever happens.

PostgreSQL refuses to run as root, so that root starts it as another user, in a folder that this user owns.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "p@ss:word/1"  # with everything that an address must quote
QUOTED = "p%40ss%3Aword%2F1"
INSTEAD_OF_ROOT = ("postgres", "nobody")


class Server:
    """Stopped or running; `url` stays the same."""

    def __init__(self, programs: Path, folder: Path, user: str | None):
        self._programs, self._folder, self._user = programs, folder, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen | None = None
        self._initialise()

    @property
    def url(self) -> str:
        return f"postgresql://bench:{QUOTED}@127.0.0.1:{self.port}/postgres"

    def url_of(self, database: str) -> str:
        """A new, empty database."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.url.removesuffix("postgres") + database

    def execute(self, statement: str) -> list[tuple]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user is not None:
            shutil.chown(secret, self._user)
        options = ["--username=bench", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-locale", "--encoding=UTF8"]
        subprocess.run(
            [*self._as_user(), str(self._programs / "initdb"), "--no-sync", "-D", str(self._data), *options],
            check=True,
            capture_output=True,
            cwd=self._folder,
        )

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _as_user(self) -> list[str]:
        """The server also ends when the test's process is killed."""
        words = ["setpriv", "--pdeathsig", "INT"]
        if self._user is not None:
            group = str(pwd.getpwnam(self._user).pw_gid)
            words += [f"--reuid={self._user}", f"--regid={group}", "--clear-groups"]
        return words

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}", "fsync=off"]
        options = ["-D", str(self._data), "-p", str(self.port)]
        options += [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), str(self._programs / "postgres"), *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        import psycopg

        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                    raise
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections are cut; SIGQUIT: as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def restart(self, pause: float = 0.0, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        time.sleep(pause)
        self.start()


def programs() -> Path | None:
    """Where initdb and postgres are: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """Skips the test where there is no PostgreSQL, and fails it in CI, which installs one."""
    found = programs()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        found = None
    if found is None:
        missing = "needs PostgreSQL and psycopg: apt-get install postgresql, pip install -e '.[postgresql]'"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    user = None
    if os.geteuid() == 0:
        known = {one.pw_name for one in pwd.getpwall()}
        user = next(name for name in INSTEAD_OF_ROOT if name in known)
    folder = Path(tempfile.mkdtemp(prefix="ccreid-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        server = Server(found, folder, user)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
