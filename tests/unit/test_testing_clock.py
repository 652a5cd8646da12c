"""The clock of tests moves when it is told, both hands as told."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from taskerman.adapters.clock import SystemClock
from taskerman.testing.clock import ManualClock


def test_it_stands_still_by_itself() -> None:
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic())


@pytest.mark.parametrize("step", [timedelta(seconds=90), 90, 90.0])
def test_time_passes_on_both_clocks(step: timedelta | float) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.monotonic()
    clock.advance(step)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic() - before == 90


def test_a_jump_of_the_time_of_day_is_not_noticed_by_the_monotonic_clock() -> None:
    clock = ManualClock()
    day, ticks = clock.now(), clock.monotonic()
    clock.jump(timedelta(hours=-3))
    assert clock.now() == day - timedelta(hours=3)
    assert clock.monotonic() == ticks


def test_time_does_not_pass_backwards() -> None:
    with pytest.raises(ValueError, match="jump"):
        ManualClock().advance(-1)


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


def test_the_machines_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta()
    assert clock.monotonic() <= clock.monotonic()


def test_time_asleep_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was suspended between a check and its action must not believe that no time has passed."""
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 70.0, time.CLOCK_MONOTONIC: 7.0}.__getitem__)
    assert SystemClock().monotonic() == 70.0
