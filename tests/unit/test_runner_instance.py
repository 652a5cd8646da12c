"""`instance_task:reboot`: asks once, and believes only the boot id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runners.instance.reboot import Reboot
from taskerman import CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.runner import ActionInterrupted
from taskerman.testing.harness import RunnerHarness

ASKED = ("systemctl", "reboot")


def harness(folder: Path, *, args: dict[str, Any] | None = None, **settings: Any) -> RunnerHarness[Reboot]:
    files = {"required_file": str(folder / "required"), "scheduled_file": str(folder / "scheduled")}
    return RunnerHarness(Reboot, settings={**files, **settings}, args=args)


def asked(run: RunnerHarness[Reboot]) -> None:
    """It asked, and waits; the machine has not gone down yet."""
    assert run.pre_check() == Go()
    run.interrupt("systemctl", "reboot")
    with pytest.raises(ActionInterrupted):
        run.execute_action()


def test_it_is_well_only_in_another_boot_once_it_was_asked(tmp_path: Path) -> None:
    run = harness(tmp_path, checks=[["redis-cli", "ping"]])
    asked(run)
    assert isinstance(run.post_check(), Wait)
    assert run.recover() is Recovered.UNKNOWN
    run.boot_id = "boot-2"
    assert run.recover() is Recovered.DONE
    run.answer("redis-cli", exit=1, output="no", times=1)
    assert isinstance(run.post_check(), Wait)
    assert run.post_check() == Go()
    assert run.commands.count(ASKED) == 1


@pytest.mark.parametrize("exit_code", [1, None])
def test_a_command_that_did_not_ask_leaves_a_node_that_is_well(tmp_path: Path, exit_code: int | None) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    run.answer("systemctl", "reboot", exit=exit_code)
    with pytest.raises(CommandFailed):
        run.execute_action()
    assert run.recover() is Recovered.NOT_DONE
    assert run.post_check() == Go()


def test_what_was_not_asked_has_not_happened(tmp_path: Path) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    assert run.recover() is Recovered.NOT_DONE


def test_a_node_that_needs_none_is_skipped_when_told_so(tmp_path: Path) -> None:
    run = harness(tmp_path, args={"only_if_required": True})
    assert isinstance(run.pre_check(), Skip)
    (tmp_path / "required").touch()
    assert run.pre_check() == Go()


def test_somebody_elses_shutdown_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "scheduled").touch()
    assert isinstance(harness(tmp_path).pre_check(), Wait)


def test_a_node_that_is_ill_is_not_rebooted(tmp_path: Path) -> None:
    run = harness(tmp_path, checks=[["redis-cli", "ping"]])
    run.answer("redis-cli", exit=1)
    assert isinstance(run.pre_check(), Wait)


@pytest.mark.parametrize("wrong", [{"reboot": "reboot now"}, {"checks": ["ping"]}, {"rebooot": ["reboot"]}])
def test_a_node_that_is_configured_wrongly_refuses(tmp_path: Path, wrong: dict[str, Any]) -> None:
    assert isinstance(harness(tmp_path, **wrong).pre_check(), Refuse)
