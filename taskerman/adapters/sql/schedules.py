"""Schedules that people declare, in the database of the history: what each one is now, and who made it so.

A row is never deleted: a removal is a change with a revision of its own, so that looking whether anything changed is
one look at the highest. Writers take turns, by the lock of the table or of the file: of two revisions that were drawn
at once a reader might see the higher first, and never the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Text, cast, func, select, text

from taskerman.adapters.sql.database import Database
from taskerman.adapters.sql.fitting import Writer, check
from taskerman.adapters.sql.recording import write_audit
from taskerman.adapters.sql.schema import SCHEDULES_CAME, standing
from taskerman.adapters.sql.tables import audit
from taskerman.adapters.sql.tables import schedule as table
from taskerman.errors import (
    HistorySchema,
    HistoryUnavailable,
    NotFound,
    RefusedByState,
    ScheduleExists,
    SchedulesInvalid,
    ScheduleUnknown,
)
from taskerman.model.audit import AuditEntry
from taskerman.model.schedule import Schedule, ScheduleName
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy.declaring import definition_of, schedule_of

__all__ = ["SqlScheduleStore"]

T = TypeVar("T")

_Mark = tuple[int, datetime | None]
"""The highest revision, and when it was made: a database that was restored may reach the same number by another way."""
_NOTHING: _Mark = (0, None)

_IN_TURN = text("LOCK TABLE schedule IN SHARE ROW EXCLUSIVE MODE")
"""One writer at a time; who reads does not wait. SQLite's writers begin with the lock of the file."""

_COLUMNS = (
    *(table.c.name, table.c.by, table.c.added_at, table.c.changed_at, table.c.removed_at),
    *(table.c.revision, cast(table.c.definition, Text).label("definition")),
)
"""A row as it is read. The definition as text: one that is no JSON any more is a fault of that schedule alone."""


class SqlScheduleStore:
    """The `ScheduleStore` in a database. `changed` and `read` are of one thread, the others of any; close it."""

    origin = ScheduleOrigin.DATABASE

    def __init__(
        self,
        url: str,
        *,
        upgrades: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience: timedelta = timedelta(seconds=10),
    ) -> None:
        """`upgrades`: whether a change makes the tables, and brings them up to date. Reading makes nothing.

        Raises `UsageError`.
        """
        self._reader = Database(url, writes=False, patience=patience)
        self._writer = Writer(url, upgrades=upgrades, patience=patience)
        self._clock = clock
        self._answered: _Mark | None = None
        """Of what `read` last gave an answer, the faults in it included."""

    @property
    def place(self) -> str:
        """See `ScheduleSource.place`."""
        return self._reader.shown

    def changed(self) -> bool:
        """See `ScheduleSource.changed`."""
        newest = select(table.c.revision, table.c.changed_at).order_by(table.c.revision.desc()).limit(1)
        return self._marked(self._look(lambda connection: connection.execute(newest).all())) != self._answered

    def read(self) -> Sequence[Declaration]:
        """See `ScheduleSource.read`. Where nobody ever made the table nothing is declared."""
        everything = select(*_COLUMNS).order_by(table.c.name)
        rows = self._look(lambda connection: connection.execute(everything).all())
        self._answered = self._marked(rows)
        declared: list[Declaration] = []
        faults: list[str] = []
        for row in rows:
            if row.removed_at is None:
                try:
                    declared.append(self._declaration(row))
                except SchedulesInvalid as error:
                    faults += error.faults
        if faults:
            raise SchedulesInvalid(tuple(faults), next_step=_MEND)
        return tuple(declared)

    def find(self, name: ScheduleName) -> Declaration:
        """See `ScheduleStore.find`."""
        rows = self._look(lambda connection: _rows_of(connection, name))
        there = rows[0] if rows else None
        if there is None or there.removed_at is not None:
            raise _unknown(name, there)
        return self._declaration(there)

    def add(self, schedule: Schedule, by: str, why: str) -> None:
        """See `ScheduleStore.add`."""

        def judge(there: Row[Any] | None) -> None:
            if there is not None and there.removed_at is None:
                same = ", just so" if self._readable(there) == schedule else ""
                raise ScheduleExists(
                    f"{schedule.name} is declared already, {_place(there)} at "
                    f"{there.changed_at:%Y-%m-%dT%H:%M:%SZ}{same}.",
                    next_step=f"`taskerman schedules edit {schedule.name}` changes it.",
                )

        self._change("schedule add", schedule.name, schedule, by, why, judge)

    def edit(self, schedule: Schedule, by: str, why: str, *, instead_of: Schedule | None = None) -> Schedule | None:
        """See `ScheduleStore.edit`."""

        def judge(there: Row[Any] | None) -> None:
            if there is None or there.removed_at is not None:
                raise _unknown(schedule.name, there)
            if instead_of is not None and self._readable(there) != instead_of:
                raise RefusedByState(
                    f"{schedule.name} was changed meanwhile, by {there.by} at {there.changed_at:%Y-%m-%dT%H:%M:%SZ}.",
                    next_step="Look at it again, and repeat what you want to change.",
                )

        return self._change("schedule edit", schedule.name, schedule, by, why, judge)

    def remove(self, name: ScheduleName, by: str, why: str) -> Schedule | None:
        """See `ScheduleStore.remove`."""

        def judge(there: Row[Any] | None) -> None:
            if there is None or there.removed_at is not None:
                raise _unknown(name, there)

        return self._change("schedule remove", name, None, by, why, judge)

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._reader.close()
        self._writer.close()

    def _change(
        self,
        verb: str,
        name: ScheduleName,
        to: Schedule | None,
        by: str,
        why: str,
        judge: Callable[[Row[Any] | None], None],
    ) -> Schedule | None:
        """Make it `to` (None: removed) unless `judge` refuses what is there; what it was.

        The audit entry is drawn before the first try: a try that finds it stored comes after one of which the answer
        was lost, and has nothing left to do. It is looked for with the lock in hand, when the other has ended.
        """
        entry = AuditEntry(id=uuid.uuid4().hex, at=self._clock(), by=by, verb=verb, target=name, why=why)
        before: Row[Any] | None = None

        def work(connection: Connection) -> None:
            nonlocal before
            if connection.dialect.name == "postgresql":
                connection.execute(_IN_TURN)
            if connection.scalar(select(audit.c.id).where(audit.c.id == entry.id)) is not None:
                return
            rows = _rows_of(connection, name)
            before = rows[0] if rows else None
            judge(before)
            _store(connection, name, before, to, entry)
            write_audit(connection, [entry])

        self._writer.write(f"{verb} {name}", work)
        return None if before is None or before.removed_at is not None else self._readable(before)

    def _look(self, ask: Callable[[Connection], Sequence[T]]) -> Sequence[T]:
        """What `ask` finds; nothing where there is no table of schedules yet. Changes nothing, and makes nothing."""

        def looked_at(connection: Connection) -> Sequence[T]:
            found = standing(connection)
            if not found.has(SCHEDULES_CAME):
                return ()
            check(found, self.place, empty=HistorySchema)
            return ask(connection)

        try:
            return self._reader.transact("read the schedules", looked_at)
        except NotFound:
            return ()  # a file that nobody has made yet

    def _marked(self, rows: Sequence[Any]) -> _Mark:
        """The mark of what was read. Rows are never deleted: where there are none any more somebody is restoring the
        database, and what was declared would be given up for the time in between."""
        mark = max(((row.revision, row.changed_at) for row in rows), default=_NOTHING)
        if mark == _NOTHING and self._answered not in (None, _NOTHING):
            raise HistoryUnavailable(
                f"The schedules in {self.place} are gone, all of them, also what was noted of removed ones.",
                next_step="Restore the database. If it is a new one on purpose: restart whoever reads it.",
            )
        return mark

    def _declaration(self, row: Row[Any]) -> Declaration:
        """Raises `SchedulesInvalid`."""
        where = f"{row.name} in {self.place}"
        found = schedule_of(row.definition, where)
        if found.name != row.name:
            raise SchedulesInvalid((f"{where}: name: it says {found.name!r}",), next_step=_MEND)
        return Declaration(schedule=found, origin=self.origin, place=_place(row))

    def _readable(self, row: Row[Any]) -> Schedule | None:
        try:
            return self._declaration(row).schedule
        except SchedulesInvalid:
            return None


_MEND = (
    "Declare each anew (`taskerman schedules edit NAME --file FILE`) or remove it; if a newer build wrote it, upgrade "
    "this one."
)


def _rows_of(connection: Connection, name: ScheduleName) -> Sequence[Row[Any]]:
    return connection.execute(select(*_COLUMNS).where(table.c.name == name)).all()


def _store(
    connection: Connection, name: ScheduleName, before: Row[Any] | None, to: Schedule | None, entry: AuditEntry
) -> None:
    last = connection.scalar(select(func.max(table.c.revision))) or 0
    row: dict[str, Any] = {
        "by": entry.by,
        "why": entry.why,
        "changed_at": entry.at,
        "removed_at": entry.at if to is None else None,
        "revision": last + 1,
    }
    if to is not None:
        row["definition"] = definition_of(to)
    if before is None or before.removed_at is not None:
        row["added_at"] = entry.at
    if before is None:
        connection.execute(table.insert().values({"name": name, **row}))
    else:
        connection.execute(table.update().where(table.c.name == name).values(row))


def _place(row: Row[Any]) -> str:
    return f"added by {row.by}" if row.added_at == row.changed_at else f"changed by {row.by}"


def _unknown(name: ScheduleName, there: Row[Any] | None) -> ScheduleUnknown:
    said = f"Nobody has added a schedule {name[:80]!r}."
    if there is not None:
        said = f"{name} is not declared any more: {there.by} removed it at {there.removed_at:%Y-%m-%dT%H:%M:%SZ}."
    return ScheduleUnknown(said, next_step="`taskerman schedules list` lists those in force.")
