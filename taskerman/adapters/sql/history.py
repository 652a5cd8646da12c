"""The past in SQL: one door for the janitor, which writes, and one for people, who read.

The schema is looked at when the database is first used, not before: a daemon starts, and does its other work, while
the database is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection

from taskerman.adapters.sql.database import Database
from taskerman.adapters.sql.fitting import Writer, check, upgraded
from taskerman.adapters.sql.reading import read_audit, read_commands, read_refusals, read_tasks
from taskerman.adapters.sql.recording import write_audit, write_commands, write_nothing, write_refusals, write_task
from taskerman.adapters.sql.schema import NOTHING_YET, Standing, standing
from taskerman.errors import HistorySchema, NotFound, TaskermanError
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandRecord
from taskerman.model.history import PastTask, TaskHistory
from taskerman.model.plan import Refusal
from taskerman.ports.history import AuditQuery, CommandQuery, RefusalQuery, TaskQuery

__all__ = ["Looked", "SqlHistory", "SqlHistoryReader", "look", "upgrade"]

T = TypeVar("T")


class SqlHistory:
    """The `History` in a database. Safe for several threads; close it."""

    def __init__(self, url: str, *, upgrades: bool, patience: timedelta = timedelta(seconds=10)) -> None:
        """`upgrades`: whether it makes the tables, and brings them up to date, by itself. Raises `UsageError`."""
        self._writer = Writer(url, upgrades=upgrades, patience=patience)

    def record_task(self, task: TaskHistory) -> None:
        """See `History.record_task`."""
        self._writer.write(f"record task {task.task_id}", lambda connection: write_task(connection, task))

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `History.record_audit`."""
        if entries:
            self._writer.write(
                f"record {len(entries)} audit entries", lambda connection: write_audit(connection, entries)
            )

    def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """See `History.record_refusals`."""
        if refusals:
            self._writer.write(
                f"record {len(refusals)} refused documents", lambda connection: write_refusals(connection, refusals)
            )

    def record_commands(self, commands: Sequence[CommandRecord]) -> None:
        """See `History.record_commands`."""
        if commands:
            self._writer.write(
                f"record {len(commands)} commands", lambda connection: write_commands(connection, commands)
            )

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._writer.close()


class SqlHistoryReader:
    """The `HistoryReader` of a database; it changes nothing there. Safe for several threads; close it."""

    def __init__(self, url: str, *, patience: timedelta = timedelta(seconds=5)) -> None:
        """Raises `UsageError`."""
        self._database = Database(url, writes=False, patience=patience)

    def ended_tasks(self, query: TaskQuery) -> Sequence[PastTask]:
        """See `HistoryReader.ended_tasks`."""
        return self._read(lambda connection: read_tasks(connection, query))

    def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """See `HistoryReader.audit_entries`."""
        return self._read(lambda connection: read_audit(connection, query))

    def refused_documents(self, query: RefusalQuery) -> Sequence[Refusal]:
        """See `HistoryReader.refused_documents`."""
        return self._read(lambda connection: read_refusals(connection, query))

    def ended_commands(self, query: CommandQuery) -> Sequence[CommandRecord]:
        """See `HistoryReader.ended_commands`."""
        return self._read(lambda connection: read_commands(connection, query))

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._database.close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        def looked_at(connection: Connection) -> T:
            check(standing(connection), self._database.shown, empty=NotFound)
            return work(connection)

        return self._database.transact("read the history", looked_at)


def upgrade(url: str, *, patience: timedelta = timedelta(seconds=10)) -> str:
    """Make the tables, or bring them up to date; the schema that they have then. Idempotent; safe beside others.

    Raises `HistorySchema` when a newer build made them, `HistoryUnavailable`, `NotPermitted`, `UsageError`.
    """
    database = Database(url, writes=True, patience=patience)
    try:
        found = upgraded(database)
        check(found, database.shown, empty=HistorySchema)
        return found.needed
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class Looked:
    """A database as `look` found it. `denied`: why it cannot be written; empty: it can."""

    standing: Standing
    denied: str = ""


def look(url: str, *, patience: timedelta = timedelta(seconds=5)) -> Looked:
    """How the schema stands, and whether it may be written. Changes nothing, and makes nothing.

    Raises `HistoryUnavailable`, `NotPermitted`, `UsageError`.
    """
    reader = Database(url, writes=False, patience=patience)
    try:
        found = reader.transact("look at the history", standing)
    except NotFound:
        return Looked(NOTHING_YET)  # of a file, which whoever writes makes
    finally:
        reader.close()
    if not found.fits:
        return Looked(found)
    writer = Database(url, writes=True, patience=patience)
    try:
        writer.transact("write the history", write_nothing)
    except TaskermanError as error:
        return Looked(found, error.what)
    finally:
        writer.close()
    return Looked(found)
