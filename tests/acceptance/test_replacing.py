"""Machines replaced one after another through their Auto Scaling group, by the shipped daemons.

The test is the world: when the group ends a machine, its agent and its action are gone in the same moment.
"""

from __future__ import annotations

import json

import pytest

from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse
from tests.support.auto_scaling import Group
from tests.support.aws import LocalCloud
from tests.support.daemons import Daemon

pytestmark = pytest.mark.timeout(240)

HASTE = json.dumps({"turn_s": 0.3, "reclaim_every_s": 0.5, "settle_every_s": 0.5, "settle_grace_s": 0})


def replace(house: ScriptedHouse) -> dict[str, object]:
    return {**house.document("t-1"), "action": "instance_task:replace"}


def start_agent(house: ScriptedHouse, machine: str) -> None:
    drained = house.folder / f"{machine}.drained"
    runner = {"drain": ["touch", str(drained)], "checks": [["true"]]}
    house.installation.start_agent(machine, {"instance_task": runner})


def goes_down(house: ScriptedHouse, machine: str) -> None:
    """With everything that runs on it."""
    agent = house.agent(machine)
    agent.may_end = True
    agent.kill()
    house.kill_action(machine)


def awaited(janitor: Daemon) -> str:
    """Whose successors."""
    return " ".join(str(event["attempt"]) for event in janitor.events("successor_awaited"))


def test_the_next_machine_is_touched_when_the_one_before_has_a_successor_that_serves(
    scripted_house: OpenScriptedHouse, local_cloud: LocalCloud
) -> None:
    house = scripted_house(0)
    installation = house.installation
    group = Group(local_cloud, installation.cluster, 3)
    planned = group.machines()
    installation.must("init")  # its queues: no router has made them yet
    installation.start_router()
    janitor = installation.start_janitor(TASKERMAN_JANITOR=HASTE)
    for machine in planned:
        start_agent(house, machine)
    task = installation.submit(replace(house))
    installation.until(lambda: len(house.records.line(task)) == 3, "all stand in line")
    installation.lift_first_hold()

    down: list[str] = []
    while len(down) < 3:
        one = installation.until(lambda: next(iter(set(planned) - set(group.machines()) - set(down)), ""), "one ends")
        assert (house.folder / f"{one}.drained").exists()
        goes_down(house, one)
        installation.until(lambda: one in awaited(janitor), "the janitor knows that it is gone")  # noqa: B023
        assert sorted(house.records.ended(task)) == sorted(down), "its successor does not serve yet"
        assert len(house.records.slots()) == 1, "nobody else has been let in"
        (new,) = [each for each in group.machines() if each not in planned and not (house.folder / each).exists()]
        start_agent(house, new)
        installation.until(lambda: one in house.records.ended(task), "it counts as replaced")  # noqa: B023
        down.append(one)

    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    assert set(house.records.ended(task)) == set(planned)
    assert not set(group.machines()) & set(planned)
    assert house.records.slots() == ()
    first = installation.must("status", task, "--json").json["nodes"][0]
    assert "replaced: 3 machines" in first["reason"]
    assert not installation.must("dlq", "list", "--json").json
