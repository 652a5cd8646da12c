"""An agent's days: doorbells of every kind, outages, stops and starts, holds, halts, two tasks, and cron."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from taskerman.errors import LockedByAnother
from taskerman.model.ids import draw_task_id
from taskerman.ringing import ring
from taskerman.testing import queues
from taskerman.testing.queue_faults import FaultyQueues
from tests.support.agents import fleet, letters, outcome, quick
from tests.support.installation import NAMES, Installation, OneAction

__all__ = ["fleet"]

QUEUE = NAMES.node("i-0")


def bell(task: str, node: str = "i-0", digest: str = "sha256:other") -> str:
    return json.dumps({"v": 1, "task_id": task, "destnode": node, "hash": digest})


def bodies(fleet: Installation) -> tuple[str, ...]:
    found: tuple[str, ...] = fleet.queues.bodies(QUEUE)  # type: ignore[attr-defined]
    return found


def begun(fleet: Installation, **changes: Any) -> str:
    """A task whose action, or whatever waits for a word, has begun."""
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(), **changes)
    fleet.until(lambda: bool(fleet.log()), "it began")
    return task


# --- doorbells ---------------------------------------------------------------------------------------------


def test_doorbells_that_are_doubled_foreign_or_nonsense_change_nothing(fleet: Installation) -> None:
    """Each is deleted, with an event where it is strange; the right one is done once."""
    fleet.queues.ensure(QUEUE)
    for body in ("{", "null", bell("t-x", node="i-9"), '{"v":2}'):
        fleet.queues.send(QUEUE, body)
    task = fleet.submit(params=quick())
    fleet.until(lambda: len(bodies(fleet)) == 5, "it is rung")
    right = bodies(fleet)[-1]
    for body in (bell(task), right, right, bell(task)):
        fleet.queues.send(QUEUE, body)
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    fleet.until(lambda: bodies(fleet) == (), "all are deleted")
    assert fleet.did("begin") == 1
    assert len(fleet.said("doorbell_unreadable")) == 4
    assert fleet.said("doorbell_of_another_plan")


def test_messages_that_cannot_be_deleted_hold_nobody_up(fleet: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQS that is slow, or away, is no reason to leave a free slot unused: what is settled is deleted beside it."""
    back = threading.Event()
    delete = queues._MemoryDelivery.ack
    deleting: list[str] = []

    def slow(delivery: queues._MemoryDelivery) -> None:
        if delivery.queue == QUEUE:
            deleting.append(delivery.body)
            assert back.wait(60), "the test came to no end"
        delete(delivery)

    monkeypatch.setattr(queues._MemoryDelivery, "ack", slow)
    fleet.start_agent("i-0")
    try:
        assert outcome(fleet, fleet.submit(params=quick())) == "succeeded"
        fleet.until(lambda: bool(deleting), "the first doorbell is being deleted")
        assert outcome(fleet, fleet.submit(params=quick())) == "succeeded"
        assert len(deleting) == 1
    finally:
        back.set()
    fleet.until(lambda: bodies(fleet) == (), "both are deleted")


def test_a_doorbell_with_a_wrong_hash_does_not_take_the_right_one_with_it(fleet: Installation) -> None:
    """They lie in one batch, the wrong one first."""
    fleet.operator.hold("*", "tests")
    fleet.queues.ensure(QUEUE)
    task = draw_task_id()
    fleet.queues.send(QUEUE, bell(task))
    fleet.submit(task, params=quick())
    fleet.until(lambda: len(bodies(fleet)) == 2, "it is rung")
    fleet.start_agent("i-0")
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line")
    assert len(bodies(fleet)) == 1


def test_a_doorbell_without_a_plan_is_kept_for_a_quarter_of_an_hour(fleet: Installation) -> None:
    """Then it is deleted, with an event: it carries no custody."""
    fleet.queues.ensure(QUEUE)
    fleet.queues.send(QUEUE, bell("t-nobody"))
    fleet.start_agent("i-0")
    fleet.until(lambda: bool(fleet.journal()["accepted"]), "it is accepted")
    fleet.until(lambda: bool(fleet.said("agent_ready")), "it looks")
    assert len(bodies(fleet)) == 1
    fleet.stop_agent("i-0")
    [message] = fleet.queues._queues[QUEUE].messages  # type: ignore[attr-defined]
    message.sent_at -= timedelta(minutes=16)
    message.visible_at = 0.0
    fleet.start_agent("i-0")
    fleet.until(lambda: bodies(fleet) == (), "it is deleted")
    assert fleet.said("doorbell_without_plan")


def test_a_doorbell_for_what_has_ended_is_settled_from_the_record(fleet: Installation) -> None:
    """Late, and again: nothing is done again."""
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "succeeded"
    ring(fleet.queues, NAMES, fleet.operator.plan(task), ["i-0", "i-0"])
    fleet.until(lambda: bodies(fleet) == (), "they are deleted")
    assert fleet.did("begin") == 1


def test_the_doorbell_of_a_redrive_is_not_deleted_on_a_lagging_servers_word(fleet: Installation) -> None:
    """The agent's server has not seen the redrive yet and shows the old end: it asks again before it deletes."""
    fleet.behave("i-0", post="refuse")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "unsafe"
    fleet.until(lambda: bodies(fleet) == () and fleet.end(task)["dead_letter"] == "sent", "it is settled")
    fleet.behave("i-0")
    fleet.server.lag(fleet.members["i-0"].trees[-1].inner)  # type: ignore[arg-type]
    assert fleet.operator.redrive(task, "i-0", "repaired")
    ring(fleet.queues, NAMES, fleet.operator.plan(task), ["i-0"])
    fleet.until(lambda: fleet.outcomes(task) == {"i-0": "succeeded"}, "the redrive is done")
    assert fleet.slots() == ()


# --- outages -----------------------------------------------------------------------------------------------


def test_a_dead_letter_that_cannot_be_sent_is_sent_later_and_holds_nobody_up(
    fleet: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile it is owed, the doorbell stays, and the node's other tasks go on."""
    monkeypatch.setattr("taskerman.agent.settling._SEND_AGAIN_S", 0.3)
    sound = fleet.queues
    fleet.queues = faulty = FaultyQueues(sound)  # of the agent alone: the router was started before
    faulty.faults.fail_sends = 3
    fleet.behave("i-0", pre=["refuse", "go"])
    fleet.start_agent("i-0")
    fleet.queues = sound
    first = fleet.submit(params=quick())
    assert outcome(fleet, first) == "failed"
    second = fleet.submit(params=quick())
    assert outcome(fleet, second) == "succeeded"
    [letter] = letters(fleet)
    assert letter["key"] == fleet.end(first)["attempt"]
    fleet.until(lambda: fleet.end(first)["dead_letter"] == "sent", "it is noted")
    assert len(fleet.said("dead_letter_not_sent")) == 3


def test_while_zookeeper_is_away_an_action_goes_on_and_its_end_is_recorded_later(fleet: Installation) -> None:
    """An outage delays, and no more."""
    fleet.behave("i-0", action="until")
    task = begun(fleet)
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.server.cut(fleet.members["i-0"].trees[-1].inner)  # type: ignore[arg-type]
    fleet.go("i-0")
    fleet.until(lambda: fleet.did("post") == 1, "it is checked")
    fleet.until(lambda: bool(fleet.journal()["end"]), "the end is on the agent's own disk")
    assert fleet.end(task) == {}
    fleet.server.heal(fleet.members["i-0"].trees[-1].inner)  # type: ignore[arg-type]
    assert outcome(fleet, task) == "succeeded"


def test_without_zookeeper_at_the_start_doorbells_wait(fleet: Installation) -> None:
    """It comes up, accepts, and goes on when ZooKeeper is there."""
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.queues.exists(QUEUE) and len(bodies(fleet)) == 1, "it is rung")
    fleet.server.cut()
    fleet.start_agent("i-0")
    fleet.until(lambda: bool(fleet.said("coordination_unavailable")), "it cannot connect")
    fleet.until(lambda: bool(fleet.journal()["accepted"]), "it accepts all the same")
    fleet.server.heal()
    assert outcome(fleet, task) == "succeeded"


def test_a_session_that_was_lost_is_followed_by_another_and_the_line_joined_again(fleet: Installation) -> None:
    """Its place in the line vanished with the session."""
    fleet.operator.hold("*", "tests")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line")
    fleet.server.expire(fleet.members["i-0"].trees[-1].inner)  # type: ignore[arg-type]
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line again")
    fleet.operator.unhold("*", "go")
    assert outcome(fleet, task) == "succeeded"


def test_an_idle_node_holds_no_session_and_opens_one_for_the_next_task(fleet: Installation) -> None:
    """Closed after a while, and opened again: the second task is done as the first."""
    member = fleet.start_agent("i-0", idle_session=timedelta(milliseconds=200))
    for _ in range(2):
        task = fleet.submit(params=quick())
        assert outcome(fleet, task) == "succeeded"
        fleet.until(lambda: member.trees[-1].session is None, "the session is closed")
    assert len(member.trees) >= 2
    assert fleet.node()["epoch"] == len(member.trees)


def test_a_mailbox_that_breaks_ends_the_agent_and_does_not_leave_it_deaf(fleet: Installation) -> None:
    """An error of ours: a supervisor starts it anew; an agent that hears nothing would look idle."""

    class Broken(FaultyQueues):
        def receive(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    fleet.queues = Broken(fleet.queues)
    fleet.start_agent("i-0")
    assert isinstance(fleet.failed("i-0"), ZeroDivisionError)


# --- stopping ----------------------------------------------------------------------------------------------


def test_a_stop_before_the_action_gives_the_slot_back(fleet: Installation) -> None:
    """Deferred, not failed: no attempt is counted, and the next agent does it."""
    fleet.behave("i-0", pre=["hang", "go"])
    task = begun(fleet)
    fleet.stop_agent("i-0")
    assert fleet.slots() == ()
    assert fleet.left() == []
    assert fleet.progress(task)["k"] == 0
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"


def test_a_stop_in_the_action_leaves_it_to_end_and_the_next_agent_adopts_it(fleet: Installation) -> None:
    """The agent goes at once; the action is not cut."""
    fleet.behave("i-0", action="until")
    task = begun(fleet)
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.stop_agent("i-0")
    assert fleet.slots() == ("i-0~2~acting",)
    assert fleet.did("end") == 0
    fleet.start_agent("i-0")
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("begin") == 1


def test_a_stop_after_the_action_leaves_the_check_to_the_next_agent(fleet: Installation) -> None:
    """In post_check, and while it settles."""
    fleet.behave("i-0", post=["wait", "hang", "go"])
    task = begun(fleet)
    fleet.until(lambda: fleet.did("post") >= 1, "it is checked")
    fleet.stop_agent("i-0")
    assert fleet.slots() == ("i-0~2~acting",)
    fleet.behave("i-0")
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("begin") == 1


def test_a_stop_without_zookeeper_leaves_the_end_in_the_journal(fleet: Installation) -> None:
    """The agent does not hang; the next one records what the first one knew, and checks nothing again."""
    fleet.behave("i-0", action="until")
    task = begun(fleet)
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.server.cut()
    fleet.go("i-0")
    fleet.until(lambda: bool(fleet.journal()["end"]), "the end is on the agent's own disk")
    fleet.stop_agent("i-0")
    fleet.server.heal()
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert fleet.did("post") == 1


def test_one_agent_a_node(fleet: Installation) -> None:
    """The second is refused by name, and the first goes on."""
    fleet.start_agent("i-0")
    with pytest.raises(LockedByAnother):
        fleet.start_agent("i-0")


# --- waiting -----------------------------------------------------------------------------------------------


def test_what_waits_for_a_hold_goes_on_by_itself(fleet: Installation) -> None:
    """Nobody rings again."""
    fleet.operator.hold("cluster:demo:web", "looking")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line")
    assert fleet.log() == []
    fleet.operator.unhold("cluster:demo:web", "looked")
    assert outcome(fleet, task) == "succeeded"


def test_a_halted_task_waits_for_a_person_and_goes_on_when_it_is_resumed(tmp_path: Any) -> None:
    """One node fails for good: the others leave the line, and join again on resume."""
    fleet = Installation(tmp_path, 3)
    try:
        fleet.behave("i-0", action="raise")
        fleet.start()
        task = fleet.submit(params=quick(lease_args={"concurrency": 1}))
        fleet.until(lambda: fleet.control(task).get("state") == "halted", "it halts")
        fleet.until(lambda: fleet.waiting(task) == (), "nobody stands in the line")
        assert fleet.outcomes(task).pop("i-0") == "failed"
        fleet.operator.resume(task, "go on without it")
        fleet.until(lambda: len(fleet.outcomes(task)) == 3, "all have ended")
        assert sorted(fleet.outcomes(task).values()) == ["failed", "succeeded", "succeeded"]
    finally:
        fleet.stop()


def test_two_tasks_of_a_cluster_go_by_age(fleet: Installation) -> None:
    """The older one first, though the younger one's doorbell is there too."""
    fleet.operator.hold("*", "until both are there")
    first = fleet.submit(params=quick())
    fleet.until(lambda: bool(fleet.control(first)), "it is planned")
    second = fleet.submit(params=quick())
    fleet.start_agent("i-0")
    fleet.until(lambda: len(fleet.waiting(first)) == len(fleet.waiting(second)) == 1, "both wait in line")
    fleet.operator.unhold("*", "go")
    assert outcome(fleet, second) == "succeeded"
    assert [line["attempt"].partition(".")[0] for line in fleet.log() if line["what"] == "begin"] == [first, second]


# --- cron --------------------------------------------------------------------------------------------------


def test_once_does_what_is_there_and_ends(fleet: Installation) -> None:
    """Everything accepted has ended, and a poll was empty."""
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.queues.exists(QUEUE) and len(bodies(fleet)) == 1, "it is rung")
    fleet.start_agent("i-0", once=True)
    fleet.ended("i-0")
    assert fleet.outcomes(task) == {"i-0": "succeeded"}
    assert bodies(fleet) == ()


def test_once_with_nothing_to_do_ends(fleet: Installation) -> None:
    """After an empty poll."""
    fleet.start_agent("i-0", once=True)
    fleet.ended("i-0")


def test_once_does_not_wait_longer_than_it_may_and_goes_on_the_next_time(fleet: Installation) -> None:
    """A hold stands; the next run knows of the task from its journal."""
    fleet.operator.hold("*", "tests")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.queues.exists(QUEUE) and len(bodies(fleet)) == 1, "it is rung")
    fleet.start_agent("i-0", once=True, max_wait=0.5)
    fleet.ended("i-0")
    assert fleet.waiting(task) == ()
    fleet.operator.unhold("*", "go")
    fleet.start_agent("i-0", once=True)
    fleet.ended("i-0")
    assert fleet.outcomes(task) == {"i-0": "succeeded"}


def test_once_ends_when_all_is_deferred_beyond_its_time(fleet: Installation) -> None:
    """It does not sit there for minutes for what only an upgrade or time can change."""
    fleet.submit(params=quick())
    fleet.until(lambda: fleet.queues.exists(QUEUE) and len(bodies(fleet)) == 1, "it is rung")
    fleet.start_agent("i-0", once=True, max_wait=300, catalog=OneAction("other:action"))
    fleet.ended("i-0")


def test_once_ends_without_zookeeper(fleet: Installation) -> None:
    """When its time is over: cron starts it again."""
    fleet.server.cut()
    fleet.start_agent("i-0", once=True, max_wait=0.5)
    fleet.ended("i-0")


def test_once_never_cuts_an_attempt(fleet: Installation) -> None:
    """Its time is over in the middle of an action: it stays until the outcome is recorded."""
    fleet.behave("i-0", action="until")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.queues.exists(QUEUE) and len(bodies(fleet)) == 1, "it is rung")
    member = fleet.start_agent("i-0", once=True, max_wait=0.1)
    fleet.until(lambda: fleet.did("begin") == 1 or not member.thread.is_alive(), "it acts")
    if member.thread.is_alive():
        member.thread.join(1.0)
        assert member.thread.is_alive()
    else:  # the machine was so slow that its time was over before it began
        fleet.members.pop("i-0")
        member = fleet.start_agent("i-0", once=True, max_wait=30)
    fleet.go("i-0")
    fleet.ended("i-0")
    assert fleet.outcomes(task) == {"i-0": "succeeded"}
