"""Asking servers with `nodetool`, the own one and others. A server that cannot be asked is told apart from one that
says no, and from a `nodetool` that cannot be used at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from runners.cassandra.answers import (
    Cluster,
    Compactions,
    Info,
    Net,
    NotUnderstood,
    Row,
    parse_cluster,
    parse_compactions,
    parse_gossip,
    parse_info,
    parse_net,
    parse_sessions,
    parse_snapshots,
    parse_status,
    printable,
)
from runners.cassandra.config import Config
from runners.cassandra.ring import TokenRange, parse_ring
from taskerman import CommandFailed, CommandResult, Context

__all__ = ["CannotAsk", "MayNotAsk", "Nodetool"]

T = TypeVar("T")
_DENIED = ("SecurityException", "Authentication failed", "Credentials required", "AccessControlException")


class CannotAsk(Exception):
    """A server does not answer now: it is down, it starts, or the way to it is broken."""


class MayNotAsk(Exception):
    """Asking again will not help: nodetool is not there, or its user may not ask."""


class Nodetool:
    """Asks one server: the own one, or that of `peer`."""

    def __init__(self, ctx: Context, config: Config, peer: str = "") -> None:
        self._ctx = ctx
        self._peer = peer
        self._words = [word.replace("{peer}", peer) for word in config.ask_peer] if peer else list(config.nodetool)
        self._timeout = timedelta(seconds=config.answer_s)

    def status(self, keyspace: str = "") -> dict[str, Row]:
        """How it sees each node. `keyspace`: whose ownership is meant."""
        return self._read(parse_status, "status", *filter(None, [keyspace]))

    def cluster(self) -> Cluster:
        """Schema versions, data centres, keyspaces."""
        return self._read(parse_cluster, "describecluster")

    def info(self) -> Info:
        """Itself, with its tokens."""
        return self._read(parse_info, "info", "-T")

    def net(self) -> Net:
        """Its mode and its streams."""
        return self._read(parse_net, "netstats")

    def compactions(self) -> Compactions:
        """What it compacts, validates, cleans up or builds."""
        return self._read(parse_compactions, "compactionstats")

    def gossip(self) -> dict[str, dict[str, str]]:
        """What it heard of each node."""
        return self._read(parse_gossip, "gossipinfo")

    def sessions(self) -> dict[str, str]:
        """Its incremental repair sessions, and who coordinates them."""
        return self._read(parse_sessions, "repair_admin", "list")

    def snapshots(self) -> frozenset[str]:
        """The names of its snapshots."""
        return self._read(parse_snapshots, "listsnapshots")

    def ring(self, keyspace: str) -> list[TokenRange]:
        """Who keeps which range of a keyspace."""
        return self._read(parse_ring, "describering", keyspace)

    def do(self, *words: str, timeout: timedelta | None = None, check: bool = True) -> CommandResult:
        """A command that changes something: its output is in the attempt's log. Raises `CommandFailed`."""
        return self._ctx.command([*self._words, *words], timeout=timeout, check=check)

    def _read(self, parse: Callable[[str], T], *words: str) -> T:
        """Raises `CannotAsk`, `MayNotAsk`, `NotUnderstood`."""
        where = f"{self._peer}'s server" if self._peer else "this node's server"
        try:
            answer = self._ctx.ask([*self._words, *words], timeout=self._timeout)
        except CommandFailed as failed:
            if "cannot be started" in failed.why:
                raise MayNotAsk(f"{self._words[0]} {failed.why}; correct nodetool or ask_peer of this node") from None
            raise CannotAsk(f"{where} does not answer {words[0]}: {failed.why}") from None
        if answer.exit != 0:
            said = _last(answer.output.splitlines())
            if any(word in answer.output for word in _DENIED):
                raise MayNotAsk(f"{where} refuses to be asked: {said}; correct nodetool's user and password")
            raise CannotAsk(f"{where} cannot be asked for {words[0]}: {said}")
        if not answer.output.endswith("\n"):
            broken = f"it ends within a line: {answer.output[-60:]}"
            raise NotUnderstood(words[0], broken if answer.output else "nothing")
        return parse(answer.output)


def _last(lines: Sequence[str]) -> str:
    """The line that says most: nodetool's own error, else the last."""
    said = [line.strip() for line in lines if line.strip()]
    return printable(
        next((line for line in said if line.startswith(("nodetool:", "error:"))), said[-1] if said else "no word"), 200
    )
