"""The janitor and the past: what is recorded before it is deleted, what is sent that nobody sent, what is swept up."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.commands import CommandMoves, Ready, Wish
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import QueuesUnavailable, TaskEnded
from taskerman.janitor import Janitor
from taskerman.janitor.settling import settle
from taskerman.model.history import TaskHistory
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Tombstone
from taskerman.model.task import TaskState
from taskerman.ports.tree import Set
from taskerman.testing.queues import MemoryQueues
from tests.support.commands import END, record_of
from tests.support.fleet import Fleet, document
from tests.unit.test_janitor import House

DAY = 86400
NO_RETRY = {"workqueue_args": {"retry_count": 0}}


@pytest.fixture
def house() -> House:
    return House()


def done(house: House, task: str = "t-1", outcome: Outcome = Outcome.SUCCEEDED, **fields: object) -> None:
    """A task of one node that has ended."""
    house.fleet.send(task, nodes=["i-1"], params=NO_RETRY, **fields)
    house.fleet.do(task, "i-1", outcome)


def stone(fleet: Fleet, task: str = "t-1") -> Tombstone | None:
    found = RouterMoves(fleet.tree).plan(task)
    return found if isinstance(found, Tombstone) else None


def letters(house: House) -> list[str]:
    return [json.loads(body)["key"] for body in house.fleet.queues.bodies(house.fleet.names.dead_letter)]


# --- putting away ------------------------------------------------------------------------------------------


def test_an_ended_task_is_recorded_at_once_and_put_away_an_hour_later(house: House) -> None:
    done(house)
    janitor = house.janitor()
    janitor.turn()
    assert house.history.tasks["t-1"].assignments[0].end.outcome is Outcome.SUCCEEDED
    assert stone(house.fleet) is None
    assert control.task_status(house.fleet.desk, "t-1").verdict == "done"
    house.fleet.clock.advance(3700)
    janitor.turn()
    laid = stone(house.fleet)
    assert laid is not None
    assert laid.summary == {"succeeded": 1}
    assert laid.kept_until == house.fleet.clock.now() - timedelta(seconds=3700) + timedelta(days=14, hours=1)
    assert house.history.tasks["t-1"].control.state is TaskState.OPEN
    with pytest.raises(TaskEnded, match="1 succeeded"):
        control.task_status(house.fleet.desk, "t-1")
    with pytest.raises(TaskEnded):
        control.explain(house.fleet.desk, "t-1", "i-1")
    assert control.overview(house.fleet.desk).tasks == ()
    assert control.list_letters(house.fleet.desk) == ()


def test_who_slept_while_a_cancelled_task_was_put_away_is_told_that_it_is_cancelled(house: House) -> None:
    """A laptop that is closed during `cancel --wait`: what it did is done, and no error."""
    fleet = house.fleet
    fleet.send(nodes=["i-1", "i-2"])
    fleet.take("t-1", "i-1")
    assert len(control.cancel(fleet.desk, "t-1", "no").acting) == 1

    def sleep(seconds: float) -> None:
        fleet.end("t-1", "i-1", Outcome.CANCELLED)
        fleet.clock.advance(3700)
        house.janitor().turn()
        assert stone(fleet) is not None

    seen = list(control.follow_cancel(fleet.desk, "t-1", pause=sleep))
    assert [(step.ended, step.nodes, len(step.acting)) for step in seen] == [(1, 2, 1), (2, 2, 0)]
    with pytest.raises(TaskEnded, match="was put away"):
        control.cancel(fleet.desk, "t-1", "once more")


def test_without_the_history_nothing_is_put_away_and_everything_else_is_done(house: House) -> None:
    done(house)
    house.fleet.send("t-2", not_after=(house.fleet.clock.now() + timedelta(hours=1)).isoformat())
    house.history.fail()
    house.fleet.clock.advance(3700)
    janitor = house.janitor()
    janitor.turn()
    assert stone(house.fleet) is None
    assert control.task_status(house.fleet.desk, "t-1").state is TaskState.OPEN
    assert {node.outcome for node in control.task_status(house.fleet.desk, "t-2").nodes} == {Outcome.EXPIRED}
    assert {event["code"] for event in house.said("chore_failed")} == {"E-HISTORY"}
    house.history.recover()
    house.fleet.clock.advance(400)
    janitor.turn()
    assert stone(house.fleet) is not None


def test_a_history_that_goes_away_in_the_middle_leaves_what_it_did_not_copy(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    house.fleet.desk.moves().discard("t-1", "i-1", "never mind")
    house.fleet.clock.advance(3700)
    janitor = house.janitor()
    record = house.history.record_task

    def goes_away_afterwards(task: TaskHistory) -> None:
        record(task)
        house.history.fail()

    house.history.record_task = goes_away_afterwards  # type: ignore[method-assign]
    janitor.turn()
    house.history.recover()
    house.history.record_task = record  # type: ignore[method-assign]
    house.fleet.clock.advance(400)
    janitor.turn()
    assert stone(house.fleet) is not None
    assert {key[2] for key in house.history.ends} == {"t-1.i-1.1"}


def test_a_janitor_without_a_history_says_so_once_and_puts_nothing_away(house: House) -> None:
    done(house)
    janitor = house.janitor(history=None)
    for _ in range(3):
        house.fleet.clock.advance(3700)
        janitor.turn()
    assert stone(house.fleet) is None
    assert len(house.said("history_missing")) == 1


def test_a_task_whose_dead_letter_waits_for_a_person_stays_until_a_week_after_its_time(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(13 * DAY)
    janitor.turn()
    assert stone(house.fleet) is None
    assert len(control.list_letters(house.fleet.desk)) == 1
    house.fleet.clock.advance(1.1 * DAY)
    janitor.turn()
    assert stone(house.fleet) is not None
    assert letters(house) == ["t-1.i-1.1"]


def test_a_task_whose_dead_letters_are_settled_is_put_away(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    house.fleet.desk.moves().discard("t-1", "i-1", "never mind")
    house.fleet.clock.advance(3700)
    house.janitor().turn()
    assert stone(house.fleet) is not None
    assert house.history.tasks["t-1"].assignments[0].end.dead_letter is DeadLetterState.DISCARDED


def test_what_is_still_owed_is_sent_before_a_task_is_put_away() -> None:
    """Also when the chore that is there for it has not come to it."""
    house = House(settle_grace_s=30 * DAY)
    done(house, outcome=Outcome.FAILED)
    house.fleet.clock.advance(15 * DAY)
    janitor = house.janitor()
    house.fleet.queues.delete(house.fleet.names.dead_letter)
    janitor.turn()
    assert letters(house) == ["t-1.i-1.1"]
    assert stone(house.fleet) is not None
    assert house.history.ends["t-1", "i-1", "t-1.i-1.1"].end.dead_letter is DeadLetterState.SENT


def test_a_late_copy_of_a_document_that_was_put_away_is_deleted_and_another_one_of_its_id_refused(house: House) -> None:
    done(house)
    house.fleet.clock.advance(3700)
    house.janitor().turn()
    house.fleet.queues.send(house.fleet.names.tasks, document("t-1", nodes=["i-1"], params=NO_RETRY))
    house.fleet.route()
    assert stone(house.fleet) is not None
    assert house.fleet.queues.bodies(house.fleet.names.tasks) == ()
    house.fleet.queues.send(house.fleet.names.tasks, document("t-1", nodes=["i-2"]))
    house.fleet.route()
    (line,) = control.list_letters(house.fleet.desk)
    assert line.code == "E-TASK-EXISTS"


def test_a_document_that_was_put_away_is_not_submitted_again_unnoticed(house: House) -> None:
    done(house)
    house.fleet.clock.advance(3700)
    house.janitor().turn()
    with pytest.raises(TaskEnded, match="put away"):
        control.submit(house.fleet.desk, control.prepare(document("t-1", nodes=["i-1"], params=NO_RETRY)))


def test_a_tombstone_is_deleted_when_no_copy_can_come_any_more(house: House) -> None:
    done(house)
    janitor = house.janitor()
    house.fleet.clock.advance(3700)
    janitor.turn()
    house.fleet.clock.advance(13.9 * DAY)
    janitor.turn()
    assert stone(house.fleet) is not None
    house.fleet.clock.advance(0.2 * DAY)
    janitor.turn()
    assert RouterMoves(house.fleet.tree).plan("t-1") is None
    assert "t-1" in house.history.tasks


def test_whoever_finds_a_task_closing_goes_on_with_it(house: House) -> None:
    done(house)
    house.fleet.clock.advance(3700)
    first = house.janitor("one")
    house.history.fail()
    first.turn()
    house.history.recover()
    kept = house.fleet.tree.get(layout.control("t-1"))
    assert kept is not None
    first._leadership.resign()
    assert house.janitor("two").run_once()
    assert stone(house.fleet) is not None


def test_a_redriven_task_keeps_both_ends_in_the_history(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    janitor = house.janitor()
    janitor.turn()
    house.fleet.desk.moves().redrive("t-1", "i-1", "mended")
    house.fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert {key[2]: past.end.outcome for key, past in house.history.ends.items()} == {
        "t-1.i-1.1": Outcome.FAILED,
        "t-1.i-1.2": Outcome.SUCCEEDED,
    }


# --- dead letters ------------------------------------------------------------------------------------------


def test_a_letter_that_its_agent_did_not_send_is_sent_after_a_while_and_once(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    janitor = house.janitor()
    janitor.turn()
    assert letters(house) == []
    for _ in range(3):
        house.fleet.clock.advance(130)
        janitor.turn()
    assert letters(house) == ["t-1.i-1.1"]
    assert control.task_status(house.fleet.desk, "t-1").nodes[0].dead_letter is DeadLetterState.SENT


def test_a_queue_that_refuses_is_tried_again_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    done(house, outcome=Outcome.FAILED)
    house.fleet.clock.advance(130)
    janitor = house.janitor()
    away = MemoryQueues(house.fleet.clock)

    def send(queue: str, body: str) -> None:
        raise QueuesUnavailable("It does not answer.")

    monkeypatch.setattr(away, "send", send)
    house.janitor("two", queues=away).run_once()
    assert letters(house) == []
    assert any(event["chore"] == "settle dead letters" for event in house.said("chore_failed"))
    janitor.turn()
    assert letters(house) == ["t-1.i-1.1"]


def test_the_letters_of_a_sweep_are_sent_for_agents_that_are_away(house: House) -> None:
    house.fleet.send(not_after=(house.fleet.clock.now() + timedelta(hours=1)).isoformat())
    house.fleet.clock.advance(3601)
    janitor = house.janitor()
    janitor.turn()
    house.fleet.clock.advance(130)
    janitor.turn()
    assert sorted(letters(house)) == [f"t-1.i-{n}.0" for n in range(1, 7)]


def test_a_letter_that_was_redriven_while_it_was_sent_does_not_settle_the_next_one(house: House) -> None:
    done(house, outcome=Outcome.FAILED)
    plan = house.fleet.plan("t-1")
    first = house.fleet.tree.get(layout.end("t-1", "i-1"))
    assert first is not None
    end = layout.decode(End, first, "end")
    house.fleet.desk.moves().redrive("t-1", "i-1", "mended")
    house.fleet.do("t-1", "i-1", Outcome.FAILED)
    assert settle(house.janitor()._kit, plan, "i-1", end)
    assert control.task_status(house.fleet.desk, "t-1").nodes[0].dead_letter is DeadLetterState.OWED


def test_a_refused_document_that_nobody_announced_is_announced_and_deleted_after_two_weeks(house: House) -> None:
    fleet = house.fleet
    fleet.queues.send(fleet.names.tasks, "{")
    fleet.route()
    (refusal,) = control.list_letters(fleet.desk)
    path = layout.refused(refusal.key)
    record = fleet.tree.get(path)
    assert record is not None
    owed = json.loads(record.data) | {"dead_letter": "owed"}
    fleet.tree.commit([Set(path, json.dumps(owed).encode(), None)])
    before = len(letters(house))
    fleet.clock.advance(130)
    janitor = house.janitor()
    janitor.turn()
    assert len(letters(house)) == before + 1
    fleet.clock.advance(13.9 * DAY)
    janitor.turn()
    assert len(control.list_letters(fleet.desk)) == 1
    fleet.clock.advance(0.2 * DAY)
    janitor.turn()
    assert control.list_letters(fleet.desk) == ()
    assert [one.dead_letter for one in house.history.refusals.values()] == ["sent"]


def test_a_refused_document_is_kept_while_the_history_is_away(house: House) -> None:
    fleet = house.fleet
    fleet.queues.send(fleet.names.tasks, "{")
    fleet.route()
    house.history.fail()
    fleet.clock.advance(30 * DAY)
    janitor = house.janitor()
    janitor.turn()
    assert len(control.list_letters(fleet.desk)) == 1


# --- the audit, and queues ---------------------------------------------------------------------------------


def test_audit_entries_are_in_the_history_at_once_and_deleted_a_day_later(house: House) -> None:
    desk = house.fleet.desk
    control.hold(desk, "*", "look")
    janitor = house.janitor()
    janitor.turn()
    assert [entry.verb for entry in house.history.audit.values()] == ["init", "unhold", "hold"]
    listing = house.fleet.tree.children(layout.AUDIT)
    assert listing is not None
    assert len(listing.names) == 3
    house.fleet.clock.advance(DAY - 400)
    janitor.turn()
    control.unhold(desk, "*", "seen")
    house.fleet.clock.advance(800)
    janitor.turn()
    listing = house.fleet.tree.children(layout.AUDIT)
    assert listing is not None
    assert len(listing.names) == 1
    assert [entry.verb for entry in house.history.audit.values()] == ["init", "unhold", "hold", "unhold"]


def test_no_audit_entry_is_deleted_that_the_history_does_not_have(house: House) -> None:
    house.history.fail()
    house.fleet.clock.advance(2 * DAY)
    janitor = house.janitor()
    janitor.turn()
    listing = house.fleet.tree.children(layout.AUDIT)
    assert listing is not None
    assert len(listing.names) == 2
    house.history.recover()
    house.fleet.clock.advance(400)
    janitor.turn()
    listing = house.fleet.tree.children(layout.AUDIT)
    assert listing is not None
    assert listing.names == ()
    assert len(house.history.audit) == 2


def test_the_queue_of_a_gone_node_is_deleted_a_day_later_and_of_nobody_else(house: House) -> None:
    house.fleet.send()
    house.fleet.agent("i-1")
    house.fleet.discovery.terminate("i-1")
    janitor = house.janitor()
    janitor.turn()
    queue = house.fleet.names.node("i-1")
    house.fleet.clock.advance(DAY - 7200)
    janitor.turn()
    assert house.fleet.queues.exists(queue)
    house.fleet.clock.advance(10900)
    janitor.turn()
    assert not house.fleet.queues.exists(queue)
    assert house.fleet.queues.exists(house.fleet.names.node("i-2"))
    assert [event["queue"] for event in house.said("queue_deleted")] == [queue]


def kept_by_a_task_of_long_ago(house: House, node: str, **task: Any) -> Janitor:
    """`node` ends unsafe, a person gives its dead letter up, the task is put away; the slot stays."""
    house.fleet.send(**{"limit": 1, **task})
    house.fleet.do("t-1", node, Outcome.UNSAFE)
    house.fleet.desk.moves().discard("t-1", node, "never mind")
    house.fleet.clock.advance(3700)
    janitor = house.janitor()
    janitor.turn()
    assert stone(house.fleet) is not None
    assert [place.node for place in control.list_slots(house.fleet.desk)] == [node]
    return janitor


def test_a_kept_slot_is_freed_with_its_machine_also_when_its_task_was_put_away(house: House) -> None:
    janitor = kept_by_a_task_of_long_ago(house, "i-1")
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert [place.node for place in control.list_slots(house.fleet.desk)] == ["i-1"]
    house.fleet.discovery.terminate("i-1")
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert control.list_slots(house.fleet.desk) == ()
    assert [said["node"] for said in house.said("node_gone")] == ["i-1"]


def test_the_kept_slot_of_a_node_that_only_a_person_named_stays(house: House) -> None:
    house.fleet.agent("i-77")
    janitor = kept_by_a_task_of_long_ago(house, "i-77", nodes=["i-77"])
    for _ in range(4):
        house.fleet.clock.advance(3700)
        janitor.turn()
    assert [place.node for place in control.list_slots(house.fleet.desk)] == ["i-77"]


# --- commands ------------------------------------------------------------------------------------------------


def commands(house: House, *holders: str) -> CommandMoves:
    """Commands of web-1 that run in a scope of their own each."""
    moves = CommandMoves(house.fleet.tree)
    moves.prepare()
    for holder in holders:
        one = Wish(holder, "web-1", f"of-{holder}", 1)
        ready = moves.look(one) or moves.look(one)
        assert isinstance(ready, Ready)
        assert moves.take(ready, record_of(one))
    return moves


def test_a_command_is_recorded_when_it_has_ended_and_deleted_an_hour_later(house: House) -> None:
    """Its host may still ask for the record of an end whose answer it lost. One that runs is never touched."""
    moves = commands(house, "web-1-x22222222", "web-1-x33333333")
    moves.end("web-1-x22222222", END)
    janitor = house.janitor()
    janitor.turn()
    assert list(house.history.commands) == ["web-1-x22222222"]
    assert house.history.commands["web-1-x22222222"].end == END
    assert house.fleet.tree.get(layout.command("web-1-x22222222")) is not None
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert house.fleet.tree.get(layout.command("web-1-x22222222")) is None
    assert house.fleet.tree.get(layout.command("web-1-x33333333")) is not None
    house.fleet.clock.advance(DAY)
    janitor.turn()
    assert [known.record.holder for known in moves.running("web-1")] == ["web-1-x33333333"]


def test_a_command_that_the_history_did_not_say_yes_to_stays(house: House) -> None:
    commands(house, "web-1-x22222222").end("web-1-x22222222", END)
    house.history.fail()
    janitor = house.janitor()
    house.fleet.clock.advance(3700)
    janitor.turn()
    assert house.fleet.tree.get(layout.command("web-1-x22222222")) is not None
    house.history.recover()
    house.fleet.clock.advance(400)
    janitor.turn()
    assert list(house.history.commands) == ["web-1-x22222222"]
