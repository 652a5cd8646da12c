"""One database of the history: its engine, its transactions, trying again for seconds, and what its errors mean.

SQLite is opened so that what was committed survives a power cut (write-ahead log, full synchronisation) and so that a
writer takes the write lock first instead of failing in the middle. PostgreSQL is asked with limits on every wait, set
within each transaction, so that a pooler between us and it cannot leave them to somebody else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from taskerman.adapters.sql import faults
from taskerman.errors import NotFound, NotPermitted, UsageError
from taskerman.masking import masked, scrubbed

__all__ = ["Database"]

T = TypeVar("T")

_STATEMENT = timedelta(seconds=30)
_LOCK = timedelta(seconds=10)

_POSTGRESQL_LIMITS = text(
    "SELECT set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true), "
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
    "ELSE current_setting('synchronous_commit') END, true)"
).bindparams(statement=str(_STATEMENT // timedelta(milliseconds=1)), lock=str(_LOCK // timedelta(milliseconds=1)))

_WIRE = {
    "connect_timeout": "5",
    "application_name": "taskerman",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""What libpq is told unless the URL says otherwise: a peer that is gone is noticed within half a minute."""


class Database:
    """Where the past is kept. Nothing is opened before it is wanted; safe for several threads."""

    def __init__(self, url: str, *, writes: bool, patience: timedelta = timedelta(seconds=10)) -> None:
        """`url`: `sqlite:////absolute/path` or `postgresql://user@host/name`. `writes`: False never changes anything,
        and never makes a file. `patience`: how long an answer is tried for. Raises `UsageError`."""
        self.shown = masked(url)
        self._url = _parsed(url, self.shown)
        self._writes = writes
        self._patience = patience
        self._secrets = (url, str(self._url.password or ""))
        self._engine: Engine | None = None

    @property
    def on_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._url.get_backend_name() == "sqlite"

    def transact(self, doing: str, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction, again and again while the database is busy or away, within the patience.

        `work` must be harmless to repeat: the answer to a commit may be lost. `doing`: "record task t-1". Raises
        `HistoryUnavailable`, `NotPermitted`; `NotFound` when there is nothing to read from.
        """
        if self.on_sqlite and not self._writes and not self._is_there(doing):
            raise NotFound(
                f"There is no history at {self.shown}.",
                next_step="TASKERMAN_HISTORY_URL names where the janitor writes it; it is made when that first does.",
            )
        retrying = Retrying(
            retry=retry_if_exception(faults.passes_by_itself),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            stop=stop_after_delay(self._patience.total_seconds()),
            reraise=True,
        )
        try:
            answer: T = retrying(self._once, work)
            return answer
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise faults.explain(
                error, doing=f"{doing} in {self.shown}", said=scrubbed(faults.said(error), *self._secrets)
            ) from None  # the driver's own text may quote what it was given

    def close(self) -> None:
        """Close every connection. Idempotent; what is wanted later opens anew."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _is_there(self, doing: str) -> bool:
        """Whether there is such a file. Not to be allowed to look is no answer."""
        try:
            return Path(str(self._url.database)).exists()
        except OSError as error:
            raise NotPermitted(
                f"Not permitted to {doing} in {self.shown}: {error.strerror or error}.",
                next_step="The user that runs this must be allowed into its folder.",
            ) from None

    def _once(self, work: Callable[[Connection], T]) -> T:
        if self._engine is None:
            self._engine = self._open()
        with self._engine.begin() as connection:
            if not self.on_sqlite:
                connection.execute(_POSTGRESQL_LIMITS)
            return work(connection)

    def _open(self) -> Engine:
        if self.on_sqlite:
            return self._open_sqlite()
        try:
            return create_engine(
                self._url.set(drivername="postgresql+psycopg"),
                connect_args={k: v for k, v in _WIRE.items() if k not in self._url.query} | {"prepare_threshold": None},
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=2,
                max_overflow=4,
            )
        except ImportError:
            raise UsageError(
                "The history is in PostgreSQL, and its driver is not installed.",
                next_step="Install it: pip install 'taskerman[postgresql]'.",
            ) from None

    def _open_sqlite(self) -> Engine:
        path = Path(str(self._url.database))
        if self._writes:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640))  # what actions print is not for all
        file = f"file:{quote(str(path))}"  # as a URI, the one form in which a reader makes no file
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=file, query={"mode": "rw", "uri": "true"}),
            connect_args={"timeout": min(_LOCK, self._patience).total_seconds()},
            hide_parameters=True,
        )
        begin = "BEGIN IMMEDIATE" if self._writes else "BEGIN"

        @event.listens_for(engine, "connect")
        def _(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # the driver's own BEGIN comes too late, and never before DDL
            connection.execute("PRAGMA journal_mode=WAL" if self._writes else "PRAGMA query_only=ON")
            connection.execute("PRAGMA synchronous=FULL")

        @event.listens_for(engine, "begin")
        def _(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


def _parsed(url: str, shown: str) -> URL:
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(f"{shown} is not an address of a database.", next_step=_FORMS) from None
    if found.drivername in ("sqlite", "sqlite+pysqlite") and (found.database or "").startswith("/"):
        return found
    if found.drivername in ("postgresql", "postgresql+psycopg"):
        return found
    raise UsageError(f"{shown} is not a database that a history can be in.", next_step=_FORMS)


_FORMS = "Write sqlite:////absolute/path or postgresql://user@host/database."
