"""What a Kafka cluster says of its brokers, partitions and controllers at about one time. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runners.kafka.answers import Broker, Partition, Quorum
from runners.kafka.config import Config
from runners.kafka.tools import Tools
from taskerman import Context

__all__ = ["View", "look"]


@dataclass(frozen=True, slots=True)
class View:
    """`me`, `role`: of this node. `asked`: the addresses that were asked. `moving`: partitions that are being
    reassigned. `quorum`: None in ZooKeeper mode. `controller`: the active one."""

    me: int
    role: str
    asked: Sequence[str]
    brokers: Mapping[int, Broker]
    partitions: Sequence[Partition]
    moving: Sequence[str]
    quorum: Quorum | None
    controller: int

    @property
    def mine(self) -> Sequence[Partition]:
        """The partitions of which this node keeps a replica."""
        return [one for one in self.partitions if self.me in one.replicas]


def look(ctx: Context, config: Config) -> View:
    """Ask the cluster, through other brokers than this one. Raises `CannotAsk`, `MayNotAsk`, `NotUnderstood`."""
    tools = Tools(ctx, config)
    quorum = None if config.zookeeper else tools.quorum()
    return View(
        config.node_id,
        config.role,
        config.bootstrap,
        tools.brokers(),
        tools.partitions(),
        tools.moving(),
        quorum,
        quorum.leader if quorum is not None else tools.controller(),
    )
