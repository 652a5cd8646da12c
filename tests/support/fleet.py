"""A fleet in memory for tests of the operator's verbs: real moves and a real router over the fakes, nodes by hand.

A node's agent is its moves and nothing else: a test says which node takes, and how its attempt ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from taskerman.control import Desk
from taskerman.coordination.ending import Dice, end_attempt, end_waiting
from taskerman.coordination.node_moves import NodeMoves, Over, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import ActionArgsInvalid, ActionUnknown
from taskerman.model.attempt import Attempt
from taskerman.model.cluster import Node
from taskerman.model.ids import QueueNames
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import ActionTraits
from taskerman.policy.conclusion import Ending
from taskerman.router import Router, RouterLimits
from taskerman.testing.clock import ManualClock
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.queues import MemoryQueues
from taskerman.testing.tree import MemoryServer

CLUSTER = "demo:web"
NODES = tuple(Node(id=f"i-{n}", az="abc"[(n - 1) // 2]) for n in range(1, 7))


class ListedCatalog:
    """The `Catalog` of a test: `demo_task:restart`, whose argument is `force`, a boolean. `declared`: its traits."""

    declared = ActionTraits()

    def names(self) -> Sequence[str]:
        return ("demo_task:restart",)

    def target(self, action: str) -> str:
        self._check(action)
        return "runners.demo:Restart"

    def traits(self, action: str) -> ActionTraits:
        self._check(action)
        return self.declared

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        self._check(action)
        for name, value in args.items():
            if name != "force" or not isinstance(value, bool):
                raise ActionArgsInvalid(f"{action}: {name}: not an argument of it.", next_step="It takes: force.")

    def _check(self, action: str) -> None:
        if action not in self.names():
            raise ActionUnknown(
                f"The action {action!r} is not installed here.", next_step="Installed: demo_task:restart."
            )


@dataclass
class Fleet:
    """Six nodes of `demo:web` in three AZs, a router, and a desk. Time stands still until a test moves it."""

    clock: ManualClock = field(default_factory=ManualClock)
    names: QueueNames = field(default_factory=QueueNames)
    agents: dict[str, NodeMoves] = field(default_factory=dict)
    catalog: ListedCatalog = field(default_factory=ListedCatalog)

    def __post_init__(self) -> None:
        self.server = MemoryServer(now_ms=lambda: int(self.clock.now().timestamp() * 1000))
        self.queues = MemoryQueues(self.clock)
        self.discovery = MemoryDiscovery({CLUSTER: NODES})
        self.tree = self.server.client()
        self.desk = Desk(
            tree=self.tree,
            queues=self.queues,
            names=self.names,
            discoveries={"aws_tags": self.discovery},
            catalog=self.catalog,
            clock=self.clock,
            by="ada@laptop",
        )
        self.router = Router(
            RouterMoves(self.server.client()),
            queues=self.queues,
            names=self.names,
            discoveries={"aws_tags": self.discovery},
            catalog=self.catalog,
            clock=self.clock,
            emit=lambda event: None,
            limits=RouterLimits(poll=timedelta()),
        )

    def install(self) -> None:
        """An installation whose first hold has been lifted."""
        OperatorMoves(self.tree, "ada@laptop", self.clock.now).install("a new installation")
        OperatorMoves(self.tree, "ada@laptop", self.clock.now).unhold("new-installation", "looked at it")
        for queue in (self.names.tasks, self.names.dead_letter):
            self.queues.ensure(queue)

    def someone_else(self, by: str) -> Desk:
        """The same desk with another person at it."""
        return replace(self.desk, by=by)

    def route(self) -> None:
        """The router does what lies in the global queue."""
        while self.router.turn():
            pass

    def plan(self, task: str) -> Plan:
        """The plan of a routed task."""
        found = RouterMoves(self.tree).plan(task)
        assert isinstance(found, Plan)
        return found

    def send(self, task: str = "t-1", *, params: Mapping[str, Any] | None = None, **fields: Any) -> Plan:
        """A task that is in the queue and routed."""
        self.queues.send(self.names.tasks, document(task, params=params, **fields))
        self.route()
        return self.plan(task)

    def join(self, task: str, *nodes: str) -> None:
        """Their agents start, if they have not, and stand in the line of the task."""
        for node in nodes:
            self.agent(node).stand(self.plan(task), self.clock.now(), lambda: None)

    def take(self, task: str, node: str) -> Attempt:
        """The node's agent takes. It must be admitted."""
        plan = self.plan(task)
        standing = self.agent(node).stand(plan, self.clock.now(), lambda: None)
        assert isinstance(standing, Ready), standing
        taken = self.agent(node).take(standing, plan, self.clock.now())
        assert taken is not None
        return taken.attempt

    def end(self, task: str, node: str, outcome: Outcome, reason: str = "", *, retry: bool = True) -> None:
        """The attempt that the node is in ends."""
        agent = self.agent(node)
        attempt = agent.record.attempt
        assert attempt is not None
        ending = Ending(outcome, reason, retry=retry, tail="the last line\n", post_check_passed=outcome.well)
        end_attempt(agent, self.plan(task), attempt, ending, Dice(self.clock.now(), 0.5))

    def do(self, task: str, node: str, outcome: Outcome, reason: str = "", *, retry: bool = True) -> None:
        """Take, and end."""
        self.take(task, node)
        self.end(task, node, outcome, reason, retry=retry)

    def expire(self, task: str, node: str) -> None:
        """The node's agent finds that not_after has passed."""
        self.agent(node).stand(self.plan(task), self.clock.now(), lambda: None)
        end_waiting(
            self.agent(node), self.plan(task), Over.EXPIRED, reason="not_after has passed", now=self.clock.now()
        )

    def agent(self, node: str) -> NodeMoves:
        """The node's agent, started."""
        if node not in self.agents:
            self.agents[node] = NodeMoves(self.server.client(), node, f"journal-of-{node}")
            self.agents[node].start()
        return self.agents[node]


def document(task: str | None = "t-1", *, params: Mapping[str, Any] | None = None, **fields: Any) -> str:
    """A task document for the fleet, as JSON."""
    body: dict[str, Any] = {
        "action": "demo_task:restart",
        "version": 1.2,
        "cluster_name": CLUSTER,
        "owner": "gsi",
        **({"task_id": task} if task else {}),
        **({"taskerman_params": params} if params else {}),
        **fields,
    }
    return json.dumps(body)
