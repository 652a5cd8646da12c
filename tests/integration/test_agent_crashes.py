"""An agent that is killed at any moment, and the next one that goes on: nothing is done twice, nothing is forgotten."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman.child.kin import process_start
from taskerman.errors import StopNow
from taskerman.ports.tree import Create
from tests.support.agents import fleet, letters, outcome, quick
from tests.support.installation import CLUSTER, Installation, OneAction
from tests.support.mortal import Killed, Life
from tests.support.waiting import until

__all__ = ["fleet"]


def acting(fleet: Installation, **params: Any) -> str:
    """A task whose action waits for a word."""
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(**params))
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    return task


def keeper(fleet: Installation) -> int:
    return int(fleet.journal()["attempt"]["pid"])


def kill_child(fleet: Installation) -> None:
    """The child, with everything below it; no result is left."""
    pid = keeper(fleet)
    os.kill(pid, signal.SIGKILL)
    until(lambda: process_start(pid) is None and not fleet.left(), "the child is gone")


def change_journal(fleet: Installation, **attempt: Any) -> None:
    path = fleet.folder / "state" / "i-0" / "journal.json"
    journal = json.loads(path.read_text())
    journal["attempt"].update(attempt)
    path.write_text(json.dumps(journal))


# --- every step --------------------------------------------------------------------------------------------


@pytest.fixture
def short_loans(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead agent had in its hands comes back within a second."""
    monkeypatch.setattr("taskerman.agent.mailbox._FIRST_LOAN", timedelta(seconds=1))
    monkeypatch.setattr("taskerman.agent.mailbox.LOAN", timedelta(seconds=1))


def steps_of(tmp_path: Path, **behaviour: Any) -> list[str]:
    """Every write of an agent from its start to a settled assignment, in order."""
    fleet = Installation(tmp_path / "counted", 1)
    try:
        return run_once(fleet, Life(), **behaviour)
    finally:
        fleet.stop()


def run_once(fleet: Installation, life: Life, **behaviour: Any) -> list[str]:
    fleet.start_router()
    fleet.behave("i-0", **behaviour)
    task = fleet.submit(params=quick(workqueue_args={"retry_count": 1}))  # not_done is failed, and tried again
    # The doorbell lies there before the agent starts: so its steps come in one order.
    fleet.until(lambda: fleet.queues.exists("t-node-i-0") and fleet.queues.depth("t-node-i-0").visible == 1, "it rings")
    try:
        fleet.start_agent("i-0", life=life)
    except Killed:  # before it had a journal
        fleet.start_agent("i-0")
        return life.steps
    fleet.until(lambda: life.dead or "accepted" not in _now(fleet, task), "it is settled")
    if life.dead:
        fleet.bury("i-0")
        fleet.start_agent("i-0")
    return life.steps


def _now(fleet: Installation, task: str) -> str:
    """`accepted` until the assignment has ended, is settled and forgotten."""
    journal = fleet.folder / "state" / "i-0" / "journal.json"
    done = bool(fleet.end(task)) and journal.exists() and json.loads(journal.read_text())["accepted"] == []
    return "done" if done and json.loads(journal.read_text())["attempt"] is None else "accepted"


MOST_STEPS = 16
"""START (twice: the record, the epoch), the journal (installation, accepted, begins, ...), JOIN, TAKE, END, ack."""


@pytest.mark.usefixtures("short_loans")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, MOST_STEPS + 2))
def test_an_agent_that_dies_at_any_write_loses_nothing_and_repeats_nothing(
    tmp_path: Path, at: int, after: bool
) -> None:
    """Before or after every write: one action, one good outcome, no slot, no dead letter, no process."""
    fleet = Installation(tmp_path, 1)
    try:
        life = Life(die_at=at, after=after)
        run_once(fleet, life)
        [task] = fleet.tasks
        assert outcome(fleet, task) == "succeeded", life.steps
        assert fleet.did("begin") <= 1, life.steps
        assert fleet.did("end") == 1, life.steps
        assert fleet.slots() == (), life.steps
        fleet.until(lambda: _now(fleet, task) == "done", "the journal is empty again")
        fleet.until(lambda: fleet.left() == [], "no process is left")
        assert list(fleet.dead_letters()) == [], life.steps
        if not life.dead:  # the matrix must reach beyond the last step: else some are never tried
            assert at > len(life.steps)
        elif at == MOST_STEPS + 1:
            raise AssertionError(f"there are more steps than are tried: {life.steps}")
    finally:
        fleet.stop()


@pytest.mark.usefixtures("short_loans")
def test_a_dead_letter_is_announced_under_one_key_wherever_the_agent_dies(tmp_path: Path) -> None:
    """From the END on, before and after every write: at least one announcement, all with one key."""
    steps = steps_of(tmp_path, post="refuse")
    first = next(i for i, step in enumerate(steps, 1) if step == "journal accepted,attempt,end")
    assert any(step.startswith("send ") for step in steps[first:])
    for at in range(first, len(steps) + 1):
        for after in (False, True):
            fleet = Installation(tmp_path / f"{at}{after}", 1)
            try:
                run_once(fleet, Life(die_at=at, after=after), post="refuse")
                [task] = fleet.tasks
                assert outcome(fleet, task) == "unsafe"
                fleet.until(lambda f=fleet, t=task: f.end(t)["dead_letter"] == "sent", "it is announced")  # type: ignore[misc]
                fleet.until(lambda f=fleet, t=task: _now(f, t) == "done", "it is settled")  # type: ignore[misc]
                keys = [letter["key"] for letter in letters(fleet)]
                assert set(keys) == {fleet.end(task)["attempt"]}, (at, after, steps)
                assert len(keys) <= 2
            finally:
                fleet.stop()


# --- every situation ---------------------------------------------------------------------------------------


def test_before_the_action_the_next_agent_begins_anew(fleet: Installation) -> None:
    """Killed in pre_check: its child ends with it, the slots are still held, and pre_check is asked again."""
    fleet.behave("i-0", pre=["hang", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    fleet.crash_agent("i-0")
    until(lambda: fleet.left() == [], "the child ends with its agent")
    assert fleet.slots() == ("i-0~2~acting",)
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.node()["takes"] == 1
    assert fleet.did("begin") == 1


@pytest.mark.parametrize("why", ["hold", "forbidden"])
def test_before_the_action_and_not_allowed_any_more_the_slot_is_given_back(fleet: Installation, why: str) -> None:
    """A hold came, or the node's allow list was changed, while the agent was away: nothing begins."""
    fleet.behave("i-0", pre=["hang", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    fleet.crash_agent("i-0")
    if why == "hold":
        fleet.operator.hold("*", "wait")
    fleet.start_agent("i-0", actions=("*",) if why == "hold" else ())
    fleet.until(lambda: fleet.slots() == (), "the slot is free")
    assert fleet.did("begin") == 0
    if why == "hold":
        fleet.operator.unhold("*", "go on")
        assert outcome(fleet, task) == "succeeded"
    else:
        assert outcome(fleet, task) == "rejected"


def test_a_living_child_is_adopted_and_its_action_not_repeated(fleet: Installation) -> None:
    """Killed in the action: the child acts on, the next agent waits for its result."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    fleet.crash_agent("i-0")
    fleet.start_agent("i-0")
    fleet.until(lambda: bool(fleet.said("attempt_adopted")), "it is adopted")
    assert fleet.slots() == ("i-0~2~acting",)
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("begin") == 1
    assert fleet.did("recover") == 0


def test_a_living_child_is_never_called_lost_however_often_it_is_adopted(fleet: Installation) -> None:
    """Five agents in a row: the action is one, and so is its outcome."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    for k in range(5):
        fleet.crash_agent("i-0")
        fleet.start_agent("i-0")
        fleet.until(lambda k=k: len(fleet.said("attempt_adopted")) == k + 1, "it is adopted")  # type: ignore[misc]
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("begin") == 1


def test_an_adopted_action_of_a_cancelled_task_is_interrupted(fleet: Installation) -> None:
    """The person spoke while no agent was there; the action cleans up, and the slot is free."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    fleet.crash_agent("i-0")
    fleet.operator.cancel(task, "stop it")
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "cancelled"
    assert fleet.did("end") == 1
    assert fleet.slots() == ()


def test_a_result_that_was_left_settles_it(fleet: Installation) -> None:
    """The action ended while no agent was there: nobody asks recover, and post_check decides."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    fleet.crash_agent("i-0")
    fleet.go("i-0")
    until(lambda: fleet.left() == [], "the child has ended")
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert (fleet.did("begin"), fleet.did("recover"), fleet.did("post")) == (1, 0, 1)


def test_after_the_action_the_next_agent_checks_again(fleet: Installation) -> None:
    """Killed in post_check: the action is not repeated."""
    fleet.behave("i-0", post=["hang", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("post") == 1, "it is checked")
    fleet.crash_agent("i-0")
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert (fleet.did("begin"), fleet.did("post")) == (1, 2)


def test_a_child_past_its_deadline_is_killed_before_anybody_asks(fleet: Installation) -> None:
    """Nothing of the attempt is left when recover is asked; the node is well, so the slot is free."""
    fleet.behave("i-0", action="until", recover="unknown")
    task = acting(fleet)
    fleet.crash_agent("i-0")
    os.kill(keeper(fleet), signal.SIGSTOP)  # hung: it does not keep its deadline
    change_journal(fleet, deadline_boottime=1.0)
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "lost"
    assert "hard deadline" in fleet.end(task)["reason"]
    assert fleet.did("recover") == 1
    assert fleet.slots() == ()
    assert fleet.left() == []


def test_a_hung_child_of_this_agent_is_given_up_after_its_deadline(
    fleet: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper keeps the deadline; when it is frozen, the agent does."""
    monkeypatch.setattr("taskerman.agent.performing._OVERDUE_S", 1.0)
    monkeypatch.setattr("taskerman.agent.performing.ABORT_SECONDS", 0.0)
    fleet.behave("i-0", action="until", recover="not_done")
    task = acting(fleet, timeout_args={"soft_s": 1, "hard_s": 1, "settle_s": 5})
    os.kill(keeper(fleet), signal.SIGSTOP)
    assert outcome(fleet, task) == "failed"
    assert "recover says that it did not happen" in fleet.end(task)["reason"]
    assert fleet.left() == []


@pytest.mark.parametrize("reboots", [True, False])
def test_a_reboot_is_what_the_action_declared_or_a_question(fleet: Installation, reboots: bool, tmp_path: Path) -> None:
    """Another boot id after "action begins": it happened, if it declares reboots; else the runner is asked."""
    boot = tmp_path / "boot_id"
    boot.write_text("first\n")
    catalog = OneAction()
    catalog.traits_of = catalog.traits_of.model_copy(update={"reboots": reboots})
    fleet.behave("i-0", action="until", recover="done")
    fleet.start_agent("i-0", boot_id_path=str(boot), catalog=catalog)
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.crash_agent("i-0")
    kill_child(fleet)
    boot.write_text("second\n")
    fleet.start_agent("i-0", boot_id_path=str(boot), catalog=catalog)
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("recover") == (0 if reboots else 1)
    assert fleet.did("begin") == 1


def test_without_the_journal_nobody_knows(fleet: Installation) -> None:
    """The disk was wiped: lost, and the slot is kept; the fresh journal goes on with other work only after a person."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    fleet.crash_agent("i-0")
    kill_child(fleet)
    (fleet.folder / "state" / "i-0" / "journal.json").unlink()
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "lost"
    assert "another journal" in fleet.end(task)["reason"]
    assert fleet.slots() == ("i-0~2~lost",)
    assert letters(fleet)[0]["kept"] == [CLUSTER]


def test_what_is_taken_over_too_often_is_lost(fleet: Installation) -> None:
    """An attempt that kills its agent each time does not do so for ever; its slot is kept."""
    fleet.behave("i-0", pre="hang")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    for k in range(1, 5):
        fleet.until(lambda k=k: fleet.did("pre") == k, "it is asked")  # type: ignore[misc]
        fleet.crash_agent("i-0")
        fleet.start_agent("i-0")
    assert outcome(fleet, task) == "lost"
    assert "taken over 4 times" in fleet.end(task)["reason"]
    assert fleet.slots() == ("i-0~2~lost",)


EXPECTED = {
    ("done", "verify"): ("succeeded", 1),
    ("done", "retry"): ("succeeded", 1),
    ("not_done", "verify"): ("failed", 1),
    ("not_done", "retry"): ("succeeded", 2),
    ("unknown", "verify"): ("lost", 1),
    ("unknown", "retry"): ("lost", 1),
    ("done", "never"): ("lost", 1),
    ("not_done", "never"): ("lost", 1),
    ("unknown", "never"): ("lost", 1),
}


@pytest.mark.parametrize("when_lost", ["verify", "retry", "never"])
def test_a_lost_action_is_settled_by_asking(tmp_path: Path, when_lost: str) -> None:
    """Done, not done, unknown; each under the rule for what is lost. post_check passes, so no slot is kept."""
    answers = {"i-0": "done", "i-1": "not_done", "i-2": "unknown"}
    fleet = Installation(tmp_path, 3)
    try:
        fleet.start_router()
        params = quick(lease_args={"concurrency": 3}, failure_args={"when_lost": when_lost, "max_failures": 3})
        for node, answer in answers.items():
            fleet.behave(node, action=["until", "ok"], recover=answer)
            fleet.start_agent(node)
        task = fleet.submit(params=params)
        fleet.until(lambda: len(fleet.acted()) == 3, "all act")
        for node in answers:
            fleet.crash_agent(node)
        for node in answers:
            os.kill(int(fleet.journal(node)["attempt"]["pid"]), signal.SIGKILL)
        until(lambda: fleet.left() == [], "the children are gone")
        for node in answers:
            fleet.start_agent(node)
        fleet.until(lambda: len(fleet.outcomes(task)) == 3, "three outcomes")
        for node, answer in answers.items():
            expected, begun = EXPECTED[answer, when_lost]
            assert (fleet.outcomes(task)[node], fleet.did("begin", node)) == (expected, begun), (node, answer)
            assert fleet.did("recover", node) == (0 if when_lost == "never" else 1)
        assert fleet.slots() == ()
    finally:
        fleet.stop()


# --- the disk, and others ----------------------------------------------------------------------------------


def test_a_full_disk_begins_nothing_and_is_not_the_agents_end(fleet: Installation) -> None:
    """ "Action begins" cannot be written: failed, and nothing was begun; the next attempt, with room, succeeds."""
    full = True

    def fail(journal: Any) -> OSError | None:
        return OSError(28, "No space left on device") if full and journal.attempt else None

    fleet.start_agent("i-0", fail=fail)
    task = fleet.submit(params=quick(workqueue_args={"retry_count": 50}))
    fleet.until(lambda: "No space left" in fleet.progress(task).get("why", ""), "it fails")
    assert fleet.did("begin") == 0
    full = False
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("begin") == 1


def test_one_attempts_end_is_never_taken_for_another_one(fleet: Installation) -> None:
    """The end of the first attempt stays in the journal, because the disk was full; then the second acts, and dies."""
    kept: list[Any] = []

    def fail(journal: Any) -> OSError | None:
        attempt = journal.attempt
        if journal.end is not None and not kept:
            kept.append(attempt)
            return None
        begins = attempt is not None and attempt.phase == "execute_action" and attempt.id != (kept and kept[0].id)
        return OSError(28, "No space left on device") if kept and not begins else None

    fleet.behave("i-0", pre=["skip", "go"], action="until", recover="unknown")
    fleet.start_agent("i-0", fail=fail)
    first = fleet.submit(params=quick())
    assert outcome(fleet, first) == "skipped"
    second = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "the second acts")
    fleet.crash_agent("i-0")
    kill_child(fleet)
    fleet.start_agent("i-0")
    assert outcome(fleet, second) == "lost"


def test_a_process_that_cannot_be_started_is_a_failure_and_not_the_agents_end(fleet: Installation) -> None:
    """No room for its folder: failed and given back; the agent lives and goes on when there is."""
    blocked = fleet.folder / "state" / "i-0" / "attempts"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(workqueue_args={"retry_count": 50}))
    fleet.until(lambda: "could not be started" in fleet.progress(task).get("why", ""), "it fails")
    fleet.until(lambda: fleet.slots() == (), "given back, until the next try takes it")
    blocked.unlink()
    assert outcome(fleet, task) == "succeeded"


def test_an_agent_that_is_replaced_stops_acting(fleet: Installation) -> None:
    """A person declares the node off: the agent that lives after all ends its action, and records nothing."""
    fleet.behave("i-0", action="until")
    task = acting(fleet)
    fleet.operator.node_is_off("i-0", "the machine is dead, I believe")
    error = fleet.failed("i-0")
    assert isinstance(error, StopNow)
    until(lambda: fleet.did("end") == 1, "its action was interrupted")
    until(lambda: fleet.left() == [], "no process is left")
    assert fleet.end(task)["outcome"] == "lost"


def test_one_plan_that_cannot_be_read_stops_one_task(fleet: Installation) -> None:
    """Others are done beside it, and the agent lives."""
    fleet.tree.ensure("/tasks")
    fleet.tree.commit([Create("/tasks/t-broken", b"not a plan")])
    fleet.queues.ensure("t-node-i-0")
    fleet.queues.send("t-node-i-0", '{"v":1,"task_id":"t-broken","destnode":"i-0","hash":"sha256:0"}')
    fleet.start_agent("i-0")
    fleet.until(lambda: bool(fleet.said("assignment_stuck")), "it is told")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "succeeded"


def test_a_disk_that_is_full_after_the_action_costs_nothing_but_knowledge(fleet: Installation) -> None:
    """Neither the phase nor the end can be written down: the outcome is recorded all the same."""

    def fail(journal: Any) -> OSError | None:
        after = journal.attempt is not None and (journal.end is not None or journal.attempt.phase == "post_check")
        return OSError(28, "No space left on device") if after else None

    fleet.start_agent("i-0", fail=fail)
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "succeeded"
    assert len(fleet.said("journal_not_written")) >= 2


def test_a_task_whose_time_is_over_is_not_begun_by_the_next_agent(fleet: Installation) -> None:
    """It was taken in time, its agent died before the action, and not_after passed meanwhile."""
    fleet.behave("i-0", pre=["hang", "go"])
    fleet.start_agent("i-0")
    late = datetime.now(UTC) + timedelta(seconds=2)
    task = fleet.submit(params=quick(), not_after=late.isoformat())
    fleet.until(lambda: fleet.did("pre") == 1, "it is asked")
    fleet.crash_agent("i-0")
    until(lambda: datetime.now(UTC) > late, "its time is over")
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "expired"
    assert fleet.did("begin") == 0
