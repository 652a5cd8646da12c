"""GC on the in-memory tree and on a real ZooKeeper: nothing is deleted that was not copied, and nothing runs again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import Ended, Left, Ready
from taskerman.coordination.notes import note_sent
from taskerman.coordination.plans import read_plan
from taskerman.coordination.putting_away import (
    Standing,
    begin_closing,
    bury,
    delete_copied,
    forget,
    stand,
)
from taskerman.errors import CoordinationUnavailable, NotFound, RefusedByState, TaskEnded, TaskExists
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Tombstone
from taskerman.model.task import TaskState
from taskerman.policy.putting_away import tombstone
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Create, Tree
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, Stage, ground, stage
from tests.contract.test_janitor_moves import lost
from tests.support.protocol_tasks import TaskShape, plan_of

__all__ = ["ground", "stage"]


def ended(stage: Stage, *, how: str = "succeeded", nodes: tuple[str, ...] = ("n0", "n1")) -> Plan:
    """A task of which every node has its end. Its first node ends as `how` says."""
    plan = stage.plan(nodes=nodes, max_failures=1)
    for node in nodes:
        moves = stage.agent(node)
        stage.take(moves, plan)
        stage.end(moves, plan, how if node == nodes[0] else "succeeded")
    return plan


def seen(stage: Stage, plan: Plan, tree: Tree | None = None) -> Standing:
    found = stand(tree or stage.tree, plan)
    assert found is not None
    return found


def stone(stage: Stage, plan: Plan) -> Tombstone:
    return tombstone(plan, {"succeeded": 2}, now=stage.clock.now(), upkeep=Upkeep())


def put_away(stage: Stage, plan: Plan) -> None:
    assert begin_closing(stage.tree, seen(stage, plan))
    assert delete_copied(stage.tree, seen(stage, plan))
    assert bury(stage.tree, seen(stage, plan), stone(stage, plan))


def test_what_is_put_away_leaves_a_tombstone_and_nothing_else(stage: Stage) -> None:
    plan = ended(stage)
    put_away(stage, plan)
    assert read_plan(stage.tree, "t") == stone(stage, plan)
    listing = stage.tree.children(layout.task("t"))
    assert listing is not None
    assert listing.names == ()
    assert stand(stage.tree, plan) is None
    assert stage.open() == 0


def test_the_history_gets_the_task_as_it_was_before_it_was_put_away(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    stage.person.discard("t", "n0", "never mind")
    before = seen(stage, plan).history
    assert begin_closing(stage.tree, seen(stage, plan))
    after = seen(stage, plan)
    assert after.control.state is TaskState.CLOSING
    assert after.control.putting_away is not None
    assert after.control.putting_away.summary == {"failed": 1, "succeeded": 1}
    assert after.history == before
    assert [(past.node, past.end.outcome) for past in before.assignments] == [
        ("n0", Outcome.FAILED),
        ("n1", Outcome.SUCCEEDED),
    ]


def test_a_task_with_an_assignment_without_an_end_is_not_put_away(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan)
    assert not begin_closing(stage.tree, seen(stage, plan))


def test_a_task_that_still_has_its_header_is_not_put_away(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",))
    stage.take(stage.agent("n0"), plan)
    stage.person.node_is_off("n0", "the fuse blew")
    assert not begin_closing(stage.tree, seen(stage, plan))
    assert stage.router.close_ended() == ["t"]
    assert begin_closing(stage.tree, seen(stage, plan))


def test_a_redrive_that_comes_between_the_look_and_the_closing_wins(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    looked = seen(stage, plan)
    assert stage.person.redrive("t", "n0", "mended")
    assert not begin_closing(stage.tree, looked)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan)
    assert not begin_closing(stage.tree, looked), "all have their ends again, and it is not what was looked at"
    assert begin_closing(stage.tree, seen(stage, plan))


def test_a_redrive_that_comes_after_the_closing_makes_a_new_task(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    assert begin_closing(stage.tree, seen(stage, plan))
    assert stage.person.redrive("t", "n0", "mended") is False
    with pytest.raises(RefusedByState):
        stage.person.resume("t", "go on")
    with pytest.raises(TaskEnded):
        stage.person.cancel("t", "no")


def test_a_letter_that_a_person_settles_after_the_copy_is_copied_again_before_it_is_deleted(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    assert begin_closing(stage.tree, seen(stage, plan))
    copied = seen(stage, plan)
    stage.person.redriven("t", "n0", "as another task")
    assert not delete_copied(stage.tree, copied)
    again = seen(stage, plan)
    assert again.history.assignments[0].end.dead_letter is DeadLetterState.REDRIVEN
    assert delete_copied(stage.tree, again)
    with pytest.raises(NotFound):
        stage.person.discard("t", "n0", "too late")


def test_a_task_is_not_buried_while_an_end_of_it_is_there(stage: Stage) -> None:
    plan = ended(stage)
    assert begin_closing(stage.tree, seen(stage, plan))
    assert not bury(stage.tree, seen(stage, plan), stone(stage, plan))
    assert len(seen(stage, plan).ends) == 2


def test_places_in_a_line_that_nobody_left_are_cleared_away(stage: Stage) -> None:
    plan = ended(stage)
    other = stage.ground.open()
    assert begin_closing(stage.tree, seen(stage, plan))
    other.commit([Create(f"{layout.line('t', '0')}/200.00001", b"n1", ephemeral=True)])
    other.commit([Create(layout.progress("t", "n1"), b"{}")])
    assert delete_copied(stage.tree, seen(stage, plan))
    assert bury(stage.tree, seen(stage, plan), stone(stage, plan))


def test_a_late_copy_of_the_document_does_not_run_again(stage: Stage) -> None:
    plan = ended(stage)
    put_away(stage, plan)
    found = stage.router.plan("t")
    assert isinstance(found, Tombstone)
    assert found.hash == plan.hash
    with pytest.raises(TaskExists):
        stage.router.publish(plan_of("t", TaskShape(("n0",), cap=3), stage.clock))
    stage.router.publish(plan)
    assert isinstance(stage.router.plan("t"), Tombstone)
    assert stage.open() == 0
    assert stage.router.unended(plan) == []


def test_an_agent_that_wakes_up_after_the_burial_leaves(stage: Stage) -> None:
    plan = ended(stage)
    sleeper = stage.agent("n1")
    put_away(stage, plan)
    assert stage.look(sleeper, plan) == Left()
    assert isinstance(sleeper.plan("t"), Tombstone)


def test_an_agent_that_wakes_up_while_it_is_closing_leaves_or_settles(stage: Stage) -> None:
    plan = ended(stage)
    sleeper = stage.agent("n1")
    assert begin_closing(stage.tree, seen(stage, plan))
    assert isinstance(stage.look(sleeper, plan), Ended)
    assert delete_copied(stage.tree, seen(stage, plan))
    assert stage.look(sleeper, plan) == Left()
    assert stage.line() == []


def test_a_tombstone_is_forgotten_and_the_id_may_be_used_again(stage: Stage) -> None:
    plan = ended(stage)
    put_away(stage, plan)
    laid = stone(stage, plan)
    assert not forget(stage.tree, "t", laid.model_copy(update={"kept_until": laid.kept_until + timedelta(days=1)}))
    assert forget(stage.tree, "t", laid)
    assert not forget(stage.tree, "t", laid)
    assert stage.router.plan("t") is None
    again = stage.plan(nodes=("n0",))
    assert not forget(stage.tree, "t", laid)
    assert isinstance(stage.look(stage.agent("n0"), again), Ready)


def test_what_a_person_asks_of_a_task_that_was_put_away_is_answered_with_what_became_of_it(stage: Stage) -> None:
    plan = ended(stage)
    put_away(stage, plan)
    for verb in (
        lambda: stage.person.cancel("t", "no"),
        lambda: stage.person.resume("t", "no"),
        lambda: stage.person.redrive("t", "n0", "no"),
        lambda: stage.person.plan("t"),
    ):
        with pytest.raises(TaskEnded, match="2 succeeded"):
            verb()


@EVERY_LOSS
@pytest.mark.parametrize("step", ["closing", "deleting", "burying", "forgetting"])
def test_a_step_without_an_answer_is_done_once_by_whoever_goes_on(stage: Stage, step: str, became: LostAnswer) -> None:
    plan = ended(stage)

    def closing(tree: Tree) -> None:
        begin_closing(tree, seen(stage, plan, tree))

    def deleting(tree: Tree) -> None:
        delete_copied(tree, seen(stage, plan, tree))

    def burying(tree: Tree) -> None:
        found = stand(tree, plan)
        if found is not None:
            bury(tree, found, stone(stage, plan))

    def forgetting(tree: Tree) -> None:
        forget(tree, "t", stone(stage, plan))

    for name, move in {
        "closing": closing,
        "deleting": deleting,
        "burying": burying,
        "forgetting": forgetting,
    }.items():
        if name == step:
            lost(stage, became, move)
            break
        move(stage.tree)
    if step == "forgetting":
        assert stage.router.plan("t") is None
        return
    if step != "burying":
        put_rest_away(stage, plan)
    assert isinstance(stage.router.plan("t"), Tombstone)


def put_rest_away(stage: Stage, plan: Plan) -> None:
    assert delete_copied(stage.tree, seen(stage, plan))
    assert bury(stage.tree, seen(stage, plan), stone(stage, plan))


# --- that a letter was sent --------------------------------------------------------------------------------


def owed(stage: Stage, node: str = "n0") -> End:
    end = stage.ended(node)
    assert end is not None
    return end


def test_a_letter_that_was_sent_is_noted_whoever_sent_it(stage: Stage) -> None:
    ended(stage, how="failed")
    end = owed(stage)
    assert note_sent(stage.tree, "t", "n0", end)
    assert owed(stage).dead_letter is DeadLetterState.SENT
    assert note_sent(stage.tree, "t", "n0", end)


def test_a_note_of_one_end_is_not_taken_for_one_of_the_next(stage: Stage) -> None:
    """Both ends are the first record at their place: their versions are the same."""
    plan = ended(stage, how="failed")
    end = owed(stage)
    assert stage.person.redrive("t", "n0", "mended")
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    assert note_sent(stage.tree, "t", "n0", end)
    assert owed(stage).dead_letter is DeadLetterState.OWED


def test_a_note_that_comes_late_is_not_taken_for_one_of_the_next_end(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    tree = stage.ground.open()
    stage.ground.lose_answer(tree, LostAnswer.LATE)
    with pytest.raises(CoordinationUnavailable):
        note_sent(tree, "t", "n0", owed(stage))
    assert stage.person.redrive("t", "n0", "mended")
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    stage.ground.deliver_late(tree)
    stage.ground.heal(tree)
    assert owed(stage).dead_letter is DeadLetterState.OWED


def test_a_letter_that_a_person_settled_is_not_sent_back(stage: Stage) -> None:
    ended(stage, how="failed")
    end = owed(stage)
    stage.person.discard("t", "n0", "never mind")
    assert note_sent(stage.tree, "t", "n0", end)
    assert owed(stage).dead_letter is DeadLetterState.DISCARDED


def test_a_note_of_a_task_that_was_put_away_is_nothing(stage: Stage) -> None:
    plan = ended(stage, how="failed")
    end = owed(stage)
    put_away(stage, plan)
    assert note_sent(stage.tree, "t", "n0", end)
