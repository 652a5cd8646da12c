"""`instance_task:patch`: finishes, upgrades, reboots only where it must, and never calls half an upgrade one."""

from __future__ import annotations

import multiprocessing
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from runners.instance.patch import Patch
from taskerman import CommandFailed, Go, Recovered, Refuse, Wait
from taskerman.runner import ActionInterrupted
from taskerman.testing import RunnerHarness, deaths

UPGRADE = ("sh", "upgrade")


def harness(folder: Path, *, args: dict[str, Any] | None = None, **settings: Any) -> RunnerHarness[Patch]:
    own: dict[str, Any] = {
        "required_file": str(folder / "required"),
        "scheduled_file": str(folder / "scheduled"),
        "lock_files": [str(folder / "lock")],
        "room_in": [str(folder)],
        "room_mb": 0,
        "upgrade": list(UPGRADE),
        "refresh": ["refresh"],
        "finish": ["finish"],
        "audit": ["audit"],
        "reboot": ["reboot"],
    }
    return RunnerHarness(Patch, settings={**own, **settings}, args=args)


def test_what_was_broken_off_is_finished_before_anything_else_and_without_need_nothing_reboots(tmp_path: Path) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    run.execute_action()
    assert run.commands == [("finish",), ("refresh",), UPGRADE]
    assert run.post_check() == Go()
    assert run.recover() is Recovered.DONE


def test_a_required_reboot_is_asked_for_and_believed_by_the_boot(tmp_path: Path) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    (tmp_path / "required").touch()
    run.interrupt("reboot")
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    assert isinstance(run.post_check(), Wait)
    assert run.recover() is Recovered.UNKNOWN
    run.boot_id = "boot-2"
    assert run.recover() is Recovered.DONE
    assert run.post_check() == Go()


def test_who_wants_no_reboot_gets_none(tmp_path: Path) -> None:
    run = harness(tmp_path, args={"reboot": "never"})
    assert run.pre_check() == Go()
    (tmp_path / "required").touch()
    run.execute_action()
    assert ("reboot",) not in run.commands
    assert run.recover() is Recovered.DONE


def test_an_upgrade_that_fails_is_one_that_was_not_done_on_a_node_that_is_well(tmp_path: Path) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    run.answer(*UPGRADE, exit=100, output="E: unmet dependencies")
    with pytest.raises(CommandFailed, match="unmet dependencies"):
        run.execute_action()
    assert run.recover() is Recovered.NOT_DONE
    assert run.post_check() == Go()


def test_half_installed_packages_are_for_a_person(tmp_path: Path) -> None:
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    run.answer(*UPGRADE, exit=100)
    with pytest.raises(CommandFailed):
        run.execute_action()
    run.answer("audit", output="The following packages are only half configured:\n libc6")
    answer = run.post_check()
    assert isinstance(answer, Refuse)
    assert "half configured" in answer.reason
    assert "finish" in answer.reason


def test_a_reboot_in_the_middle_of_an_upgrade_is_no_end_of_it(tmp_path: Path) -> None:
    """Power was lost: the engine sees another boot, which it takes for the action's own."""
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    run.interrupt(*UPGRADE)
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    run.boot_id = "boot-2"
    assert run.recover() is Recovered.NOT_DONE
    answer = run.post_check()
    assert isinstance(answer, Refuse)
    assert "in the middle of the upgrade" in answer.reason


def test_whatever_kills_it_only_what_was_seen_to_end_is_called_done(tmp_path: Path) -> None:
    """A reboot that nobody asked for is no end of an upgrade; one after its end is."""
    (tmp_path / "required").touch()
    for death in deaths(lambda: harness(tmp_path)):
        saved = death.harness.saved
        played = death.resume()
        told = (played.outcome, played.recovered)
        assert told == (("unsafe", "unknown") if saved["asked"] else ("failed", "not_done")), death
        upgraded = saved["stage"] == "upgraded"
        assert death.resume(rebooted=True).outcome == ("succeeded" if upgraded else "unsafe"), death


def test_while_somebody_else_installs_it_waits(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    run = harness(tmp_path)
    assert run.pre_check() == Go()
    context = multiprocessing.get_context("spawn")
    held, over = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(lock), held, over))
    holder.start()
    try:
        assert held.wait(30)
        answer = run.pre_check()
    finally:
        over.set()
        holder.join(30)
    assert isinstance(answer, Wait)
    assert str(lock) in answer.reason
    assert run.pre_check() == Go()


def test_without_room_nothing_is_begun(tmp_path: Path) -> None:
    free_mb = shutil.disk_usage(tmp_path).free // 2**20
    answer = harness(tmp_path, room_mb=free_mb * 2).pre_check()
    assert isinstance(answer, Refuse)
    assert "make room" in answer.reason


def test_a_machine_without_the_program_is_not_touched(tmp_path: Path) -> None:
    answer = harness(tmp_path, upgrade=["no-such-program"]).pre_check()
    assert isinstance(answer, Refuse)
    assert "no-such-program is not on this machine" in answer.reason


def test_a_node_that_is_ill_or_about_to_go_down_is_left_alone(tmp_path: Path) -> None:
    run = harness(tmp_path, checks=[["ping"]])
    run.answer("ping", exit=1, output="no", times=1)
    assert isinstance(run.pre_check(), Wait)
    assert run.pre_check() == Go()
    (tmp_path / "scheduled").touch()
    assert isinstance(run.pre_check(), Wait)


def _hold(path: str, held: Event, over: Event) -> None:
    import fcntl  # noqa: PLC0415  (in the process that holds it)

    with open(path, "rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        held.set()
        over.wait(30)
