"""Bringing the schema of the history up to what this build needs. One at a time, whoever starts it.

The lock is the database's own and ends with the transaction that migrates, so that a process that dies in the middle
leaves neither a lock nor half a schema behind.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from taskerman.adapters.sql.schema import Standing, standing

__all__ = ["configuration", "migrate"]

_LOCK_KEY = int.from_bytes(b"taskermn", "big")
"""Of PostgreSQL's advisory lock: a number that nobody else is likely to choose."""

_alembic = threading.Lock()
"""Alembic keeps what it works on in module globals: two threads of one process would mix theirs up."""


def migrate(connection: Connection) -> Standing:
    """Make the tables, or bring them up to date, in the caller's transaction. Idempotent. Returns how it stands then.

    Whoever comes second waits for the first, and finds nothing to do. A schema of a newer build is left alone.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers begin with the lock
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # a step may take as long as its table is large
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    found = standing(connection)
    if not found.behind:
        return found
    config = configuration()
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")
    return standing(connection)


def configuration() -> Config:
    """Where Alembic finds the steps."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
