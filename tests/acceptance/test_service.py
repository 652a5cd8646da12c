"""A rolling restart of three HTTP services behind a load balancer, end to end, while clients go on asking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.support.load import Load
from tests.support.stores.service import WebService

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]

GAP_S = 2.0
"""A client of such a cluster hardly notices; if all three were restarted at once, nobody would answer, and each takes
0.3 s of sleep alone to start."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebService]:
    service = WebService(tmp_path / "web")
    yield service
    service.close()


def test_one_after_another_is_restarted_and_clients_that_ask_once_lose_no_request(
    store_house: OpenStoreHouse, web: WebService
) -> None:
    """Each is out of the load balancer before it goes down, and in again when it serves: so whoever believes the load
    balancer, and tries no second one, loses nothing."""
    house = store_house(web)
    before = {member.name: member.pid for member in web.members}
    house.start()
    with Load(web.simple_client, clients=3) as load:
        task = house.submit("restart", args={"service": "web", "drained_for_s": 0.3})
        house.installation.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=80)
        seen = load.seen
    web.wait_until_well()
    print(f"{seen.requests} requests, {seen.failed} failed, longest gap {seen.longest_gap_s:.2f} s")
    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    assert all(member.pid not in (None, before[member.name]) for member in web.members)
    assert seen.requests > 100
    assert seen.failed == 0, seen.why
    assert seen.longest_gap_s < GAP_S
    assert house.records.slots() == ()


def test_one_that_does_not_come_back_stops_the_task_and_stays_out_of_the_load_balancer(
    store_house: OpenStoreHouse, web: WebService
) -> None:
    house = store_house(web)
    second = list(house.nodes)[1]
    broken, third = house.nodes[second], house.nodes[list(house.nodes)[2]]
    untouched = third.pid
    broken.must("break")
    house.start()
    short = {"soft_s": 60, "hard_s": 90, "settle_s": 3}
    args = {"service": "web", "drained_for_s": 0.3, "healthy_within_s": 1.0}
    with Load(web.simple_client, clients=3) as load:
        task = house.submit("restart", args=args, timeout_args=short)
        house.installation.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=80)
        seen = load.seen
    print(f"{seen.requests} requests, {seen.failed} failed, longest gap {seen.longest_gap_s:.2f} s")
    assert house.records.slots() == (f"{second}~1~unsafe",)
    assert "the service does not run" in house.records.end(task, second)["reason"]
    assert third.pid == untouched
    assert {path.name for path in web.balancer.iterdir()} == set(web.ports) - {broken.name}
    assert seen.failed == 0, seen.why

    broken.must("repair")
    house.installation.must("dlq", "redrive", task, second, "--why", "it can start again")
    house.installation.until(lambda: len(house.records.ended(task)) == 3, "three ends", within_s=80)
    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    web.wait_until_well()
    assert house.records.slots() == ()
