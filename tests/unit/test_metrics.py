"""Metrics promise: what happened is counted, under names that are declared and bounded, and never under an id."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from taskerman.model.event import Event
from taskerman.model.ids import attempt_id
from taskerman.pulse import Pulse
from taskerman.telemetry.counted import GOOD_FOR_S
from taskerman.telemetry.declarations import METRICS, Metric, Role
from taskerman.telemetry.events import EVENTS
from taskerman.telemetry.labels import LABELS, OTHER, Bounds
from taskerman.telemetry.metrics import Metrics
from taskerman.telemetry.reference import page

ATTEMPT = {
    "node": "i-1",
    "task": "t-1",
    "attempt": "t-1.i-1.1",
    "action": "redis_task:restart",
    "cluster": "redis:cache",
}


def made(role: Role = "agent", **more) -> Metrics:
    return Metrics(role, CollectorRegistry(), **more)


def samples(metrics: Metrics) -> list[Sample]:
    return [
        sample
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"taskerman_{name}", labels)


def test_an_attempt_is_counted_by_how_it_ended_and_its_phases_by_how_long_they_took() -> None:
    metrics = made()
    metrics.listen(Event("attempt_taken", ATTEMPT))
    metrics.listen(Event("phase_left", {**ATTEMPT, "phase": "execute_action", "s": 40.0}))
    metrics.listen(Event("attempt_ended", {**ATTEMPT, "outcome": "failed"}, "error"))
    where = {"action": "redis_task:restart", "cluster": "redis:cache"}
    assert value(metrics, "attempts_taken_total", **where) == 1
    assert value(metrics, "attempts_ended_total", **where, outcome="failed") == 1
    assert value(metrics, "attempt_phase_seconds_sum", **where, phase="execute_action") == 40
    assert value(metrics, "attempt_phase_seconds_bucket", **where, phase="execute_action", le="60.0") == 1
    assert value(metrics, "attempt_phase_seconds_bucket", **where, phase="execute_action", le="15.0") == 0
    assert value(metrics, "events_total", level="error") == 1


def test_a_hand_over_is_counted_only_where_something_had_told_the_agent() -> None:
    metrics = made()
    metrics.listen(Event("pre_check_began", {**ATTEMPT, "handover_s": None}))
    assert value(metrics, "handover_seconds_count", cluster="redis:cache") is None
    metrics.listen(Event("pre_check_began", {**ATTEMPT, "handover_s": 0.02}))
    assert value(metrics, "handover_seconds_bucket", cluster="redis:cache", le="0.025") == 1


def test_a_start_is_late_only_where_a_schedule_said_when_it_was_due() -> None:
    """Of a clock that is behind the scheduler's it is not early."""
    metrics = made()
    action = {**ATTEMPT, "phase": "execute_action"}
    for late_s in ({}, {"late_s": None}):
        metrics.listen(Event("phase_entered", {**action, **late_s}))
    assert value(metrics, "start_delay_seconds_count", action=ATTEMPT["action"], cluster="redis:cache") is None
    for seconds in (0.2, -3.0):
        metrics.listen(Event("phase_entered", {**action, "late_s": seconds}))
    assert value(metrics, "start_delay_seconds_count", action=ATTEMPT["action"], cluster="redis:cache") == 2
    assert value(metrics, "start_delay_seconds_sum", action=ATTEMPT["action"], cluster="redis:cache") == 0.2


def test_a_router_tells_of_documents_and_not_of_attempts() -> None:
    metrics = made("router")
    metrics.listen(Event("document_received", {"queue": "t-tasks", "age_s": 3.0}))
    metrics.listen(Event("document_refused", {"task": "t-1", "code": "E-DOC-FIELD", "why": "x"}, "error"))
    metrics.listen(Event("attempt_taken", ATTEMPT))
    assert value(metrics, "documents_refused_total", code="E-DOC-FIELD") == 1
    assert value(metrics, "document_age_seconds_sum") == 3
    assert not [sample for sample in samples(metrics) if sample.name.startswith("taskerman_attempt")]


def test_requests_are_counted_by_operation_and_errors_by_code() -> None:
    metrics = made()
    metrics.aws_sent("ReceiveMessage")
    metrics.aws_failed("ReceiveMessage", "AWS.SimpleQueueService.NonExistentQueue")
    metrics.aws_failed("ReceiveMessage", "ReadTimeoutError")
    metrics.zookeeper_sent("write")
    metrics.zookeeper_failed("write", "E-ZK")
    assert value(metrics, "aws_requests_total", operation="ReceiveMessage") == 1
    code = "AWS.SimpleQueueService.NonExistentQueue"
    assert value(metrics, "aws_request_errors_total", operation="ReceiveMessage", aws_code=code) == 1
    assert value(metrics, "aws_request_errors_total", operation="ReceiveMessage", aws_code="ReadTimeoutError") == 1
    assert value(metrics, "zookeeper_requests_total", kind="write") == 1
    assert value(metrics, "zookeeper_request_errors_total", kind="write", code="E-ZK") == 1


def test_what_a_janitor_did_is_counted_and_its_failures_by_chore() -> None:
    metrics = made("janitor")
    metrics.listen(Event("node_gone", {"node": "i-1", "why": "x", "freed": 2, "attempt": "t-1.i-1.1"}, "error"))
    metrics.listen(Event("rung_again", {"task": "t-1", "nodes": 7, "unreached": 0}))
    metrics.listen(Event("slot_overdue", {**ATTEMPT, "watched_s": 9000}, "error"))
    metrics.listen(Event("task_expired", {"task": "t-1", "cluster": "redis:cache"}, "warning"))
    metrics.listen(Event("hold_ended", {"hold": "h1", "on": "cluster:redis:cache", "by": "ada"}))
    metrics.listen(Event("chore_failed", {"chore": "put away", "why": "x", "code": "E-HISTORY"}, "error"))
    metrics.listen(Event("chore_failed", {"chore": "reclaim", "of": "i-1", "why": "x", "code": "E-EC2"}, "error"))
    assert value(metrics, "nodes_reclaimed_total") == 1
    assert value(metrics, "slots_reclaimed_total") == 2
    assert value(metrics, "nodes_rung_again_total") == 7
    assert value(metrics, "slots_overdue_total", cluster="redis:cache") == 1
    assert value(metrics, "tasks_expired_total", cluster="redis:cache") == 1
    assert value(metrics, "holds_ended_total") == 1
    assert value(metrics, "chore_failures_total", chore="put away", code="E-HISTORY") == 1
    assert value(metrics, "chore_failures_total", chore="reclaim", code="E-EC2") == 1
    assert value(metrics, "history_errors_total", code="E-HISTORY") == 1
    assert value(metrics, "history_errors_total", code="E-EC2") is None


def test_breakers_and_limits_are_counted_where_the_attempt_was() -> None:
    metrics = made()
    for name in ("breaker_opened", "breaker_probed", "breaker_closed"):
        metrics.listen(Event(name, {"task": "t-1", "attempt": "t-1.i-1.1", "cluster": "redis:cache"}, "warning"))
        assert value(metrics, f"{name}_total", cluster="redis:cache") == 1
    metrics.listen(Event("limit_met", {**ATTEMPT, "limit": "memory", "why": "memory limit 96 MB"}, "warning"))
    where = {"action": "redis_task:restart", "cluster": "redis:cache"}
    assert value(metrics, "limits_met_total", **where, limit="memory") == 1


def test_firings_are_counted_by_what_became_of_them_and_what_is_gone_is_none() -> None:
    metrics = made("scheduler")
    where = {"action": "redis_task:restart", "cluster": "redis:cache"}
    metrics.listen(Event("schedule_fired", {**where, "schedule": "nightly", "task": "t-1", "delay_s": 0.4}))
    metrics.listen(Event("schedule_skipped", {**where, "schedule": "nightly"}, "warning"))
    metrics.listen(Event("schedule_missed", {**where, "schedule": "nightly", "count": 3}, "warning"))
    metrics.listen(Event("schedule_task_ended", {"schedule": "nightly", "task": "t-1", "verdict": "bad"}, "warning"))
    assert value(metrics, "schedules_fired_total", **where) == 1
    assert value(metrics, "schedules_skipped_total", **where) == 1
    assert value(metrics, "schedules_missed_total", **where) == 3
    assert value(metrics, "schedule_tasks_ended_total", verdict="bad") == 1
    assert value(metrics, "schedule_delay_seconds_sum") == 0.4
    metrics.listen(Event("schedules_counted", {"standing": {"enabled": 2, "paused": 1}, "stale": {"redis:cache": 1}}))
    assert value(metrics, "schedules", schedule_standing="paused") == 1
    assert value(metrics, "schedules_stale", cluster="redis:cache") == 1
    metrics.listen(Event("schedules_counted", {"standing": {"enabled": 2}, "stale": {}}))
    assert value(metrics, "schedules", schedule_standing="paused") == 0
    assert value(metrics, "schedules_stale", cluster="redis:cache") == 0


def test_the_loop_is_told_of_when_somebody_looks() -> None:
    now = [100.0]
    pulse = Pulse(monotonic=lambda: now[0], now=lambda: 5000.0)
    metrics = made("router")
    metrics.watch(pulse)
    assert value(metrics, "last_success_timestamp_seconds", role="router") is None
    pulse.beat()
    now[0] += 2
    pulse.rest(20)
    now[0] += 21
    assert value(metrics, "loop_turns_total", role="router") == 1
    assert value(metrics, "loop_busy_seconds_total", role="router") == 2
    assert value(metrics, "loop_lag_seconds", role="router") == 1
    assert value(metrics, "last_success_timestamp_seconds", role="router") == 5000


# --- the census ------------------------------------------------------------------------------------------


def test_a_census_is_shown_as_it_is_and_what_is_gone_is_gone_with_the_next() -> None:
    metrics = made("janitor")
    metrics.listen(Event("installation_counted", {"slots": [["demo:a", "acting", 2], ["demo:b", "lost", 1]]}))
    assert value(metrics, "slots", scope="demo:a", slot_state="acting") == 2
    metrics.listen(Event("installation_counted", {"slots": [["demo:a", "acting", 1]]}))
    assert value(metrics, "slots", scope="demo:a", slot_state="acting") == 1
    assert value(metrics, "slots", scope="demo:b", slot_state="lost") is None


def test_a_census_that_is_old_is_not_shown_because_another_may_lead_by_now() -> None:
    now = [0.0]
    metrics = made("janitor", monotonic=lambda: now[0])
    metrics.listen(Event("installation_counted", {"holds": [["cluster", 1]]}))
    now[0] = GOOD_FOR_S
    assert value(metrics, "holds", on="cluster") == 1
    now[0] += 1
    assert value(metrics, "holds", on="cluster") is None


def test_of_a_thousand_clusters_each_count_is_still_in_the_sum() -> None:
    metrics = made("janitor")
    rows = [[f"demo:c{n}", 1] for n in range(1000)]
    ages = [[f"demo:c{n}", n] for n in range(1000)]
    metrics.listen(Event("installation_counted", {"nodes_in_line": rows, "oldest_open_task_seconds": ages}))
    found = [sample for sample in samples(metrics) if sample.name == "taskerman_nodes_in_line"]
    assert len(found) == LABELS["cluster"].most + 1
    assert sum(sample.value for sample in found) == 1000
    assert value(metrics, "oldest_open_task_seconds", cluster=OTHER) == 999


# --- bounds ----------------------------------------------------------------------------------------------

NAMES = sorted({name for event in EVENTS for name in event.fields})


def drawn_id(dice: random.Random) -> str:
    task, node = (
        f"t-{dice.getrandbits(80):x}",
        dice.choice(["i-", "node", "E-", "demo_", "S"]) + f"{dice.getrandbits(64):x}",
    )
    return dice.choice(
        [task, node, node.upper(), attempt_id(task, node, dice.randrange(99)), str(UUID(int=dice.getrandbits(128)))]
    )


@pytest.mark.parametrize("role", ["agent", "router", "janitor"])
@pytest.mark.parametrize("seed", range(3))
def test_no_label_ever_has_an_id_whatever_an_event_carries(role: Role, seed: int) -> None:
    dice = random.Random(seed)
    metrics, ids = made(role), set()
    for _ in range(400):
        event = dice.choice(EVENTS)
        fields: dict[str, object] = {name: drawn_id(dice) for name in NAMES}
        ids |= {str(field) for field in fields.values()}
        if dice.random() < 0.5:  # so that what shows a number is counted, too
            fields |= {"s": 1.0, "handover_s": 1.0, "late_s": 1.0, "age_s": 1.0, "nodes": 3, "waiting": 1, "acting": 1}
        metrics.listen(Event(event.name, fields, dice.choice([*event.levels, drawn_id(dice)])))
    shown = {text for sample in samples(metrics) for name, text in sample.labels.items() if name != "le"}
    assert OTHER in shown
    assert not shown & ids
    assert len(samples(metrics)) < 500


def test_many_clusters_and_actions_stay_within_the_bounds_and_are_all_counted() -> None:
    metrics = made()
    for cluster in range(300):
        for action in range(60):
            fields = {**ATTEMPT, "cluster": f"demo:c{cluster}", "action": f"demo:a{action}", "outcome": "failed"}
            metrics.listen(Event("attempt_ended", fields))
    found = [sample for sample in samples(metrics) if sample.name == "taskerman_attempts_ended_total"]
    assert sum(sample.value for sample in found) == 300 * 60
    assert len(found) <= Bounds().most_series + len(LABELS["outcome"].values) + 1
    assert value(metrics, "attempts_ended_total", cluster="demo:c0", action="demo:a0", outcome="failed") == 1
    assert value(metrics, "attempts_ended_total", cluster=OTHER, action=OTHER, outcome="failed") is not None


def test_a_name_that_was_admitted_stays_so() -> None:
    bounds = Bounds()
    first = bounds.admit("m", ("cluster",), {"cluster": "demo:first"})
    for n in range(500):
        bounds.admit("m", ("cluster",), {"cluster": f"demo:c{n}"})
    assert bounds.admit("m", ("cluster",), {"cluster": "demo:first"}) == first == ("demo:first",)
    assert bounds.admit("m", ("cluster",), {"cluster": "demo:last"}) == (OTHER,)


# --- declarations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_declaration_is_as_prometheus_wants_it(metric: Metric) -> None:
    assert re.fullmatch(r"taskerman_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert all(low < high for low, high in pairwise(metric.buckets))
    assert metric.about.endswith(".")
    assert set(metric.labels) <= set(LABELS)
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")


def test_every_label_has_a_bound() -> None:
    assert all(label.values or (label.most and label.shape) for label in LABELS.values())


def test_nobody_pays_for_metrics_that_nobody_asked_for() -> None:
    """Neither help nor a verb nor a daemon without an address imports the library."""
    code = (
        "import sys, taskerman.cli.daemons, taskerman.bootstrap, taskerman.telemetry.telling as telling\n"
        "from datetime import timedelta\n"
        "from taskerman.cli import invoke; invoke(['--help'])\n"
        "with telling.telling('agent', form='json', level='info', watchdog=timedelta(minutes=5)): pass\n"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_the_reference_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert written == page(), "make it anew: make docs"
