"""The child as a process: what it promises about hooks, timeouts, output and what it leaves."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskerman.agent.attempt_files import read_result, read_saved
from taskerman.agent.child_talk import (
    Abort,
    Checked,
    ChildGone,
    Died,
    Ended,
    Errored,
    Exit,
    Failed,
    PostCheck,
    PreCheck,
    Ready,
    Recover,
    RecoveredAs,
    TimedOut,
)
from taskerman.runner import Go, Recovered, Wait
from tests.support.children import ATTEMPT, MINUTE, Starting, alive, begin, go, mark, of_the_session
from tests.support.waiting import until

__all__ = ["begin"]

# --- hooks -----------------------------------------------------------------------------------------------


def test_an_attempt_goes_through_its_hooks_and_leaves_nothing(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Plain")
    watched.expect(Ready)
    watched.child.ask(PreCheck(MINUTE))
    assert watched.expect(Checked) == Checked("pre_check", Go())
    watched.child.ask(go())
    result = watched.ended().result
    assert (result.status, result.error, result.exit) == ("ok", "", None)
    assert result.saved == {"from_pre_check": 1, "from_action": {"seen": 1}}
    assert result.max_rss_bytes > 1_000_000
    assert result == read_result(watched.directory, ATTEMPT)
    watched.child.ask(PostCheck(MINUTE))
    watched.child.ask(Recover(MINUTE))
    assert watched.expect(RecoveredAs).answer is Recovered.DONE
    post_check = watched.reports[-2]
    when = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert post_check == Checked("post_check", Wait("['from_action', 'from_pre_check']", when, "cluster"))
    watched.child.ask(Exit())
    assert watched.expect(ChildGone).exit == 0
    assert not alive(mark(tmp_path, "began"))
    assert "keeper" not in watched.log()


def test_commands_that_come_before_the_runner_is_ready_wait_for_it(begin: Starting) -> None:
    watched = begin("Plain")
    watched.child.ask(PreCheck(MINUTE))
    watched.child.ask(go())
    watched.ended()
    assert [type(report) for report in watched.reports] == [Ready, Checked, Ended]


def test_what_hooks_raise_is_reported_with_type_message_and_place(begin: Starting) -> None:
    watched = begin("Failing")
    watched.child.ask(PreCheck(MINUTE))
    error = watched.expect(Errored)
    assert error.phase == "pre_check"
    assert error.error.startswith("LookupError: no such peer\n")
    assert 'in pre_check\n    raise LookupError("no such peer")' in error.error
    assert "worker.py" not in error.error

    watched.child.ask(go())
    result = watched.ended().result
    assert result.status == "error"
    assert "CommandFailed" in result.error
    assert "exit 3; last output: disk is full" in result.error
    assert "disk is full" in result.tail
    assert "disk is full" in watched.log()

    watched.child.ask(PostCheck(MINUTE))
    watched.child.ask(Recover(MINUTE))
    until(lambda: len(watched.reports) == 5, "both answers")
    wrong, quits = watched.reports[3:]
    assert isinstance(wrong, Errored)
    assert "post_check returned a wrong answer: None is not Go, Wait, Refuse or Skip" in wrong.error
    assert isinstance(quits, Errored)
    assert "SystemExit: I quit" in quits.error


def test_a_check_that_hangs_is_killed_with_its_kin_and_the_child_can_be_asked_again(
    begin: Starting, tmp_path: Path
) -> None:
    watched = begin("Hanging")
    watched.child.ask(PreCheck(timedelta(seconds=3)))
    assert watched.expect(TimedOut).phase == "pre_check"
    assert not alive(mark(tmp_path, "family"))
    watched.child.ask(PostCheck(MINUTE))
    assert watched.expect(Checked).phase == "post_check"
    assert sum(isinstance(report, Ready) for report in watched.reports) == 1


def test_a_worker_that_dies_in_a_check_is_reported_and_replaced(begin: Starting) -> None:
    watched = begin("Dying", settings={"in": "pre_check"})
    watched.child.ask(PreCheck(MINUTE))
    assert watched.expect(Died) == Died("pre_check", "signal SIGKILL")
    watched.child.ask(PostCheck(MINUTE))
    assert watched.expect(Checked).phase == "post_check"


def test_a_worker_that_closed_its_pipe_is_not_waited_for(begin: Starting) -> None:
    watched = begin("Interloper")
    watched.child.ask(PreCheck(MINUTE))
    assert watched.expect(Died).phase == "pre_check"


# --- what cannot be started ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "phase", "said"),
    [
        ("tests.integration.no_such_module:Restart", "import", "No module named 'tests.integration.no_such_module'"),
        ("tests.integration.child_runners:Missing", "import", "is not there"),
        ("tests.integration.child_runners:NOT_A_RUNNER", "import", "is not a TaskRunner"),
        ("Abstract", "init", "execute_action"),
    ],
)
def test_a_runner_that_cannot_be_made_is_named_at_once(begin: Starting, target: str, phase: str, said: str) -> None:
    watched = begin(target)
    failed = watched.expect(Failed)
    assert failed.phase == phase
    assert said in failed.error
    watched.child.ask(PreCheck(MINUTE))
    assert said in watched.expect(Errored).error
    watched.child.ask(go())
    assert said in watched.ended().result.error


def test_arguments_that_do_not_fit_are_named_each(begin: Starting) -> None:
    watched = begin("Typed", args={"force": "yes", "seconds": -1, "speed": 3})
    failed = watched.expect(Failed)
    assert failed.phase == "args"
    for said in ("force: it should be a valid boolean", "seconds: ", "speed: unknown argument", "Known arguments"):
        assert said in failed.error


def test_a_runner_without_arguments_refuses_some(begin: Starting) -> None:
    assert "force: unknown argument" in begin("Plain", args={"force": True}).expect(Failed).error


def test_typed_arguments_reach_the_runner(begin: Starting) -> None:
    watched = begin("Typed", args={"force": True, "seconds": 1.5})
    watched.child.ask(PreCheck(MINUTE))
    assert watched.expect(Checked).check == Wait("force=True seconds=1.5")


# --- timeouts --------------------------------------------------------------------------------------------


def test_the_soft_timeout_lets_the_clean_up_run_and_then_calls_abort(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.expect(Ready)
    watched.child.ask(go(soft=1.5))
    result = watched.ended().result
    assert result.status == "timeout"
    assert "soft timeout" in result.error
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "swallowed").exists()
    assert mark(tmp_path, "aborts").split() == mark(tmp_path, "began").split()
    watched.child.ask(PostCheck(MINUTE))
    watched.expect(Checked)


def test_an_abort_interrupts_the_action_as_the_soft_timeout_would(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.child.ask(go())
    mark(tmp_path, "acting")
    watched.child.ask(Abort())
    result = watched.ended().result
    assert (result.status, result.error) == ("killed", "aborted")
    assert (tmp_path / "cleaned").exists()
    assert mark(tmp_path, "aborts")


def test_an_abort_before_the_action_has_begun_is_not_lost(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.child.ask(go())
    watched.child.ask(Abort())
    result = watched.ended().result
    assert result.status == "killed"
    assert result.error.startswith("aborted")
    assert not (tmp_path / "ended").exists()


def test_a_sigterm_that_comes_before_the_action_interrupts_it_as_it_begins(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.expect(Ready)
    (worker,) = set(of_the_session(watched.child.pid)) - {watched.child.pid}
    os.kill(worker, signal.SIGTERM)
    watched.child.ask(go())
    result = watched.ended().result
    assert result.status == "killed"
    assert "neither from us nor from the agent" in result.error
    assert not (tmp_path / "began").exists()


def test_an_abort_without_an_action_does_nothing(begin: Starting) -> None:
    watched = begin("Plain")
    watched.child.ask(Abort())
    watched.child.ask(PreCheck(MINUTE))
    watched.expect(Checked)


def test_an_interrupted_command_ends_before_the_action_does(begin: Starting) -> None:
    watched = begin("SlowCommand")
    watched.child.ask(go())
    line = until(lambda: [line for line in watched.log().splitlines() if line.startswith("sleeper")], "the sleeper")
    watched.child.ask(Abort())
    assert watched.ended().result.status == "killed"
    assert not alive(line[0].removeprefix("sleeper"))
    assert "killing" not in watched.log()


def test_an_action_that_swallows_the_interruption_counts_as_interrupted(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Swallower")
    watched.child.ask(go(soft=0.5))
    assert watched.ended().result.status == "timeout"


def test_the_hard_deadline_kills_a_deaf_tree_in_whatever_session_and_aborts_afresh(
    begin: Starting, tmp_path: Path
) -> None:
    watched = begin("Stubborn")
    watched.child.ask(PreCheck(MINUTE))
    watched.expect(Checked)
    watched.child.ask(go(soft=2, hard=4))
    family = mark(tmp_path, "family")
    assert len(alive(family)) == 3
    result = watched.ended().result
    assert result.status == "killed"
    assert "hard deadline" in result.error
    assert result.saved["from_action"] == {"seen": 1}
    assert not alive(family)
    assert not alive(mark(tmp_path, "began"))
    (aborting,) = mark(tmp_path, "aborts").split()
    assert aborting != mark(tmp_path, "began")
    watched.child.ask(PostCheck(MINUTE))
    watched.expect(Checked)


def test_a_failing_abort_is_in_the_result(begin: Starting, tmp_path: Path) -> None:
    watched = begin("StubbornWithABadAbort")
    watched.expect(Ready)
    watched.child.ask(go(hard=2))
    result = watched.ended().result
    assert result.status == "killed"
    assert "RuntimeError: nothing to talk to" in result.error


def test_a_deadline_that_has_passed_kills_at_once(begin: Starting) -> None:
    watched = begin("Slow")
    watched.expect(Ready)
    watched.child.ask(go(hard=-1))
    assert watched.ended().result.status == "killed"


def test_an_action_whose_process_dies_is_killed_and_aborted(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Dying", settings={"in": "execute_action"})
    watched.child.ask(go())
    result = watched.ended().result
    assert (result.status, result.exit) == ("killed", -9)
    assert "signal SIGKILL" in result.error
    assert not alive(mark(tmp_path, "family"))
    assert mark(tmp_path, "aborts")


# --- what is left ----------------------------------------------------------------------------------------


def test_what_an_action_leaves_running_is_killed_before_its_result_and_named(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Leaver")
    watched.child.ask(go())
    result = watched.ended().result
    assert result.status == "ok"
    family = mark(tmp_path, "family")
    assert not alive(family)
    for pid in family.split():
        assert f"killing what was left: pid {pid}: " in watched.log()
        assert f"pid {pid}: " in result.tail


def test_a_new_action_begins_without_the_result_of_an_older_one(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    (tmp_path / "enough").touch()
    watched.child.ask(go())
    assert watched.ended().result.status == "ok"
    assert read_result(watched.directory, ATTEMPT)
    (tmp_path / "enough").unlink()
    watched.child.ask(go())
    until(lambda: read_result(watched.directory, ATTEMPT) is None, "the old result is gone")
    (tmp_path / "enough").touch()
    until(lambda: len([r for r in watched.reports if isinstance(r, Ended)]) == 2, "the second result")
    assert read_result(watched.directory, ATTEMPT)


def test_saved_values_are_there_again_for_the_next_child_of_the_attempt(begin: Starting) -> None:
    first = begin("Plain")
    first.child.ask(PreCheck(MINUTE))
    first.expect(Checked)
    assert first.child.kill_all()
    first.expect(ChildGone)
    assert read_saved(first.directory) == {"from_pre_check": 1}
    second = begin("Plain")
    second.child.ask(Recover(MINUTE))
    assert second.expect(RecoveredAs).answer is Recovered.DONE


# --- output ----------------------------------------------------------------------------------------------


def test_fifty_megabytes_of_output_stay_within_the_bounds_and_the_end_is_kept(
    begin: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    watched = begin("Chatty", settings={"megabytes": 50}, log_max_bytes=1_000_000, tail_bytes=4096)
    watched.child.ask(go())
    result = watched.ended().result
    assert result.status == "ok"
    assert len(result.tail.encode()) <= 4096
    assert "a last line, buffered\n" in result.tail
    assert "not � UTF-8, and �[31mred\n" + "l" * 1000 + "…\nthe end\n" in result.tail
    assert result.tail.index("no end of a line") < result.tail.index(" ends phase=execute_action")
    watched.child.ask(Exit())
    watched.expect(ChildGone)
    size = (watched.directory / "output.log").stat().st_size
    assert 900_000 < size < 1_100_000
    assert "the log is full" in watched.log()
    assert "bytes of output were not kept" in watched.log().splitlines()[-1]


def test_commands_see_the_marker_and_come_back_with_exit_and_output(begin: Starting) -> None:
    watched = begin("Commanding")
    watched.child.ask(go())
    result = watched.ended().result
    assert result.status == "ok", result.error
    assert f"marker={ATTEMPT} extra=yes" in watched.log()
    assert (result.saved["exit"], result.saved["output"]) == (4, "out\nerr")
    assert result.saved["slow"] == "took longer than 1 s and was ended"
    assert not alive(str(result.saved["slow_pid"]))
    assert result.saved["quick"] == "started"
