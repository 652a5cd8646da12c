"""The heartbeat that is shipped, through everything: scheduler, queue, router, ZooKeeper, agent, child, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse
from tests.acceptance.test_schedulers import declare
from tests.acceptance.test_telling import ANYWHERE, metrics_of, one
from tests.support.daemons import ROOT, Daemon

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ACTION = "heartbeat_task:ping"


def pings(house: ScriptedHouse, node: str) -> dict[str, dict[str, Any]]:
    """What each attempt said of itself, by its id."""
    found = {}
    for log in (house.installation.folder / node / "state" / "attempts").glob("*/output.log"):
        for line in log.read_text().splitlines():
            said = json.loads(line)
            if said["event"] == "pinged":
                found[said["attempt"]] = said
    return found


def test_a_heartbeat_is_measured_from_the_moment_at_which_it_was_due(scripted_house: OpenScriptedHouse) -> None:
    """Its log, the agent's event and the agent's metric say the same; where a router stood still, it is in it."""
    house = scripted_house(1)
    installation, (node,) = house.installation, house.nodes
    router = installation.start_router()
    agent = installation.start_agent(node, {"heartbeat_task": {}}, **ANYWHERE)
    (shipped,) = yaml.safe_load((ROOT / "configs" / "tasks" / "heartbeat.yaml").read_text())["schedules"]
    assert shipped["task"]["action"] == ACTION
    shipped |= {"every": "2s", "overlap": "queue"}  # so often, one may be late without being called off
    shipped["task"]["cluster_name"] = installation.cluster
    declare(house.folder / "schedules", shipped)
    installation.lift_first_hold()
    scheduler = installation.start_scheduler("scheduler", house.folder / "schedules")
    installation.until(lambda: len(pings(house, node)) >= 2, "two heartbeats")

    router.freeze()
    stood = datetime.now(UTC)
    ((fired, due),) = installation.until(lambda: _due_since(scheduler, stood), "one is due meanwhile, for a second")
    stood_s = (datetime.now(UTC) - due).total_seconds()
    router.thaw()
    installation.until(
        lambda: fired["task"] in {line["task"] for line in pings(house, node).values()}, "it beats again"
    )
    found = metrics_of(house, agent)
    where = {"action": ACTION, "cluster": installation.cluster}
    said = pings(house, node)
    late = {line["task"]: line["latency_s"] for line in said.values()}
    assert late[fired["task"]] >= stood_s > 0
    assert one(found, "start_delay_seconds_count", **where) >= 3
    events = {event["attempt"]: event["late_s"] for event in agent.events("phase_entered") if "late_s" in event}
    assert set(said) <= set(events)
    for attempt, line in said.items():
        assert line["since"] == "scheduled_for"
        assert 0 <= events[attempt] <= line["latency_s"], "the agent's look comes before the child's"
        assert line["latency_s"] - events[attempt] < 10
    shown = sorted(line["latency_s"] for line in said.values())
    print(f"{len(shown)} heartbeats: {shown[0]} s to {shown[-1]} s, {shown[len(shown) // 2]} s in the middle")


def _due_since(scheduler: Daemon, stood: datetime) -> list[tuple[dict[str, Any], datetime]]:
    """The first firing that was due after `stood`, once it has been for a second."""
    fired = [(event, datetime.fromisoformat(event["due"])) for event in scheduler.events("schedule_fired")]
    return [(event, due) for event, due in fired if stood < due < datetime.now(UTC) - timedelta(seconds=1)][:1]
