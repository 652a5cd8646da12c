"""A rolling restart of a real PostgreSQL, end to end, while clients write: the primary's turn comes first, and it is
last.

PostgreSQL, ZooKeeper, router, agents and attempts are processes; the clients are psycopg's, and know nothing of us.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.support.load import Load
from tests.support.stores.postgres import CLIENT_PATIENCE_S, PostgresStore, running_postgres
from tests.support.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]

GAP_S = 3.0
"""A client looks for a primary for two seconds before a request has failed. The handover itself takes tenths of one."""


AGE = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float"


@pytest.fixture
def store() -> Iterator[PostgresStore]:
    """Older than the clocks of two machines may differ: else its servers count as restarted by whatever task comes."""
    with running_postgres() as running:
        until(lambda: all(running.ask(member, AGE) > 6 for member in running.members), "it is old enough")
        yield running


def test_replicas_are_restarted_first_then_the_primary_hands_over_and_no_request_fails(
    store_house: OpenStoreHouse, store: PostgresStore
) -> None:
    house = store_house(store)
    house.start()
    at = house.installation
    before = store.primary()
    assert house.member(next(iter(house.nodes))) is before, "its turn comes first"
    store.forget_events()
    with Load(store.client, clients=2, every_s=0.03) as load:
        task = house.submit("restart")
        at.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=90)
        store.wait_until_well()
        seen = load.seen
    print(f"PostgreSQL: {seen.requests} requests, {seen.failed} failed, the longest gap {seen.longest_gap_s:.2f} s")

    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    order = store.restarts()
    assert sorted(order) == ["pg-0", "pg-1", "pg-2"], "each once"
    assert order[-1] == before.name, "the primary last"
    assert store.primary() is not before
    assert store.most_down() == 1
    assert seen.requests > 100
    assert seen.failed == 0, seen.why
    assert seen.longest_gap_s < GAP_S + CLIENT_PATIENCE_S
    ids = store.ask(store.primary(), "SELECT count(*) = count(DISTINCT said) FROM load")
    assert ids is True
    assert house.records.slots() == ()


def test_a_replica_that_does_not_come_back_halts_the_task_and_the_others_serve_on(
    store_house: OpenStoreHouse, store: PostgresStore
) -> None:
    house = store_house(store)
    at = house.installation
    ids = list(house.nodes)
    house.member(ids[1]).must("break")
    house.start()
    store.forget_events()
    with Load(store.client, clients=2) as load:
        task = house.submit("restart", timeout_args={"soft_s": 60, "hard_s": 90, "settle_s": 3})
        at.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=90)
        seen = load.seen
    ended = house.records.outcomes(task)
    assert ended[ids[1]] == "unsafe"
    assert house.records.slots() == (f"{ids[1]}~1~unsafe",)
    assert store.primary() is house.member(ids[0]), "nobody handed anything over"
    assert house.member(ids[0]).name not in store.restarts()
    assert store.most_down() == 1
    assert seen.failed == 0, seen.why


def test_an_old_primary_that_does_not_come_back_halts_the_task_and_the_new_one_serves_on(
    store_house: OpenStoreHouse, store: PostgresStore
) -> None:
    """Then it is repaired and redriven, and follows."""
    house = store_house(store)
    at = house.installation
    first = next(iter(house.nodes))
    broken = house.member(first)
    broken.must("break")
    house.start()
    with Load(store.client, clients=2) as load:
        task = house.submit("restart", timeout_args={"soft_s": 60, "hard_s": 90, "settle_s": 3})
        at.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=90)
        seen = load.seen
        assert seen.failed == 0, seen.why
        assert store.primary() is not broken
        assert (store.members[0].folder / "data" / "standby.signal").exists(), "whoever starts it starts a replica"
        assert house.records.slots() == (f"{first}~1~unsafe",)
        broken.must("repair")
        at.must("dlq", "redrive", task, first, "--why", "its configuration is repaired")
        at.until(lambda: list(house.records.outcomes(task).values()) == ["succeeded"] * 3, "all well", within_s=60)
    store.wait_until_well()
    assert house.records.slots() == ()
