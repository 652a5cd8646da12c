"""HISTORY of commands: what ran under a slot on which host, and how it ended. Reads only the history."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.naming import check_node, check_scope_name
from taskerman.model.base import Noun, Timestamp
from taskerman.model.command import CommandHow
from taskerman.model.ids import NodeId, ScopeName
from taskerman.ports.history import CommandQuery, HistoryReader

__all__ = ["PastCommandLine", "past_commands"]


class PastCommandLine(Noun):
    """A command that has ended. `exit` None: nobody saw its end. `by`: as claimed."""

    holder: NodeId
    host: NodeId
    scope: ScopeName
    promise: int
    group: str | None
    argv: tuple[str, ...]
    by: str
    began: Timestamp
    ended_at: Timestamp
    how: CommandHow
    exit: int | None
    max_rss_bytes: int
    tail: str
    why: str


def past_commands(reader: HistoryReader, query: CommandQuery) -> Sequence[PastCommandLine]:
    """Commands that have ended, the newest first. Raises `UsageError`."""
    if query.scope is not None:
        check_scope_name(query.scope)
    if query.host is not None:
        check_node(query.host)
    return tuple(
        PastCommandLine(
            holder=one.holder,
            host=one.host,
            scope=one.scope,
            promise=one.promise,
            group=one.group,
            argv=one.argv,
            by=one.by,
            began=one.began,
            ended_at=one.end.at,
            how=one.end.how,
            exit=one.end.exit,
            max_rss_bytes=one.end.max_rss_bytes,
            tail=one.end.tail,
            why=one.end.why,
        )
        for one in reader.ended_commands(query)
        if one.end is not None
    )
