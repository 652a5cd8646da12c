"""Getting in, in memory: what is waited for, for how long, who is passed, and that nothing begins on a guess."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman.adapters.clock import SystemClock
from taskerman.coordination import layout
from taskerman.coordination.commands import CommandMoves, Ready, Shut, ShutBy, Wish
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import CoordinationUnavailable, RefusedByState, WaitRanOut
from taskerman.exclusive import entering
from taskerman.exclusive.entering import Entering, Interrupted
from taskerman.exclusive.host import this_host
from taskerman.exclusive.kit import Kit, Order
from taskerman.exclusive.notes import Notes
from taskerman.exclusive.recovering import Recovering
from taskerman.exclusive.signals import Signals
from taskerman.model.plan import ScopePlace
from taskerman.ports.tree import Create, Op
from taskerman.testing.clock import ManualClock
from taskerman.testing.tree import LostAnswer, MemoryServer, MemoryTree
from tests.support.commands import END, NOW, found_installation, record_of
from tests.support.protocol_tasks import TaskShape, plan_of

SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=60)


class Ground:
    """One server, one host, and what was said; `losing`: what becomes of the answers to the next takes."""

    def __init__(self) -> None:
        self.losing: list[LostAnswer] = []
        self.server = MemoryServer(faults=self._faults)
        self.tree = self.server.client()
        self.tree.open()
        found_installation(self.tree)
        self.said: list[str] = []
        self.hear: Callable[[str], None] = lambda text: None
        self.kit = Kit(
            connect=self.server.client,
            clock=SystemClock(),
            host=this_host("web-1", Path("/proc/sys/kernel/random/boot_id")),
            by="ada@laptop",
            notes=(),
            say=self._say,
            path="",
            pass_after=timedelta(seconds=0.1),
        )

    def _say(self, text: str) -> None:
        self.said.append(text)
        self.hear(text)

    def _faults(self, tree: MemoryTree, ops: Sequence[Op]) -> LostAnswer | None:
        takes = any(isinstance(op, Create) and op.path.startswith(layout.COMMANDS) for op in ops)
        return self.losing.pop(0) if takes and self.losing else None

    def entering(self, signals: Signals, wait: timedelta | None = None, holder: str = "web-1-x22222222") -> Entering:
        order = Order("backup", ("true",), wait=wait)
        wish = Wish(holder, "web-1", "backup", 1)
        return Entering(self.kit, order, wish, "/bin/true", signals, Recovering(self.kit, Notes(())))

    def somebody(self, holder: str = "web-9-x22222222") -> None:
        """Another host's command is in the scope."""
        moves = CommandMoves(self.tree)
        moves.prepare()
        one = Wish(holder, "web-9", "backup", 1)
        ready = moves.look(one) or moves.look(one)
        assert isinstance(ready, Ready)
        assert moves.take(ready, record_of(one))

    def leaves(self, holder: str = "web-9-x22222222") -> None:
        CommandMoves(self.tree).end(holder, END)

    def holders(self) -> list[str]:
        listing = self.tree.children(layout.scope("backup"))
        return [slot.node for slot in layout.slots(listing.names)] if listing else []

    def places(self) -> tuple[str, ...]:
        listing = self.tree.children(layout.command_waits("backup"))
        return listing.names if listing else ()


class Gate:
    """Stands for the command's process: ours, which lives."""

    made = 0

    def __init__(self, *_: object) -> None:
        self.pid = os.getpid()
        Gate.made += 1


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setattr(entering, "Running", Gate)
    Gate.made = 0
    return Ground()


def test_where_there_is_room_it_enters_and_leaves_no_place(ground: Ground) -> None:
    with Signals() as signals:
        record = ground.entering(signals, LONG).enter()
    assert ground.holders() == [record.holder]
    assert ground.places() == ()


def test_who_is_not_to_wait_gives_up_at_once_without_a_process(ground: Ground) -> None:
    ground.somebody()
    with Signals() as signals, pytest.raises(RefusedByState, match="web-9-x22222222"):
        ground.entering(signals).enter()
    assert Gate.made == 0


def test_it_waits_and_says_why_once_and_enters_when_the_slot_is_free(ground: Ground) -> None:
    ground.somebody()
    ground.hear = lambda text: ground.leaves()
    with Signals() as signals:
        ground.entering(signals, LONG).enter()
    assert [text.partition(":")[0] for text in ground.said] == ["waiting"]


def test_a_wait_that_ran_out_is_told_and_leaves_nothing(ground: Ground) -> None:
    ground.somebody()
    with Signals() as signals, pytest.raises(WaitRanOut, match="web-9-x22222222"):
        ground.entering(signals, SHORT).enter()
    assert ground.places() == ()
    assert ground.holders() == ["web-9-x22222222"]


def test_a_hold_on_everything_is_waited_for_and_named(ground: Ground) -> None:
    person = OperatorMoves(ground.tree, "ada@laptop", lambda: NOW)
    person.hold("*", "incident 7")

    def lift(text: str) -> None:
        person.unhold("*", "over")

    ground.hear = lift
    with Signals() as signals:
        ground.entering(signals, LONG).enter()
    assert "incident 7" in ground.said[0]


def test_a_signal_ends_the_waiting(ground: Ground) -> None:
    ground.somebody()
    with Signals() as signals:
        ground.hear = lambda text: signals.asked.append(15)
        with pytest.raises(Interrupted):
            ground.entering(signals, LONG).enter()
    assert ground.places() == ()


@pytest.mark.parametrize("became", list(LostAnswer), ids=lambda became: became.value)
def test_a_take_without_an_answer_begins_once_and_only_when_it_is_known(ground: Ground, became: LostAnswer) -> None:
    ground.losing = [became]
    with Signals() as signals:
        record = ground.entering(signals, LONG).enter()
    while ground.server.late:
        ground.server.deliver_late()
    assert ground.holders() == [record.holder]
    assert Gate.made == 1


def test_a_take_of_which_nobody_can_tell_begins_nothing_and_is_not_tried_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it is to wait for long: to try again beside a take that may be there would be a guess."""
    monkeypatch.setattr(entering, "_SETTLE_S", 0.0)
    ground.losing = [LostAnswer.APPLIED]

    def away(*_: object) -> bool:
        raise CoordinationUnavailable("ZooKeeper does not answer.")

    monkeypatch.setattr(CommandMoves, "settle", away)
    with Signals() as signals, pytest.raises(CoordinationUnavailable, match="so nothing was begun"):
        ground.entering(signals, LONG).enter()
    assert ground.holders() == ["web-1-x22222222"], "the next command of this host frees it"


def lane_waits(ground: Ground) -> str:
    """A lane of a task has a place in the scope's queue."""
    header = plan_of("t-1", TaskShape(nodes=("n0",)), ManualClock(NOW)).header
    place = ScopePlace(lane=header.lanes[0].name, node="n0", header=header)
    ground.tree.ensure(layout.waits("backup"))
    ground.tree.commit([Create(f"{layout.waits('backup')}/", place.to_json(), sequence=True)])
    return header.task


def test_lanes_of_tasks_go_first_and_who_does_not_wait_is_told(ground: Ground) -> None:
    task = lane_waits(ground)
    with Signals() as signals, pytest.raises(RefusedByState, match=f"Task {task} waits"):
        ground.entering(signals).enter()
    assert ground.holders() == []


def test_a_lane_that_does_not_go_is_passed_after_a_while(ground: Ground) -> None:
    lane_waits(ground)
    with Signals() as signals:
        ground.entering(signals, LONG).enter()
    assert "goes first" in ground.said[0]


def test_a_lane_that_goes_on_is_not_passed(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something moves it is waited for: nobody is passed who only has much to do."""
    lane_waits(ground)
    look, moved = CommandMoves.look, iter(range(10**9))

    def moving(self: object, wish: Wish, **how: bool) -> object:
        found = look(self, wish, **how)  # type: ignore[arg-type]
        return replace(found, moves=next(moved)) if isinstance(found, Shut) and found.by is ShutBy.TASKS else found

    monkeypatch.setattr(CommandMoves, "look", moving)
    with Signals() as signals, pytest.raises(WaitRanOut):
        ground.entering(signals, timedelta(seconds=2.5)).enter()


def test_without_zookeeper_it_waits_as_long_as_it_is_told_and_says_so(ground: Ground) -> None:
    away: list[MemoryTree] = []

    def connect() -> MemoryTree:
        away.append(ground.server.client())
        ground.server.cut(away[-1])
        return away[-1]

    ground.kit = replace(ground.kit, connect=connect)
    for wait in (None, SHORT):
        with Signals() as signals, pytest.raises(CoordinationUnavailable):
            ground.entering(signals, wait).enter()
    ground.hear = lambda text: ground.server.heal(away[-1])
    with Signals() as signals:
        ground.entering(signals, LONG).enter()
    assert ground.holders() == ["web-1-x22222222"]
