"""Which schema a database has, and which one this build needs. Looking must be quick: every reader does it first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from taskerman.adapters.sql.tables import VERSION_TABLE

__all__ = ["NOTHING_YET", "SCHEDULES_CAME", "STEPS", "Standing", "standing"]

STEPS = ("0001", "0002", "0003")
"""Every migration of this build, the oldest first. A test holds it to the files in `migrations/versions`."""

SCHEDULES_CAME = "0002"
"""The step that made the table of schedules."""

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String))


@dataclass(frozen=True, slots=True)
class Standing:
    """The schema that a database has, and the one that this build needs. `there` None: no table yet."""

    there: str | None
    needed: str

    @property
    def fits(self) -> bool:
        """Whether this build may read and write."""
        return self.there == self.needed

    @property
    def behind(self) -> bool:
        """Whether a migration would help; otherwise it was made by a newer build."""
        return not self.fits and (self.there is None or self.there in STEPS)

    def has(self, step: str) -> bool:
        """Whether that step has been made there; a newer build has made all of them."""
        if self.there is None:
            return False
        return self.there not in STEPS or STEPS.index(self.there) >= STEPS.index(step)


NOTHING_YET = Standing(there=None, needed=STEPS[-1])
"""Of a database in which nobody ever made a table."""


def standing(connection: Connection) -> Standing:
    """How the schema stands. Reads only."""
    there = None
    if inspect(connection).has_table(VERSION_TABLE):
        there = connection.scalar(select(_version.c.version_num))
    return Standing(there=there, needed=STEPS[-1])
