"""The child without its agent: what ends with it, what goes on, and that nothing of an attempt is left in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskerman.agent.attempt_files import read_result
from taskerman.agent.child_talk import Checked, ChildGone, Ended, Exit, PostCheck, PreCheck, Ready, Report
from taskerman.agent.killing import kill_attempt
from taskerman.agent.machine import process_start
from taskerman.agent.process import AdoptedChild
from tests.support.children import ATTEMPT, MINUTE, Starting, alive, begin, go, mark, of_the_session
from tests.support.waiting import until

__all__ = ["begin"]

AGENT = """
import json, sys, time
from pathlib import Path
from taskerman.agent.child_talk import ChildSpec
from taskerman.agent.process import start
from tests.support.children import go, spec_for

folder = Path(sys.argv[1])
child = start(spec_for("Slow", folder, sys.argv[3]), folder / "attempt", lambda report: None)
child.ask(go(hard=float(sys.argv[2])))
(folder / "child.tmp").write_text(json.dumps([child.pid, child.pid_start]))
(folder / "child.tmp").rename(folder / "child")
time.sleep(600)
"""


# --- before go -------------------------------------------------------------------------------------------


def test_before_go_the_child_ends_with_its_agent(begin: Starting) -> None:
    watched = begin("Plain")
    watched.expect(Ready)
    assert len(of_the_session(watched.child.pid)) == 2
    watched.child.close()
    assert watched.expect(ChildGone).exit == 0
    assert of_the_session(watched.child.pid) == []


def test_in_a_check_everything_ends_with_the_agent(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Hanging")
    watched.child.ask(PreCheck(MINUTE))
    family = mark(tmp_path, "family")
    watched.child.close()
    watched.expect(ChildGone)
    assert not alive(family)


def test_after_its_result_the_child_ends_with_its_agent(begin: Starting) -> None:
    watched = begin("Plain")
    watched.child.ask(go())
    watched.ended()
    watched.child.close()
    assert watched.expect(ChildGone).exit == 0


# --- after go --------------------------------------------------------------------------------------------


def test_after_go_the_action_goes_on_when_its_agent_is_killed_and_leaves_its_result(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), "60", ATTEMPT], stderr=subprocess.DEVNULL
    ) as agent:
        pid, pid_start = json.loads(mark(tmp_path, "child"))
        mark(tmp_path, "acting")
        agent.kill()
    # The next agent: it watches the child that it did not start.
    reports: list[Report] = []
    adopted = AdoptedChild(ATTEMPT, pid, pid_start, "", reports.append)
    assert not adopted.wait(0.2)
    assert read_result(tmp_path / "attempt", ATTEMPT) is None
    (tmp_path / "enough").touch()
    assert adopted.wait(20)
    assert reports == [ChildGone(None)]
    result = read_result(tmp_path / "attempt", ATTEMPT)
    assert result is not None
    assert result.status == "ok"
    assert of_the_session(pid) == []


def test_after_go_the_hard_deadline_holds_without_an_agent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), "3", ATTEMPT], stderr=subprocess.DEVNULL
    ) as agent:
        pid, pid_start = json.loads(mark(tmp_path, "child"))
        mark(tmp_path, "acting")
        agent.kill()
    adopted = AdoptedChild(ATTEMPT, pid, pid_start, "", lambda report: None)
    assert adopted.wait(20)
    result = read_result(tmp_path / "attempt", ATTEMPT)
    assert result is not None
    assert result.status == "killed"
    assert of_the_session(pid) == []


def test_an_adopted_action_can_be_aborted_and_cleans_up(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.child.ask(go())
    mark(tmp_path, "acting")
    watched.child.close()
    adopted = AdoptedChild(ATTEMPT, watched.child.pid, watched.child.pid_start, "", lambda report: None)
    adopted.abort()
    assert adopted.wait(20)
    assert (tmp_path / "cleaned").exists()
    result = read_result(watched.directory, ATTEMPT)
    assert result is not None
    assert (result.status, result.error) == ("killed", "aborted")
    adopted.abort()


def test_go_and_the_agents_death_in_one_breath_still_run_the_action(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    (tmp_path / "enough").touch()
    watched.child.ask(PreCheck(MINUTE))
    watched.child.ask(go())
    watched.child.ask(PostCheck(MINUTE))
    watched.child.close()
    watched.expect(ChildGone)
    assert (tmp_path / "ended").exists()
    assert read_result(watched.directory, ATTEMPT) == watched.ended().result


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_polite_signal_ends_the_keeper_or_its_action(begin: Starting, tmp_path: Path, signum: int) -> None:
    watched = begin("Slow")
    watched.child.ask(go())
    mark(tmp_path, "acting")
    os.kill(watched.child.pid, signum)
    watched.child.ask(PostCheck(MINUTE))
    (tmp_path / "enough").touch()
    assert watched.ended().result.status == "ok"
    watched.expect(Checked)


def test_exit_during_an_action_waits_for_its_result(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Slow")
    watched.child.ask(go())
    watched.child.ask(Exit())
    mark(tmp_path, "acting")
    (tmp_path / "enough").touch()
    assert watched.expect(ChildGone).exit == 0
    assert watched.ended().result.status == "ok"


def test_a_frozen_agent_does_not_hold_the_child_up(begin: Starting, tmp_path: Path) -> None:
    """Reports that nobody reads: more than a pipe holds."""
    held = threading.Event()
    watched = begin("Plain")
    watched.expect(Ready)
    watched.hold = held
    for _ in range(3000):
        watched.child.ask(PostCheck(MINUTE))
    watched.child.ask(go())
    until(lambda: read_result(watched.directory, ATTEMPT), "the result, though nobody listens", within_s=60)
    assert not watched.saw(Ended)
    held.set()
    watched.ended()


# --- killing ---------------------------------------------------------------------------------------------


def test_a_killed_keeper_takes_its_worker_along_and_the_rest_is_found_by_its_marker(
    begin: Starting, tmp_path: Path
) -> None:
    watched = begin("Stubborn")
    watched.child.ask(go())
    family = mark(tmp_path, "family")
    os.kill(watched.child.pid, signal.SIGKILL)
    assert watched.expect(ChildGone).exit == -signal.SIGKILL
    until(lambda: not alive(mark(tmp_path, "began")), "the worker is gone")
    assert len(alive(family)) == 3
    assert kill_attempt(ATTEMPT, watched.child.pid, watched.child.pid_start, 20)
    assert not alive(family)
    assert read_result(watched.directory, ATTEMPT) is None


def test_killing_an_attempt_kills_a_living_keeper_and_all_its_kin_but_no_other_attempt(
    begin: Starting, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = begin("Stubborn", "other-attempt", attempt=f"{ATTEMPT}1", settings={"folder": str(tmp_path / "other")})
    other.child.ask(go())
    watched = begin("Stubborn")
    watched.child.ask(go())
    family, others = mark(tmp_path, "family"), mark(tmp_path / "other", "family")
    assert watched.child.kill_all(20)
    watched.expect(ChildGone)
    assert not alive(family)
    assert not alive(mark(tmp_path, "began"))
    assert len(alive(others)) == 3
    assert len(alive(mark(tmp_path / "other", "began"))) == 1
    assert watched.child.kill_all(20), "again is harmless"


def test_a_frozen_keeper_is_killed_too(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Stubborn")
    watched.child.ask(go())
    family = mark(tmp_path, "family")
    os.kill(watched.child.pid, signal.SIGSTOP)
    assert watched.child.kill_all(20)
    assert not alive(family)


def test_kin_without_the_marker_is_found_while_the_keeper_lives(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Unmarked")
    watched.child.ask(go())
    pids = mark(tmp_path, "unmarked")
    assert len(alive(pids)) == 2
    assert watched.child.kill_all(20)
    assert not alive(pids)


def test_a_number_that_belongs_to_another_process_by_now_kills_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as innocent:
        pid_start = process_start(innocent.pid)
        assert pid_start is not None
        assert kill_attempt(ATTEMPT, innocent.pid, pid_start - 1, 5)
        adopted: list[Report] = []
        assert AdoptedChild(ATTEMPT, innocent.pid, pid_start - 1, "", adopted.append).wait(10)
        assert adopted == [ChildGone(None)]
        assert process_start(innocent.pid) == pid_start
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def test_what_cannot_be_told_from_a_strangers_process_is_not_killed_but_said(begin: Starting, tmp_path: Path) -> None:
    watched = begin("Unmarked")
    watched.child.ask(go())
    in_session, apart = mark(tmp_path, "unmarked").split()
    os.kill(watched.child.pid, signal.SIGKILL)
    watched.expect(ChildGone)
    try:
        assert not kill_attempt(ATTEMPT, watched.child.pid, watched.child.pid_start, 2)
        assert alive(in_session)
    finally:
        os.kill(int(in_session), signal.SIGKILL)
        os.kill(int(apart), signal.SIGKILL)
    until(lambda: not alive(in_session), "it is gone")
    assert kill_attempt(ATTEMPT, watched.child.pid, watched.child.pid_start, 5)


@pytest.mark.parametrize(("fails_at", "status"), [(1, "error"), (2, "killed")])
def test_a_machine_without_a_process_to_spare_does_not_cost_the_action_its_result(
    begin: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, status: str
) -> None:
    """For the runner itself, or for its abort() after the action was killed."""
    (tmp_path / "scarce.py").write_text(
        "import errno, os\n"
        "from taskerman.child import hand\n"
        "class Scarce:\n"
        "    forks = 0\n"
        "    def __getattr__(self, name): return getattr(os, name)\n"
        "    def fork(self):\n"
        "        Scarce.forks += 1\n"
        f"        if Scarce.forks >= {fails_at}: raise BlockingIOError(errno.EAGAIN, 'no process')\n"
        "        return os.fork()\n"
        "hand.os = Scarce()\n"
        "from taskerman.child.__main__ import main\n"
        "import sys\n"
        "os._exit(main(sys.argv[1:]) if __name__ == '__main__' else 0)\n"
    )
    real = subprocess.Popen

    def scarce(arguments: list[str], **more: Any) -> Any:
        changed = [str(tmp_path / "scarce.py"), *arguments[4:]] if "taskerman.child" in arguments else arguments[1:]
        return real([arguments[0], *changed], **more)

    monkeypatch.setattr("taskerman.agent.process.subprocess.Popen", scarce)
    watched = begin("Dying", settings={"in": "execute_action"})
    watched.child.ask(go())
    ended = watched.ended()
    assert ended.result.status == status
    assert "no process" in (ended.result.error or "")
    assert read_result(watched.directory, ATTEMPT) == ended.result
