"""A real Redis cluster of six, each under the agent of an EC2 instance that is tagged as its node.

The instances' availability zones are those in which the Redis stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.records import Records
from tests.support.aws import AZS
from tests.support.daemons import Installation
from tests.support.redis_cluster import RedisCluster, RedisNode

__all__ = ["RedisHouse"]


@dataclass
class RedisHouse:
    """`nodes`: by instance id, in the order in which a plan has them."""

    installation: Installation
    redis: RedisCluster
    records: Records
    nodes: dict[str, RedisNode] = field(default_factory=dict)

    def tag(self) -> None:
        """Six running instances of the cluster, one for each Redis, in its zone."""
        waiting = {az: [node for node in self.redis.nodes if az.endswith(node.zone)] for az in AZS}
        for instance in self.installation.cloud.start_nodes(self.installation.cluster, len(self.redis.nodes)):
            self.nodes[instance.id] = waiting[instance.az].pop(0)

    def start(self, **settings: Any) -> None:
        """One router and six agents. `settings`: of the runner, on every node."""
        self.installation.start_router()
        for instance in self.nodes:
            self.start_agent(instance, **settings)

    def start_agent(self, instance: str, **settings: Any) -> None:
        """The agent of one instance."""
        node = self.nodes[instance]
        own = {
            "host": node.host,
            "port": node.port,
            "restart": list(node.restart_command),
            "peers": [f"{peer.host}:{peer.port}" for peer in self.redis.nodes if peer is not node],
        }
        self.installation.start_agent(instance, {"redis_task": {**own, **settings}})

    def submit(self, document: Mapping[str, Any], *, nodes: int = 6) -> str:
        """As a file, on the command line; begins when so many nodes stand in line. The task's id."""
        task = self.installation.submit(document)
        self.installation.until(lambda: len(self.records.line(task)) == nodes, "all stand in line", within_s=80)
        self.installation.lift_first_hold()
        return task

    def instance(self, node: RedisNode) -> str:
        """Whose Redis it is."""
        return next(instance for instance, each in self.nodes.items() if each is node)

    def document(self, **params: Mapping[str, Any]) -> dict[str, Any]:
        """A restart of the whole cluster, two at a time. `params`: groups of taskerman_params."""
        return {
            "action": "redis_task:restart",
            "version": 1.2,
            "cluster_name": self.installation.cluster,
            "discovery": "aws_tags",
            "owner": "gsi",
            "taskerman_params": {
                "lease_args": {"concurrency": 2},
                "timeout_args": {"soft_s": 60, "hard_s": 90, "settle_s": 60},
                **params,
            },
        }
