"""Windows in the line, with the agent's clock held against the tree's: in memory and on a real ZooKeeper.

Time is the machine's here, because the tree's clock is part of the promise; a test moves the agents' by a few seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import NodeMoves, Ready
from taskerman.coordination.router_moves import Published
from taskerman.model.plan import Plan
from taskerman.policy.snapshot import Admitted, Reason, Waiting
from taskerman.testing.clock import ManualClock
from tests.contract.test_coordination import Stage
from tests.support.protocol_tasks import TaskShape, plan_of
from tests.support.tree_ground import Ground, ground

__all__ = ["ground"]


@pytest.fixture
def stage(ground: Ground) -> Stage:
    """A stage at the time that it is."""
    made = Stage(ground)
    made.clock = ManualClock(datetime.now(UTC))
    return made


def shut_for(stage: Stage, seconds: float) -> dict[str, object]:
    """A window_args with a blackout from a minute ago on, for so long from now; 0: over."""
    now = stage.clock.now()
    ends = now + timedelta(seconds=seconds)
    return {"blackouts": [{"begins": (now - timedelta(minutes=1)).isoformat(), "ends": ends.isoformat(), "why": "x"}]}


def look(stage: Stage, moves: NodeMoves, plan: Plan, off_s: float = 0) -> object:
    """Where it stands by a clock that is so far ahead."""
    return moves.stand(plan, stage.clock.now() + timedelta(seconds=off_s), lambda: None)


def test_a_shut_window_keeps_the_head_until_it_opens_and_the_line_as_it_is(stage: Stage) -> None:
    plan = stage.plan(window=shut_for(stage, 20))
    moves = stage.agent("n0")
    said = look(stage, moves, plan)
    assert isinstance(said, Waiting)
    assert (said.reason, said.until) == (Reason.WINDOW, stage.clock.now() + timedelta(seconds=20))
    assert stage.explain(plan, "n0") == said
    assert stage.line() == ["n0"]
    stage.clock.advance(20)
    stage.take(moves, plan)


def test_a_lane_whose_window_is_shut_lets_a_younger_task_pass_and_binds_it_when_it_is_open(stage: Stage) -> None:
    shut = stage.plan("a", nodes=("n0",), window=shut_for(stage, 20))
    younger = stage.plan("b", nodes=("n1",))
    look(stage, stage.agent("n0"), shut)
    second = stage.agent("n1")
    assert isinstance(look(stage, second, younger), Ready)
    assert isinstance(stage.explain(younger, "n1"), Admitted)
    stage.clock.advance(20)
    waits = look(stage, second, younger)
    assert isinstance(waits, Waiting)
    assert waits.reason is Reason.OLDER_TASK


@pytest.mark.parametrize(("off_s", "says"), [(120, "ahead of"), (-120, "behind")])
def test_a_clock_that_is_wrong_is_named_whether_its_window_seems_open_or_shut(
    stage: Stage, off_s: float, says: str
) -> None:
    plan = stage.plan(window=shut_for(stage, 60))
    moves = stage.agent("n0")
    said = look(stage, moves, plan, off_s)
    assert isinstance(said, Waiting)
    assert said.reason is Reason.CLOCK
    assert says in said.text
    assert stage.explain(plan, "n0") == said, "whoever explains reads it from the line"


def test_a_clock_that_was_set_right_is_believed_at_the_next_look(stage: Stage) -> None:
    plan = stage.plan(window=shut_for(stage, 0))
    moves = stage.agent("n0")
    assert isinstance(look(stage, moves, plan, 120), Waiting)
    assert isinstance(look(stage, moves, plan), Ready)


def test_a_clock_that_jumps_while_it_waits_is_noticed_before_its_window_is_believed(stage: Stage) -> None:
    plan = stage.plan(window=shut_for(stage, 600))
    moves = stage.agent("n0")
    said = look(stage, moves, plan)
    assert isinstance(said, Waiting)
    assert said.reason is Reason.WINDOW
    said = look(stage, moves, plan, 700)
    assert isinstance(said, Waiting)
    assert said.reason is Reason.CLOCK


def test_a_clock_that_jumps_by_minutes_is_noticed_although_it_was_compared_minutes_ago(stage: Stage) -> None:
    plan = stage.plan(window=shut_for(stage, 300))
    moves = stage.agent("n0")
    look(stage, moves, plan)
    said = look(stage, moves, plan, 310)
    assert isinstance(said, Waiting), "it begins in the middle of a blackout"
    assert said.reason is Reason.CLOCK


def test_clocks_that_agree_are_not_compared_at_every_look(stage: Stage) -> None:
    plan = stage.plan(window=shut_for(stage, 600))
    moves = stage.agent("n0")
    look(stage, moves, plan)
    names = stage.tree.children(layout.line("t", "0"))
    assert names is not None
    look(stage, moves, plan, 5)
    look(stage, moves, plan, -5)
    again = stage.tree.children(layout.line("t", "0"))
    assert again is not None
    assert again.stat.children_version == names.stat.children_version


def test_a_task_without_windows_goes_by_no_clock(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    assert isinstance(look(stage, moves, plan, 3600), Ready)


def test_who_stands_behind_a_wrong_clock_of_an_older_task_passes_it(stage: Stage) -> None:
    older = stage.plan("a", nodes=("n0",), window=shut_for(stage, 0))
    look(stage, stage.agent("n0"), older, 120)
    younger = stage.plan("b", nodes=("n1",))
    assert isinstance(look(stage, stage.agent("n1"), younger), Ready)


def test_a_redriven_task_keeps_its_window_in_its_header(stage: Stage) -> None:
    """Its header is written anew: without the window it would stop younger tasks while it is shut."""
    plan = plan_of("a", TaskShape(("n0",), window=shut_for(stage, 5)), stage.clock)
    assert stage.router.publish(plan) is Published.NEW
    stage.clock.advance(5)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "refused")
    assert stage.open() == 0
    stage.person.redrive("a", "n0", "mended")
    names = stage.tree.children(layout.open_tasks(plan.task.cluster_name))
    assert names is not None
    record = stage.tree.get(f"{layout.open_tasks(plan.task.cluster_name)}/{names.names[0]}")
    assert record is not None
    assert b"blackouts" in record.data
