"""A slot: one node's place in a scope. Its name says all that admission needs."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from taskerman.errors import Bug
from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import AttemptId, NodeId, TaskId, is_cluster

__all__ = ["ScopeRecord", "Slot", "SlotNote", "SlotState"]


class SlotState(StrEnum):
    """Why the node may be unhealthy: an attempt acts on it, or one ended and left it so."""

    ACTING = "acting"
    UNSAFE = "unsafe"
    LOST = "lost"

    @property
    def kept(self) -> bool:
        """Kept slots are the open breaker of their cluster."""
        return self is not SlotState.ACTING


class Slot(Noun):
    """`<node>~<cap>~<state>[~<task>]` below a scope. `cap`: the concurrency that its task promised; None of a task in a
    named scope, where the declared capacity binds it. A command's slot, which is in a named scope, has its promise
    there, and the holder's id for its node. `exclusive`: its task, if that admits no other task beside it."""

    node: NodeId
    cap: int | None = Field(ge=1)
    state: SlotState
    exclusive: TaskId | None = None

    @property
    def name(self) -> str:
        """Its name in the scope."""
        alone = "" if self.exclusive is None else f"~{self.exclusive}"
        return f"{self.node}~{self.cap or '-'}~{self.state.value}{alone}"

    def of_command(self, scope: str) -> bool:
        """Whether it is a command's: in a named scope only those have a cap."""
        return self.cap is not None and not is_cluster(scope)

    @classmethod
    def parse(cls, name: str) -> Slot:
        """The slot of that name. What cannot be read is a bug: skipping it would free a place that is taken."""
        try:
            node, cap, state, *alone = name.split("~")
            if len(alone) > 1:
                raise ValueError("it has too many parts")
            return cls(
                node=node,
                cap=None if cap == "-" else int(cap),
                state=SlotState(state),
                exclusive=alone[0] if alone else None,
            )
        except ValueError as error:
            raise Bug(f"{name!r} below a scope is not a slot: {error}") from error


class SlotNote(Noun):
    """The data of a slot, for people."""

    v: Literal[1] = 1
    task: TaskId
    attempt: AttemptId
    at: Timestamp
    why: str = ""


class ScopeRecord(Noun):
    """`/scopes/<s>`. Its version is the lock: every take rewrites it unchanged. `capacity`: of a named scope, as it was
    declared; None for a cluster's, and for a named one before that."""

    v: Literal[1] = 1
    capacity: int | None = Field(default=None, ge=0)
