"""A random walk of commands under slots: hosts that look, take, lose answers, crash, and recover, and a judge.

The judge keeps a list of its own of what runs, and looks at the tree after every commit: it believes no answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskerman.coordination import layout
from taskerman.coordination.commands import CommandMoves, Ready, Wish
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, RefusedByState
from taskerman.model.hold import Control
from taskerman.model.slot import ScopeRecord, Slot
from taskerman.ports.tree import Committed, Create, Op, Refused
from taskerman.testing.tree import LostAnswer, MemoryServer, MemoryTree
from tests.support.commands import END, NOW, found_installation, record_of

SCOPES = ("wire", "disk")
HOSTS = ("a", "b", "c")


@dataclass
class Command:
    """One command on its way, as its wrapper knows it."""

    wish: Wish
    moves: CommandMoves
    tree: MemoryTree
    ready: Ready | None = None
    unknown: bool = False
    state: str = "looking"


@dataclass
class Walk:
    """`seed` decides everything. `steps`: how long."""

    seed: int
    steps: int = 250
    arrived: int = 0
    begun: int = 0
    lost: int = 0
    _running: dict[str, Wish] = field(default_factory=dict)

    def go(self) -> None:
        """Walk, and then let everything end. Raises `AssertionError` when a promise was broken."""
        self.dice = random.Random(self.seed)
        self.server = MemoryServer(faults=self._faults)
        self.faulty = False
        self.control = self.server.client()
        self.control.open()
        found_installation(self.control)
        self.server.after_commit = self._judge
        self.person = OperatorMoves(self.control, "ada@laptop", lambda: NOW)
        self.commands: list[Command] = []
        self.faulty = True
        for _ in range(self.steps):
            self._step()
        self._end()

    # --- what happens ------------------------------------------------------------------------------------

    def _step(self) -> None:
        what = self.dice.random()
        if what < 0.12 or not self.commands:
            self._arrive()
        elif what < 0.16:
            self._crash()
        elif what < 0.22:
            self._recover(self.dice.choice(HOSTS))
        elif what < 0.25:
            self._person_acts()
        elif what < 0.29 and self.server.late:
            self.server.deliver_late(self.dice.randrange(len(self.server.late)))
        else:
            self._go_on(self.dice.choice(self.commands))

    def _arrive(self) -> None:
        tree = self.server.client()
        tree.open()
        host, scope, promise = self.dice.choice(HOSTS), self.dice.choice(SCOPES), self.dice.choice((1, 1, 2, 3))
        self.arrived += 1
        one = Wish(f"{host}-x{self.arrived:08}", host, scope, promise)
        moves = CommandMoves(tree)
        self.commands.append(Command(one, moves, tree))

    def _go_on(self, one: Command) -> None:
        try:
            if one.state == "looking" and one.unknown:
                assert one.ready is not None
                happened = one.moves.settle(one.ready)
                one.unknown, one.ready = False, None
                if happened:
                    self._begin(one)
            elif one.state == "looking" and one.ready is None:
                one.moves.prepare()
                found = one.moves.look(one.wish)
                one.ready = found if isinstance(found, Ready) else None
            elif one.state == "looking" and one.ready is not None:
                try:
                    taken = one.moves.take(one.ready, record_of(one.wish))
                except AnswerUnknown:
                    one.unknown = True
                    self.lost += 1
                    return
                one.ready = None
                if taken:
                    self._begin(one)
            elif one.state == "running":
                self._running.pop(one.wish.holder)
                one.state = "ending"
            elif one.state == "ending":
                one.moves.end(one.wish.holder, END)
                self.commands.remove(one)
                one.tree.close()
        except CoordinationUnavailable:
            pass  # it tries again when it is its turn

    def _begin(self, one: Command) -> None:
        self.begun += 1
        there = [each for each in self._running.values() if each.scope == one.wish.scope]
        most = min([one.wish.promise, *(each.promise for each in there)])
        assert len(there) + 1 <= most, f"{len(there) + 1} run in {one.wish.scope}, and {most} were promised"
        self._running[one.wish.holder] = one.wish
        one.state = "running"

    def _crash(self) -> None:
        """The wrapper dies, wherever it was; its command may live on, unseen."""
        one = self.dice.choice(self.commands)
        self.commands.remove(one)
        one.tree.close()
        if self.dice.random() < 0.5:
            self._running.pop(one.wish.holder, None)

    def _recover(self, host: str) -> None:
        """As the next command of the host does: what has no process any more is lost."""
        tree = self.server.client()
        tree.open()
        mine = {one.wish.holder for one in self.commands}
        try:
            moves = CommandMoves(tree)
            for known in moves.running(host):
                holder = known.record.holder
                if holder in self._running and holder not in mine and self.dice.random() < 0.3:
                    self._running.pop(holder)  # what its wrapper left has ended by itself
                if holder not in self._running and holder not in mine:
                    moves.end(holder, END)
        except CoordinationUnavailable:
            pass
        finally:
            tree.close()

    def _person_acts(self) -> None:
        try:
            if self.dice.random() < 0.5:
                self.person.set_capacity("wire", self.dice.choice((0, 1, 2, 5)), "x")
            elif self.dice.random() < 0.5:
                self.person.hold("*", "x")
            else:
                self.person.unhold("*", "x")
        except (CoordinationUnavailable, RefusedByState):
            pass
        except Exception as error:
            if type(error).__name__ != "NotFound":
                raise

    def _faults(self, tree: MemoryTree, ops: Sequence[Op]) -> LostAnswer | None:
        if not self.faulty or tree is self.control or self.dice.random() > 0.12:
            return None
        return self.dice.choice(list(LostAnswer))

    # --- what must be so ---------------------------------------------------------------------------------

    def _judge(self, ops: Sequence[Op], result: Committed | Refused) -> None:
        if not isinstance(result, Committed):
            return
        for op in ops:
            if not (isinstance(op, Create) and op.path.startswith(f"{layout.COMMANDS}/")):
                continue
            tree = self.server.dump()
            assert not Control.model_validate_json(tree[layout.CONTROL].data).holds, "it was taken under a hold"
            (path,) = [each.path for each in ops if isinstance(each, Create) and each.path.startswith("/scopes/")]
            scope = path.split("/")[2]
            there = [Slot.parse(each.split("/")[3]) for each in tree if each.startswith(f"/scopes/{scope}/")]
            capacity = ScopeRecord.model_validate_json(tree[layout.scope(scope)].data).capacity
            most = min([slot.cap or 99 for slot in there] + ([] if capacity is None else [capacity]))
            assert len(there) <= most, f"{len(there)} slots in {scope}, and {most} were promised"

    def _end(self) -> None:
        """Without faults everything ends, and no slot is left."""
        self.faulty = False
        while self.server.late:
            self.server.deliver_late()
        self.commands.clear()
        self._running.clear()
        for host in HOSTS:
            self._recover(host)
        left = [path for path in self.server.dump() if path.startswith("/scopes/") and path.count("/") == 3]
        assert not left, left
