"""Ids: every one is safe as a znode name and as a part of a queue name."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from taskerman.errors import UsageError

__all__ = [
    "ActionName",
    "AttemptId",
    "BracketName",
    "ClusterName",
    "DiscoveryName",
    "NodeId",
    "Owner",
    "QueueNames",
    "ScopeName",
    "TaskId",
    "attempt_id",
    "attempt_node",
    "attempt_takes",
    "clusters_among",
    "draw_task_id",
    "is_cluster",
    "named_among",
]

ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"

TaskId = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
NodeId = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
Owner = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}\z")]
ClusterName = Annotated[str, StringConstraints(pattern=rf"^{ID}:{ID}\z")]
ScopeName = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
"""A named scope. It has no colon, so it is never taken for a cluster's."""
ActionName = Annotated[str, StringConstraints(pattern=rf"^{ID}:{ID}\z")]
DiscoveryName = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
BracketName = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
AttemptId = Annotated[str, StringConstraints(pattern=rf"^{ID}\.{ID}\.[0-9]+\z")]


def is_cluster(scope: str) -> bool:
    """Whether a scope is a cluster's; else it is a named one, whose capacity somebody declared."""
    return ":" in scope


def clusters_among(scopes: tuple[str, ...]) -> tuple[ClusterName, ...]:
    """Those of `scopes` that are a cluster's, in their order."""
    return tuple(scope for scope in scopes if is_cluster(scope))


def named_among(scopes: tuple[str, ...]) -> ScopeName | None:
    """The named scope among `scopes`: there is one at most."""
    return next((scope for scope in scopes if not is_cluster(scope)), None)


def draw_task_id() -> TaskId:
    """A random id for an ad-hoc task: 100 bits, readable aloud, no look-alike characters."""
    alphabet = "23456789abcdefghjkmnpqrstvwxyz"
    return "t-" + "".join(secrets.choice(alphabet) for _ in range(20))


def attempt_id(task: TaskId, node: NodeId, takes: int) -> AttemptId:
    """`<task>.<node>.<takes>`; every take of a node raises `takes`, which never goes back: ids never repeat."""
    return f"{task}.{node}.{takes}"


def attempt_node(attempt: AttemptId) -> NodeId:
    """The node in an attempt's id."""
    return attempt.split(".")[1]


def attempt_takes(attempt: AttemptId) -> int:
    """The count of takes in an attempt's id."""
    return int(attempt.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The names of an installation's queues. SQS names end at 80 characters, so the prefix has at most 11."""

    prefix: str = "taskerman"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,10}", self.prefix):
            raise UsageError(
                f"The queue prefix {self.prefix!r} is not 1 to 11 letters, digits, - or _.",
                next_step="Set TASKERMAN_QUEUE_PREFIX.",
            )

    @property
    def tasks(self) -> str:
        """The global queue."""
        return f"{self.prefix}-tasks"

    @property
    def dead_letter(self) -> str:
        """Where what cannot go on is announced."""
        return f"{self.prefix}-dead-letter"

    def node(self, node: NodeId) -> str:
        """The queue of one node: its doorbell."""
        return f"{self.prefix}-node-{node}"
