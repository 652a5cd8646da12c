"""Logs: events as lines, for a person or for a program. It listens; nothing that is logged decides anything.

What the libraries beneath say (connections lost, requests throttled) comes out in the same form, so that a daemon's
output is one stream of one kind.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from taskerman.model.event import Event, Listener

__all__ = ["log_libraries", "log_listener"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_QUIET = ("botocore", "boto3", "urllib3", "kazoo")
"""They tell of every request at `info`; of them only what is wrong is wanted."""

_BOUND = ("task", "node", "attempt", "phase", "line", "why")
"""What our own modules give such a line as `extra`, so that it can be found by its ids."""

Form = Literal["human", "json"]


def log_listener(form: Form, level: str = "info", *, stream: TextIO | None = None) -> Listener:
    """A listener that writes each event of at least `level` as one line to `stream` (default: standard error).

    `json`: one object a line, with `at`, `level`, `event` and the event's own fields. Safe on several threads; an
    output that is closed or full is nobody's reason to stop, so a line that cannot be written is lost.
    """
    least = _LEVELS[level]
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream or sys.stderr), processors=_processors(form), wrapper_class=structlog.BoundLogger
    )

    def listen(event: Event) -> None:
        if _LEVELS.get(event.level, 40) >= least:
            try:
                logger.msg(event.name, **{"severity": event.level, **_renamed(event.fields)})
            except (OSError, ValueError):
                return

    return listen


def log_libraries(listener: Listener) -> logging.Handler:
    """Let what the standard library's loggers say be events too; returns the handler, to be removed by whoever asked.

    Only for a process of our own: it is the one place where something global is changed.
    """
    handler = _Forward(listener)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler


class _Forward(logging.Handler):
    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        bound = {name: value for name, value in vars(record).items() if name in _BOUND}
        fields: dict[str, object] = {"logger": record.name, "text": record.getMessage(), **bound}
        if record.exc_info and record.exc_info[1] is not None:
            fields["why"] = repr(record.exc_info[1])
        level = record.levelname.lower()
        self._listener(Event("library_said", fields, level if level in _LEVELS else "error"))


def _renamed(fields: Mapping[str, object]) -> dict[str, object]:
    """A field of an event that has the name of one of the line's own keeps its value under another."""
    taken = {"event", "at", "severity", "level"}
    return {f"{name}_" if name in taken else name: value for name, value in fields.items()}


def _processors(form: Form) -> list[Any]:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")
    last = structlog.processors.JSONRenderer(default=str) if form == "json" else _human
    return [stamp, _level, last]


def _level(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`severity`, which is an argument, becomes `level`, and comes first, as the time does."""
    return {"at": line.pop("at"), "level": line.pop("severity"), "event": line.pop("event"), **line}


def _human(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    """`12:00:00.123 info    attempt_taken  task=t-1 node=i-1`."""
    at, level, event = line.pop("at"), line.pop("level"), line.pop("event")
    fields = " ".join(f"{name}={_shown(value)}" for name, value in line.items())
    return f"{at[11:23]} {level:<7} {event}{'  ' if fields else ''}{fields}"


def _shown(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return f'"{text}"' if " " in text or not text else text
