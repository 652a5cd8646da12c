"""DLQ promises: what needs a person is listed until a person settled it; a redrive typed twice is one task."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman import control
from taskerman.errors import CoordinationUnavailable, NotFound, RefusedByState, UsageError
from taskerman.model.outcome import DeadLetter, Outcome
from tests.support.fleet import CLUSTER, Fleet, document


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


@pytest.fixture
def ill(fleet: Fleet) -> Fleet:
    """The first node ended unsafe, which halted the task."""
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port 8080 does not answer")
    return fleet


def listed(fleet: Fleet) -> list[tuple[str | None, str]]:
    return [(line.node, line.state) for line in control.list_letters(fleet.desk)]


def test_a_letter_has_everything_that_a_person_needs(ill: Fleet) -> None:
    shown = control.show_letter(ill.desk, "t-1", "i-1")
    letter = shown.letter
    assert shown.state == "owed"
    assert (letter.outcome, letter.reason) == (Outcome.UNSAFE, "port 8080 does not answer")
    assert (letter.kept, letter.tail, letter.attempts) == ((CLUSTER,), "the last line\n", 1)
    assert letter.task is not None
    assert letter.task["destnode"] == "i-1"
    assert DeadLetter.model_validate_json(letter.model_dump_json()) == letter


@pytest.mark.parametrize("name", ["t-1", "t-1.i-1.1"])
def test_a_letter_is_found_by_its_task_or_by_its_key(ill: Fleet, name: str) -> None:
    assert control.show_letter(ill.desk, name).letter.destnode == "i-1"


def test_a_task_with_two_letters_wants_the_node_named(fleet: Fleet) -> None:
    fleet.send(params={"failure_args": {"max_failures": 2}})
    for node in ("i-1", "i-2"):
        fleet.do("t-1", node, Outcome.FAILED, "no", retry=False)
    with pytest.raises(NotFound, match="i-1, i-2"):
        control.show_letter(fleet.desk, "t-1")


def test_what_ended_well_or_never_began_is_not_a_letter(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    assert listed(fleet) == []
    with pytest.raises(NotFound):
        control.show_letter(fleet.desk, "t-1")
    with pytest.raises(NotFound):
        control.show_letter(fleet.desk, "t-1", "i-2")


def test_a_discarded_letter_leaves_the_list_and_its_slot_stays_kept(ill: Fleet) -> None:
    control.discard(ill.desk, "t-1", "i-1", "the node is replaced")
    assert listed(ill) == []
    assert [line.state for line in control.list_letters(ill.desk, everything=True)] == ["discarded"]
    assert len(control.list_slots(ill.desk)) == 1
    with pytest.raises(RefusedByState):
        control.discard(ill.desk, "t-1", "i-1", "again")


# --- redrive ---------------------------------------------------------------------------------------------


def test_a_redrive_of_a_halted_task_is_in_place_rings_the_node_and_the_task_goes_on_after_it(ill: Fleet) -> None:
    before = len(ill.queues.bodies(ill.names.node("i-1")))
    done = control.redrive(ill.desk, "t-1", "i-1", "repaired")
    assert (done.new_task, done.reached) == (None, True)
    assert len(ill.queues.bodies(ill.names.node("i-1"))) == before + 1
    ill.join("t-1", "i-2")
    assert control.explain(ill.desk, "t-1", "i-2").nodes[0].reason == "kept_slot"
    ill.do("t-1", "i-1", Outcome.SUCCEEDED)
    assert control.list_slots(ill.desk) == ()
    ill.take("t-1", "i-2")


@pytest.fixture
def over(ill: Fleet) -> Fleet:
    """The same, and then the task was cancelled: it is over."""
    control.cancel(ill.desk, "t-1", "enough")
    return ill


def test_a_redrive_of_a_task_that_is_over_is_a_new_task_of_that_one_node(over: Fleet) -> None:
    done = control.redrive(over.desk, "t-1", "i-1")
    assert done.new_task == "t-1-r1"
    over.route()
    plan = over.plan("t-1-r1")
    assert [node.id for node in plan.nodes] == ["i-1"]
    assert plan.task.action == "demo_task:restart"
    over.do("t-1-r1", "i-1", Outcome.SUCCEEDED)
    assert control.list_slots(over.desk) == ()  # it inherited the kept slot, and gave it back


def test_such_a_redrive_is_one_task_even_if_it_dies_between_sending_and_noting(over: Fleet) -> None:
    """The id is derived from the node's count of attempts, which stays until something was tried."""
    over.server.before_commit = lambda tree, ops: over.server.cut(over.tree)
    with pytest.raises(CoordinationUnavailable):
        control.redrive(over.desk, "t-1", "i-1")
    over.server.before_commit = None
    over.server.heal(over.tree)
    assert control.redrive(over.desk, "t-1", "i-1").new_task == "t-1-r1"
    first, second = over.queues.bodies(over.names.tasks)
    assert first == second
    over.route()
    assert len(over.plan("t-1-r1").nodes) == 1


def test_a_letter_that_was_redriven_leaves_the_list_and_is_not_redriven_again(over: Fleet) -> None:
    control.redrive(over.desk, "t-1", "i-1")
    assert listed(over) == []
    with pytest.raises(RefusedByState, match="redriven already"):
        control.redrive(over.desk, "t-1", "i-1")


def test_what_is_over_or_senseless_for_one_node_is_left_out_of_the_new_task_and_said(fleet: Fleet) -> None:
    soon = (fleet.clock.now() + timedelta(hours=1)).isoformat()
    fleet.send(not_after=soon, params={"lease_args": {"concurrency": "50%"}})
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "no")
    fleet.clock.advance(timedelta(hours=2))
    done = control.redrive(fleet.desk, "t-1", "i-1")
    assert done.dropped == ("not_after", "taskerman_params.lease_args.concurrency")
    fleet.route()
    assert fleet.plan("t-1-r1").cap == 1


def test_an_id_that_would_grow_too_long_is_shortened_the_same_way_each_time(fleet: Fleet) -> None:
    task = "t" * 63
    fleet.send(task)
    fleet.do(task, "i-1", Outcome.UNSAFE, "no")
    control.cancel(fleet.desk, task, "enough")
    done = control.redrive(fleet.desk, task, "i-1")
    assert done.new_task is not None
    assert len(done.new_task) == 63
    assert done.new_task.endswith("-r1")


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.SKIPPED])
def test_what_ended_well_is_not_redriven(fleet: Fleet, outcome: Outcome) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", outcome)
    with pytest.raises(RefusedByState, match=outcome.value):
        control.redrive(fleet.desk, "t-1", "i-1")


# --- documents -------------------------------------------------------------------------------------------


@pytest.fixture
def refused(fleet: Fleet) -> str:
    """The sha256 of a document that the router refused."""
    fleet.queues.send(fleet.names.tasks, document(bogus=1))
    fleet.route()
    (line,) = control.list_letters(fleet.desk)
    return line.key


def test_a_refused_document_is_a_letter_with_its_body_and_is_found_by_the_beginning_of_its_sum(
    fleet: Fleet, refused: str
) -> None:
    shown = control.show_letter(fleet.desk, refused[:10])
    assert (shown.letter.kind, shown.letter.code) == ("document", "E-DOC-FIELD")
    assert shown.letter.body == document(bogus=1)


def test_a_refused_document_is_discarded_and_cannot_be_redriven(fleet: Fleet, refused: str) -> None:
    with pytest.raises(UsageError, match="submit"):
        control.redrive(fleet.desk, refused)
    control.discard(fleet.desk, refused, None, "a typo")
    assert listed(fleet) == []


def test_a_refused_document_is_found_by_the_id_under_which_the_list_shows_it(fleet: Fleet) -> None:
    fleet.queues.send(fleet.names.tasks, document("t-9", cluster_name="demo:nowhere"))
    fleet.route()
    (line,) = control.list_letters(fleet.desk)
    assert control.show_letter(fleet.desk, "t-9").letter.key == line.key
    assert control.discard(fleet.desk, "t-9", None, "a typo").key == line.key


def test_a_task_whose_document_was_refused_says_so_instead_of_being_unknown(fleet: Fleet) -> None:
    fleet.queues.send(fleet.names.tasks, document("t-9", cluster_name="demo:none"))
    fleet.route()
    with pytest.raises(NotFound, match=r"t-9 was refused: E-CLUSTER-EMPTY"):
        control.explain(fleet.desk, "t-9")
