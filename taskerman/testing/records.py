"""The state that `MemoryServer` serves: ZooKeeper's rules for records and transactions, and nothing else.

No sessions' life, no watches, no locks, no faults: those are `tree`'s. What ZooKeeper does here was read off the real
server and is held to it by a differential test, so a rule is changed only together with that test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from taskerman.ports.tree import (
    Check,
    Committed,
    Create,
    Delete,
    Names,
    Op,
    Record,
    Refusal,
    Refused,
    Set,
    Stat,
    parent_of,
)

__all__ = ["Event", "Records", "Watched"]


class Watched(Enum):
    """The two kinds of watch. `Get` and `Exists` share one, as they do in ZooKeeper."""

    DATA = "data"
    CHILDREN = "children"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that watches of `kind` on `path` are fired for."""

    kind: Watched
    path: str


@dataclass(slots=True)
class _Node:
    data: bytes
    owner: int
    created_ms: int
    changed_ms: int
    version: int = 0
    # Every child ever created. ZooKeeper numbers sequential children by it, and derives the children version that
    # it shows from it: creates + deletes = 2 * creates - those that are left.
    creates: int = 0
    names: set[str] = field(default_factory=set)

    def stat(self) -> Stat:
        return Stat(
            version=self.version,
            children_version=2 * self.creates - len(self.names),
            owner=self.owner,
            created_ms=self.created_ms,
            changed_ms=self.changed_ms,
            children=len(self.names),
        )


class Records:
    """A tree of records that starts with an empty root. Not safe for several threads: its owner locks."""

    def __init__(self, now_ms: int) -> None:
        """`now_ms`: the time at which the root was created, milliseconds since the epoch."""
        self._nodes: dict[str, _Node] = {"/": _Node(b"", 0, now_ms, now_ms)}

    # --- reads -------------------------------------------------------------------------------------------

    def record(self, path: str) -> Record | None:
        """Data and stat, or None where there is no such record."""
        node = self._nodes.get(path)
        return None if node is None else Record(node.data, node.stat())

    def stat(self, path: str) -> Stat | None:
        """The stat, or None where there is no such record."""
        node = self._nodes.get(path)
        return None if node is None else node.stat()

    def children(self, path: str) -> Names | None:
        """The names of the children, or None where there is no such record."""
        node = self._nodes.get(path)
        return None if node is None else Names(tuple(sorted(node.names)), node.stat())

    def paths(self) -> tuple[str, ...]:
        """Every path there is, sorted."""
        return tuple(sorted(self._nodes))

    def copy(self) -> Records:
        """The same state, independent from now on."""
        return copy.deepcopy(self)

    # --- writes ------------------------------------------------------------------------------------------

    def apply(self, ops: Sequence[Op], session: int, now_ms: int) -> tuple[Committed | Refused, list[Event]]:
        """Do all of `ops` or nothing; with the events to fire for it, in order.

        Each operation is judged by the state that the earlier ones left. `session` becomes the owner of ephemeral
        records.
        """
        results: list[str | Stat | None] = []
        events: list[Event] = []
        undo: list[Callable[[], None]] = []
        for index, op in enumerate(ops):
            why = self._refusal(op)
            if why is not None:
                for back in reversed(undo):
                    back()
                return Refused(why, index, op.path), []
            results.append(self._perform(op, session, now_ms, undo, events))
        return Committed(tuple(results)), events

    def end(self, session: int) -> list[Event]:
        """Remove what a session owned; with the events to fire for it."""
        events: list[Event] = []
        for path in sorted(path for path, node in self._nodes.items() if node.owner == session):
            self._remove(path, [], events)
        return events

    def _refusal(self, op: Op) -> Refusal | None:
        if isinstance(op, Create):
            return self._creation_refusal(op)
        node = self._nodes.get(op.path)
        if node is None:
            return Refusal.NO_NODE
        if op.version is not None and op.version != node.version:
            return Refusal.BAD_VERSION
        if isinstance(op, Delete) and node.names:
            return Refusal.NOT_EMPTY
        return None

    def _creation_refusal(self, op: Create) -> Refusal | None:
        parent = self._nodes.get(parent_of(op.path))
        if parent is None:
            return Refusal.NO_NODE
        if self._name(op, parent) in self._nodes:
            return Refusal.NODE_EXISTS
        return Refusal.NO_CHILDREN_FOR_EPHEMERALS if parent.owner else None

    @staticmethod
    def _name(op: Create, parent: _Node) -> str:
        return f"{op.path}{parent.creates:010d}" if op.sequence else op.path

    def _perform(
        self, op: Op, session: int, now_ms: int, undo: list[Callable[[], None]], events: list[Event]
    ) -> str | Stat | None:
        match op:
            case Create():
                return self._add(op, session if op.ephemeral else 0, now_ms, undo, events)
            case Set():
                node = self._nodes[op.path]
                before = (node.data, node.version, node.changed_ms)

                def restore() -> None:
                    node.data, node.version, node.changed_ms = before

                undo.append(restore)
                node.data, node.version, node.changed_ms = op.data, node.version + 1, now_ms
                events.append(Event(Watched.DATA, op.path))
                return node.stat()
            case Delete():
                self._remove(op.path, undo, events)
                return None
            case Check():
                return None

    def _add(self, op: Create, owner: int, now_ms: int, undo: list[Callable[[], None]], events: list[Event]) -> str:
        parent = self._nodes[parent_of(op.path)]
        path = self._name(op, parent)
        name = path.rpartition("/")[2]

        def remove() -> None:
            del self._nodes[path]
            parent.names.remove(name)
            parent.creates -= 1

        undo.append(remove)
        self._nodes[path] = _Node(op.data, owner, now_ms, now_ms)
        parent.names.add(name)
        parent.creates += 1
        events += [Event(Watched.DATA, path), Event(Watched.CHILDREN, parent_of(path))]
        return path

    def _remove(self, path: str, undo: list[Callable[[], None]], events: list[Event]) -> None:
        node = self._nodes.pop(path)
        parent, name = self._nodes[parent_of(path)], path.rpartition("/")[2]
        parent.names.remove(name)

        def bring_back() -> None:
            self._nodes[path] = node
            parent.names.add(name)

        undo.append(bring_back)
        events += [
            Event(Watched.DATA, path),
            Event(Watched.CHILDREN, path),
            Event(Watched.CHILDREN, parent_of(path)),
        ]
