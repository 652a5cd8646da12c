"""The agent's session with the tree: opened when there is work, START and all, and closed when there is none.

A node without work holds no session; an outage is waited out here, by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from taskerman.agent.belonging import known, nothing_runs_on, unrecorded
from taskerman.agent.kit import LOOK_AGAIN_S, Kit
from taskerman.coordination.belonging import arrive, forget_report, put_back
from taskerman.coordination.node_moves import NodeMoves, Started
from taskerman.errors import AnswerUnknown, CoordinationUnavailable
from taskerman.policy.belonging import Belongs
from taskerman.ports.tree import Link, Tree
from taskerman.stopping import StopSign

__all__ = ["Draining", "Session", "Sessions"]

T = TypeVar("T")
_START_TRIES = 3


class Draining(Exception):
    """The agent was asked to stop while it could not go on."""


@dataclass(slots=True)
class Session:
    """A living connection, and this incarnation's moves over it. `idle_since`: monotonic seconds."""

    tree: Tree
    moves: NodeMoves
    idle_since: float | None = None


class Sessions:
    """At most one at a time. Used on the agent's one thread; `wake` is called on the tree's."""

    def __init__(self, kit: Kit, connect: Callable[[], Tree], stop: StopSign, wake: Callable[[], None]) -> None:
        """`connect` makes a new client of the tree, not yet open. `wake` must not block: something may have changed."""
        self._kit = kit
        self._connect = connect
        self._stop = stop
        self.wake = wake
        self.current: Session | None = None

    def open(self) -> tuple[Session, Started]:
        """Connect and become the node's one incarnation.

        Raises `CoordinationUnavailable` (call again), `InstallationRefused` (call again later: a person must look),
        `StopNow`: the node is gone.
        """
        tree = self._connect()
        try:
            tree.open()
            tree.on_link(self._linked)
            kit = self._kit
            moves = NodeMoves(
                tree,
                kit.node,
                kit.journal.now.uuid,
                monotonic=kit.clock.monotonic,
                patience=kit.profile.patience,
            )
            started = self._arrive(tree, moves)
        except BaseException:
            tree.close()
            raise
        self.current = Session(tree, moves)
        return self.current, started

    def close(self) -> None:
        """End the session, and with it this node's places in lines. Idempotent."""
        if self.current is not None:
            self.current.tree.close()
            self.current = None

    def rest(self, session: Session) -> float:
        """Nothing is to be done: after a while the session is closed. The answer: for how many seconds nothing is."""
        now = self._kit.clock.monotonic()
        if session.idle_since is None:
            session.idle_since = now
        left = session.idle_since + self._kit.profile.idle_session.total_seconds() - now
        if left > 0:
            return left
        self.close()
        return LOOK_AGAIN_S

    def insist(self, move: Callable[[], T]) -> T:
        """Repeat a move until somebody answers. Only asking the agent to stop ends it: then raises `Draining`."""
        while True:
            self._kit.pulse.beat()
            try:
                return move()
            except CoordinationUnavailable:
                if self._stop.wait(0.1 + 0.3 * self._kit.throw()):
                    raise Draining from None

    def _arrive(self, tree: Tree, moves: NodeMoves) -> Started:
        kit = self._kit
        journal, now = kit.journal.now, kit.clock.now()
        left = unrecorded(journal, kit.profile.clusters)
        belongs = arrive(tree, kit.node, known(journal), left, now)
        accepted = belongs is Belongs.ACCEPTED
        if accepted and left is not None:
            # Nobody here knows of that action: its slot first, and not a second one beside it on this node.
            put_back(tree, kit.node, left, "its action was under way in an installation that is no more", now)
            nothing_runs_on(journal, kit.profile.boot_id_path)
        started = self._start(moves, accepted=accepted)
        installation = moves.installation().installation
        kit.note_down(installation=installation, epoch=moves.epoch, takes=moves.record.takes)
        if accepted:
            kit.say("installation_accepted", "warning", installation=installation, was=journal.installation)
            forget_report(tree, kit.node)
        return started

    def _start(self, moves: NodeMoves, *, accepted: bool) -> Started:
        for last in (*[False] * (_START_TRIES - 1), True):
            try:
                return moves.start(known(self._kit.journal.now), accepted=accepted)
            except AnswerUnknown:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _linked(self, link: Link) -> None:
        if link is not Link.DOWN:
            self.wake()
