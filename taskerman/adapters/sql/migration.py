"""Bringing the schema of the history up to what this build needs. One at a time, whoever starts it.

The lock is the database's own and ends with the transaction that migrates, so that a process that dies in the middle
leaves neither a lock nor half a schema behind.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from taskerman.adapters.sql.tables import VERSION_TABLE

__all__ = ["Standing", "migrate", "standing"]

_LOCK_KEY = int.from_bytes(b"taskermn")
"""Of PostgreSQL's advisory lock: a number that nobody else is likely to choose."""

_alembic = threading.Lock()
"""Alembic keeps what it works on in module globals: two threads of one process would mix theirs up."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The schema that a database has, and the one that this build needs. `there` None: no table yet."""

    there: str | None
    needed: str
    known: bool

    @property
    def fits(self) -> bool:
        """Whether this build may read and write."""
        return self.there == self.needed

    @property
    def behind(self) -> bool:
        """Whether `migrate` would help; otherwise it was made by a newer build."""
        return not self.fits and self.known


def standing(connection: Connection) -> Standing:
    """How the schema stands. Reads only."""
    there = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    steps = _steps()
    return Standing(there=there, needed=steps[0], known=there is None or there in steps)


def migrate(connection: Connection) -> Standing:
    """Make the tables, or bring them up to date, in the caller's transaction. Idempotent. Returns how it stands then.

    Whoever comes second waits for the first, and finds nothing to do. A schema of a newer build is left alone.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers begin with the lock
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # a step may take as long as its table is large
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    found = standing(connection)
    if found.behind:
        config = _config()
        config.attributes["connection"] = connection
        with _alembic:
            command.upgrade(config, "head")
        found = standing(connection)
    return found


@cache
def _steps() -> tuple[str, ...]:
    """Every step that this build knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
