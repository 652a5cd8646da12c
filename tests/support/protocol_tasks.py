"""The tasks of the protocol's world: their plans, and every way in which an attempt of theirs can end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from taskerman.model.base import content_hash
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskDocument
from taskerman.policy.conclusion import Ending
from taskerman.policy.routing import make_plan
from taskerman.testing.clock import ManualClock

__all__ = ["CLUSTER", "CLUSTERS", "ENDINGS", "OTHER", "SCOPE", "TaskShape", "plan_of"]

CLUSTER = "demo:web"
OTHER = "demo:also"
SCOPE = "S"
CLUSTERS = (CLUSTER, OTHER)

ENDINGS: dict[str, Callable[[datetime], Ending]] = {
    "succeeded": lambda now: Ending(Outcome.SUCCEEDED, "", post_check_passed=True),
    "skipped": lambda now: Ending(Outcome.SKIPPED, "nothing to do"),
    "deferred": lambda now: Ending(Outcome.DEFERRED, "busy", until=now + timedelta(seconds=20)),
    "deferred_cluster": lambda now: Ending(
        Outcome.DEFERRED, "a failover runs", until=now + timedelta(seconds=40), whole_cluster=True
    ),
    "failed": lambda now: Ending(Outcome.FAILED, "exit 1", post_check_passed=True),
    "failed_check": lambda now: Ending(Outcome.FAILED, "pre_check failed"),
    "refused": lambda now: Ending(Outcome.FAILED, "pre_check refused", retry=False),
    "unsafe": lambda now: Ending(Outcome.UNSAFE, "not well"),
    "lost": lambda now: Ending(Outcome.LOST, "nobody knows"),
    "lost_well": lambda now: Ending(Outcome.LOST, "nobody knows", post_check_passed=True),
    "cancelled": lambda now: Ending(Outcome.CANCELLED, "a person said so", post_check_passed=True),
    "cancelled_check": lambda now: Ending(Outcome.CANCELLED, "a person said so"),
}


@dataclass(frozen=True)
class TaskShape:
    """What differs between tasks here. `both`: nodes that are of the other cluster too. `window`: its window_args.
    `size`: how many nodes discovery found in its cluster; absent: the document named its nodes. `source`: given, where
    discovery did not know any of them."""

    nodes: tuple[str, ...]
    cap: int = 1
    max_failures: int = 0
    retry_count: int = 0
    owner: str = "gsi"
    lasts_s: int = 7 * 86400
    cluster: str = CLUSTER
    both: tuple[str, ...] = ()
    priority: int = 5
    exclusive: bool = False
    scope: str | None = None
    window: Mapping[str, Any] | None = None
    size: int | None = None
    source: Literal["ec2", "given"] = "ec2"


def plan_of(name: str, shape: TaskShape, now: ManualClock) -> Plan:
    """The plan of such a task, as a router would make it now."""
    document = {
        "action": "demo_task:restart",
        "version": 1.2,
        "cluster_name": shape.cluster,
        "discovery": "aws_tags",
        "owner": shape.owner,
        "task_id": name,
        "taskerman_params": {
            "lease_args": {
                "concurrency": shape.cap,
                "priority": shape.priority,
                "exclusive": shape.exclusive,
                "scope": shape.scope,
            },
            "failure_args": {"max_failures": shape.max_failures},
            "workqueue_args": {"retry_count": shape.retry_count},
            **({"window_args": dict(shape.window)} if shape.window else {}),
        },
        "nodes": list(shape.nodes),
        "not_after": (now.now() + timedelta(seconds=shape.lasts_s)).isoformat(),
    }
    plan = make_plan(
        TaskDocument.model_validate_json(json.dumps(document)),
        document,
        content_hash(document),
        [Node(id=n, clusters=CLUSTERS if n in shape.both else (shape.cluster,)) for n in shape.nodes],
        sent_at=now.now(),
        now=now.now(),
    )
    nodes = tuple(node.model_copy(update={"source": shape.source}) for node in plan.nodes)
    accepted = plan.accepted.model_copy(update={"discovered": shape.size})
    return plan.model_copy(update={"accepted": accepted, "nodes": nodes})
