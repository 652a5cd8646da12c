"""What the errors of the two databases mean here. The only place that knows their codes and words."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from taskerman.errors import HistoryUnavailable, NotPermitted, TaskermanError

__all__ = ["explain", "passes_by_itself", "said"]

_DENIED_STATES = frozenset({"28000", "28P01", "42501", "0LP01"})
_PASSING_STATES = ("08", "40", "53300", "55P03", "57P01", "57P02", "57P03")
_DENIED_WORDS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "readonly database",
)
_PASSING_WORDS = (
    "database is locked",
    "database table is locked",
    "connection refused",
    "connection timeout expired",
    "could not receive data",
    "is starting up",
    "no such file or directory",
    "server closed the connection",
    "the connection is closed",
    "too many clients",
)


def passes_by_itself(error: BaseException) -> bool:
    """Whether the same may work in a moment."""
    if not isinstance(error, DBAPIError | sqlite3.Error):
        return False
    state = _state(error)
    if state:
        return state.startswith(_PASSING_STATES)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return any(word in _words(error) for word in _PASSING_WORDS)


def explain(error: Exception, *, doing: str, said: str) -> TaskermanError:
    """What an error of a database means, to be raised. `said`: its own words, in which no secret is left.

    What nobody foresaw means "not now": it is no reason for a daemon to end.
    """
    state, words = _state(error), _words(error)
    if state in _DENIED_STATES or (not state and any(word in words for word in _DENIED_WORDS)):
        return NotPermitted(
            f"Not permitted to {doing}: {said}",
            next_step="Correct TASKERMAN_HISTORY_URL, or grant its user the right.",
        )
    if "unable to open database file" in words:
        return NotPermitted(
            f"Cannot {doing}: the file cannot be opened.",
            next_step="Its folder must be there, and the user that runs this must be allowed to write in it.",
        )
    if passes_by_itself(error):
        return HistoryUnavailable(
            f"Cannot {doing}: {said}", next_step="It may work later; see TASKERMAN_HISTORY_URL if it never did."
        )
    return HistoryUnavailable(
        f"Cannot {doing}: {said}", next_step="If this does not pass, the database or its address is at fault."
    )


def said(error: Exception) -> str:
    """The database's own words, as one sentence on one line, without the statement and its values."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(origin).split()) or type(origin).__name__
    return text.rstrip(".") + "."


def _state(error: BaseException) -> str:
    """PostgreSQL's code; empty where there is none, as while connecting."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(origin, "sqlstate", None) or "")


def _words(error: BaseException) -> str:
    return (said(error) if isinstance(error, Exception) else "").lower()
