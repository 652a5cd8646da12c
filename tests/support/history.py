"""A past of two tasks for tests that print it: one that went wrong and was redriven, one that went well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from taskerman.model.audit import AuditEntry
from taskerman.model.history import PastAssignment, TaskHistory
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Refusal
from taskerman.model.task import TaskControl, TaskState
from taskerman.ports.history import History
from taskerman.testing.clock import ManualClock
from tests.support.protocol_tasks import TaskShape, plan_of

__all__ = ["BEGAN", "record_a_week"]

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def record_a_week(history: History) -> None:
    """`restart-1` of gsi: i-1 unsafe, redriven, succeeded; i-2 cancelled. `restart-2` of dba, two days later: well."""
    first = plan_of("restart-1", TaskShape(nodes=("i-1", "i-2")), ManualClock(BEGAN))
    second = plan_of("restart-2", TaskShape(nodes=("i-1",), owner="dba"), ManualClock(BEGAN + timedelta(days=2)))
    at = BEGAN + timedelta(minutes=10)
    unsafe = End(
        outcome=Outcome.UNSAFE,
        attempt="restart-1.i-1.1",
        attempts=1,
        reason="port 8080 does not answer",
        tail="the last line\n",
        kept=("demo:web",),
        at=at,
        dead_letter=DeadLetterState.SENT,
    )
    again = End(outcome=Outcome.SUCCEEDED, attempt="restart-1.i-1.2", attempts=1, at=at + timedelta(hours=1))
    cancelled = End(outcome=Outcome.CANCELLED, attempt="restart-1.i-2.0", reason="a person", at=at + timedelta(hours=2))
    control = TaskControl(state=TaskState.CANCELLED, why="cancelled by ada@laptop: wrong week")
    history.record_task(TaskHistory(plan=first, control=control, assignments=(PastAssignment(node="i-1", end=unsafe),)))
    history.record_task(
        TaskHistory(
            plan=first,
            control=control,
            assignments=(PastAssignment(node="i-1", end=again), PastAssignment(node="i-2", end=cancelled)),
        )
    )
    well = End(outcome=Outcome.SUCCEEDED, attempt="restart-2.i-1.3", attempts=1, at=at + timedelta(days=2))
    history.record_task(
        TaskHistory(plan=second, control=TaskControl(), assignments=(PastAssignment(node="i-1", end=well),))
    )
    history.record_audit(
        [
            AuditEntry(id="a1", at=at, by="ada@laptop", verb="redrive", target="restart-1/i-1", why="disk replaced"),
            AuditEntry(id="a2", at=at + timedelta(hours=1), by="bob@desk", verb="hold", target="*", why="look"),
        ]
    )
    history.record_refusals(
        [
            Refusal(
                sha256="ab" * 32,
                code="E-DOC-JSON",
                reason="The document is not JSON.",
                at=at + timedelta(minutes=5),
                sent_at=at,
                queue="taskerman-tasks",
                body="restart it, please",
                body_bytes=18,
                body_truncated=False,
                dead_letter="discarded",
            )
        ]
    )
