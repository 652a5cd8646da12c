"""What the servers of a Cassandra cluster say of themselves and of each other, at about one time. Nothing is judged
here; rules.py says what a view means."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.cassandra.answers import Cluster, Compactions, Info, Net, Row
from runners.cassandra.config import Config
from runners.cassandra.nodetool import CannotAsk, Nodetool
from runners.cassandra.ring import TokenRange
from taskerman import Context

__all__ = ["Disk", "Own", "Peer", "Unreadable", "View", "look"]


class Unreadable(Exception):
    """A folder of the configuration is not there, or may not be read."""


@dataclass(frozen=True, slots=True)
class Own:
    """What this node's server says of itself. `sessions`: who coordinates its incremental repair sessions."""

    info: Info
    net: Net
    compactions: Compactions
    sessions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """What another server says: how it sees each node and the cluster, and what it heard of this one."""

    rows: Mapping[str, Row]
    cluster: Cluster
    gossip: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Disk:
    """The fullest of the data folders' disks. `hints_bytes`: hints that wait here for other nodes."""

    free_bytes: int
    free_percent: float
    hints_bytes: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """`me`: this node's address. `own`: None when its server does not answer, `silent` says why. `rows`, `cluster`: by
    the own server, or by a peer while that is down. `rings`: those that were asked for."""

    me: str
    own: Own | None
    rows: Mapping[str, Row]
    cluster: Cluster
    disk: Disk
    peers: Mapping[str, Peer] = field(default_factory=dict)
    silent: str = ""
    silent_peers: Mapping[str, str] = field(default_factory=dict)
    rings: Mapping[str, Sequence[TokenRange]] = field(default_factory=dict)

    @property
    def row(self) -> Row | None:
        """This node."""
        return self.rows.get(self.me)

    @property
    def others(self) -> Mapping[str, Row]:
        """The other nodes."""
        return {address: row for address, row in self.rows.items() if address != self.me}


def look(ctx: Context, config: Config, *, rings: bool = False) -> View:
    """Ask the own server and each of `peers`. `rings`: also who keeps which range of each keyspace; those that are
    replicated alike have the same ring, and it is asked for once.

    Raises `CannotAsk` when nobody answers, `MayNotAsk`, `NotUnderstood`, `Unreadable`.
    """
    tool = Nodetool(ctx, config)
    own, silent = None, ""
    try:
        own = Own(tool.info(), tool.net(), tool.compactions(), tuple(tool.sessions().values()))
    except CannotAsk as error:
        silent = str(error)
    peers: dict[str, Peer] = {}
    silent_peers: dict[str, str] = {}
    guide = tool
    for name in config.peers:
        asked = Nodetool(ctx, config, name)
        try:
            peers[name] = Peer(asked.status(), asked.cluster(), asked.gossip().get(config.address, {}))
        except CannotAsk as error:
            silent_peers[name] = str(error)
            continue
        if own is None and guide is tool:
            guide = asked
    if own is None and guide is tool:
        raise CannotAsk(f"{silent}; and none of {len(config.peers)} peers answers")
    cluster = guide.cluster()
    kept: dict[str, Sequence[TokenRange]] = {}
    asked_for: dict[object, Sequence[TokenRange]] = {}
    for name, copies in cluster.copies.items() if rings else ():
        alike = frozenset(copies.items())
        if copies and alike not in asked_for:
            asked_for[alike] = guide.ring(name)
        if copies:
            kept[name] = asked_for[alike]
    return View(
        config.address,
        own,
        guide.status(),
        cluster,
        _disk(config),
        peers,
        silent,
        silent_peers,
        kept,
    )


def _disk(config: Config) -> Disk:
    try:
        used = [shutil.disk_usage(folder) for folder in config.data_folders]
        hints = sum(each.stat().st_size for each in Path(config.hints_folder).iterdir() if each.suffix == ".hints")
    except OSError as error:
        raise Unreadable(
            f"{error.filename}: {error.strerror}; correct data_folders and hints_folder of this node"
        ) from None
    fullest = min(used, key=lambda one: one.free / one.total)
    return Disk(fullest.free, fullest.free / fullest.total * 100, hints)
