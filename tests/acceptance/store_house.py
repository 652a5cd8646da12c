"""A real store, each member under the agent of an EC2 instance that is tagged as its node; and a load on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.records import Records
from tests.support.aws import LocalCloud, unique
from tests.support.daemons import Installation, running_installation
from tests.support.stores.store import Store, Supervised

__all__ = ["StoreHouse", "running_store_house"]


@dataclass
class StoreHouse:
    """`nodes`: members by instance id, in the order in which a plan has them."""

    installation: Installation
    store: Store
    records: Records
    nodes: dict[str, Supervised] = field(default_factory=dict)
    _held: bool = True

    def tag(self) -> None:
        """A running instance of the cluster for each member."""
        count = len(self.store.members)
        instances = self.installation.cloud.start_nodes(self.installation.cluster, count)
        self.nodes = {instance.id: member for instance, member in zip(instances, self.store.members, strict=True)}

    def start(self, **settings: Any) -> None:
        """One router and an agent for each member. `settings`: of the runner, on every node."""
        self.installation.start_router()
        for instance in self.nodes:
            self.start_agent(instance, **settings)

    def start_agent(self, instance: str, **settings: Any) -> None:
        """The agent of one instance."""
        own = {**self.store.settings(self.nodes[instance]), **settings}
        self.installation.start_agent(instance, {f"{self.store.kind}_task": own})

    def submit(self, operation: str, *, args: Mapping[str, Any] | None = None, **params: Mapping[str, Any]) -> str:
        """`<kind>_task:<operation>` on the whole cluster, one at a time; the task's id. `params`: groups of
        taskerman_params."""
        task = self.installation.submit(
            {
                "action": f"{self.store.kind}_task:{operation}",
                "version": 1.2,
                "cluster_name": self.installation.cluster,
                "discovery": "aws_tags",
                "owner": "gsi",
                "taskerman_params": {
                    "action_args": dict(args or {}),
                    "timeout_args": {"soft_s": 120, "hard_s": 150, "settle_s": 60},
                    **params,
                },
            }
        )
        if self._held:
            self.installation.until(lambda: self.records.line(task), "somebody stands in line", within_s=80)
            self.installation.lift_first_hold()
            self._held = False
        return task

    def member(self, instance: str) -> Supervised:
        """Whose server it is."""
        return self.nodes[instance]


@contextmanager
def running_store_house(folder: Path, cloud: LocalCloud, zookeeper_hosts: str, store: Store) -> Iterator[StoreHouse]:
    """A house over a running store: installed and tagged; no daemon runs yet, and the first hold still stands."""
    name = f"{store.kind}:{unique('c')}"
    installation = Installation(folder, cloud, zookeeper_hosts, cluster=name)
    records = Records(zookeeper_hosts, f"/{installation.prefix}", name)
    with running_installation(installation):
        installation.must("init")
        records.open()
        try:
            house = StoreHouse(installation, store, records)
            house.tag()
            yield house
        finally:
            records.close()
