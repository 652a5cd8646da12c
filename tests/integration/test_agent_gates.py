"""Real agents with real children at gates that time opens: a window, and the breaker with its one probe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from taskerman.adapters.clock import SystemClock
from taskerman.policy.breaker import BreakerLimits
from taskerman.ports.tree import Set
from tests.support.agents import fleet, outcome, quick
from tests.support.installation import Installation

__all__ = ["fleet"]

REFUSING = {"pre": "refuse"}


def reasons(fleet: Installation) -> set[object]:
    """Why somebody waited."""
    return {event.fields.get("reason") for event in fleet.said("assignment_waits")}


def test_an_agent_waits_for_its_window_and_begins_by_itself_when_it_opens(fleet: Installation) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=2)
    begins = ends - timedelta(hours=1)
    blackouts = [{"begins": begins.isoformat(), "ends": ends.isoformat(), "why": "a sale"}]
    task = fleet.submit(params=quick(window_args={"blackouts": blackouts}))
    fleet.start_agent("i-0")
    assert outcome(fleet, task) == "succeeded"
    assert "window" in reasons(fleet)
    (taken,) = fleet.said("attempt_taken")
    assert fleet.events.index(taken) > fleet.events.index(fleet.said("assignment_waits")[0])
    assert datetime.fromisoformat(fleet.end(task)["at"]) >= ends


def test_an_action_that_runs_when_its_window_shuts_is_not_cut(fleet: Installation) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=2)
    blackouts = [{"begins": begins.isoformat(), "ends": (begins + timedelta(hours=1)).isoformat()}]
    fleet.behave("i-0", action="until")
    task = fleet.submit(params=quick(window_args={"blackouts": blackouts}))
    fleet.start_agent("i-0")
    fleet.until(lambda: fleet.did("begin") == 1, "it begins")
    fleet.until(lambda: datetime.now(UTC) > begins, "the window is shut")
    fleet.go("i-0")
    assert outcome(fleet, task) == "succeeded"


def test_an_action_whose_window_shut_before_it_was_confirmed_waits_for_the_next_one(fleet: Installation) -> None:
    """Its take or its pre_check took long: the slots are confirmed, and so is the time."""
    begins = datetime.now(UTC) + timedelta(seconds=3)
    blackouts = [{"begins": begins.isoformat(), "ends": (begins + timedelta(seconds=3)).isoformat()}]
    fleet.behave("i-0", pre=["until", "go"])
    with mock.patch("taskerman.policy.lifecycle._FENCE_AFTER", timedelta(0)):
        task = fleet.submit(params=quick(window_args={"blackouts": blackouts}))
        fleet.start_agent("i-0")
        fleet.until(lambda: fleet.did("pre") == 1, "pre_check has begun")
        fleet.until(lambda: datetime.now(UTC) > begins, "the window is shut")
        fleet.go("i-0")
        fleet.until(lambda: fleet.progress(task).get("deferrals") == 1, "it is deferred")
        assert fleet.did("begin") == 0
        assert fleet.slots() == ()
        assert outcome(fleet, task) == "succeeded"
    assert fleet.end(task)["attempts"] == 1


class AheadClock(SystemClock):
    """A clock that somebody has set."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


def test_a_clock_that_jumped_over_the_end_of_a_task_ends_nothing(fleet: Installation) -> None:
    """Else one wrong clock makes a dead letter of everything that its node has to do."""
    clock = fleet.clock = AheadClock()
    clock.by = timedelta(days=30)
    task = fleet.submit(params=quick())
    fleet.start_agent("i-0")
    fleet.until(lambda: "clock" in reasons(fleet), "it doubts its clock")
    assert not fleet.end(task)
    clock.by = timedelta(0)
    control = fleet.tree.get(f"/tasks/{task}/ctl")
    assert control is not None
    fleet.tree.commit([Set(f"/tasks/{task}/ctl", control.data, None)])  # it is woken, and looks again
    assert outcome(fleet, task) == "succeeded"


@pytest.fixture
def five(tmp_path: Path) -> Iterator[Installation]:
    """Five nodes; three of them refuse."""
    made = Installation(tmp_path, 5)
    made.start_router()
    for node in ("i-0", "i-3", "i-1"):  # the first three by zone
        made.behave(node, **REFUSING)
    yield made
    made.stop()


def test_failures_in_a_row_open_the_breaker_one_node_probes_and_then_the_others_go_on(five: Installation) -> None:
    for node in five.nodes:
        five.start_agent(node.id, breaker=BreakerLimits(failures=3, cool_down=timedelta(seconds=1.5)))
    params = quick(lease_args={"concurrency": 1}, failure_args={"max_failures": 5})
    task = five.submit(params=params)
    five.until(lambda: len(five.outcomes(task)) == 5, "all have ended")
    assert sorted(five.outcomes(task).values()) == ["failed", "failed", "failed", "succeeded", "succeeded"]
    assert "breaker" in reasons(five)
    told = [(event.name, event.fields["cluster"]) for event in five.events if event.name.startswith("breaker_")]
    cluster = five.said("breaker_opened")[0].fields["cluster"]
    assert told == [(name, cluster) for name in ("breaker_opened", "breaker_probed", "breaker_closed")]
    ends = {node.id: datetime.fromisoformat(five.end(task, node.id)["at"]) for node in five.nodes}
    opened = max(at for node, at in ends.items() if five.outcomes(task)[node] == "failed")
    probed = ends[str(five.said("breaker_probed")[0].fields["node"])]
    assert probed - opened >= timedelta(seconds=1.5), "the cluster was left alone for its cool-down"
