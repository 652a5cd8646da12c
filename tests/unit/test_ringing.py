"""Ringing promises: who can be reached is rung, a missing queue is made, and whoever was not reached is named."""

from __future__ import annotations

import pytest

from taskerman import ringing
from taskerman.errors import NotPermitted
from taskerman.model.assignment import Doorbell
from taskerman.ringing import ensure_node_queue, ring
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from tests.support.fleet import Fleet


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


def rung(fleet: Fleet, *nodes: str) -> list[int]:
    return [len(fleet.queues.bodies(fleet.names.node(node))) for node in nodes]


def test_a_doorbell_points_to_the_plan_and_its_queue_is_made_once(fleet: Fleet) -> None:
    plan = fleet.send(limit=2)
    assert rung(fleet, "i-1", "i-2") == [1, 1]
    (body,) = fleet.queues.bodies(fleet.names.node("i-1"))
    assert Doorbell.model_validate_json(body) == Doorbell(task_id="t-1", destnode="i-1", hash=plan.hash)
    assert fleet.queues.tags(fleet.names.node("i-1")) == {"taskerman:prefix": "taskerman", "taskerman:node": "i-1"}
    assert ring(fleet.queues, fleet.names, plan, ["i-1"]) == ()
    assert rung(fleet, "i-1", "i-2") == [2, 1]


def test_nobody_to_ring_is_nobody_missed(fleet: Fleet) -> None:
    assert ring(fleet.queues, fleet.names, fleet.send(limit=1), []) == ()


def test_what_was_not_accepted_once_is_sent_once_more(fleet: Fleet) -> None:
    plan = fleet.send(limit=3)
    queues = FaultyQueues(fleet.queues, QueueFaults(fail_sends=2))
    assert ring(queues, fleet.names, plan, ["i-1", "i-2", "i-3"]) == ()
    assert rung(fleet, "i-1", "i-2", "i-3") == [2, 2, 2]


def test_who_is_not_reached_is_named_in_order_and_the_others_are_rung(fleet: Fleet) -> None:
    plan = fleet.send(limit=3)
    queues = FaultyQueues(fleet.queues, QueueFaults(fail_sends=5))
    assert ring(queues, fleet.names, plan, ["i-1", "i-2", "i-3"]) == ("i-1", "i-2")
    assert rung(fleet, "i-3") == [2]


def test_a_queue_that_may_not_be_made_leaves_its_node_unreached_and_stops_nobody(fleet: Fleet) -> None:
    plan = fleet.send(limit=2)
    fleet.queues.delete(fleet.names.node("i-2"))

    class Forbidden(FaultyQueues):
        def ensure(self, queue: str, **_: object) -> None:
            raise NotPermitted(f"Not permitted to create {queue}.")

    assert ring(Forbidden(fleet.queues), fleet.names, plan, ["i-1", "i-2"]) == ("i-2",)
    assert rung(fleet, "i-1") == [2]
    assert ring(fleet.queues, fleet.names, plan, ["i-2"]) == ()


def test_making_a_queue_is_idempotent(fleet: Fleet) -> None:
    assert ensure_node_queue(fleet.queues, fleet.names, "i-9") == ensure_node_queue(fleet.queues, fleet.names, "i-9")


def test_many_are_rung_some_at_a_time_and_whoever_watches_is_told_that_it_gets_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand take minutes: a watchdog that saw no sign of life would end the daemon in the middle of it."""
    monkeypatch.setattr(ringing, "_AT_ONCE", 2)
    plan = fleet.send(limit=3)
    seen: list[list[int]] = []
    nodes = ["i-1", "i-2", "i-3"]
    assert ring(fleet.queues, fleet.names, plan, nodes, beat=lambda: seen.append(rung(fleet, *nodes))) == ()
    assert seen == [[2, 2, 1], [2, 2, 2]]


def test_when_nobody_of_many_is_reached_the_others_are_not_tried(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringing, "_AT_ONCE", 2)
    plan = fleet.send(limit=3)
    queues = FaultyQueues(fleet.queues, QueueFaults(fail_sends=4))
    assert ring(queues, fleet.names, plan, ["i-1", "i-2", "i-3"]) == ("i-1", "i-2", "i-3")
    assert rung(fleet, "i-3") == [1], "it was tried all the same"
    queues = FaultyQueues(fleet.queues, QueueFaults(fail_sends=3))
    assert ring(queues, fleet.names, plan, ["i-1", "i-2", "i-3"]) == ("i-1",)
    assert rung(fleet, "i-3") == [2], "one that cannot be reached stops the others"
