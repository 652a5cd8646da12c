"""A task that has its machines replaced goes on when another one serves, and not before; nobody on the node says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from taskerman import control
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from taskerman.model.task import ActionTraits
from tests.support.fleet import CLUSTER, NODES
from tests.unit.test_janitor import House, outcomes


@pytest.fixture
def house() -> House:
    house = House(reclaims_an_hour=1)
    house.fleet.catalog.declared = ActionTraits(replaces=True)
    return house


def awaited(house: House) -> list[object]:
    return [event["why"] for event in house.said("successor_awaited")]


def arrive(house: House, *nodes: str, without: str) -> None:
    """New machines run beside those that are left; their agents have not started."""
    left = [node for node in house.fleet.discovery.nodes(CLUSTER) if node.id != without]
    house.fleet.discovery.declare(CLUSTER, [*left, *(Node(id=node, az="a") for node in nodes)])


def slots(house: House) -> list[str]:
    return [held.node for held in control.list_slots(house.fleet.desk)]


def letters(house: House) -> int:
    return len(house.fleet.queues.bodies(house.fleet.names.dead_letter))


def state(house: House) -> Mapping[str, str | None]:
    return {node: outcome for node, outcome in outcomes(house).items() if outcome is not None}


def test_the_slot_is_held_until_a_new_machine_serves_and_its_agent_has_registered(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.terminate("i-1")
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(130)
    janitor.turn()
    assert (slots(house), state(house), awaited(house)) == (["i-1"], {}, ["5 of 6 machines serve"])

    arrive(house, "i-7", without="i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.discovery.take_out_of_service("i-7", "is Pending and healthy to its group")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert awaited(house)[1:] == ["5 of 6 machines serve (i-7 is Pending and healthy to its group)"]

    house.fleet.discovery.take_out_of_service("i-7", "")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert awaited(house)[2:] == ["of 1 new machines the agents of 0 have registered"]
    assert slots(house) == ["i-1"]

    house.fleet.agent("i-7")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert (slots(house), state(house)) == ([], {"i-1": Outcome.SUCCEEDED})
    assert letters(house) == 0
    assert house.said("node_gone") == []
    (said,) = house.said("node_replaced")
    assert said["why"] == f"replaced: 6 machines of {CLUSTER} serve; new since then: i-7"


def test_one_new_machine_replaces_one_and_not_two(house: House) -> None:
    """Two at once: the second is held although as many machines run as without the two."""
    house.fleet.send(params={"lease_args": {"concurrency": 2}})
    for node in ("i-1", "i-2"):
        house.fleet.take("t-1", node)
        house.fleet.discovery.terminate(node)
    arrive(house, "i-7", without="")
    house.fleet.agent("i-7")
    janitor = house.janitor()
    janitor.turn()
    assert len(slots(house)) == 1
    (waiting,) = slots(house)
    house.fleet.clock.advance(130)
    janitor.turn()
    assert slots(house) == [waiting]
    arrive(house, "i-8", without="")
    house.fleet.agent("i-8")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert slots(house) == []
    assert set(state(house).values()) == {Outcome.SUCCEEDED}


def test_what_was_asked_for_is_not_counted_among_the_machines_that_vanish(house: House) -> None:
    """The cap of one an hour binds what nobody asked for."""
    house.fleet.send()
    janitor = house.janitor()
    for place, node in enumerate(("i-1", "i-2", "i-3")):
        house.fleet.take("t-1", node)
        arrive(house, f"i-9{place}", without=node)
        house.fleet.discovery.terminate(node)
        house.fleet.agent(f"i-9{place}")
        janitor.turn()
        house.fleet.clock.advance(130)
    assert state(house) == dict.fromkeys(("i-1", "i-2", "i-3"), Outcome.SUCCEEDED)
    assert house.said("reclaim_capped") == []


def test_a_machine_that_ends_while_its_node_waits_is_gone_and_not_replaced(house: House) -> None:
    house.fleet.send()
    house.fleet.join("t-1", "i-2")
    house.fleet.discovery.terminate("i-2")
    house.janitor().turn()
    assert state(house) == {"i-2": Outcome.GONE}


def test_a_machine_that_ends_in_another_action_is_gone(house: House) -> None:
    house.fleet.catalog.declared = ActionTraits()
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    arrive(house, "i-7", without="i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.agent("i-7")
    house.janitor().turn()
    assert state(house) == {"i-1": Outcome.GONE}


def test_a_source_that_cannot_be_asked_frees_nothing(house: House) -> None:
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.discovery.fail("throttled")
    house.janitor().turn()
    assert slots(house) == ["i-1"]
    assert len(NODES) == 6


def test_whose_agent_is_new_is_told_by_one_clock_and_not_by_the_routers(house: House) -> None:
    """The router's clock was ahead: the successor registered "before" the task was accepted, and counts."""
    house.fleet.router._clock = type(house.fleet.clock)(house.fleet.clock.now() + timedelta(minutes=20))
    house.fleet.send()
    house.fleet.take("t-1", "i-1")
    arrive(house, "i-7", without="i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.clock.advance(130)
    house.fleet.agent("i-7")
    house.janitor().turn()
    assert (slots(house), state(house)) == ([], {"i-1": Outcome.SUCCEEDED})


def test_a_named_node_that_was_gone_before_the_task_needs_no_successor(house: House) -> None:
    house.fleet.send("t-0", nodes=["i-6"])
    house.fleet.agent("i-6")
    house.fleet.discovery.terminate("i-6")
    house.janitor("earlier").run_once()
    assert len(house.said("node_gone")) == 1
    house.fleet.send(nodes=["i-1", "i-6"])
    house.fleet.take("t-1", "i-1")
    arrive(house, "i-7", without="i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.agent("i-7")
    house.janitor().turn()
    assert awaited(house) == []
    assert slots(house) == []


def test_a_slot_kept_by_a_machine_that_was_asked_to_end_waits_for_its_successor_too(house: House) -> None:
    """It was asked, lived on for so long that its attempt ended unsafe, and then ended after all."""
    house.fleet.send()
    house.fleet.do("t-1", "i-1", Outcome.UNSAFE, "it may go down at any moment")
    house.fleet.discovery.terminate("i-1")
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(130)
    janitor.turn()
    assert (slots(house), awaited(house)) == (["i-1"], ["5 of 6 machines serve"])

    arrive(house, "i-7", without="i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.agent("i-7")
    house.fleet.clock.advance(130)
    janitor.turn()
    assert (slots(house), state(house)) == ([], {"i-1": Outcome.UNSAFE})


def test_a_slot_kept_by_another_action_is_freed_with_its_machine(house: House) -> None:
    house.fleet.catalog.declared = ActionTraits()
    house.fleet.send()
    house.fleet.do("t-1", "i-1", Outcome.UNSAFE, "it is not well")
    house.fleet.discovery.terminate("i-1")
    house.janitor().turn()
    assert slots(house) == []


def test_a_task_that_names_its_nodes_waits_for_as_many_machines_as_when_it_was_planned(house: House) -> None:
    """Another task was planned while a machine was away, and an old machine's agent registered for the first time."""
    house.fleet.send("t-0")
    house.fleet.desk.moves().cancel("t-0", "only the size was wanted")
    house.fleet.send(nodes=["i-1", "i-2"])
    house.fleet.take("t-1", "i-1")
    house.fleet.discovery.terminate("i-1")
    house.fleet.send("t-2")
    house.fleet.agent("i-4")
    house.janitor().turn()
    assert (slots(house), awaited(house)) == (["i-1"], ["5 of 6 machines serve"])
