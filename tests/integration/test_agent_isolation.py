"""The agent and the control groups of its attempts: made, written down before the action begins, killed, removed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from taskerman.agent.isolation import Isolation, detect
from taskerman.child.cgroup import Cgroup
from taskerman.child.kin import process_start
from taskerman.policy.bounds import Bounds
from tests.support.agents import fleet, letters, outcome, quick
from tests.support.cgroups import isolation
from tests.support.installation import Installation
from tests.support.waiting import until

__all__ = ["fleet", "isolation"]


@pytest.fixture
def groups(isolation: Isolation) -> Isolation:
    """Only where there are groups."""
    if not isolation.hierarchies:
        pytest.skip("the session alone is what every other test of the agent has")
    return isolation


def members(fleet: Installation) -> list[int]:
    """Who is in the group that the journal names."""
    group = Cgroup.parse(fleet.journal()["attempt"]["cgroup"])
    assert group is not None
    return group.members()


def made(isolation: Isolation) -> list[str]:
    """The groups that there are below our folder."""
    return [entry.name for each in isolation.hierarchies for entry in each.base.iterdir() if entry.is_dir()]


def test_the_group_is_in_the_journal_before_the_action_and_gone_after_the_attempt(
    fleet: Installation, groups: Isolation
) -> None:
    fleet.behave("i-0", action="until")
    fleet.start_agent("i-0", isolation=groups)
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    assert len(members(fleet)) == 2, "the keeper and its worker"
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    fleet.until(lambda: made(groups) == [], "its groups are removed")


def test_an_overdue_child_of_an_earlier_agent_is_killed_by_its_group(fleet: Installation, groups: Isolation) -> None:
    """Its keeper was killed and its processes hide: only the group still knows them."""
    fleet.behave("i-0", action="escape", recover="not_done")
    fleet.start_agent("i-0", isolation=groups)
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("escaped") == 1, "it acts")
    fleet.crash_agent("i-0")
    os.kill(fleet.journal()["attempt"]["pid"], signal.SIGKILL)
    until(lambda: len(members(fleet)) == 1, "only who escaped is left")
    [escaped] = members(fleet)
    fleet.start_agent("i-0", isolation=groups)
    assert outcome(fleet, task) == "failed"
    assert process_start(escaped) is None
    fleet.until(lambda: made(groups) == [], "its groups are removed")


def test_an_adopted_child_is_in_its_group_still(fleet: Installation, groups: Isolation) -> None:
    fleet.behave("i-0", action="until")
    fleet.start_agent("i-0", isolation=groups)
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.crash_agent("i-0")
    fleet.start_agent("i-0", isolation=groups)
    fleet.until(lambda: bool(fleet.said("attempt_adopted")), "it is adopted")
    assert len(members(fleet)) == 2
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    fleet.until(lambda: made(groups) == [], "its groups are removed")


def test_what_crashed_agents_left_is_swept_and_nothing_of_others(fleet: Installation, groups: Isolation) -> None:
    fleet.start_agent("i-0", isolation=groups)
    fleet.until(lambda: bool(fleet.said("agent_ready")), "it is ready")
    mark = fleet.journal()["uuid"][:8]
    fleet.crash_agent("i-0")
    of_this, of_another = replace(groups, mark=mark), replace(groups, mark="another")
    of_this.enclose("t-old.i-0.1", Bounds())
    of_another.enclose("t-old.i-0.1", Bounds())
    fleet.start_agent("i-0", isolation=groups)
    fleet.until(lambda: not any(name.startswith(mark) for name in made(groups)), "ours are gone")
    assert set(made(groups)) == {"another.t-old.i-0.1"}
    assert of_another.release("t-old.i-0.1")


def test_the_reason_of_a_failed_attempt_names_the_limit_that_it_met(fleet: Installation, groups: Isolation) -> None:
    fleet.behave("i-0", action="leak")
    fleet.start_agent("i-0", isolation=groups)
    task = fleet.submit(params=quick(timeout_args={"soft_s": 60, "settle_s": 1, "memory_mb": 96}))
    assert outcome(fleet, task) == "failed"
    assert "it met its memory limit 96 MB (the kernel killed 1 of its processes)" in fleet.end(task)["reason"]
    assert [event.fields["limit"] for event in fleet.said("limit_met")] == ["memory"]


def test_the_tighter_of_the_nodes_limit_and_the_tasks_counts(fleet: Installation, groups: Isolation) -> None:
    fleet.behave("i-0", action="leak")
    fleet.start_agent("i-0", isolation=groups, bounds=Bounds(memory_mb=80))
    task = fleet.submit(params=quick(timeout_args={"soft_s": 60, "settle_s": 1, "memory_mb": 1000}))
    assert outcome(fleet, task) == "failed"
    assert "memory limit 80 MB" in fleet.end(task)["reason"]


def test_a_limit_that_a_node_cannot_keep_is_a_reason_not_to_begin(fleet: Installation) -> None:
    fleet.start_agent("i-0", isolation=detect("none", ""))
    task = fleet.submit(params=quick(timeout_args={"memory_mb": 512, "processes": 64}))
    assert outcome(fleet, task) == "rejected"
    [letter] = letters(fleet)
    assert letter["code"] == "E-LIMITS"
    assert "memory_mb and processes" in letter["reason"]
    assert fleet.did("pre") == 0


def test_a_limit_of_the_node_that_it_cannot_keep_is_said_and_its_memory_is_bound_by_process(
    fleet: Installation,
) -> None:
    fleet.behave("i-0", action="leak")
    fleet.start_agent("i-0", isolation=detect("none", ""), bounds=Bounds(memory_mb=96, processes=64))
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "failed"
    assert "memory limit 96 MB for each process" in fleet.end(task)["reason"]
    [said] = fleet.said("limits_not_kept")
    assert said.fields["limits"] == ["memory_mb", "processes"]
