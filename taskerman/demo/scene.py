"""What both acts stand on: the cluster, its witness and its Taskerman; and following a task until something is so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from taskerman.agent.journal import Journal
from taskerman.control import submit, task_status
from taskerman.control.submitting import prepare
from taskerman.control.values import NodeState, NodeStatus, TaskStatus
from taskerman.demo.claims import NotSo
from taskerman.demo.facts import Facts, Interval
from taskerman.demo.installation import ACTION, Installation
from taskerman.demo.screen import NodeLine, Screen
from taskerman.demo.web_cluster import CLUSTER, WebCluster
from taskerman.errors import NotFound
from taskerman.model.attempt import Phase

__all__ = ["Followed", "Scene", "wait_for"]

T = TypeVar("T")
LOOK_EVERY_S = 0.1
PATIENCE_S = 120.0
_PHASES = {Phase.PRE_CHECK: "pre_check", Phase.EXECUTE_ACTION: "acting"}


@dataclass(slots=True)
class Followed:
    """A task as it was last seen, and when each node held its slot, on the prober's clock."""

    began: float
    status: TaskStatus | None = None
    taken: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def learn(self, status: TaskStatus) -> None:
        """Remember what is recorded now."""
        self.status = status
        offset = time.monotonic() - time.time()
        for node in status.nodes:
            if node.since is not None and node.state in (NodeState.ACTING, NodeState.ENDED):
                times = self.taken if node.state is NodeState.ACTING else self.ended
                times[node.node] = _seconds(node.since) + offset

    def maintenance(self, node: str, until: float) -> Sequence[Interval]:
        """When `node` held a slot: until it ended, or `until` if it is acting or its slot was kept."""
        if node not in self.taken:
            return ()
        assert self.status is not None
        kept = any(one.node == node and one.kept for one in self.status.nodes)
        return (Interval(self.taken[node], until if kept else self.ended.get(node, until)),)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything there is. `witness`: the prober's file."""

    installation: Installation
    cluster: WebCluster
    witness: Path
    screen: Screen

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' ids, in the order of every plan."""
        return tuple(node.id for node in self.cluster.nodes)

    def facts(self) -> Facts:
        """What the prober has seen until now."""
        return Facts.read(self.witness)

    def document(self, task: str, concurrency: int, settle_s: int) -> Mapping[str, object]:
        """The restart of the whole cluster, as a person would write it into a file."""
        params = {
            "lease_args": {"concurrency": concurrency},
            "timeout_args": {"soft_s": 30, "hard_s": 40, "settle_s": settle_s},
        }
        return {
            "action": ACTION,
            "version": 1.2,
            "cluster_name": CLUSTER,
            "discovery": "aws_tags",
            "owner": "demo",
            "task_id": task,
            "taskerman_params": params,
        }

    def submit(self, document: Mapping[str, object]) -> None:
        """Send it."""
        submit(self.installation.desk, prepare(json.dumps(document)))

    def look(self, task: str, followed: Followed) -> TaskStatus:
        """Look once, and remember. Raises `TaskUnknown` before it is planned."""
        status = task_status(self.installation.desk, task)
        followed.learn(status)
        return status

    def follow(self, task: str, followed: Followed, until: Callable[[TaskStatus], bool], what: str) -> TaskStatus:
        """Look, show and remember until `until`. Raises `NotSo` when a daemon ends or it takes too long."""

        def look() -> TaskStatus | None:
            try:
                status = self.look(task, followed)
            except NotFound:  # not planned yet
                return None
            self.screen.show(self._lines(status))
            return status if until(status) else None

        return wait_for(look, what, self.installation.check)

    def _lines(self, status: TaskStatus) -> list[NodeLine]:
        facts = self.facts()
        now = time.monotonic()
        return [NodeLine(one.node, one.az, self._phase(one), facts.is_down(one.node, now)) for one in status.nodes]

    def _phase(self, node: NodeStatus) -> str:
        if node.outcome is not None:
            return node.outcome.value
        if node.state is not NodeState.ACTING:
            return "waiting"
        try:
            journal = Journal.model_validate_json(self.installation.journal(node.node).read_bytes())
        except (FileNotFoundError, ValidationError):
            return "pre_check"
        if journal.attempt is None or journal.attempt.id != node.attempt:
            return "pre_check"
        return _PHASES.get(journal.attempt.phase, "settling")


def wait_for(look: Callable[[], T | None], what: str, check: Callable[[], None]) -> T:
    """Ask until the answer is truthy, and return it. Raises `NotSo`: `what` did not come to be, or `check` said so."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := look()):
        check()
        if time.monotonic() > deadline:
            raise NotSo(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(LOOK_EVERY_S)
    return answer


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
