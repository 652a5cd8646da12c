"""A reboot that the action declares: through every moment at which the machine, or only its agent, may go away.

The file that names the boot stands in for the machine: going down is the death of every process of the node at once,
and coming up is another boot id and an agent that is started anew.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskerman.agent.isolation import Isolation
from taskerman.child.kin import process_start
from taskerman.model.task import ActionTraits
from tests.support.agents import outcome, quick
from tests.support.cgroups import isolation
from tests.support.installation import Installation, OneAction
from tests.support.mortal import Life
from tests.support.waiting import until

__all__ = ["isolation"]

ACTION = "instance_task:reboot"


class Machine:
    """One node that can go down and come up. `asked`: how often it was asked to reboot."""

    def __init__(self, folder: Path, isolation: Isolation) -> None:
        self.fleet = Installation(folder, 1)
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("boot-1\n")
        self._asked = folder / "asked"
        self._broken = folder / "broken"
        self._isolation = isolation
        self.catalog = OneAction(ACTION, "runners.instance.reboot:Reboot")
        self.catalog.traits_of = ActionTraits(reboots=True)
        self.fleet.catalog = self.catalog
        self.fleet.start_router()

    @property
    def asked(self) -> int:
        return len(self._asked.read_text().splitlines()) if self._asked.exists() else 0

    def start_agent(self, life: Life | None = None) -> None:
        ask = f"echo asked >> {self._asked}; test ! -e {self._broken}"
        settings = {
            "reboot": ["sh", "-c", ask],
            "scheduled_file": str(self._asked.with_name("scheduled")),
            "checks": [["true"]],
        }
        self.fleet.start_agent(
            "i-0",
            life=life,
            catalog=self.catalog,
            isolation=self._isolation,
            actions=(ACTION,),
            runners={"instance_task": settings},
            boot_id_path=str(self.boot_id),
        )

    def submit(self, **timeouts: int) -> str:
        """A task; its action has asked for the reboot, and waits."""
        task = self.fleet.submit(
            action=ACTION,
            params=quick(timeout_args={"soft_s": 60, "hard_s": 90, "settle_s": 30, **timeouts}),
        )
        self.fleet.until(lambda: self.asked == 1, "it asks for a reboot")
        return task

    def kill_child(self) -> None:
        """Only the attempt's processes."""
        pid = self.journal()["attempt"]["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: process_start(pid) is None and not self.fleet.left(), "the child is gone")

    def go_down(self) -> None:
        """Every process of the node is gone at once."""
        self.fleet.crash_agent("i-0")
        while left := self.fleet.left():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def come_up(self, boot: str = "boot-2") -> None:
        """Another boot: nothing of the one before is left, also no clock and no group."""
        self.boot_id.write_text(f"{boot}\n")
        path = self.fleet.folder / "state" / "i-0" / "journal.json"
        journal = json.loads(path.read_text())
        if journal["attempt"] is not None:
            journal["attempt"]["deadline_boottime"] = 1.0  # that clock began anew
            self._isolation.release(journal["attempt"]["id"])
            path.write_text(json.dumps(journal))
        self.start_agent()

    def journal(self) -> dict[str, Any]:
        return self.fleet.journal()


@pytest.fixture
def machine(tmp_path: Path, isolation: Isolation) -> Iterator[Machine]:
    made = Machine(tmp_path, isolation)
    yield made
    made.fleet.stop()


def test_the_machine_goes_down_while_the_action_waits_for_it(machine: Machine) -> None:
    machine.start_agent()
    task = machine.submit()
    machine.go_down()
    machine.come_up()
    assert outcome(machine.fleet, task) == "succeeded"
    assert machine.asked == 1
    assert machine.fleet.slots() == ()


def test_its_agent_was_started_again_before_and_after(machine: Machine) -> None:
    """Four times before, with the child still waiting; and killed once more while it checked, after the reboot."""
    machine.start_agent()
    task = machine.submit()
    for k in range(4):
        machine.fleet.crash_agent("i-0")
        machine.start_agent()
        machine.fleet.until(lambda k=k: len(machine.fleet.said("attempt_adopted")) == k + 1, "it is adopted")  # type: ignore[misc]
    machine.go_down()
    machine.come_up()
    machine.fleet.crash_agent("i-0")
    machine.start_agent()
    assert outcome(machine.fleet, task) == "succeeded"
    assert machine.asked == 1


def test_the_child_was_gone_before_the_machine_went_down(machine: Machine) -> None:
    """Nobody can say whether it will: the node is waited for, and the boot that comes settles it."""
    machine.start_agent()
    task = machine.submit()
    machine.fleet.crash_agent("i-0")
    machine.kill_child()
    machine.start_agent()
    machine.fleet.until(lambda: machine.journal()["attempt"]["phase"] == "post_check", "it waits for the node")
    machine.go_down()
    machine.come_up()
    assert outcome(machine.fleet, task) == "succeeded"
    assert machine.asked == 1


def test_a_shutdown_that_ends_the_action_by_signals_first_is_no_failure(machine: Machine) -> None:
    """A service manager sends SIGTERM to all: the result that this leaves is older than the reboot."""
    machine.start_agent()
    task = machine.submit()
    machine.fleet.crash_agent("i-0")
    pid = machine.journal()["attempt"]["pid"]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    until(lambda: machine.fleet.left() == [], "the child has left its result")
    machine.come_up()
    assert outcome(machine.fleet, task) == "succeeded"
    assert machine.asked == 1


@pytest.mark.parametrize("rebooted", [True, False])
def test_its_agent_dies_between_the_journal_and_the_go(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, rebooted: bool
) -> None:
    """With another boot id the machine did reboot, by whomever; in the same boot it did not, and is tried anew."""
    life = Life()
    with monkeypatch.context() as patched:
        patched.setattr("taskerman.agent.performing.Performance._go", lambda self: life.end())
        machine.start_agent(life)
        retried = quick(workqueue_args={"retry_count": 1}, timeout_args={"soft_s": 60, "settle_s": 30})
        task = machine.fleet.submit(action=ACTION, params=retried)
        machine.fleet.until(lambda: life.dead, "it dies")
        machine.fleet.bury("i-0")
    until(lambda: machine.fleet.left() == [], "without a go the child ends")
    assert machine.asked == 0
    if rebooted:
        machine.come_up()
    else:
        machine.start_agent()
        machine.fleet.until(lambda: machine.asked == 1, "it is tried again")
        machine.go_down()
        machine.come_up()
    assert outcome(machine.fleet, task) == "succeeded"
    assert machine.asked == (0 if rebooted else 1)


def test_a_reboot_that_never_happens_ends_unsafe_and_keeps_its_slot(machine: Machine) -> None:
    """It may go down at any moment: no other node may start."""
    machine.start_agent()
    task = machine.submit(soft_s=1, hard_s=2, settle_s=1)
    assert outcome(machine.fleet, task) == "unsafe"
    assert "may go down at any moment" in machine.fleet.end(task)["reason"]
    assert machine.fleet.slots() != ()
    assert machine.fleet.left() == []


def test_a_reboot_that_could_not_be_asked_for_fails_and_frees_its_slot(machine: Machine) -> None:
    (machine.fleet.folder / "broken").touch()
    machine.start_agent()
    task = machine.submit()
    assert outcome(machine.fleet, task) == "failed"
    assert machine.fleet.slots() == ()
