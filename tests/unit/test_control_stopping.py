"""HOLD, CANCEL, RESUME and RELEASE promise: nothing is taken after the acknowledgement, which names what was before."""

from __future__ import annotations

import json

import pytest

from taskerman import control
from taskerman.coordination.node_moves import Ready
from taskerman.errors import NotFound, RefusedByState, TaskEnded, TaskUnknown, UsageError
from taskerman.model.outcome import Outcome
from taskerman.model.slot import SlotState
from tests.support.fleet import CLUSTER, Fleet

TWO = {"lease_args": {"concurrency": 2}}


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


def audited(fleet: Fleet) -> list[tuple[str, str, str, str]]:
    entries = [json.loads(record.data) for path, record in fleet.server.dump().items() if path.startswith("/audit/")]
    return [(entry["verb"], entry["target"], entry["by"], entry["why"]) for entry in entries]


# --- hold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["*", f"cluster:{CLUSTER}", "owner:gsi"])
def test_an_acknowledged_hold_names_what_was_taken_before_and_nothing_is_taken_after(fleet: Fleet, on: str) -> None:
    fleet.send(params=TWO)
    attempt = fleet.take("t-1", "i-1")
    held = control.hold(fleet.desk, on, "migration")
    assert [(place.node, place.attempt) for place in held.acting] == [("i-1", attempt.id)]
    fleet.join("t-1", "i-2")
    assert control.explain(fleet.desk, "t-1", "i-2").nodes[0].reason == "hold"


def test_a_take_that_races_with_a_hold_is_named_by_it_or_does_not_happen(fleet: Fleet) -> None:
    """The hold changes a record that the take checks: the take that looked before it cannot be committed after it."""
    plan = fleet.send()
    agent = fleet.agent("i-1")
    ready = agent.stand(plan, fleet.clock.now(), lambda: None)
    assert isinstance(ready, Ready)
    held = control.hold(fleet.desk, "*", "now")
    assert held.acting == ()
    assert agent.take(ready, plan, fleet.clock.now()) is None


@pytest.mark.parametrize("on", ["cluster:demo:other", "owner:someone"])
def test_a_hold_elsewhere_names_and_stops_nothing_here(fleet: Fleet, on: str) -> None:
    fleet.send(params=TWO)
    fleet.take("t-1", "i-1")
    assert control.hold(fleet.desk, on, "not here").acting == ()
    fleet.take("t-1", "i-2")


def test_a_hold_is_removed_by_its_id_or_by_what_it_stands_on_and_the_wait_is_over(fleet: Fleet) -> None:
    fleet.send()
    held = control.hold(fleet.desk, "*", "a")
    other = control.hold(fleet.desk, "owner:gsi", "b")
    assert control.unhold(fleet.desk, held.hold.id).left == (other.hold,)
    assert control.unhold(fleet.desk, "owner:gsi").left == ()
    fleet.take("t-1", "i-1")


def test_two_holds_on_the_same_thing_are_refused_naming_the_first(fleet: Fleet) -> None:
    first = control.hold(fleet.desk, "*", "a")
    with pytest.raises(RefusedByState, match=first.hold.id):
        control.hold(fleet.someone_else("bob@desk"), "*", "b")


def test_a_hold_that_is_not_there_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(NotFound):
        control.unhold(fleet.desk, "h123456")


@pytest.mark.parametrize("on", ["cluster:web", "node:i-1", "everything", "owner:a b"])
def test_a_hold_on_something_else_is_refused(fleet: Fleet, on: str) -> None:
    with pytest.raises(UsageError, match="cluster"):
        control.hold(fleet.desk, on, "why not")


def test_a_reason_that_is_too_long_is_refused_with_its_length(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="301 characters"):
        control.hold(fleet.desk, "*", "x" * 301)


@pytest.mark.parametrize("why", ["", "...", "  "])
def test_a_reason_has_words(fleet: Fleet, why: str) -> None:
    """The commands that `explain` prints have dots where the reason goes: typed as they are, they ask for one."""
    fleet.send()
    for verb in (
        lambda: control.hold(fleet.desk, "*", why),
        lambda: control.cancel(fleet.desk, "t-1", why),
        lambda: control.release(fleet.desk, "i-1", why),
        lambda: control.discard(fleet.desk, "t-1", "i-1", why),
    ):
        with pytest.raises(UsageError, match="reason"):
            verb()


def test_every_change_records_who_what_and_why(fleet: Fleet) -> None:
    fleet.send()
    before = len(audited(fleet))
    bob = fleet.someone_else("bob@desk")
    control.hold(bob, "*", "migration")
    control.unhold(bob, "*", "over")
    control.cancel(bob, "t-1", "wrong cluster")
    assert audited(fleet)[before:] == [
        ("hold", "*", "bob@desk", "migration"),
        ("unhold", "*", "bob@desk", "over"),
        ("cancel", "t-1", "bob@desk", "wrong cluster"),
    ]


# --- cancel ----------------------------------------------------------------------------------------------


def test_cancel_names_who_still_acts_and_ends_all_others_at_once(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    attempt = fleet.take("t-1", "i-1")
    fleet.join("t-1", "i-2")
    done = control.cancel(fleet.desk, "t-1", "wrong cluster")
    assert [place.attempt for place in done.acting] == [attempt.id]
    assert (done.ended, done.nodes) == (5, 6)
    status = control.task_status(fleet.desk, "t-1")
    assert status.counts == {"acting": 1, "cancelled": 5}
    assert "wrong cluster" in status.nodes[1].reason


def test_cancel_names_only_its_own_among_those_who_act(fleet: Fleet) -> None:
    fleet.send("t-1", params=TWO, nodes=["i-1"])
    fleet.send("t-2", params=TWO, nodes=["i-2"])
    fleet.take("t-1", "i-1")
    fleet.take("t-2", "i-2")
    assert [place.node for place in control.cancel(fleet.desk, "t-2", "not that one").acting] == ["i-2"]


def test_following_a_cancel_ends_when_the_last_attempt_has(fleet: Fleet) -> None:
    fleet.send()
    fleet.take("t-1", "i-1")
    control.cancel(fleet.desk, "t-1", "no")
    seen = list(
        control.follow_cancel(
            fleet.desk, "t-1", pause=lambda s: fleet.end("t-1", "i-1", Outcome.SUCCEEDED, "it was faster")
        )
    )
    assert [(step.ended, len(step.acting)) for step in seen] == [(5, 1), (6, 0)]


def test_cancel_may_be_repeated_and_an_ended_task_cannot_be_cancelled(fleet: Fleet) -> None:
    fleet.send("t-1")
    fleet.take("t-1", "i-1")
    control.cancel(fleet.desk, "t-1", "no")
    assert control.cancel(fleet.desk, "t-1", "no, really").ended == 5
    fleet.end("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.send("t-2", nodes=["i-2"])
    fleet.do("t-2", "i-2", Outcome.SUCCEEDED)
    with pytest.raises(TaskEnded):
        control.cancel(fleet.desk, "t-2", "too late")
    with pytest.raises(TaskUnknown):
        control.cancel(fleet.desk, "t-3", "never was")


# --- resume ----------------------------------------------------------------------------------------------


def halted(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.FAILED, "port closed", retry=False)
    assert control.task_status(fleet.desk, "t-1").state == "halted"


def test_resume_excuses_what_failed_and_rings_every_node_without_an_end(fleet: Fleet) -> None:
    halted(fleet)
    rung = {node: len(fleet.queues.bodies(fleet.names.node(node))) for node in ("i-1", "i-2")}
    done = control.resume(fleet.desk, "t-1", "known")
    assert (done.excused, done.rung, done.unreached) == (("i-1",), 5, ())
    assert len(fleet.queues.bodies(fleet.names.node("i-1"))) == rung["i-1"]
    assert len(fleet.queues.bodies(fleet.names.node("i-2"))) == rung["i-2"] + 1
    fleet.take("t-1", "i-2")


@pytest.mark.parametrize("state", ["open", "cancelled"])
def test_only_a_halted_task_is_resumed(fleet: Fleet, state: str) -> None:
    fleet.send()
    if state == "cancelled":
        control.cancel(fleet.desk, "t-1", "no")
    with pytest.raises(RefusedByState, match=state):
        control.resume(fleet.desk, "t-1")


# --- slots -----------------------------------------------------------------------------------------------


def test_slots_say_who_holds_what_since_when_and_why(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")
    (place,) = control.list_slots(fleet.desk)
    assert (place.scope, place.node, place.cap, place.state) == (CLUSTER, "i-1", 2, SlotState.UNSAFE)
    assert (place.task_id, place.since, place.why) == ("t-1", fleet.clock.now(), "port closed")
    assert control.list_slots(fleet.desk, "demo:other") == ()


def test_a_kept_slot_of_an_idle_node_is_freed_at_once_and_the_cluster_goes_on(fleet: Fleet) -> None:
    fleet.send("t-1")
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")
    done = control.release(fleet.desk, "i-1", "repaired by hand")
    assert (done.asked, done.freed) == (None, (CLUSTER,))
    control.resume(fleet.desk, "t-1")
    fleet.take("t-1", "i-2")


def test_an_acting_node_is_asked_and_its_slot_is_not_taken_from_it(fleet: Fleet) -> None:
    fleet.send()
    attempt = fleet.take("t-1", "i-1")
    done = control.release(fleet.desk, "i-1", "it hangs")
    assert (done.asked, done.freed) == (attempt.id, ())
    assert len(control.list_slots(fleet.desk)) == 1
    assert control.explain(fleet.desk, "t-1", "i-1").nodes[0].reason == "node_busy"


def test_the_word_that_a_node_is_off_frees_its_slot_and_its_attempt_is_lost(fleet: Fleet) -> None:
    fleet.send()
    fleet.take("t-1", "i-1")
    done = control.release(fleet.desk, "i-1", "no power in rack 4", is_off=True)
    assert (done.freed, done.ended) == ((CLUSTER,), "t-1")
    (letter,) = control.list_letters(fleet.desk)
    assert (letter.node, letter.outcome) == ("i-1", Outcome.LOST)
    assert control.task_status(fleet.desk, "t-1").state == "halted"


def test_nothing_to_release_is_a_refusal_and_an_unknown_node_is_not_found(fleet: Fleet) -> None:
    fleet.send()
    fleet.join("t-1", "i-1")
    with pytest.raises(RefusedByState, match="holds no slot"):
        control.release(fleet.desk, "i-1", "just so")
    with pytest.raises(NotFound, match="i-99"):
        control.release(fleet.desk, "i-99", "just so")
