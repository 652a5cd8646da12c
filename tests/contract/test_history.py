"""What every `History` promises: what it said yes to is there, however often it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from taskerman.errors import HistoryUnavailable
from taskerman.model.audit import AuditEntry
from taskerman.model.history import PastAssignment, TaskHistory
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.model.task import TaskControl
from taskerman.ports.history import History
from taskerman.testing.clock import ManualClock
from taskerman.testing.history import MemoryHistory
from tests.support.protocol_tasks import TaskShape, plan_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Eye(Protocol):
    """What a test sees of it."""

    def ends(self) -> Mapping[tuple[str, str, str], End]: ...

    def tasks(self) -> Mapping[str, TaskControl]: ...

    def audit(self) -> Sequence[AuditEntry]: ...

    def refusals(self) -> Sequence[Refusal]: ...

    def fail(self) -> None: ...


class MemoryEye:
    def __init__(self, history: MemoryHistory) -> None:
        self._history = history

    def ends(self) -> Mapping[tuple[str, str, str], End]:
        return {key: past.end for key, past in self._history.ends.items()}

    def tasks(self) -> Mapping[str, TaskControl]:
        return {name: task.control for name, task in self._history.tasks.items()}

    def audit(self) -> Sequence[AuditEntry]:
        return tuple(self._history.audit.values())

    def refusals(self) -> Sequence[Refusal]:
        return tuple(self._history.refusals.values())

    def fail(self) -> None:
        self._history.fail()


@dataclass(frozen=True)
class World:
    history: History
    eye: Eye


@pytest.fixture
def world() -> World:
    history = MemoryHistory()
    return World(history, MemoryEye(history))


def plan() -> Plan:
    return plan_of("t-1", TaskShape(nodes=("n0", "n1")), ManualClock())


def past(node: str, takes: int, outcome: Outcome, letter: DeadLetterState = DeadLetterState.NONE) -> PastAssignment:
    end = End(outcome=outcome, attempt=f"t-1.{node}.{takes}", attempts=1, at=NOW, dead_letter=letter)
    return PastAssignment(node=node, end=end)


def task(*assignments: PastAssignment) -> TaskHistory:
    return TaskHistory(plan=plan(), control=TaskControl(why="a test"), assignments=assignments)


def refusal(sent_at: datetime) -> Refusal:
    return Refusal(
        sha256="ab" * 32,
        code="E-DOC-JSON",
        reason="not JSON",
        at=NOW,
        sent_at=sent_at,
        queue="q",
        body="{",
        body_bytes=1,
        body_truncated=False,
    )


def test_a_task_that_is_recorded_twice_is_there_once(world: World) -> None:
    ended = task(past("n0", 1, Outcome.SUCCEEDED), past("n1", 1, Outcome.SKIPPED))
    world.history.record_task(ended)
    world.history.record_task(ended)
    assert world.eye.tasks() == {"t-1": TaskControl(why="a test")}
    assert {key: end.outcome for key, end in world.eye.ends().items()} == {
        ("t-1", "n0", "t-1.n0.1"): Outcome.SUCCEEDED,
        ("t-1", "n1", "t-1.n1.1"): Outcome.SKIPPED,
    }


def test_an_end_that_was_redriven_stays_beside_the_one_that_came_after_it(world: World) -> None:
    world.history.record_task(task(past("n0", 1, Outcome.FAILED, DeadLetterState.SENT)))
    world.history.record_task(task(past("n0", 2, Outcome.SUCCEEDED)))
    assert {key[2]: end.outcome for key, end in world.eye.ends().items()} == {
        "t-1.n0.1": Outcome.FAILED,
        "t-1.n0.2": Outcome.SUCCEEDED,
    }


def test_a_dead_letter_that_was_settled_since_is_kept_as_settled(world: World) -> None:
    world.history.record_task(task(past("n0", 1, Outcome.FAILED, DeadLetterState.SENT)))
    world.history.record_task(task(past("n0", 1, Outcome.FAILED, DeadLetterState.DISCARDED)))
    (end,) = world.eye.ends().values()
    assert end.dead_letter is DeadLetterState.DISCARDED


def test_an_audit_entry_is_kept_once_and_none_is_kept_without_the_others(world: World) -> None:
    entries = [AuditEntry(id=f"e{n}", at=NOW, by="ann", verb="hold", target="*", why="look") for n in range(3)]
    world.history.record_audit(entries[:2])
    world.history.record_audit(entries)
    world.history.record_audit([])
    assert sorted(world.eye.audit(), key=lambda entry: entry.id) == entries


def test_the_same_document_refused_twice_is_two_refusals_and_each_is_kept_once(world: World) -> None:
    first, second = refusal(NOW), refusal(NOW + timedelta(days=1))
    world.history.record_refusals([first])
    world.history.record_refusals([first.model_copy(update={"dead_letter": "sent"}), second])
    assert sorted((r.sent_at, r.dead_letter) for r in world.eye.refusals()) == [
        (NOW, "sent"),
        (NOW + timedelta(days=1), "owed"),
    ]


def test_a_history_that_is_away_says_so_and_has_promised_nothing(world: World) -> None:
    world.eye.fail()
    with pytest.raises(HistoryUnavailable):
        world.history.record_task(task(past("n0", 1, Outcome.SUCCEEDED)))
    with pytest.raises(HistoryUnavailable):
        world.history.record_audit([AuditEntry(id="e", at=NOW, by="ann", verb="hold", target="*")])
    with pytest.raises(HistoryUnavailable):
        world.history.record_refusals([refusal(NOW)])
