"""What a runner declares binds its attempts where the task is silent, on the node as in the plan."""

from __future__ import annotations

from taskerman.model.task import ActionTraits
from tests.support.agents import fleet, outcome, quick
from tests.support.installation import Installation

__all__ = ["fleet"]


def test_an_attempt_is_bound_by_the_runners_own_soft_timeout_and_takes_a_place_in_its_scope(
    fleet: Installation,
) -> None:
    fleet.catalog.traits_of = ActionTraits(soft_s=1, settle_s=1, scope="heavy")
    fleet.behave("i-0", action="hang")
    fleet.start_agent("i-0")
    task = fleet.submit(params=quick(timeout_args={}))
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    held = fleet.tree.children("/scopes/heavy")
    assert held is not None
    assert list(held.names) == ["i-0~-~acting"]
    assert outcome(fleet, task) == "failed"
    assert "it took longer than its soft timeout" in fleet.end(task)["reason"]


def test_what_the_task_says_binds_it_instead(fleet: Installation) -> None:
    fleet.catalog.traits_of = ActionTraits(soft_s=3000, settle_s=3000, scope="heavy")
    fleet.behave("i-0", action="hang", post="wait")
    fleet.start_agent("i-0")
    task = fleet.submit(
        params=quick(timeout_args={"soft_s": 1, "settle_s": 1}, lease_args={"concurrency": 2, "scope": None})
    )
    assert outcome(fleet, task) == "unsafe"
    assert fleet.tree.children("/scopes/heavy") is None
