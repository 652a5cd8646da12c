"""`heartbeat_task:ping`: it measures, says from when, and judges nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runners.heartbeat.ping import Ping
from taskerman.errors import ActionArgsInvalid
from taskerman.testing import RunnerHarness, deaths, failures


def due(ago_s: float, **more: Any) -> RunnerHarness[Ping]:
    return RunnerHarness(Ping, scheduled_for=(datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(), **more)


def test_it_says_how_long_ago_it_was_due() -> None:
    harness = due(42)
    before = time.monotonic()
    assert harness.run().outcome == "succeeded"
    (line,) = harness.logged
    assert (line.message, line.fields["since"]) == ("pinged", "scheduled_for")
    assert 42 <= float(str(line.fields["latency_s"])) <= 42 + (time.monotonic() - before) + 0.01
    assert harness.commands == []


def test_a_clock_that_is_behind_is_named_and_no_failure() -> None:
    harness = due(-30)
    assert harness.run().outcome == "succeeded"
    (line,) = harness.logged
    assert float(str(line.fields["latency_s"])) < -29
    assert "behind" in str(line.fields["clock"])


def test_what_nobody_scheduled_is_measured_from_its_acceptance() -> None:
    accepted = (datetime.now(UTC) - timedelta(seconds=7)).isoformat()
    harness = RunnerHarness(Ping, accepted_at=accepted)
    assert harness.run().outcome == "succeeded"
    assert harness.logged[0].fields["since"] == "accepted_at"


def test_whatever_kills_it_it_is_done_in_the_end_and_fails_by_no_lateness() -> None:
    for death in deaths(lambda: due(86400)):
        assert death.resume().outcome == "succeeded", death
        assert "latency_s" in death.harness.saved
    assert list(failures(lambda: due(1))) == [], "it runs nothing that could fail"


def test_it_takes_no_arguments() -> None:
    with pytest.raises(ActionArgsInvalid, match="max_latency_s: unknown argument"):
        due(1, args={"max_latency_s": 3}).pre_check()
