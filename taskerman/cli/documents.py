"""A task document out of a file or out of flags. It is judged elsewhere; here it only becomes one piece of text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from taskerman.errors import UsageError

__all__ = ["Flags", "read"]

_VERSION = 1.2
_MOST_READ = 16 * 1024 * 1024
"""Far more than a document may have, so that one that is too large is told how large it is, as a router would."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What `submit` was told without a file; absent values are left to the document's defaults."""

    action: str | None = None
    cluster: str | None = None
    owner: str | None = None
    limit: int | None = None
    concurrency: str | None = None
    nodes: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    retries: int | None = None
    max_failures: int | None = None
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
    if file == "-":
        return stdin.read(_MOST_READ)
    try:
        with (folder / file).open("rb") as opened:
            return opened.read(_MOST_READ)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", next_step="Check its path and rights.") from None


def _made_of(flags: Flags, by: str) -> str:
    if flags.action is None or flags.cluster is None:
        missing = "--action" if flags.action is None else "--cluster"
        raise UsageError(
            f"A task needs {missing}.",
            next_step="Give --action and --cluster, or a whole document: --file task.json.",
        )
    params: dict[str, Any] = {}
    if flags.args:
        params["action_args"] = dict(_argument(arg) for arg in flags.args)
    if flags.retries is not None:
        params["workqueue_args"] = {"retry_count": flags.retries}
    if flags.concurrency is not None:
        count = flags.concurrency
        params["lease_args"] = {"concurrency": int(count) if count.isascii() and count.isdecimal() else count}
    if flags.max_failures is not None:
        params["failure_args"] = {"max_failures": flags.max_failures}
    document: dict[str, Any] = {
        "action": flags.action,
        "version": _VERSION,
        "cluster_name": flags.cluster,
        "owner": flags.owner or by.partition("@")[0],
    }
    if flags.task_id is not None:
        document["task_id"] = flags.task_id
    if flags.limit is not None:
        document["limit"] = flags.limit
    if flags.nodes:
        document["nodes"] = list(flags.nodes)
    if params:
        document["taskerman_params"] = params
    return json.dumps(document)


def _argument(text: str) -> tuple[str, Any]:
    """`force=true` is a boolean, `note=hello` a text; a text that looks like JSON is quoted: `note='"true"'`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--arg {text!r} is not name=value.", next_step="Write --arg force=true.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
