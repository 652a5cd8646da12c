"""Whether the tables of a database are those of this build, and a writer that makes them so where it may.

Looked at when the database is first written, and again after every error, not before: a daemon starts, and does its
other work, while the database is away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection

from taskerman.adapters.sql.database import Database
from taskerman.adapters.sql.schema import Standing, standing
from taskerman.errors import HistorySchema, TaskermanError

__all__ = ["Writer", "check", "upgraded"]

T = TypeVar("T")


class Writer:
    """Writes into a database whose tables fit. Safe for several threads; close it."""

    def __init__(self, url: str, *, upgrades: bool, patience: timedelta) -> None:
        """`upgrades`: whether it makes the tables, and brings them up to date, by itself. Raises `UsageError`."""
        self._database = Database(url, writes=True, patience=patience)
        self._upgrades = upgrades
        self._fits = False

    def write(self, doing: str, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction, which must be harmless to repeat: see `Database.transact`.

        Raises what that raises, and `HistorySchema` when the tables are not those of this build and stay so.
        """
        if not self._fits:
            found = upgraded(self._database) if self._upgrades else self._database.transact("look at it", standing)
            check(found, self._database.shown, empty=HistorySchema)
            self._fits = True
        try:
            return self._database.transact(doing, work)
        except Exception:
            self._fits = False  # whatever happened there, the schema is looked at again before the next one
            raise

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._database.close()


def upgraded(database: Database) -> Standing:
    """Make the tables, or bring them up to date, in a database that is open; how it stands afterwards."""
    from taskerman.adapters.sql.migration import migrate  # noqa: PLC0415  Alembic is as heavy as all the rest

    return database.transact("upgrade the schema", migrate)


def check(found: Standing, shown: str, *, empty: type[TaskermanError]) -> None:
    """Raise `HistorySchema` unless the tables fit. `shown`: where. `empty`: what it means that nothing was ever made
    there."""
    if found.fits:
        return
    if found.there is None:
        raise empty(
            f"There is no history in {shown} yet: it has no tables.",
            next_step="Make them: `taskerman history upgrade`.",
        )
    if found.behind:
        raise HistorySchema(
            f"The history in {shown} has schema {found.there}, and this build needs {found.needed}.",
            next_step="Bring it up to date: `taskerman history upgrade`.",
        )
    raise HistorySchema(
        f"The history in {shown} has schema {found.there}, made by a newer build; this one knows {found.needed}.",
        next_step="Upgrade this build.",
    )
