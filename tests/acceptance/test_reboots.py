"""A cluster is rebooted, node by node, by the shipped agent: a file that names the boot stands in for each machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse

pytestmark = pytest.mark.timeout(240)


class Machine:
    """One of them. `asked`: how often it was asked to reboot."""

    def __init__(self, house: ScriptedHouse, node: str) -> None:
        self.house, self.node = house, node
        self._boots = 0
        self._boot_id: Path = house.folder / f"{node}.boot_id"
        self._asked: Path = house.folder / f"{node}.asked"

    @property
    def asked(self) -> int:
        return len(self._asked.read_text().splitlines()) if self._asked.exists() else 0

    def come_up(self) -> None:
        """Another boot, and its agent with it."""
        self._boots += 1
        self._boot_id.write_text(f"boot-{self._boots}\n")
        self.start_agent()

    def start_agent(self) -> None:
        """The agent alone."""
        runner = {
            "reboot": ["sh", "-c", f"echo asked >> {self._asked}"],
            "scheduled_file": str(self._asked.with_suffix(".scheduled")),
            "checks": [["true"]],
        }
        self.house.installation.start_agent(
            self.node,
            {"instance_task": runner},
            TASKERMAN_ACTIONS="instance_task:*",
            TASKERMAN_BOOT_ID_FILE=str(self._boot_id),
        )

    def go_down(self) -> None:
        """Agent and action are gone at once."""
        self.house.agent(self.node).kill()
        self.house.kill_action(self.node)


def test_a_cluster_is_rebooted_one_machine_after_another(scripted_house: OpenScriptedHouse) -> None:
    """The agent of the first is killed and back before its machine goes down; each is asked once, and one at a time."""
    house = scripted_house(2)
    machines = [Machine(house, node) for node in house.nodes]
    house.installation.start_router()
    for machine in machines:
        machine.come_up()
    first, second = machines
    task = house.send(
        house.document("reboot-both", timeout_args={"soft_s": 100, "hard_s": 110, "settle_s": 30})
        | {"action": "instance_task:reboot"}
    )
    until = house.installation.until
    until(lambda: first.asked == 1, "the first is asked to reboot")
    house.agent(first.node).kill()
    first.start_agent()
    until(lambda: house.agent(first.node).events("attempt_adopted"), "its action is adopted")
    assert second.asked == 0
    first.go_down()
    first.come_up()
    until(lambda: second.asked == 1, "the second is asked to reboot")
    assert house.records.end(task, first.node)["outcome"] == "succeeded"
    second.go_down()
    second.come_up()
    house.wait(task, dict.fromkeys(house.nodes, "succeeded"))
    assert [machine.asked for machine in machines] == [1, 1]
    assert {house.records.end(task, node)["attempts"] for node in house.nodes} == {1}
    assert house.records.slots() == ()
