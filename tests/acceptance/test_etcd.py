"""A rolling restart of a real etcd cluster, end to end, while clients write to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.acceptance.store_house import StoreHouse
from tests.support.load import Load
from tests.support.stores.etcd import EtcdStore, running_etcd
from tests.support.stores.events import most_down, order

pytestmark = pytest.mark.timeout(180)

GAP_S = 4.0
"""A leader hands over before it goes, so nobody waits for an election (a second and more), and a client of a member
that stops asks another: fractions of a second, and more on a busy machine. The supervisors' own lines say besides
whether two were ever down, which is the loss of the quorum."""


@pytest.fixture
def store() -> Iterator[EtcdStore]:
    """Of this test alone."""
    with running_etcd() as running:
        yield running


@pytest.fixture
def house(store_house: OpenStoreHouse, store: EtcdStore) -> StoreHouse:
    """Opened over it."""
    return store_house(store)


def test_all_are_restarted_one_at_a_time_the_leader_last_while_clients_write(
    house: StoreHouse, store: EtcdStore
) -> None:
    leader = store.leader().name
    house.start()
    with Load(store.client) as load:
        task = house.submit("restart")
        house.installation.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=80)
        store.wait_until_well()
    print(f"etcd_task:restart of 3: {load.seen}")
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
    house: StoreHouse, store: EtcdStore
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
    assert "the server does not answer" in end["reason"]
    assert house.records.slots() == (f"{instances[first.name]}~1~unsafe",)
    others = [member for member in store.members if member is not first]
    assert {member.name: member.pid for member in others} == {member.name: before[member.name] for member in others}
    assert most_down(store.events) == 1
    assert load.seen.longest_gap_s < GAP_S, load.seen
