"""Ids: every one is safe as a znode name and as a part of a queue name."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import StringConstraints

__all__ = [
    "ActionName",
    "AttemptId",
    "ClusterName",
    "NodeId",
    "Owner",
    "TaskId",
    "attempt_id",
    "draw_task_id",
]

ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"

TaskId = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
NodeId = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]
Owner = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}\z")]
ClusterName = Annotated[str, StringConstraints(pattern=rf"^{ID}:{ID}\z")]
ActionName = Annotated[str, StringConstraints(pattern=rf"^{ID}:{ID}\z")]
AttemptId = Annotated[str, StringConstraints(pattern=rf"^{ID}\.{ID}\.[0-9]+\z")]


def draw_task_id() -> TaskId:
    """A random id for an ad-hoc task: 100 bits, readable aloud, no look-alike characters."""
    alphabet = "23456789abcdefghjkmnpqrstvwxyz"
    return "t-" + "".join(secrets.choice(alphabet) for _ in range(20))


def attempt_id(task: TaskId, node: NodeId, takes: int) -> AttemptId:
    """`<task>.<node>.<takes>`; every take of a node raises `takes`, which never goes back: ids never repeat."""
    return f"{task}.{node}.{takes}"
