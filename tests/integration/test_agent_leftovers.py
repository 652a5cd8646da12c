"""What one attempt leaves (a late word, a hung process, a result nobody told) is never taken for something else."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from taskerman.agent.isolation import Isolation
from taskerman.child.cgroup import Cgroup
from taskerman.child.kin import processes
from taskerman.errors import NotPermitted
from taskerman.policy.bounds import UNBOUNDED
from tests.support.agents import fleet, letters, outcome, quick
from tests.support.cgroups import isolation
from tests.support.installation import Installation

__all__ = ["fleet", "isolation"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def keeper(fleet: Installation) -> int:
    """The keeper of the attempt that runs, before the journal knows of it."""
    left, table = set(fleet.left()), processes()
    [found] = [pid for pid in left if table[pid].parent not in left]
    return found


def test_the_last_word_of_one_attempts_child_is_not_heard_as_the_next_ones(fleet: Installation) -> None:
    """Cancelled in its pre_check, while another task waits for the node: that one begins in the same breath."""
    fleet.behave("i-0", pre=["hang", "go"])
    fleet.start_agent("i-0")
    first = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "the first is asked")
    second = fleet.submit(params=quick())
    fleet.until(lambda: len(fleet.journal()["accepted"]) == 2, "both are here")
    fleet.operator.cancel(first, "not this one")
    assert outcome(fleet, second) == "succeeded"
    assert outcome(fleet, first) == "cancelled"
    fleet.until(lambda: fleet.left() == [], "no process is left")


def test_a_stop_frees_no_slot_of_a_check_that_cannot_be_stopped(
    fleet: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is stopped in pre_check, whose process hangs in the kernel: unsafe, and a person is told."""
    fleet.behave("i-0", pre="hang")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    monkeypatch.setattr("taskerman.agent.child_in_hand.ChildInHand.end", lambda self: False)
    fleet.stop_agent("i-0")
    assert fleet.end(task)["outcome"] == "unsafe"
    assert fleet.slots() == ("i-0~2~unsafe",)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who should have reported long ago is given up within a second."""
    monkeypatch.setattr("taskerman.agent.performing._OVERDUE_S", 1.0)
    monkeypatch.setattr("taskerman.agent.performing._LAST_WORD_S", 0.2)
    monkeypatch.setattr("taskerman.agent.performing.ABORT_SECONDS", 0.0)
    monkeypatch.setattr("taskerman.agent.performing.IMPORT_SECONDS", 0.0)
    monkeypatch.setattr("taskerman.agent.performing.CHECK_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_result_that_was_written_counts_although_its_report_never_came(fleet: Installation) -> None:
    """The child froze between the two, or the agent did: what is known is not asked for, and not done again."""
    fleet.behave("i-0", action="until", recover="unknown")
    member = fleet.start_agent("i-0")
    task = fleet.submit(params=quick(timeout_args={"soft_s": 2, "hard_s": 2, "settle_s": 5}))
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    performance = member.agent._acting.performance
    assert performance is not None
    child = performance._child
    unheard, post = child._listened_to, child._post
    child._post = lambda heard: None if heard.child is unheard else post(heard)
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert (fleet.did("begin"), fleet.did("recover")) == (1, 0)
    assert fleet.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_child_that_hangs_in_its_pre_check_holds_its_slot_no_longer_than_it_may(fleet: Installation) -> None:
    """The keeper keeps the time of a check; when it is frozen, the agent does."""
    fleet.behave("i-0", pre="hang")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    os.kill(keeper(fleet), signal.SIGSTOP)
    assert outcome(fleet, task) == "failed"
    assert fleet.slots() == ()
    assert fleet.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_child_that_hangs_in_its_post_check_is_replaced_by_one_that_answers(fleet: Installation) -> None:
    fleet.behave("i-0", post=["hang", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(timeout_args={"soft_s": 20, "hard_s": 30, "settle_s": 30}))
    fleet.until(lambda: fleet.did("post") == 1, "it is asked")
    hung = keeper(fleet)
    os.kill(hung, signal.SIGSTOP)
    assert outcome(fleet, task) == "succeeded"
    assert fleet.left() == []


def test_what_an_earlier_child_left_in_the_group_is_gone_before_the_next_child_is_in_it(
    fleet: Installation, isolation: Isolation, sleeper: subprocess.Popen[bytes]
) -> None:
    """An agent died in pre_check, and its child hung: woken later, it would end whoever is in its group by then."""
    if not isolation.hierarchies:
        pytest.skip("no groups here")
    fleet.behave("i-0", pre=["hang", "go"], action="until")
    fleet.start_agent("i-0", isolation=isolation)
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    fleet.crash_agent("i-0")
    ours = replace(isolation, mark=fleet.journal()["uuid"][:8])
    group = Cgroup.parse(ours.enclose(fleet.node()["attempt"]["id"], UNBOUNDED))
    assert group is not None
    for directory in group.work:
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(sleeper.pid))
    fleet.start_agent("i-0", isolation=isolation)
    fleet.until(lambda: fleet.did("begin") == 1, "the next agent goes on")
    assert sleeper.poll() == -signal.SIGKILL
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"


def test_an_action_that_only_the_journal_knows_is_ended_before_anything_else_begins(
    fleet: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person said that the node was off, and it was only cut off: its action went on without an agent."""
    monkeypatch.setattr("taskerman.agent.mailbox._FIRST_LOAN", timedelta(seconds=1))
    fleet.behave("i-0", action=["stubborn", "ok"])
    fleet.start_agent("i-0")
    first = fleet.submit(params=quick(failure_args={"max_failures": 5}))
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.crash_agent("i-0")
    old = fleet.left()
    assert len(old) >= 2
    fleet.operator.node_is_off("i-0", "it does not answer")
    assert outcome(fleet, first) == "lost"
    fleet.start_agent("i-0")
    second = fleet.submit(params=quick())
    assert outcome(fleet, second) == "succeeded"
    assert not set(old) & set(fleet.left())
    assert len(letters(fleet)) == 1


def test_an_agent_whose_rights_were_taken_away_waits_for_a_person_and_loses_nothing(
    fleet: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While rights are set anew, say: an agent that ends each time is soon not started again by its supervisor."""
    fleet.behave("i-0", action="until")
    fleet.start_agent("i-0", refused=timedelta(seconds=0.05))
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")

    def refuse(*_: object) -> None:
        raise NotPermitted("This identity may not write here.")

    with monkeypatch.context() as rights:
        rights.setattr("tests.support.mortal.MortalTree.commit", refuse)
        fleet.go("i-0")
        fleet.until(lambda: len(fleet.said("not_permitted")) == 1, "it says so")
        assert fleet.slots() == ("i-0~2~acting",)
    assert outcome(fleet, task) == "succeeded"
    assert (fleet.did("begin"), len(fleet.said("not_permitted"))) == (1, 1)
