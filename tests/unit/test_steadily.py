"""A node is believed to be well after several good answers in a row over some time, and one bad answer begins anew."""

from __future__ import annotations

import itertools

import pytest

from taskerman import Check, Go, TaskRunner, Wait, steadily
from taskerman.testing.harness import RunnerHarness


class Patient(TaskRunner):
    """Its post_check answers what the test says."""

    now: Check = Go()

    def pre_check(self) -> Check:
        return Go()

    def execute_action(self) -> None:
        return

    def post_check(self) -> Check:
        return steadily(self.ctx, type(self).now, times=3, over_s=2)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> RunnerHarness[Patient]:
    """Every look is one second after the one before."""
    clock = itertools.count(1_000_000.0)
    monkeypatch.setattr("time.time", lambda: next(clock))
    monkeypatch.setattr(Patient, "now", Go())
    return RunnerHarness(Patient)


def test_three_in_a_row_over_two_seconds(harness: RunnerHarness[Patient]) -> None:
    assert [type(harness.post_check()) for _ in range(4)] == [Wait, Wait, Go, Go]


def test_a_bad_answer_passes_and_begins_anew(harness: RunnerHarness[Patient], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(harness.post_check()) for _ in range(2)] == [Wait, Wait]
    monkeypatch.setattr(Patient, "now", Wait("ill"))
    assert harness.post_check() == Wait("ill")
    monkeypatch.setattr(Patient, "now", Go())
    assert [type(harness.post_check()) for _ in range(3)] == [Wait, Wait, Go]


def test_often_is_not_long(harness: RunnerHarness[Patient], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1_000_000.0, 0.25)
    monkeypatch.setattr("time.time", lambda: next(clock))
    answers = [type(harness.post_check()) for _ in range(9)]
    assert answers == [Wait] * 8 + [Go]


def test_a_clock_that_goes_back_makes_nothing_longer(
    harness: RunnerHarness[Patient], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.post_check()
    clock = itertools.count(5_000.0)
    monkeypatch.setattr("time.time", lambda: next(clock))
    assert [type(harness.post_check()) for _ in range(3)] == [Wait, Wait, Go]
