"""Changing what is committed, or the code that commits: how a rule of the protocol is taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from taskerman.coordination import layout
from taskerman.model.audit import AuditEntry
from taskerman.ports.tree import Check, Create, Delete, Op, Set
from tests.support.protocol_scenes import Scene

__all__ = [
    "Mutation",
    "closes",
    "ends",
    "joins",
    "notes",
    "sweeps",
    "takes",
    "unversioned",
    "verb",
    "without",
]

Edit = Callable[[list[Op]], list[Op]]


@dataclass(frozen=True)
class Mutation:
    """`edit` changes what is committed, `patch` the code. It shows in `scene`, or without one in a random walk."""

    edit: Edit | None = None
    patch: Callable[[], AbstractContextManager[object]] = nullcontext
    scene: Scene | None = None


def verb(ops: Sequence[Op]) -> str:
    """The verb that this commit is audited as."""
    for op in ops:
        if isinstance(op, Create) and op.path == f"{layout.AUDIT}/":
            return AuditEntry.model_validate_json(op.data).verb
    return ""


def takes(ops: Sequence[Op]) -> bool:
    """A TAKE."""
    return any(isinstance(op, Create) and op.path.endswith("~acting") for op in ops)


def joins(ops: Sequence[Op]) -> bool:
    """A JOIN."""
    return any(isinstance(op, Create) and op.ephemeral and "/line/" in op.path for op in ops)


def ends(ops: Sequence[Op]) -> bool:
    """An END of an attempt."""
    return not verb(ops) and any(isinstance(op, Delete) and op.path.endswith("~acting") for op in ops)


def sweeps(ops: Sequence[Op]) -> bool:
    """An end of what did not act."""
    return isinstance(ops[0], Check) and any(isinstance(op, Create) and "/end/" in op.path for op in ops)


def closes(ops: Sequence[Op]) -> bool:
    """A CLOSE by a router."""
    return isinstance(ops[0], Check) and all(isinstance(op, Delete) and "/open/" in op.path for op in ops[1:])


def notes(ops: Sequence[Op]) -> bool:
    """A note on an end."""
    return not verb(ops) and any(isinstance(op, Set) and "/end/" in op.path for op in ops)


def without(when: Callable[[Sequence[Op]], bool], what: Callable[[Op], bool]) -> Edit:
    """The commits that `when` knows, without the operations that `what` knows."""

    def edit(ops: list[Op]) -> list[Op]:
        return ([op for op in ops if not what(op)] or ops) if when(ops) else ops

    return edit


def unversioned(when: Callable[[Sequence[Op]], bool], *where: str) -> Edit:
    """The commits that `when` knows, with no versions on what they set or delete there."""

    def edit(ops: list[Op]) -> list[Op]:
        if not when(ops):
            return ops
        return [
            replace(op, version=None) if isinstance(op, Set | Delete) and any(w in op.path for w in where) else op
            for op in ops
        ]

    return edit
