"""The truth table of outcomes, end to end: a document goes in, a real child acts, and all that must follow does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskerman.errors import ActionArgsInvalid
from taskerman.model.task import ActionTraits
from taskerman.ports.tree import Create, Set
from taskerman.ringing import ring
from tests.support.agents import fleet, letters, outcome, quick
from tests.support.installation import NAMES, Installation, OneAction

__all__ = ["fleet"]

KEPT = ("i-0~2~unsafe",)


def settled(fleet: Installation) -> bool:
    depth = fleet.queues.depth(NAMES.node("i-0"))
    return depth.visible + depth.in_flight == 0


@pytest.mark.parametrize(
    ("behaviour", "expected", "kept", "acted", "why"),
    [
        ({}, "succeeded", (), 1, ""),
        ({"pre": "skip"}, "skipped", (), 0, "told to skip"),
        ({"pre": "refuse"}, "failed", (), 0, "told to refuse"),
        ({"pre": "raise"}, "failed", (), 0, "told to fail in pre"),
        ({"pre": "die"}, "failed", (), 0, "SIGKILL"),
        ({"action": "raise"}, "failed", (), 1, "told to fail"),
        ({"post": "refuse"}, "unsafe", KEPT, 1, "told to refuse"),
        ({"post": "skip"}, "unsafe", KEPT, 1, "a bug in the runner"),
        ({"post": "wait"}, "unsafe", KEPT, 1, "settle time over"),
        ({"post": "raise"}, "unsafe", KEPT, 1, "told to fail in post"),
        ({"post": ["wait", "raise", "die", "go"]}, "succeeded", (), 1, ""),
        ({"action": "raise", "post": "refuse"}, "unsafe", KEPT, 1, "told to fail"),
    ],
)
def test_every_end_of_an_attempt(
    fleet: Installation, behaviour: dict[str, Any], expected: str, kept: tuple[str, ...], acted: int, why: str
) -> None:
    """The outcome, its slot, its dead letter, its budget, and the doorbell: as the table says."""
    fleet.behave("i-0", **behaviour)
    fleet.start_agent("i-0")
    timeouts = {"soft_s": 20, "hard_s": 30, "settle_s": 10 if expected == "succeeded" else 1}
    task = fleet.submit(params=quick(timeout_args=timeouts))
    assert outcome(fleet, task) == expected
    end = fleet.end(task)
    assert why in end["reason"]
    assert fleet.slots() == kept
    assert end["kept"] == (["demo:web"] if kept else [])
    assert fleet.did("begin") == acted
    well = expected in ("succeeded", "skipped")
    assert fleet.control(task)["failed"] == ({} if well else {"i-0": "final"})
    assert fleet.control(task)["state"] == ("open" if well else "halted")
    if not well:
        [letter] = letters(fleet)
        assert (letter["outcome"], letter["key"], letter["destnode"]) == (expected, end["attempt"], "i-0")
        fleet.until(lambda: fleet.end(task)["dead_letter"] == "sent", "it is noted that the dead letter was sent")
    fleet.until(lambda: settled(fleet), "the doorbell is deleted")
    fleet.until(lambda: fleet.journal()["accepted"] == [], "the journal forgets it")
    assert fleet.journal()["attempt"] is None
    assert fleet.left() == []


def test_a_node_that_must_wait_rejoins_and_loses_nothing(fleet: Installation) -> None:
    """Deferred: the slot is free meanwhile, and no attempt is counted."""
    fleet.behave("i-0", pre=["wait", "wait", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "succeeded"
    assert fleet.end(task)["attempts"] == 1
    assert fleet.did("pre") == 3


def test_a_cluster_that_must_wait_holds_up_every_node(fleet: Installation) -> None:
    """Deferred for the cluster: the task's own gate is shut until then, for whoever else would go."""
    fleet.behave("i-0", pre=["wait-cluster", "go"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: bool(fleet.control(task).get("wait_until")), "the gate is shut")
    assert outcome(fleet, task) == "succeeded"


def test_a_failed_node_is_retried_and_gives_its_budget_back(fleet: Installation) -> None:
    """Failed, then retried after a backoff, then succeeded: nobody needs to be told."""
    fleet.behave("i-0", action=["raise", "raise", "ok"])
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(workqueue_args={"retry_count": 2}))
    assert outcome(fleet, task) == "succeeded"
    assert fleet.end(task)["attempts"] == 3
    assert fleet.control(task)["failed"] == {}
    assert fleet.control(task)["state"] == "open"
    fleet.until(lambda: settled(fleet), "the doorbell is deleted")
    assert list(fleet.dead_letters()) == []


def test_a_node_that_fails_for_good_tells_how_often_it_was_tried(fleet: Installation) -> None:
    """retry_count is the number of attempts after the first."""
    fleet.behave("i-0", action="raise")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(workqueue_args={"retry_count": 1}))
    assert outcome(fleet, task) == "failed"
    assert letters(fleet)[0]["attempts"] == 2
    assert fleet.did("begin") == 2


def test_an_action_over_its_hard_deadline_is_killed_and_the_node_is_asked(fleet: Installation) -> None:
    """Failed by timeout: it did not end, and the node is well."""
    fleet.behave("i-0", action="stubborn")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(timeout_args={"soft_s": 1, "hard_s": 1, "settle_s": 5}))
    assert outcome(fleet, task) == "failed"
    assert "killed" in fleet.end(task)["reason"]
    assert fleet.slots() == ()
    assert fleet.left() == []


class Picky(OneAction):
    """Its runner knows no such arguments."""

    def check_args(self, action: str, args: Any) -> None:
        raise ActionArgsInvalid(f"{action}: force: unknown argument")


def replacing() -> OneAction:
    """As a build knows it whose runner has its machine replaced; the router here does not know that."""
    made = OneAction()
    made.traits_of = ActionTraits(replaces=True)
    return made


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"clusters": ("demo:other",)}, "E-CLUSTER-FOREIGN"),
        ({"actions": ("redis_task:*",)}, "E-ACTION-FORBIDDEN"),
        ({"catalog": OneAction("other:action")}, "E-ACTION-UNKNOWN"),
        ({"catalog": Picky()}, "E-ACTION-ARGS"),
        ({"catalog": replacing()}, "E-STATE"),
    ],
)
def test_what_is_not_this_nodes_to_do_is_rejected_and_never_begun(
    fleet: Installation, changes: dict[str, Any], code: str
) -> None:
    """Another cluster's, not allowed here, unknown to six looks, or one that nobody would watch over: a dead letter, no
    slot, no child."""
    fleet.start_agent("i-0", unknown_action=timedelta(milliseconds=30), **changes)
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "rejected"
    [letter] = letters(fleet)
    assert letter["code"] == fleet.end(task)["code"] == code
    assert fleet.node()["takes"] == 1  # the key of its dead letter, and no take
    assert fleet.log() == []
    assert fleet.slots() == ()
    fleet.until(lambda: settled(fleet), "the doorbell is deleted")


def test_a_rejection_that_meets_a_change_is_never_taken_instead(fleet: Installation) -> None:
    """Somebody else's commit comes between its reads and its writes: it is rejected in the end, not performed."""
    left = 5

    def touch(tree: object, ops: Any) -> None:
        nonlocal left
        if left and any(isinstance(op, Create) and op.path.endswith("/end/i-0") for op in ops):
            left -= 1
            record = fleet.tree.get(f"/tasks/{task}/ctl")
            assert record is not None
            fleet.tree.commit([Set(f"/tasks/{task}/ctl", record.data, None)])

    fleet.server.before_commit = touch
    task = fleet.submit(params=quick())
    fleet.start_agent("i-0", actions=())
    assert outcome(fleet, task) == "rejected"
    assert left == 0
    assert fleet.log() == []
    assert fleet.said("attempt_taken") == []


def test_an_action_that_comes_with_an_upgrade_is_done(fleet: Installation) -> None:
    """Unknown at first, it is looked for again."""
    catalog = OneAction("other:action")
    fleet.start_agent("i-0", unknown_action=timedelta(milliseconds=300), catalog=catalog)
    task = fleet.submit(params=quick())
    fleet.until(lambda: bool(fleet.said("assignment_waits")), "it waits")
    catalog.action = "demo_task:restart"
    assert outcome(fleet, task) == "succeeded"


def test_a_task_that_is_not_begun_in_time_expires(fleet: Installation) -> None:
    """By the agent itself, in time, with a dead letter; a hold does not keep it alive."""
    fleet.operator.hold("*", "tests")
    fleet.start_agent("i-0")
    late = datetime.now(UTC) + timedelta(seconds=2)
    task = fleet.submit(params=quick(), not_after=late.isoformat())
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line")
    assert outcome(fleet, task) == "expired"
    assert letters(fleet)[0]["outcome"] == "expired"
    assert fleet.waiting(task) == ()


def test_a_waiting_assignment_of_a_cancelled_task_ends_cancelled(fleet: Installation) -> None:
    """Without a dead letter: a person said so."""
    fleet.operator.hold("*", "tests")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: len(fleet.waiting(task)) == 1, "it waits in line")
    fleet.operator.cancel(task, "not now")
    assert outcome(fleet, task) == "cancelled"
    fleet.until(lambda: settled(fleet), "the doorbell is deleted")
    assert list(fleet.dead_letters()) == []
    assert fleet.log() == []


def test_an_unknown_action_of_a_cancelled_task_ends_cancelled(fleet: Installation) -> None:
    """It does not wait for its next look for the action."""
    fleet.start_agent("i-0", catalog=OneAction("other:action"))
    task = fleet.submit(params=quick())
    fleet.until(lambda: bool(fleet.said("assignment_waits")), "it waits")
    fleet.operator.cancel(task, "not now")
    fleet.operator.sweep(task)
    plan = fleet.operator.plan(task)
    ring(fleet.queues, NAMES, plan, ["i-0"])
    fleet.until(lambda: settled(fleet), "the doorbells are deleted")
    assert outcome(fleet, task) == "cancelled"


@pytest.mark.parametrize("verb", ["cancel", "release"])
@pytest.mark.parametrize(("post", "expected"), [("go", "cancelled"), ("refuse", "unsafe")])
def test_an_acting_node_is_stopped_by_a_persons_word(fleet: Installation, verb: str, post: str, expected: str) -> None:
    """Cancelled, or asked for the slot: the action is interrupted, and post_check says whether the slot is kept."""
    fleet.behave("i-0", action="until", post=post)
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    if verb == "cancel":
        fleet.operator.cancel(task, "stop it")
    else:
        fleet.operator.release("i-0", "stop it")
    assert outcome(fleet, task) == expected
    assert fleet.did("end") == 1  # interrupted, and cleaned up
    assert fleet.slots() == (KEPT if expected == "unsafe" else ())


def test_a_release_between_the_take_and_the_first_look_is_seen(fleet: Installation) -> None:
    """No watch stood yet when the person spoke; nothing is begun all the same."""
    done = False

    def release(ops: Any, result: object) -> None:
        nonlocal done
        if not done and any(op.path.endswith("~acting") for op in ops):
            done = True
            fleet.operator.release("i-0", "at once")

    fleet.server.after_commit = release
    fleet.behave("i-0", pre="hang")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "cancelled"
    assert fleet.did("begin") == 0


def test_a_recover_that_fails_leaves_no_child_behind(fleet: Installation) -> None:
    """A second child takes the first one's place; it does not stand beside it."""
    fleet.behave("i-0", action="die-keeper", recover="raise")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick())
    assert outcome(fleet, task) == "lost"
    assert "recover failed" in fleet.end(task)["reason"]
    assert fleet.slots() == ()  # post_check passed
    assert fleet.left() == []


def test_the_runner_is_told_on_how_many_nodes_the_task_acts_at_once(fleet: Installation) -> None:
    """A count fixed in the plan, so that no runner has to work out percentages."""
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(lease_args={"concurrency": 2}))
    assert outcome(fleet, task) == "succeeded"
    assert {line["cap"] for line in fleet.log()} == {2}
