"""Admission: every question, in the order in which a careful operator asks them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskerman.model.assignment import Progress
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.breaker import ClusterRecord, RecentFailure
from taskerman.model.hold import Hold
from taskerman.model.outcome import Outcome
from taskerman.model.slot import Slot, SlotState
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.model.window import Blackout, WeeklyWindow, WindowArgs
from taskerman.policy.admission import admit, gate, others_ahead
from taskerman.policy.snapshot import Admitted, ClusterSeen, LaneAhead, Reason, ScopeSeen, Snapshot, Waiting

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
CLUSTER = "demo:web"


def hold(on: str) -> Hold:
    """A hold."""
    return Hold(id="h1", on=on, why="an incident", by="ann", at=NOW)


def slot(node: str, cap: int | None = 1, state: SlotState = SlotState.ACTING, exclusive: str | None = None) -> Slot:
    """A slot."""
    return Slot(node=node, cap=cap, state=state, exclusive=exclusive)


def clusters(*slots: Slot, also: tuple[Slot, ...] | None = None) -> tuple[ClusterSeen, ...]:
    """The task's cluster with these slots, and another cluster of the node, if there is one."""
    own = ClusterSeen(CLUSTER, slots)
    return (own,) if also is None else (own, ClusterSeen("demo:also", also))


FREE = Snapshot(
    task="t",
    node="n0",
    cluster=CLUSTER,
    owner="gsi",
    cap=2,
    max_failures=0,
    not_after=LATER,
    control=TaskControl(),
    record=NodeRecord(epoch=1),
    progress=Progress(),
)
ATTEMPT = Attempt(id="other.n0.1", task="other", cluster=CLUSTER, k=1, cap=1, scopes=(CLUSTER,))
SHUT = Waiting(Reason.HOLD, "a hold")

SHUT_WINDOW = WindowArgs(windows=(WeeklyWindow(opens="22:00", closes="04:00"),))

IN_ORDER: list[tuple[Reason, dict[str, object], datetime | None]] = [
    (Reason.ENDED, {"ended": Outcome.SUCCEEDED}, None),
    (Reason.NODE_GONE, {"record": NodeRecord(gone=True)}, None),
    (Reason.EXPIRED, {"not_after": NOW}, None),
    (Reason.NOT_OPEN, {"control": TaskControl(state=TaskState.HALTED, why="n1 ended failed")}, None),
    (Reason.PARKED, {"control": TaskControl(state=TaskState.PARKED, why="6 nodes where 60 were known")}, None),
    (Reason.NODE_BUSY, {"record": NodeRecord(attempt=ATTEMPT)}, None),
    (Reason.REVOKED, {"record": NodeRecord(revoke="t.n0.1")}, None),
    (Reason.BACKOFF, {"progress": Progress(next_at=LATER)}, LATER),
    (Reason.HOLD, {"holds": (hold("*"),)}, None),
    (Reason.CLUSTER_WAITS, {"control": TaskControl(wait_until=LATER)}, LATER),
    (Reason.BREAKER, {"clusters": (ClusterSeen(CLUSTER, record=ClusterRecord(open_until=LATER)),)}, LATER),
    (Reason.KEPT_SLOT, {"clusters": clusters(slot("n1", 5, SlotState.LOST))}, None),
    (Reason.BUDGET, {"control": TaskControl(failed={"n1": FailureMark.RETRYING})}, None),
    (Reason.SCOPE_UNKNOWN, {"scopes": (ScopeSeen("S", None),)}, None),
    (Reason.CLOCK, {"window": SHUT_WINDOW, "clock_off": timedelta(seconds=31)}, None),
    (Reason.WINDOW, {"window": SHUT_WINDOW, "clock_off": timedelta(seconds=-30)}, NOW + timedelta(hours=10)),
    (Reason.OLDER_TASK, {"ahead": (LaneAhead("older", "n7", None),)}, None),
    (Reason.NOT_IN_LINE, {"place": None}, None),
    (Reason.PLACE, {"place": 2}, None),
    (Reason.SCOPE_TURN, {"scopes": (ScopeSeen("S", 9, waiting=(("other", "0"),)),)}, None),
    (Reason.EXCLUSIVE, {"clusters": clusters(slot("n1", 5, exclusive="other"))}, None),
    (Reason.NO_ROOM, {"clusters": clusters(slot("n1", 1))}, None),
    (Reason.SCOPE_FULL, {"scopes": (ScopeSeen("S", 1, (slot("n1"),)),)}, None),
]


def test_what_nothing_forbids_is_admitted() -> None:
    assert admit(FREE, NOW) == Admitted()


@pytest.mark.parametrize(("reason", "fields", "until"), IN_ORDER, ids=[r.value for r, _, _ in IN_ORDER])
def test_each_reason_alone_makes_it_wait_and_says_until_when(
    reason: Reason, fields: dict[str, object], until: datetime | None
) -> None:
    said = admit(replace(FREE, **fields), NOW)  # type: ignore[arg-type]
    assert isinstance(said, Waiting)
    assert (said.reason, said.until) == (reason, until)
    assert said.text.endswith(".")


def test_every_reason_is_in_the_table() -> None:
    assert {reason for reason, _, _ in IN_ORDER} == set(Reason)


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_of_two_reasons_the_earlier_question_is_answered(first: int) -> None:
    """So that a person first reads what matters most, and the agent and explain the same."""
    for second in range(first + 1, len(IN_ORDER)):
        earlier, later = IN_ORDER[first], IN_ORDER[second]
        if set(earlier[1]) & set(later[1]):
            continue  # they are of the same field
        said = admit(replace(FREE, **{**later[1], **earlier[1]}), NOW)  # type: ignore[arg-type]
        assert isinstance(said, Waiting)
        assert said.reason is earlier[0]


@pytest.mark.parametrize(
    ("on", "stops"),
    [
        ("*", True),
        (f"cluster:{CLUSTER}", True),
        ("owner:gsi", True),
        ("cluster:demo:other", False),
        ("owner:dba", False),
    ],
)
def test_a_hold_stops_what_it_stands_on(on: str, stops: bool) -> None:
    assert isinstance(admit(replace(FREE, holds=(hold(on),)), NOW), Waiting) is stops


def test_times_that_have_come_bind_no_more() -> None:
    passed = replace(
        FREE, control=TaskControl(wait_until=NOW), progress=Progress(next_at=NOW), not_after=NOW + timedelta(seconds=1)
    )
    assert admit(passed, NOW) == Admitted()


def test_a_nodes_own_kept_slot_does_not_stand_in_its_way() -> None:
    assert admit(replace(FREE, clusters=clusters(slot("n0", 1, SlotState.UNSAFE))), NOW) == Admitted()


def test_a_node_that_failed_may_go_although_the_budget_is_used() -> None:
    failed = {"n0": FailureMark.RETRYING, "n1": FailureMark.RETRYING}
    assert admit(replace(FREE, control=TaskControl(failed=failed)), NOW) == Admitted()


def test_what_a_person_excused_is_not_counted() -> None:
    control = TaskControl(failed={"n1": FailureMark.FINAL}, excused=("n1",))
    assert admit(replace(FREE, control=control), NOW) == Admitted()


def test_an_older_task_whose_gate_is_shut_lets_others_pass() -> None:
    assert admit(replace(FREE, ahead=(LaneAhead("older", "n7", SHUT),)), NOW) == Admitted()


def test_every_cluster_of_the_node_is_asked() -> None:
    held = replace(FREE, clusters=clusters(also=()), holds=(hold("cluster:demo:also"),))
    kept = replace(FREE, clusters=clusters(also=(slot("n9", 9, SlotState.UNSAFE),)))
    full = replace(FREE, clusters=clusters(also=(slot("n9", 1),)))
    said = [admit(snapshot, NOW) for snapshot in (held, kept, full)]
    assert [one.reason for one in said if isinstance(one, Waiting)] == [Reason.HOLD, Reason.KEPT_SLOT, Reason.NO_ROOM]


@pytest.mark.parametrize(
    ("exclusive", "other", "admitted"),
    [(True, None, False), (False, "other", False), (True, "other", False), (True, "t", True), (False, None, True)],
)
def test_an_exclusive_task_is_beside_no_other_in_either_direction(
    exclusive: bool, other: str | None, admitted: bool
) -> None:
    there = replace(FREE, exclusive=exclusive, clusters=clusters(slot("n1", 2, exclusive=other)))
    assert isinstance(admit(there, NOW), Admitted) is admitted


def test_an_exclusive_task_s_own_nodes_go_up_to_its_concurrency() -> None:
    two = clusters(slot("n1", 2, exclusive="t"), slot("n2", 2, exclusive="t"))
    said = admit(replace(FREE, exclusive=True, clusters=two), NOW)
    assert isinstance(said, Waiting)
    assert said.reason is Reason.NO_ROOM


def test_it_says_whether_age_or_priority_lets_another_task_go_first() -> None:
    older, higher = (admit(replace(FREE, ahead=(LaneAhead("x", "n7", None, priority=p),)), NOW) for p in (5, 6))
    assert isinstance(older, Waiting)
    assert isinstance(higher, Waiting)
    assert "is older" in older.text
    assert "higher priority" in higher.text


def test_a_lane_whose_turn_in_its_named_scope_has_not_come_binds_nobody_in_its_cluster() -> None:
    """It waits for the lane whose turn it is; if that one waited for it, neither would ever go."""
    ahead = (LaneAhead("older", "n7", None, turn=False),)
    assert admit(replace(FREE, ahead=ahead), NOW) == Admitted()


@pytest.mark.parametrize(
    ("capacity", "held", "waiting", "reason"),
    [
        (1, (), (), None),
        (1, (), (("t", "0"),), None),
        (1, (), (("t", "1"),), Reason.SCOPE_TURN),
        (2, ("n1",), (("t", "0"), ("other", "0")), None),
        (2, ("n1", "n2"), (), Reason.SCOPE_FULL),
        (1, ("n1", "n2"), (), Reason.SCOPE_FULL),
        (0, (), (), Reason.SCOPE_FULL),
        (0, ("n0",), (("other", "0"),), None),
    ],
    ids=["free", "its turn", "another lane's turn", "room", "full", "lowered", "shut", "inherits its own"],
)
def test_a_named_scope_admits_up_to_its_capacity_and_in_turn(
    capacity: int, held: tuple[str, ...], waiting: tuple[tuple[str, str], ...], reason: Reason | None
) -> None:
    scope = ScopeSeen("S", capacity, tuple(slot(node, None, SlotState.LOST) for node in held), waiting)
    said = admit(replace(FREE, scopes=(scope,)), NOW)
    assert (said.reason if isinstance(said, Waiting) else None) is reason


def test_without_courtesy_only_what_is_not_others_turn_keeps_it() -> None:
    behind = replace(
        FREE,
        place=3,
        ahead=(LaneAhead("older", "n7", None), LaneAhead("shut", "n8", SHUT)),
        scopes=(ScopeSeen("S", 9, waiting=(("older", "0"), ("third", "0"), ("t", "0"))),),
    )
    assert isinstance(admit(behind, NOW), Waiting)
    assert admit(behind, NOW, courtesy=False) == Admitted()
    assert others_ahead(behind) == 3 + 2, "whoever stands in the cluster and in the queue is one"
    held = replace(behind, holds=(hold("*"),))
    assert isinstance(admit(held, NOW, courtesy=False), Waiting)


def test_a_gate_asks_nothing_of_the_node_itself() -> None:
    busy = replace(FREE, record=NodeRecord(attempt=ATTEMPT), progress=Progress(next_at=LATER), place=3)
    assert gate(busy, NOW) is None


@given(
    cap=st.integers(1, 5),
    caps=st.lists(st.integers(1, 5), max_size=5),
    own=st.booleans(),
)
def test_no_promise_of_anybody_is_broken_by_an_admission(cap: int, caps: list[int], own: bool) -> None:
    """The newcomer counts within its own promise and within that of every slot there."""
    slots = tuple(slot(f"n{i + 1}", c) for i, c in enumerate(caps)) + ((slot("n0", 1),) if own else ())
    said = admit(replace(FREE, cap=cap, clusters=clusters(*slots)), NOW)
    fits = len(caps) + 1 <= min([cap, *caps])
    assert isinstance(said, Admitted) is fits


# --- breaker, window, clock --------------------------------------------------------------------------------


def with_breaker(**fields: object) -> Snapshot:
    """FREE, in a cluster in which these failed."""
    recent = tuple(
        RecentFailure(task="t", node=node, outcome=Outcome.FAILED, at=NOW) for node in ("n1", "n2", "n3", "n4")
    )
    record = ClusterRecord(recent=recent, **fields)  # type: ignore[arg-type]
    return replace(FREE, clusters=(ClusterSeen(CLUSTER, record=record),))


def test_an_open_breaker_names_the_failures_and_when_one_may_try() -> None:
    said = admit(with_breaker(open_until=LATER), NOW)
    text = f"The breaker of {CLUSTER} is open: 4 failures in a row (n2, n3, n4)."
    assert said == Waiting(Reason.BREAKER, text, until=LATER)


def test_after_the_cool_down_one_may_try_and_everybody_else_waits_for_it_without_a_time() -> None:
    assert admit(with_breaker(open_until=NOW), NOW) == Admitted()
    said = admit(with_breaker(open_until=NOW, probe="other.n9.4"), NOW)
    assert isinstance(said, Waiting)
    assert (said.reason, said.until) == (Reason.BREAKER, None)
    assert said.text.endswith("and n9 tries first.")


def test_the_breaker_of_any_cluster_of_the_node_counts() -> None:
    second = ClusterSeen("demo:other", record=ClusterRecord(open_until=LATER))
    said = admit(replace(FREE, clusters=(ClusterSeen(CLUSTER), second)), NOW)
    assert isinstance(said, Waiting)
    assert "demo:other" in said.text


def test_failures_that_did_not_open_it_stop_nobody() -> None:
    assert admit(with_breaker(), NOW) == Admitted()


def test_an_open_window_admits_and_a_blackout_says_its_reason() -> None:
    open_now = WindowArgs(windows=(WeeklyWindow(opens="11:00", closes="13:00"),))
    assert admit(replace(FREE, window=open_now), NOW) == Admitted()
    blackout = Blackout(begins=NOW, ends=LATER, why="the sale.")
    said = admit(replace(FREE, window=WindowArgs(blackouts=(blackout,))), NOW)
    assert said == Waiting(Reason.WINDOW, "A blackout lasts until 2026-01-01T12:05:00Z: the sale.", until=LATER)


@pytest.mark.parametrize(("seconds", "says"), [(45, "45 s ahead of ZooKeeper's"), (-3600, "3600 s behind ZooKeeper's")])
def test_a_clock_that_is_off_is_named_also_while_its_window_seems_open(seconds: int, says: str) -> None:
    open_now = WindowArgs(windows=(WeeklyWindow(opens="11:00", closes="13:00"),))
    said = admit(replace(FREE, window=open_now, clock_off=timedelta(seconds=seconds)), NOW)
    assert isinstance(said, Waiting)
    assert said.reason is Reason.CLOCK
    assert says in said.text
    assert "n0" in said.text


def test_a_clock_that_is_off_stops_nothing_that_has_no_window() -> None:
    assert admit(replace(FREE, clock_off=timedelta(hours=1)), NOW) == Admitted()
