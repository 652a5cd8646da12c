"""Commands under a slot, without processes: what they wish, and what is recorded of them."""

from __future__ import annotations

from datetime import UTC, datetime

from taskerman.coordination.commands import Wish
from taskerman.coordination.holds import HoldVerbs
from taskerman.model.command import CommandEnd, CommandHow, CommandRecord, Processes, draw_holder
from taskerman.ports.tree import Tree

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
END = CommandEnd(at=NOW, how=CommandHow.ENDED, exit=0)


def wish(host: str = "web-1", scope: str = "backup", promise: int = 1, group: str | None = None) -> Wish:
    """A command of `host` that was not there before."""
    return Wish(holder=draw_holder(host), host=host, scope=scope, promise=promise, group=group)


def processes(**changes: object) -> Processes:
    """Of a machine that no test runs on."""
    fields = {
        "pid": 100,
        "start": 1,
        "session": 101,
        "session_start": 2,
        "boot": "b-1",
        "machine": "m-1",
        "pid_space": "pid:[4026531836]",
        "uid": 0,
        **changes,
    }
    return Processes.model_validate(fields)


def record_of(one: Wish) -> CommandRecord:
    """What its take records."""
    return CommandRecord(
        holder=one.holder,
        host=one.host,
        scope=one.scope,
        promise=one.promise,
        group=one.group,
        argv=("backup.sh", "--all"),
        by="ada@laptop",
        processes=processes(),
        began=NOW,
    )


def found_installation(tree: Tree) -> None:
    """An installation, from which the hold that it begins with was lifted. Repeatable."""
    moves = HoldVerbs(tree, "ada@laptop", lambda: NOW)
    if moves.install("new").holds:
        moves.unhold("new-installation", "looked")
