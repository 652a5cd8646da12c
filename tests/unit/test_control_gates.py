"""What shuts a gate by the time or by failures is said the same by a dry run, by explain and to the agent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskerman import control
from taskerman.cli import views
from taskerman.control.values import BreakerState
from taskerman.errors import DocumentFieldInvalid, NotFound, RefusedByState, UsageError
from taskerman.model.outcome import Outcome
from taskerman.testing.clock import ManualClock
from tests.support.fleet import CLUSTER, NODES, Fleet, document

MANY = {"failure_args": {"max_failures": 6}, "lease_args": {"concurrency": 2}}
NIGHT = {"windows": [{"opens": "22:00", "closes": "04:00"}]}


@pytest.fixture
def fleet() -> Fleet:
    """Thursday noon, UTC."""
    made = Fleet(clock=ManualClock(datetime(2026, 1, 1, 12, tzinfo=UTC)))
    made.install()
    return made


def windowed(args: dict[str, Any]) -> dict[str, Any]:
    return {"window_args": args}


# --- windows ---------------------------------------------------------------------------------------------


def test_a_shut_window_is_told_with_its_next_opening_before_and_after_submitting(fleet: Fleet) -> None:
    opening = datetime(2026, 1, 1, 22, tzinfo=UTC)
    preview = control.preview(fleet.desk, control.prepare(document("t-1", params=windowed(NIGHT))))
    assert (preview.nodes[0].reason, preview.nodes[0].until) == ("window", opening)
    fleet.send("t-1", params=windowed(NIGHT))
    fleet.join("t-1", "i-1")
    (said,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert (said.reason, said.until, said.text) == ("window", opening, preview.nodes[0].text)
    fleet.clock.advance(timedelta(hours=10))
    assert fleet.take("t-1", "i-1")


def test_what_runs_when_its_window_shuts_is_not_cut_and_nothing_follows_it(fleet: Fleet) -> None:
    fleet.clock.advance(timedelta(hours=15, minutes=59))  # 03:59
    fleet.send("t-1", params=windowed(NIGHT))
    fleet.take("t-1", "i-1")
    fleet.clock.advance(timedelta(minutes=2))
    assert fleet.agent("i-1").refresh().revoke is None
    fleet.end("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.join("t-1", "i-2")
    assert control.explain(fleet.desk, "t-1", "i-2").nodes[0].reason == "window"


@pytest.mark.parametrize("how", ["submit", "route"])
def test_a_window_that_never_opens_in_time_is_refused_by_submit_and_by_the_router(fleet: Fleet, how: str) -> None:
    body = document("t-1", params=windowed(NIGHT), not_after="2026-01-01T22:00:00Z")
    if how == "submit":
        with pytest.raises(DocumentFieldInvalid, match=r"window_args: no window opens before .*22:00:00Z"):
            control.submit(fleet.desk, control.prepare(body))
        return
    fleet.queues.send(fleet.names.tasks, body)
    fleet.route()
    (letter,) = control.list_letters(fleet.desk)
    assert (letter.code, "no window opens" in letter.reason) == ("E-DOC-FIELD", True)


def test_a_wrong_window_is_refused_naming_the_field(fleet: Fleet) -> None:
    body = document("t-1", params=windowed({"timezone": "Mars/Olympus"}))
    with pytest.raises(DocumentFieldInvalid, match=r"window_args.timezone: .*Mars/Olympus"):
        control.prepare(body)


# --- breaker ---------------------------------------------------------------------------------------------


def failing(fleet: Fleet) -> None:
    fleet.send("t-1", params=MANY)
    for node in ("i-1", "i-2", "i-3"):
        fleet.do("t-1", node, Outcome.FAILED, "exit 1", retry=False)


def test_an_open_breaker_is_explained_with_its_end_and_what_may_be_typed(fleet: Fleet) -> None:
    failing(fleet)
    fleet.join("t-1", "i-4")
    said = control.explain(fleet.desk, "t-1", "i-4")
    assert (said.nodes[0].reason, said.nodes[0].until) == ("breaker", fleet.clock.now() + timedelta(minutes=15))
    assert said.next[:2] == (
        f"taskerman breaker show {CLUSTER}",
        f'taskerman breaker reset {CLUSTER} --why "..."',
    )
    preview = control.preview(fleet.desk, control.prepare(document("t-2", nodes=["i-6"])))
    assert preview.nodes[0].reason == "breaker"


def test_show_follows_a_breaker_from_open_to_probing_to_closed(fleet: Fleet) -> None:
    failing(fleet)

    def shown() -> BreakerState:
        (one,) = control.show_breakers(fleet.desk, CLUSTER)
        return one.state

    assert shown() is BreakerState.OPEN
    fleet.clock.advance(timedelta(minutes=15))
    assert shown() is BreakerState.HALF_OPEN
    probe = fleet.take("t-1", "i-4")
    assert shown() is BreakerState.PROBING
    (one,) = control.show_breakers(fleet.desk)
    assert (one.probe, [failure.node for failure in one.failures]) == (probe.id, ["i-1", "i-2", "i-3"])
    fleet.end("t-1", "i-4", Outcome.SUCCEEDED)
    assert shown() is BreakerState.CLOSED
    assert control.show_breakers(fleet.desk) == []


def test_a_kept_slot_is_shown_as_the_breaker_that_it_is_and_no_reset_frees_it(fleet: Fleet) -> None:
    fleet.send("t-1", params=MANY)
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "not well")
    (one,) = control.show_breakers(fleet.desk)
    assert (one.state, one.kept) == (BreakerState.KEPT, ("i-1",))
    assert control.reset_breaker(fleet.desk, CLUSTER, "looked").kept == ("i-1",)
    fleet.join("t-1", "i-2")
    assert control.explain(fleet.desk, "t-1", "i-2").nodes[0].reason == "kept_slot"


def test_a_reset_lets_the_next_one_go_is_audited_and_is_refused_when_there_is_nothing(fleet: Fleet) -> None:
    failing(fleet)
    done = control.reset_breaker(fleet.someone_else("bob@desk"), CLUSTER, "the mirror is back")
    assert [failure.node for failure in done.forgotten] == ["i-1", "i-2", "i-3"]
    audited = [json.loads(record.data) for path, record in fleet.server.dump().items() if path.startswith("/audit/")]
    last = audited[-1]
    assert (last["verb"], last["target"], last["by"], last["why"]) == (
        "breaker reset",
        CLUSTER,
        "bob@desk",
        "the mirror is back",
    )
    fleet.take("t-1", "i-4")
    with pytest.raises(RefusedByState):
        control.reset_breaker(fleet.desk, CLUSTER, "again")
    with pytest.raises(NotFound):
        control.reset_breaker(fleet.desk, "demo:nobody", "x")
    with pytest.raises(UsageError):
        control.reset_breaker(fleet.desk, CLUSTER, "...")


def test_status_names_the_breakers_that_are_open_and_a_parked_task_and_what_to_look_at(fleet: Fleet) -> None:
    def shown() -> list[str]:
        return [str(block) for block in views.overview(control.overview(fleet.desk), fleet.clock.now())]

    assert control.overview(fleet.desk).breakers == ()
    failing(fleet)
    assert control.overview(fleet.desk).breakers == tuple(control.show_breakers(fleet.desk))
    line = f"The breaker of {CLUSTER} is open after 3 failures in a row; one node may try in 15m00s."
    assert f"{line} More: taskerman breaker show {CLUSTER}" in shown()
    fleet.clock.advance(timedelta(minutes=15))
    assert any("the next node that may go tries" in line for line in shown())
    fleet.take("t-1", "i-4")
    assert any("i-4 tries" in line for line in shown())
    fleet.end("t-1", "i-4", Outcome.UNSAFE)
    assert any(f"{CLUSTER} is stopped by the kept slots of i-4." in line for line in shown())
    fleet.discovery.declare("demo:web", NODES[:2])
    fleet.send("t-2")
    (parked,) = [line for line in shown() if "t-2 is parked" in line]
    assert "taskerman status t-2" in parked
