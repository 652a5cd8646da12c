"""What janitors remember together: when they last rang everybody, and whom they declared gone in the last hour.

So that a new leader does not begin anew with what must not be done often. The cap on declarations is kept by the
record's version, in the declaring transaction: two leaders cannot both use the last one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from taskerman.coordination import layout
from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import NodeId
from taskerman.ports.tree import Committed, Create, Set, Tree

__all__ = ["Declared", "JanitorRecord", "janitor_record", "note_rung"]


class Declared(Noun):
    """A node that was declared gone, and when."""

    node: NodeId
    at: Timestamp


class JanitorRecord(Noun):
    """`/janitor`, persistent. `declared`: of the last hour."""

    v: Literal[1] = 1
    rung_at: Timestamp | None = None
    declared: tuple[Declared, ...] = ()


def janitor_record(tree: Tree) -> tuple[JanitorRecord, int]:
    """The record and its version; made where it is absent."""
    while (found := tree.get(layout.JANITOR)) is None:
        tree.commit([Create(layout.JANITOR, JanitorRecord().to_json())])
    return layout.decode(JanitorRecord, found, layout.JANITOR), found.stat.version


def note_rung(tree: Tree, at: datetime) -> bool:
    """Note that everybody was rung at `at`. False: somebody else noted something meanwhile; nothing was noted."""
    record, version = janitor_record(tree)
    after = record.model_copy(update={"rung_at": at})
    return isinstance(tree.commit([Set(layout.JANITOR, after.to_json(), version)]), Committed)
