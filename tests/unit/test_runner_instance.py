"""`instance_task:reboot`: asks once, and believes only the boot id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runners.instance.reboot import Reboot
from taskerman import CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.runner import ActionInterrupted
from taskerman.testing import RunnerHarness, deaths, failures

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


# --- the whole attempt -------------------------------------------------------------------------------------


def test_a_reboot_is_gone_through_and_a_machine_that_stays_up_keeps_its_slot(tmp_path: Path) -> None:
    goes_down = harness(tmp_path)
    goes_down.reboot("systemctl", "reboot")
    assert goes_down.run().outcome == "succeeded"
    played = harness(tmp_path).run()
    assert (played.outcome, "it may go down at any moment" in played.reason) == ("unsafe", True)


def test_whatever_kills_it_only_a_boot_or_that_nothing_was_asked_is_believed(tmp_path: Path) -> None:
    for death in deaths(lambda: harness(tmp_path)):
        asked = death.harness.saved["asked"]
        played = death.resume()
        assert (played.outcome, played.recovered) == (("unsafe", "unknown") if asked else ("failed", "not_done")), death
        assert death.resume(rebooted=True).outcome == "succeeded", "the boot that comes settles it"


def test_a_command_that_could_not_ask_has_failed_and_one_that_was_cut_off_may_have_asked(tmp_path: Path) -> None:
    for failure in failures(lambda: harness(tmp_path, checks=[["redis-cli", "ping"]])):
        if failure.hook == "execute_action":
            cut_off = "interrupted" in failure.where
            assert failure.run().outcome == ("unsafe" if cut_off else "failed"), failure
