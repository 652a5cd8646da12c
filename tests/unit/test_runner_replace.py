"""`instance_task:replace`, killed at every point: what was asked for may come, and what was not is taken back."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from runners.instance.group import Group, Groups
from runners.instance.replace import Replace
from taskerman.testing import RunnerHarness, deaths, failures


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Machines that the group was asked to terminate; it takes its time."""
    machines: list[str] = []
    monkeypatch.setattr(Groups, "of", lambda self, machine: Group("g", "InService", True, 3, 3))
    monkeypatch.setattr(Groups, "terminate", lambda self, machine: machines.append(machine))
    return machines


def harness() -> RunnerHarness[Replace]:
    settings: dict[str, JsonValue] = {"drain": ["drain"], "undrain": ["undrain"], "checks": [["ping"]]}
    return RunnerHarness(Replace, node="i-1", settings=settings)


def test_whatever_kills_it_what_was_asked_for_is_unsafe_and_what_was_not_is_back_at_work(asked: list[str]) -> None:
    for death in deaths(harness):
        said = death.harness.saved["asked"]
        drained = ("drain",) in death.harness.commands
        played = death.resume()
        assert (played.outcome, played.recovered) == (("unsafe", "unknown") if said else ("failed", "not_done")), death
        if drained and not said:
            assert death.harness.commands[-1] == ("ping",)
            assert ("undrain",) in death.harness.commands, death
            assert death.harness.saved["drained"] is False, death
        if said:
            assert ("undrain",) not in death.harness.commands, death
    assert set(asked) == {"i-1"}


def test_a_drain_that_fails_in_whatever_way_leaves_a_node_at_work_that_nobody_was_asked_about(asked: list[str]) -> None:
    for failure in failures(harness):
        if failure.hook == "execute_action":
            asked.clear()  # by the play in which its commands were found
            played = failure.run()
            assert played.outcome == "failed", (failure, played)
            assert asked == [], failure
