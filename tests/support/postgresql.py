"""A real PostgreSQL for tests: one server for the whole run, a database of its own for each test that asks.

It listens on a socket in a folder of its own and on no port. Its user needs a password, as in production.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.services import postgresql_program, require

__all__ = ["PASSWORD", "PostgresqlServer", "postgresql", "postgresql_url"]

PASSWORD = "s3cret/of@the:test"  # it has what an address must encode
_ENCODED = "s3cret%2Fof%40the%3Atest"
_DEADLINE_S = 30


class PostgresqlServer:
    """One server in `folder`. It refuses to run as root, so then it runs as Debian's user `postgres`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "postgres" if os.geteuid() == 0 else None

    def start(self) -> None:
        """Make a cluster if there is none, and start it; back when it answers."""
        data = self._folder / "data"
        if not data.exists():
            self._make(data)
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(postgresql_program("postgres"), "-D", data, "-k", self._folder, "-c", "listen_addresses="),
                    *("-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB"),
                ],
                stdout=output,
                stderr=output,
                user=self._user,
                cwd=self._folder,
            )
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            try:
                psycopg.connect(self.dsn("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not come up: {log.read_text()[-2000:]}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a crash would be without the loss; back when it is gone. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(_DEADLINE_S)

    def dsn(self, database: str) -> str:
        """For psycopg."""
        return psycopg.conninfo.make_conninfo(host=str(self._folder), user="ada", password=PASSWORD, dbname=database)

    def url(self, database: str, *, password: str | None = _ENCODED) -> str:
        """For Taskerman."""
        who = "ada" if password is None else f"ada:{password}"
        return f"postgresql://{who}@/{database}?host={self._folder}"

    def make_database(self) -> str:
        """A new, empty database; its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement, as the owner of everything."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute(statement)

    def _make(self, data: Path) -> None:
        secret = self._folder / "secret"
        secret.write_text(PASSWORD)
        if self._user:
            who = pwd.getpwnam(self._user)
            for path in (self._folder, secret):
                os.chown(path, who.pw_uid, who.pw_gid)
        subprocess.run(
            [
                *(postgresql_program("initdb"), "-D", data, "-U", "ada", "--pwfile", secret, "-A", "scram-sha-256"),
                *("-E", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
        )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server of this run. Tests do not stop it."""
    require("postgresql")
    folder = Path(tempfile.mkdtemp(prefix="taskerman-pg-"))  # short: a socket's path has at most 107 characters
    server = PostgresqlServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> str:
    """The address, with its password, of an empty database that is this test's own."""
    return postgresql.url(postgresql.make_database())
