"""The kinds of column that both databases keep in the same way: times in UTC, text without what a database refuses."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator

__all__ = ["UtcTime", "Words"]


class UtcTime(TypeDecorator[datetime]):
    """An aware time. SQLite knows no zones: there it is kept without one, in UTC, so that it sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is never stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text as people and programs wrote it. The output of an action may hold what PostgreSQL refuses to store.

    A NUL becomes its symbol (U+2400) and half a surrogate pair the replacement character: a record that could never be
    stored would never be put away.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database; the same on both, so that what is read back does not depend on which one it is."""
        if value is None:
            return None
        return value.replace("\x00", "\u2400").encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """From the database."""
        return value
