"""Holds with an end: what a person types, what stands, and what is shown of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman import control
from taskerman.cli import views
from taskerman.errors import UsageError
from tests.support.fleet import Fleet


@pytest.mark.parametrize(
    ("typed", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d12h", 129600), (" 1h30m ", 5400)]
)
def test_a_time_span_is_read_as_people_write_it(typed: str, seconds: int) -> None:
    assert control.time_span(typed) == timedelta(seconds=seconds)


@pytest.mark.parametrize("typed", ["", "2", "2 h", "h", "-2h", "0s", "2w", "1m1h", "400d", "9" * 30 + "d", "२h"])
def test_what_is_no_time_span_is_refused_with_the_next_step(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        control.time_span(typed)
    assert refused.value.next_step


def test_a_hold_with_an_end_says_when_the_janitor_lifts_it_and_when_that_is_late() -> None:
    fleet = Fleet()
    fleet.install()
    held = control.hold(fleet.desk, "*", "migration", timedelta(hours=2))
    assert held.hold.until == fleet.clock.now() + timedelta(hours=2)
    assert "The janitor lifts it in 2h00m." in str(views.held(held, fleet.clock.now())[0])
    assert "(ends in 2h00m)" in str(views.overview(control.overview(fleet.desk), fleet.clock.now())[0])
    fleet.clock.advance(3 * 3600)
    shown = str(views.overview(control.overview(fleet.desk), fleet.clock.now())[0])
    assert "its time is over since 1h00m" in shown


def test_a_hold_without_an_end_says_nothing_of_one() -> None:
    fleet = Fleet()
    fleet.install()
    held = control.hold(fleet.desk, "*", "migration")
    assert held.hold.until is None
    assert "janitor" not in str(views.held(held, fleet.clock.now()))
