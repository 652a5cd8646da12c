"""Who this agent is and what it may do: read once from the settings, handed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase

from pydantic import JsonValue

from taskerman.model.ids import ClusterName, NodeId
from taskerman.policy.bounds import UNBOUNDED, Bounds
from taskerman.policy.breaker import BreakerLimits
from taskerman.policy.conclusion import Pace
from taskerman.policy.patience import A_PLACE

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """`actions`: what may run here, patterns such as `redis_task:*`; nothing by default. `runners`: the node's
    configuration for each runner. `idle_session`: how long a session is kept without work. `poll`: one long poll.
    `bounds`: of every attempt here. `unknown_action`: how soon it looks again for an action that this build does not
    know; it looks six times.
    `log_form`: of the attempts' logs.
    `refused`: how soon it looks again whether a person has accepted ZooKeeper's installation.
    `patience`: how long each that stands ahead of it is waited for, when nothing else keeps it.
    """

    node: NodeId
    clusters: tuple[ClusterName, ...]
    actions: tuple[str, ...] = ()
    runners: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    idle_session: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=20)
    unknown_action: timedelta = timedelta(minutes=10)
    refused: timedelta = timedelta(seconds=30)
    patience: timedelta = A_PLACE
    bounds: Bounds = UNBOUNDED
    log_form: str = "human"
    boot_id_path: str = "/proc/sys/kernel/random/boot_id"

    def allows(self, action: str) -> bool:
        """Whether the node's allow list names the action."""
        return any(fnmatchcase(action, pattern) for pattern in self.actions)
