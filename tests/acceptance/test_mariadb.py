"""A rolling restart of a real Galera cluster under load, end to end: router, agents, attempts, ZooKeeper, AWS."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.support.load import Load
from tests.support.stores.mariadb import Galera

pytestmark = pytest.mark.timeout(180)

GAP_S = 10.0
"""A member that leaves in order holds up the others' writes for as long as they agree on it: up to a second or two on a
busy machine. Two of three that go down together leave no majority, and nobody writes until a person acts."""


def downs(store: Galera) -> list[tuple[str, str]]:
    """Who went down and came up, in order, by the supervisors."""
    lines = [json.loads(line) for line in store.members[0].events.read_text().splitlines()]
    return [(line["node"], line["event"]) for line in lines]


def test_every_member_is_restarted_one_at_a_time_and_clients_go_on_writing(
    store_house: OpenStoreHouse, galera: Galera
) -> None:
    house = store_house(galera)
    before = len(downs(galera))
    pids = [member.pid for member in galera.members]
    house.start()
    with Load(galera.client) as load:
        task = house.submit("restart")
        house.installation.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=120)
        galera.wait_until_well()
    print(f"\nmariadb, rolling restart: {load.seen}")
    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    events = downs(galera)[before:]
    assert [event for _, event in events] == ["down", "up"] * 3, "never two at once"
    assert {name for name, _ in events} == {member.name for member in galera.members}
    assert not {member.pid for member in galera.members} & set(pids)
    assert house.records.slots() == ()
    assert load.seen.requests > 100
    assert load.seen.failed == 0, load.seen
    assert load.seen.longest_gap_s < GAP_S, load.seen


def test_a_member_that_does_not_come_back_stops_the_task_and_the_others_go_on_serving(
    store_house: OpenStoreHouse, galera: Galera
) -> None:
    house = store_house(galera)
    before = len(downs(galera))
    first = next(iter(house.nodes))
    house.nodes[first].must("break")
    house.start()
    with Load(galera.client) as load:
        task = house.submit("restart", timeout_args={"soft_s": 60, "hard_s": 90, "settle_s": 3})
        house.installation.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=120)
        halted_at = load.seen.requests
        house.installation.until(lambda: load.seen.requests > halted_at + 50, "the others go on serving")
    print(f"\nmariadb, one does not come back: {load.seen}")
    assert downs(galera)[before:] == [(house.nodes[first].name, "down")], "the others are untouched"
    assert house.records.outcomes(task) == {first: "unsafe"}
    assert "the server does not answer" in house.records.end(task, first)["reason"]
    assert house.records.slots() == (f"{first}~1~unsafe",)
    assert load.seen.failed == 0, load.seen
    assert load.seen.longest_gap_s < GAP_S, load.seen
