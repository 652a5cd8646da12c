"""Who leads where many stand by: one ephemeral record a role.

A leader is not a lock. For a moment there may be two (one whose session ended while it was frozen, and its
successor), so nothing may be safe *because* one leads: every move carries its own conditions, and leading only spares
the work of doing everything many times. Who leads also learns the tree's own time, to know whether its clock is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from taskerman.coordination import layout
from taskerman.errors import AnswerUnknown
from taskerman.model.base import Noun, Timestamp
from taskerman.ports.tree import Committed, Create, Delete, Record, Set, Stat, Tree

__all__ = ["LeaderRecord", "Leadership", "Leading"]


class LeaderRecord(Noun):
    """`/leaders/<role>`, ephemeral. `who`: for people."""

    v: Literal[1] = 1
    who: str
    since: Timestamp


@dataclass(frozen=True, slots=True)
class Leading:
    """We lead. `term`: rises whenever we came to lead anew; what was watched in an earlier term counts no more.

    `tree_time`: the tree's clock when it took our last word.
    """

    term: int
    tree_time: datetime


class Leadership:
    """One candidate for one role. Used from one thread."""

    def __init__(self, tree: Tree, role: str, who: str) -> None:
        """`who`: this process, for people, such as `host:pid`."""
        self._tree = tree
        self._role = role
        self._who = who
        self._term = 0
        self._session: int | None = None

    def seek(self, now: datetime) -> Leading | None:
        """Lead, or go on leading, if nobody else does. None: somebody else leads; ask again soon.

        Each call of a leader is a write that only a leader can do, so an answer is at most one call old. Raises
        `CoordinationUnavailable`: nobody can say; then do nothing as a leader until it is answered.
        """
        path = layout.leader(self._role)
        for _ in range(3):
            found = self._tree.get(path)
            session = self._tree.session
            if found is None:
                self._become(path, now)
                continue
            if session is None or found.stat.owner != session:
                return None
            stat = self._confirm(path, found)
            if stat is not None:
                if self._session != session:
                    self._session, self._term = session, self._term + 1
                return Leading(self._term, datetime.fromtimestamp(stat.changed_ms / 1000, UTC))
        return None

    def resign(self) -> None:
        """Let somebody else lead. Idempotent; without an answer the end of the session does it."""
        path = layout.leader(self._role)
        found = self._tree.get(path)
        if found is not None and found.stat.owner == self._tree.session:
            self._tree.commit([Delete(path, found.stat.version)])
        self._session = None

    def _become(self, path: str, now: datetime) -> None:
        self._tree.ensure(layout.LEADERS)
        try:
            self._tree.commit([Create(path, LeaderRecord(who=self._who, since=now).to_json(), ephemeral=True)])
        except AnswerUnknown:
            return  # the next look tells whose record it is

    def _confirm(self, path: str, found: Record) -> Stat | None:
        done = self._tree.commit([Set(path, found.data, found.stat.version)])
        if not isinstance(done, Committed):
            return None
        (stat,) = done.results
        assert isinstance(stat, Stat)
        return stat
