"""A task document out of a file or out of flags. It is judged elsewhere; here it only becomes one piece of text, or
the part of a document that somebody named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from taskerman.errors import UsageError

__all__ = ["Flags", "read", "read_file", "template"]

_VERSION = 1.2
_MOST_READ = 16 * 1024 * 1024
"""Far more than a document may have, so that one that is too large is told how large it is, as a router would."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What a verb was told of a task without a file; absent values are left to the document's defaults."""

    action: str | None = None
    cluster: str | None = None
    owner: str | None = None
    limit: int | None = None
    concurrency: str | None = None
    nodes: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    retries: int | None = None
    max_failures: int | None = None
    scope: str | None = None
    priority: int | None = None
    exclusive: bool | None = None
    windows: tuple[str, ...] = ()
    timezone: str | None = None
    task_id: str | None = None


def read(file: str | None, flags: Flags, *, by: str, stdin: BinaryIO, folder: Path) -> str | bytes:
    """The document's text. `file`: its path, below `folder` if it is relative, or `-`. `by`: whose it is by default.

    Raises `UsageError` when both or neither are given, and for a file that cannot be read.
    """
    if file is None:
        return _made_of(flags, by)
    if flags != Flags():
        raise UsageError(
            "--file has the whole document.", next_step="Leave the other options out, or write them in it."
        )
    return read_file(file, stdin=stdin, folder=folder)


def read_file(file: str, *, stdin: BinaryIO, folder: Path) -> bytes:
    """What is in `file`, below `folder` if its path is relative; `-` is `stdin`. Raises `UsageError`."""
    if file == "-":
        return stdin.read(_MOST_READ)
    try:
        with (folder / file).open("rb") as opened:
            return opened.read(_MOST_READ)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", next_step="Check its path and rights.") from None


def template(flags: Flags) -> dict[str, Any]:
    """The fields of a document that were named, and no other. Raises `UsageError` for what is no value."""
    said = {
        "action": flags.action,
        "cluster_name": flags.cluster,
        "owner": flags.owner or None,
        "task_id": flags.task_id,
        "limit": flags.limit,
        "nodes": list(flags.nodes) or None,
        "taskerman_params": _params(flags) or None,
    }
    return _said(said)


def _made_of(flags: Flags, by: str) -> str:
    if flags.action is None or flags.cluster is None:
        missing = "--action" if flags.action is None else "--cluster"
        raise UsageError(
            f"A task needs {missing}.",
            next_step="Give --action and --cluster, or a whole document: --file task.json.",
        )
    always = {
        "action": flags.action,
        "version": _VERSION,
        "cluster_name": flags.cluster,
        "owner": by.partition("@")[0],
    }
    return json.dumps({**always, **template(flags)})


def _params(flags: Flags) -> dict[str, Any]:
    """The groups of which something was said; the defaults of all others are the document's."""
    count = flags.concurrency
    counted = int(count) if count is not None and count.isascii() and count.isdecimal() else count
    lease = {
        "concurrency": counted,
        "scope": flags.scope,
        "priority": flags.priority,
        "exclusive": flags.exclusive,
    }
    window = {"windows": [_window(text) for text in flags.windows] or None, "timezone": flags.timezone}
    if flags.timezone is not None and not flags.windows:
        raise UsageError("--timezone is that of the windows.", next_step="Give a --window, or leave it out.")
    groups: dict[str, dict[str, Any]] = {
        "action_args": dict(_argument(arg) for arg in flags.args),
        "workqueue_args": _said({"retry_count": flags.retries}),
        "lease_args": _said(lease),
        "failure_args": _said({"max_failures": flags.max_failures}),
        "window_args": _said(window),
    }
    return {name: group for name, group in groups.items() if group}


def _said(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if value is not None}


def _window(text: str) -> dict[str, Any]:
    """`22:00-04:00` on every day, or `sat,sun@01:00-24:00`. Which days and times there are is judged with the rest."""
    days, at, times = text.rpartition("@")
    opens, dash, closes = times.partition("-")
    if not dash or (at and not days):
        raise UsageError(f"--window {text!r} is not DAYS@HH:MM-HH:MM.", next_step="Write --window mon,tue@22:00-04:00.")
    window: dict[str, Any] = {"opens": opens, "closes": closes}
    return {"days": [day.strip() for day in days.lower().split(",")], **window} if at else window


def _argument(text: str) -> tuple[str, Any]:
    """`force=true` is a boolean, `note=hello` a text; a text that looks like JSON is quoted: `note='"true"'`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--arg {text!r} is not name=value.", next_step="Write --arg force=true.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
