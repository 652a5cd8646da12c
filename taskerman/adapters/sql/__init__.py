"""History in SQL: SQLite on the janitor's machine, PostgreSQL for an installation with several; and, beside it, the
schedules that people declare."""

from __future__ import annotations

from taskerman.adapters.sql.history import SqlHistory, SqlHistoryReader, look, upgrade
from taskerman.adapters.sql.schedules import SqlScheduleStore

__all__ = ["SqlHistory", "SqlHistoryReader", "SqlScheduleStore", "look", "upgrade"]
