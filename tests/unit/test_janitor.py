"""The janitor as a daemon: one leads, each chore in its time, and what cannot be done keeps nothing else from it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import StopNow
from taskerman.janitor import Janitor
from taskerman.janitor.kit import Kit
from taskerman.model.event import Event
from taskerman.model.outcome import Outcome
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Set
from taskerman.telemetry.labels import CHORES
from taskerman.testing.history import MemoryHistory
from tests.support.fleet import Fleet
from tests.support.waiting import until


class House:
    """A fleet with janitors."""

    def __init__(self, **upkeep: Any) -> None:
        self.fleet = Fleet()
        self.fleet.install()
        self.history = MemoryHistory()
        self.events: list[Event] = []
        self.upkeep = Upkeep(**upkeep)

    def janitor(self, name: str = "janitor@a", **changes: Any) -> Janitor:
        fleet = self.fleet
        parts: dict[str, Any] = {
            "tree": fleet.server.client(),
            "queues": fleet.queues,
            "names": fleet.names,
            "discoveries": {"aws_tags": fleet.discovery},
            "history": self.history,
            "clock": fleet.clock,
            "emit": self.events.append,
            "upkeep": self.upkeep,
            "by": name,
        }
        return Janitor(Kit(**{**parts, **changes}))

    def said(self, name: str) -> list[Mapping[str, object]]:
        return [event.fields for event in self.events if event.name == name]

    def doorbells(self, node: str) -> int:
        queue = self.fleet.names.node(node)
        return len(self.fleet.queues.bodies(queue)) if self.fleet.queues.exists(queue) else 0


@pytest.fixture
def house() -> House:
    return House()


# --- leading -----------------------------------------------------------------------------------------------


def test_one_janitor_leads_and_the_other_does_nothing_until_the_first_is_gone(house: House) -> None:
    first, second = house.janitor("one"), house.janitor("two")
    house.fleet.desk.moves().hold("*", "look", house.fleet.clock.now() + timedelta(hours=1))
    assert first.turn()
    house.fleet.clock.advance(3601)
    assert not second.turn()
    assert [hold.on for hold in house.fleet.desk.router_moves().installation().holds] == ["*"]
    first._leadership.resign()
    assert second.turn()
    assert house.fleet.desk.router_moves().installation().holds == ()
    assert [event["by"] for event in house.said("hold_ended")] == ["ada@laptop"]


def test_a_janitor_stops_when_it_is_asked_and_lets_another_lead(house: House) -> None:
    janitor = house.janitor()
    thread = threading.Thread(target=janitor.run)
    thread.start()
    until(lambda: bool(house.said("janitor_leads")), "it leads")
    janitor.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert house.janitor("two").turn()


def test_a_janitor_that_is_run_once_does_everything_once_and_resigns(house: House) -> None:
    house.fleet.send(not_after=(house.fleet.clock.now() + timedelta(hours=1)).isoformat())
    house.fleet.clock.advance(3601)
    assert house.janitor("one").run_once()
    assert {node.outcome for node in control.task_status(house.fleet.desk, "t-1").nodes} == {Outcome.EXPIRED}
    leader = house.janitor("two")
    assert leader.turn()
    assert not house.janitor("three").run_once()


def test_a_janitor_goes_no_further_when_it_finds_another_installation(house: House) -> None:
    janitor = house.janitor()
    janitor.turn()
    found = house.fleet.desk.router_moves().installation()
    other = found.model_copy(update={"installation": "another"})
    house.fleet.tree.commit([Set(layout.CONTROL, other.to_json(), None)])
    with pytest.raises(StopNow, match="another"):
        janitor.turn()


def test_an_outage_is_waited_out(house: House) -> None:
    tree = house.fleet.server.client()
    janitor = house.janitor(tree=tree)
    thread = threading.Thread(target=janitor.run)
    house.fleet.server.cut(tree)
    thread.start()
    until(lambda: bool(house.said("janitor_waits")), "it waits")
    house.fleet.server.heal(tree)
    until(lambda: bool(house.said("janitor_leads")), "it leads")
    janitor.stop()
    thread.join(10)
    assert not thread.is_alive()


# --- time --------------------------------------------------------------------------------------------------


def test_a_clock_that_differs_from_the_trees_decides_nothing_and_says_so_once(house: House) -> None:
    OperatorMoves(house.fleet.tree, "ann", house.fleet.clock.now).hold(
        "*", "look", house.fleet.clock.now() + timedelta(minutes=5)
    )
    house.fleet.send(not_after=(house.fleet.clock.now() + timedelta(minutes=5)).isoformat())
    wrong = type(house.fleet.clock)(house.fleet.clock.now() + timedelta(hours=1))
    janitor = house.janitor(clock=wrong)
    for _ in range(3):
        assert janitor.turn()
        wrong.advance(60)
        house.fleet.clock.advance(60)
    assert len(house.fleet.desk.router_moves().installation().holds) == 1
    assert control.task_status(house.fleet.desk, "t-1").state == "open"
    assert [event["skew_s"] for event in house.said("clock_differs")] == [3600.0]
    house.fleet.clock.advance(3600)
    janitor.turn()
    assert house.fleet.desk.router_moves().installation().holds == ()
    assert len(house.said("clock_is_right")) == 1


def test_a_cancelled_task_is_swept_whatever_the_clock_says(house: House) -> None:
    house.fleet.send()
    house.fleet.desk.moves().cancel("t-1", "no")
    wrong = type(house.fleet.clock)(house.fleet.clock.now() + timedelta(hours=1))
    house.janitor(clock=wrong).turn()
    assert {node.outcome for node in control.task_status(house.fleet.desk, "t-1").nodes} == {Outcome.CANCELLED}


def test_one_plan_that_cannot_be_read_keeps_no_other_task_from_its_end(house: House) -> None:
    soon = (house.fleet.clock.now() + timedelta(hours=1)).isoformat()
    house.fleet.send("t-1", not_after=soon)
    house.fleet.send("t-2", not_after=soon)
    house.fleet.tree.commit([Set(layout.task("t-1"), b"rubbish", None)])
    house.fleet.clock.advance(3601)
    house.janitor().turn()
    assert {node.outcome for node in control.task_status(house.fleet.desk, "t-2").nodes} == {Outcome.EXPIRED}
    assert any("t-1" in str(event["of"]) for event in house.said("chore_failed"))


def test_a_record_that_cannot_be_counted_is_named_and_the_count_is_told_all_the_same(house: House) -> None:
    house.fleet.send()
    house.fleet.tree.commit([Set(layout.cluster("demo:web"), b"{", None)])
    house.janitor().turn()
    (counted,) = house.said("installation_counted")
    assert counted["unreadable_records"] == [(1,)]
    said = [event for event in house.said("chore_failed") if event["chore"] == "count"]
    assert [event["of"] for event in said] == [layout.cluster("demo:web")]


def test_every_chore_has_a_name_that_metrics_know(house: House) -> None:
    """Another one would be counted as `other`. Plans are read for several chores, under a name of its own."""
    assert {chore.name for chore in house.janitor()._chores} | {"read the plans"} == set(CHORES)


# --- ringing -----------------------------------------------------------------------------------------------


def test_once_a_day_whatever_is_open_and_does_not_act_is_rung_again(house: House) -> None:
    house.fleet.send(params={"lease_args": {"concurrency": 2}})
    house.fleet.take("t-1", "i-1")
    house.fleet.do("t-1", "i-2", Outcome.SUCCEEDED)
    janitor = house.janitor()
    janitor.turn()
    assert [house.doorbells(f"i-{n}") for n in range(1, 7)] == [1, 1, 2, 2, 2, 2]
    house.fleet.clock.advance(86000)
    janitor.turn()
    assert house.doorbells("i-3") == 2
    house.fleet.clock.advance(401)
    janitor.turn()
    assert house.doorbells("i-3") == 3


def test_a_new_leader_does_not_ring_anew(house: House) -> None:
    house.fleet.send()
    assert house.janitor("one").run_once()
    assert house.janitor("two").run_once()
    assert house.doorbells("i-3") == 2


def test_a_task_that_nobody_may_go_on_with_is_not_rung(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.desk.moves().cancel("t-1", "no")
    house.janitor().turn()
    assert house.doorbells("i-1") == 1


# --- terminated machines -----------------------------------------------------------------------------------


def outcomes(house: House, task: str = "t-1") -> dict[str, str | None]:
    return {node.node: node.outcome for node in control.task_status(house.fleet.desk, task).nodes}


def test_what_a_terminated_machine_held_is_freed_and_its_assignments_end_gone(house: House) -> None:
    house.fleet.send("t-1", params={"failure_args": {"max_failures": 1}})
    house.fleet.send("t-2")
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.terminate("i-1")
    house.janitor().turn()
    assert control.list_slots(house.fleet.desk) == ()
    assert outcomes(house, "t-1")["i-1"] is Outcome.GONE
    assert outcomes(house, "t-2")["i-1"] is Outcome.GONE
    assert outcomes(house)["i-2"] is None
    (said,) = house.said("node_gone")
    assert (said["node"], said["freed"], said["attempt"]) == ("i-1", 1, "t-1.i-1.1")


def test_a_stopped_machine_keeps_what_it_holds(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.stop("i-1")
    janitor = house.janitor()
    for _ in range(20):
        janitor.turn()
        house.fleet.clock.advance(600)
    assert [place.node for place in control.list_slots(house.fleet.desk)] == ["i-1"]


def test_an_absence_proves_something_the_second_time_ten_minutes_later(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.forget("i-1")
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(590)
    janitor.turn()
    assert len(control.list_slots(house.fleet.desk)) == 1
    house.fleet.clock.advance(130)
    janitor.turn()
    assert control.list_slots(house.fleet.desk) == ()
    assert "absent twice" in str(house.said("node_gone")[0]["why"])


def test_who_was_seen_again_in_between_begins_anew(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    nodes = house.fleet.discovery.nodes("demo:web")
    house.fleet.discovery.forget("i-1")
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(300)
    house.fleet.discovery.declare("demo:web", nodes)
    janitor.turn()
    house.fleet.clock.advance(310)
    house.fleet.discovery.forget("i-1")
    janitor.turn()
    house.fleet.clock.advance(590)
    janitor.turn()
    assert len(control.list_slots(house.fleet.desk)) == 1


def test_a_new_leader_watches_an_absence_anew(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.forget("i-1")
    for _ in range(5):
        assert house.janitor().run_once()
        house.fleet.clock.advance(700)
    assert len(control.list_slots(house.fleet.desk)) == 1


def test_a_source_that_lost_sight_of_everything_proves_nothing(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.declare("demo:web", ())
    janitor = house.janitor()
    for _ in range(5):
        janitor.turn()
        house.fleet.clock.advance(700)
    assert len(control.list_slots(house.fleet.desk)) == 1
    assert house.said("node_gone") == []


def test_a_source_that_does_not_answer_stops_nothing_else(house: House) -> None:
    house.fleet.send(not_after=(house.fleet.clock.now() + timedelta(hours=1)).isoformat())
    house.fleet.discovery.fail()
    house.fleet.clock.advance(3601)
    house.janitor().turn()
    assert set(outcomes(house).values()) == {Outcome.EXPIRED}


def test_a_failing_source_is_said_and_the_rest_is_done(house: House) -> None:
    house.fleet.send()
    house.fleet.discovery.fail("throttled")
    house.janitor().turn()
    (said,) = house.said("chore_failed")
    assert (said["chore"], said["of"], said["code"]) == ("reclaim", "demo:web", "E-DISCOVERY")
    assert house.said("rung_again")


def test_a_node_that_only_a_person_named_is_never_declared_gone(house: House) -> None:
    house.fleet.agent("i-77")
    house.fleet.send(nodes=["i-1", "i-77"])
    house.fleet.take("t-1", "i-1")
    janitor = house.janitor()
    for _ in range(5):
        janitor.turn()
        house.fleet.clock.advance(700)
    assert outcomes(house)["i-77"] is None
    assert house.said("node_gone") == []


def test_more_terminations_than_allowed_wait_for_a_person_or_the_next_hour(house: House) -> None:
    house = House(reclaims_an_hour=2)
    house.fleet.send()
    for node in ("i-1", "i-2", "i-3"):
        house.fleet.discovery.terminate(node)
    janitor = house.janitor()
    janitor.turn()
    assert [event["node"] for event in house.said("node_gone")] == ["i-1", "i-2"]
    assert house.said("reclaim_capped")[0]["node"] == "i-3"
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert outcomes(house)["i-3"] is Outcome.GONE


def test_a_kept_slot_of_a_task_that_is_over_is_freed_with_its_machine(house: House) -> None:
    house.fleet.send(nodes=["i-1"])
    house.fleet.do("t-1", "i-1", Outcome.UNSAFE)
    janitor = house.janitor()
    janitor.turn()
    assert len(control.list_slots(house.fleet.desk)) == 1
    house.fleet.discovery.terminate("i-1")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert control.list_slots(house.fleet.desk) == ()


def test_a_plan_that_names_a_gone_node_afterwards_ends_it_at_once(house: House) -> None:
    house.fleet.send("t-1")
    nodes = house.fleet.discovery.nodes("demo:web")
    house.fleet.discovery.terminate("i-1")
    janitor = house.janitor()
    janitor.turn()
    house.fleet.discovery.declare("demo:web", nodes)  # discovery lags
    house.fleet.send("t-2")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert outcomes(house, "t-2")["i-1"] is Outcome.GONE


# --- slots that last too long ------------------------------------------------------------------------------


def test_a_slot_is_overdue_when_one_janitor_has_watched_it_for_its_whole_term(house: House) -> None:
    house = House(margin_s=60)
    house.fleet.send(params={"timeout_args": {"soft_s": 60, "hard_s": 90, "settle_s": 30}})
    house.fleet.take("t-1", "i-1")
    house.fleet.clock.advance(3600)  # nobody watched
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(179)
    janitor.turn()
    assert house.said("slot_overdue") == []
    house.fleet.clock.advance(21)
    janitor.turn()
    house.fleet.clock.advance(3600)
    janitor.turn()
    (said,) = house.said("slot_overdue")
    assert (said["node"], said["attempt"], said["watched_s"]) == ("i-1", "t-1.i-1.1", 200)
    assert control.explain(house.fleet.desk, "t-1", "i-2").nodes[0].reason == "budget"
    assert [place.node for place in control.list_slots(house.fleet.desk)] == ["i-1"]


def test_a_new_leader_begins_the_watch_anew(house: House) -> None:
    house = House(margin_s=60)
    house.fleet.send(params={"timeout_args": {"soft_s": 60, "hard_s": 90, "settle_s": 30}})
    house.fleet.take("t-1", "i-1")
    first = house.janitor()
    first.turn()
    house.fleet.clock.advance(170)
    first._leadership.resign()
    second = house.janitor("two")
    second.turn()
    house.fleet.clock.advance(170)
    second.turn()
    assert house.said("slot_overdue") == []
    second._leadership.resign()
    first.turn()  # it leads again, and has not watched since
    assert house.said("slot_overdue") == []


def test_two_attempts_in_a_row_are_two_watches(house: House) -> None:
    house = House(margin_s=60)
    house.fleet.send(params={"timeout_args": {"soft_s": 60, "hard_s": 90, "settle_s": 30}})
    janitor = house.janitor()
    for node in ("i-1", "i-2", "i-3"):
        house.fleet.take("t-1", node)
        janitor.turn()
        house.fleet.clock.advance(170)
        janitor.turn()
        house.fleet.end("t-1", node, Outcome.SUCCEEDED)
    assert house.said("slot_overdue") == []
