"""Whatever an action does, it is contained: it ends, nothing of it is left, and its result says which limit it met.

Each case in every way in which this machine can keep attempts apart: control groups with the unified hierarchy and
without it, and the session alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from taskerman.agent.child_talk import Died, Ended, Exit, PreCheck, Ready
from taskerman.agent.isolation import Isolation
from taskerman.agent.killing import kill_attempt
from taskerman.child.cgroup import Cgroup
from taskerman.child.kin import process_start
from taskerman.model.attempt import Result
from taskerman.policy.bounds import Bounds
from tests.support.cgroups import isolation
from tests.support.children import ATTEMPT, MINUTE, Watched, alive, go, mark, spec_for, watched_child
from tests.support.waiting import until

__all__ = ["isolation"]

RUNNERS = "tests.integration.wild_runners"


class Contained:
    """Starts children as the agent does: with what this machine offers."""

    def __init__(self, isolation: Isolation, folder: Path, stack: ExitStack) -> None:
        self.isolation = isolation
        self._folder = folder
        self._stack = stack
        self.cgroup = ""

    def begin(self, runner: str, bounds: Bounds | None = None, **settings: Any) -> Watched:
        bounds = bounds or Bounds()
        self.cgroup = self.isolation.enclose(ATTEMPT, bounds)
        spec = spec_for(
            f"{RUNNERS}:{runner}",
            self._folder,
            settings=settings,
            cgroup=self.cgroup,
            bounds=bounds,
            rlimit_memory_mb=self.isolation.rlimit_memory_mb(bounds),
        )
        return self._stack.enter_context(watched_child(spec, self._folder / "attempt"))

    def act(
        self, runner: str, bounds: Bounds | None = None, soft: float = 60, hard: float = 120, **more: Any
    ) -> Result:
        """The result of its action, after which nothing of it is left, and its group can be removed."""
        watched = self.begin(runner, bounds, **more)
        watched.expect(Ready)
        watched.child.ask(go(soft, hard))
        result = watched.ended().result
        group = Cgroup.parse(self.cgroup)
        if group is not None and watched.child.pid:
            assert len(group.workers()) <= 1, "only the worker, which waits for the next question"
        watched.child.ask(Exit())
        until(lambda: watched.child.wait(0.01), "the child has ended")
        assert group is None or group.members() == []
        assert self.isolation.release(ATTEMPT)
        return result


@pytest.fixture
def contained(isolation: Isolation, tmp_path: Path) -> Iterator[Contained]:
    with ExitStack() as stack:
        yield Contained(isolation, tmp_path, stack)
    isolation.empty(ATTEMPT, 10)
    isolation.release(ATTEMPT)


Act = Callable[..., Result]


def test_an_action_that_leaks_is_stopped_at_its_memory_limit(contained: Contained) -> None:
    result = contained.act("Leaking", Bounds(memory_mb=96))
    assert result.status in ("killed", "error")
    assert any(limit.startswith("memory limit 96 MB") for limit in result.limits), result
    assert "nobody said no" not in result.error
    if "memory_mb" in contained.isolation.honoured:
        assert 64 << 20 < result.max_rss_bytes <= 96 << 20


def test_a_tool_that_leaks_is_killed_and_its_action_can_clean_up(contained: Contained) -> None:
    result = contained.act("Leaking", Bounds(memory_mb=96), below=True)
    assert result.status == "error"
    assert "the tool was killed" in result.error
    assert any(limit.startswith("memory limit 96 MB") for limit in result.limits), result
    assert result.saved["exit"] != 0


def test_a_fork_bomb_ends_with_its_action(contained: Contained) -> None:
    """Bounded where the machine can; else there are only as many of them as the test dares to start."""
    bound = "processes" in contained.isolation.honoured
    result = contained.act("Forking", Bounds(processes=24) if bound else None, soft=2, hard=3, count=40)
    assert result.status in ("timeout", "killed")
    if bound:
        assert any(limit.startswith("process limit 24 (") for limit in result.limits), result


def test_who_minds_no_signal_is_killed_at_the_hard_deadline(contained: Contained) -> None:
    result = contained.act("Stopping", soft=0.5, hard=1)
    assert result.status == "killed"
    assert "hard deadline" in result.error


def test_output_without_end_fills_no_disk_and_is_named(contained: Contained, tmp_path: Path) -> None:
    result = contained.act("Untiring", soft=3, hard=4)
    assert result.status == "killed"
    assert any(limit.startswith("output limit 16,777,216 bytes") for limit in result.limits), result
    assert (tmp_path / "attempt" / "output.log").stat().st_size <= 16 * 1024 * 1024


def test_a_cpu_limit_holds_the_action_back_and_not_its_keeper(contained: Contained) -> None:
    if "cpu_percent" not in contained.isolation.honoured:
        pytest.skip("nothing here can bind CPU time: a task that asks for it is rejected")
    result = contained.act("Burning", Bounds(cpu_percent=10), soft=3, hard=60)
    assert result.status == "timeout"
    assert any(limit.startswith("CPU limit 10 % (held back for ") for limit in result.limits), result


def test_who_hides_in_a_session_of_its_own_without_a_name_is_killed_with_the_action(
    contained: Contained, tmp_path: Path
) -> None:
    contained.act("Escaping", soft=1, hard=2)
    assert alive(mark(tmp_path, "escaped")) == []


def test_who_outlives_its_keeper_without_a_name_is_found_by_its_group(contained: Contained, tmp_path: Path) -> None:
    """The keeper is killed: an escaped process is nobody's child, of no session and without the marker."""
    watched = contained.begin("Escaping")
    watched.child.ask(go())
    escaped = mark(tmp_path, "escaped")
    os.kill(watched.child.pid, signal.SIGKILL)
    assert watched.child.wait(20)
    try:
        assert watched.child.kill_all()
        if contained.cgroup:
            assert alive(escaped) == []
        else:
            assert alive(escaped) == [int(escaped)], "the hole that control groups close"
    finally:
        for pid in alive(escaped):
            os.kill(pid, signal.SIGKILL)


def test_a_group_is_killed_although_its_keeper_is_stopped(contained: Contained, tmp_path: Path) -> None:
    watched = contained.begin("Escaping")
    watched.child.ask(go())
    escaped = mark(tmp_path, "escaped")
    os.kill(watched.child.pid, signal.SIGSTOP)
    assert kill_attempt(ATTEMPT, watched.child.pid, watched.child.pid_start, 10, contained.cgroup)
    assert alive(escaped) == []
    assert process_start(watched.child.pid) is None


def test_a_check_that_dies_at_a_limit_says_so(contained: Contained) -> None:
    if "memory_mb" not in contained.isolation.honoured:
        pytest.skip("a process that is bound by itself is not killed")
    watched = contained.begin("LeakingCheck", Bounds(memory_mb=96))
    watched.child.ask(PreCheck(MINUTE))
    assert "memory limit 96 MB (the kernel killed 1 of its processes)" in watched.expect(Died).how


def test_a_group_that_cannot_be_entered_runs_nothing(isolation: Isolation, tmp_path: Path) -> None:
    if not isolation.hierarchies:
        pytest.skip("there is nothing to enter")
    cgroup = isolation.enclose(ATTEMPT, Bounds())
    assert isolation.release(ATTEMPT)
    spec = spec_for(f"{RUNNERS}:Burning", tmp_path, cgroup=cgroup)
    with watched_child(spec, tmp_path / "attempt") as watched:
        watched.child.ask(go())
        result = watched.expect(Ended).result
        assert result.status == "error"
        assert "control group cannot be entered" in result.error
        assert not (tmp_path / "began").exists()
