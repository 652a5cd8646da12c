"""A rolling restart of a real ZooKeeper ensemble, end to end, while clients write to it.

It is another ensemble than the one in which Taskerman keeps its records.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.acceptance.store_house import StoreHouse
from tests.support.load import Load
from tests.support.stores.events import most_down, order
from tests.support.stores.zookeeper import ZookeeperStore, running_zookeeper

pytestmark = pytest.mark.timeout(180)

GAP_S = 8.0
"""A leader that stops is followed by an election and by its clients' way to another member: one to two seconds, and
more on a busy machine. Without a quorum nothing is written for as long as a server and its ensemble need to come up,
twice; and the supervisors' own lines say whether two were ever down."""


@pytest.fixture
def store() -> Iterator[ZookeeperStore]:
    """Of this test alone."""
    with running_zookeeper() as running:
        yield running


@pytest.fixture
def house(store_house: OpenStoreHouse, store: ZookeeperStore) -> StoreHouse:
    """Opened over it."""
    return store_house(store)


def test_all_are_restarted_one_at_a_time_the_leader_last_while_clients_write(
    house: StoreHouse, store: ZookeeperStore
) -> None:
    leader = store.leader().name
    house.start()
    with Load(store.client) as load:
        task = house.submit("restart")
        house.installation.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=80)
        store.wait_until_well()
    print(f"zookeeper_task:restart of 3: {load.seen}")
    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    restarted = order(store.events)
    assert sorted(restarted) == sorted(member.name for member in store.members)
    assert restarted[-1] == leader
    assert most_down(store.events) == 1
    assert load.seen.requests > 100
    assert load.seen.longest_gap_s < GAP_S, load.seen
    assert load.seen.failed <= GAP_S, "two clients, a request gives up after two seconds: so many fit into the gap"
    assert house.records.slots() == ()


def test_a_member_that_does_not_come_back_stops_the_task_and_the_quorum_stays(
    house: StoreHouse, store: ZookeeperStore
) -> None:
    """Halted by itself, its slot kept, the others untouched and serving."""
    leader = store.leader()
    instances = {member.name: instance for instance, member in house.nodes.items()}
    first = next(member for member in house.nodes.values() if member is not leader)
    before = {member.name: member.pid for member in store.members}
    first.must("break")
    house.start()
    with Load(store.client) as load:
        task = house.submit("restart", timeout_args={"soft_s": 60, "hard_s": 90, "settle_s": 3})
        house.installation.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=80)
        asked = load.seen.requests
        house.installation.until(lambda: load.seen.requests > asked + 50, "clients go on")
    end = house.records.end(task, instances[first.name])
    assert (end["outcome"], first.pid) == ("unsafe", None)
    assert "the server does not serve" in end["reason"]
    assert house.records.slots() == (f"{instances[first.name]}~1~unsafe",)
    others = [member for member in store.members if member is not first]
    assert {member.name: member.pid for member in others} == {member.name: before[member.name] for member in others}
    assert most_down(store.events) == 1
    assert load.seen.longest_gap_s < GAP_S, load.seen
