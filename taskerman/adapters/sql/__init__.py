"""History in SQL: SQLite on the janitor's machine, PostgreSQL for an installation with several."""

from __future__ import annotations

from taskerman.adapters.sql.history import SqlHistory, SqlHistoryReader, look, upgrade

__all__ = ["SqlHistory", "SqlHistoryReader", "look", "upgrade"]
