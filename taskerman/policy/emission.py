"""What a schedule's record becomes: when it is declared, when its time has come, when its tasks were sent and ended.

Pure functions from a record to the next one. Whoever commits the result does it at the version of the record that was
given, so that of two who decide at once only one has decided; and nothing is sent that is not committed as pending.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.errors import DocumentError
from taskerman.model.base import content_hash
from taskerman.model.ids import TaskId
from taskerman.model.schedule import Firing, Overlap, Schedule, task_id_of
from taskerman.model.schedule_record import (
    Declaration,
    FiredTask,
    PendingFiring,
    ScheduleOrigin,
    ScheduleRecord,
    Verdict,
)
from taskerman.policy.firing import HARDLY_LATE, decide

__all__ = [
    "FORGOTTEN_AFTER",
    "MOST_PENDING",
    "BodyOf",
    "Claimed",
    "Ended",
    "Passed",
    "adopt",
    "ahead",
    "blocked",
    "claim",
    "follow",
    "forgotten",
    "full",
    "note_sent",
    "resumed",
    "retire",
]

MOST_PENDING = 50
"""Of one schedule, decided and not sent: while the queue is away they would only grow old."""

_MOST_PENDING_BYTES = 400_000
"""The same in bytes. A record goes in one commit, and with one firing more it must still be far from the largest."""

_MOST_OPEN = 50
_ACCEPTED_FOR = timedelta(days=7)
"""What acceptance gives a document without not_after."""

FORGOTTEN_AFTER = timedelta(days=30)
"""How long the record of a schedule that is declared no more is kept."""

BodyOf = Callable[[Schedule, Firing], str]
"""The document of a firing as text. The same text for the same arguments. Raises `DocumentError`."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A firing that is not emitted, and why. `missed`: nobody looked in time; else it was skipped."""

    due: datetime
    why: str
    missed: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """`record`: to be committed before any of `emitted` is sent. `missed`: how many firings are not made up for."""

    record: ScheduleRecord
    emitted: tuple[PendingFiring, ...]
    passed: tuple[Passed, ...]
    missed: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task came out, with its nodes counted by outcome."""

    verdict: Verdict
    counts: Mapping[str, int]


# --- declared --------------------------------------------------------------------------------------------


def adopt(known: ScheduleRecord | None, declared: Declaration, now: datetime) -> ScheduleRecord | None:
    """The record of a schedule that is declared so; None: it is in force just like that.

    One that was never seen starts from now. So does one whose timing changed, and one that comes back after more than
    a moment: what it would have done before is not made up for.
    """
    if known is None:
        schedule = declared.schedule
        return ScheduleRecord(
            schedule=schedule, origin=declared.origin, place=declared.place, since=now, through=now - schedule.offset
        )
    if known.declared_as(declared):
        return None
    anew = known.schedule.timing != declared.schedule.timing or (
        known.retired_at is not None and now - known.retired_at > HARDLY_LATE
    )
    after = known.model_copy(
        update={
            "schedule": declared.schedule,
            "origin": declared.origin,
            "place": declared.place,
            "retired_at": None,
        }
    )
    return _from_now(after, now) if anew else after


def retire(known: ScheduleRecord, readable: Collection[ScheduleOrigin], now: datetime) -> ScheduleRecord | None:
    """The record of a schedule that is declared nowhere; None: nothing changes.

    `readable`: the origins that could be read: what another one declared stays in force.
    """
    if known.retired_at is not None or known.origin not in readable:
        return None
    return known.model_copy(update={"retired_at": now})


def forgotten(known: ScheduleRecord, now: datetime) -> bool:
    """Whether the record of one that is declared no more can go. Nothing of it is under way."""
    return (
        known.retired_at is not None
        and not known.pending
        and not known.open
        and now - known.retired_at > FORGOTTEN_AFTER
    )


def resumed(known: ScheduleRecord, now: datetime) -> ScheduleRecord:
    """A paused schedule that goes on: what was due meanwhile is not made up for."""
    return _from_now(known.model_copy(update={"paused": None}), now)


def _from_now(record: ScheduleRecord, now: datetime) -> ScheduleRecord:
    """What is due later than `now` fires: also what has its nominal time behind it, and its jitter before it.

    What is decided already is not decided again, but for what a clock far ahead decided: else the schedule would be
    silent until then, and nobody could mend it.
    """
    begin = now - record.schedule.offset
    through = begin if ahead(record, now) else max(record.through, begin)
    # Staleness begins anew too: nothing was to succeed meanwhile.
    return record.model_copy(update={"since": now, "through": through, "succeeded": None})


def ahead(record: ScheduleRecord, now: datetime) -> bool:
    """Whether times far to come are decided: clocks were wrong, ZooKeeper's too. It is silent until then."""
    return record.through - now > HARDLY_LATE


# --- its time has come -----------------------------------------------------------------------------------


def blocked(record: ScheduleRecord) -> bool:
    """Whether what was decided of it must be sent before anything more is decided."""
    return full(record.pending) if record.schedule.overlap is Overlap.QUEUE else bool(record.pending)


def full(pending: Sequence[PendingFiring]) -> bool:
    """Whether so many are decided that a record takes no more."""
    return len(pending) >= MOST_PENDING or sum(len(one.to_json()) for one in pending) >= _MOST_PENDING_BYTES


def claim(record: ScheduleRecord, now: datetime, body_of: BodyOf) -> Claimed | None:
    """Decide what has become due. None: nothing has, or what was decided before must be sent first.

    `record.open` must be as fresh as it can be: those of its tasks that are seen to have ended are taken out before.
    """
    schedule = record.schedule
    if not record.fires or blocked(record):
        return None
    due = decide(schedule, record.through, now)
    if due is None:
        return None
    emitted: list[PendingFiring] = []
    passed: list[Passed] = []
    missed, through = due.missed, due.through
    if due.missed and due.missed_last is not None:
        passed.append(Passed(schedule.firing(due.missed_last).due, "nobody looked in time", missed=True))
    for n, firing in enumerate(due.emit):
        if full((*record.pending, *emitted)):
            through = due.emit[n - 1].nominal  # the rest is decided when these are sent
            break
        before = (*(task.task_id for task in record.open), *(pending.task_id for pending in emitted))
        if before and schedule.overlap is Overlap.SKIP:
            passed.append(Passed(firing.due, f"{before[-1]} is still open", missed=False))
            continue
        try:
            body = body_of(schedule, firing)
        except DocumentError as error:
            passed.append(Passed(firing.due, f"{error.code}: {error.what}", missed=True))
            missed += 1
            continue
        emitted.append(
            PendingFiring(
                task_id=task_id_of(schedule.name, firing.nominal),
                nominal=firing.nominal,
                due=firing.due,
                body=body,
                not_after=None if schedule.not_after is None else firing.due + schedule.not_after,
                cancels=before if schedule.overlap is Overlap.CANCEL_PREVIOUS else (),
            )
        )
    after = record.model_copy(
        update={
            "through": through,
            "pending": (*record.pending, *emitted),
            "skipped": record.skipped + sum(not one.missed for one in passed),
            "missed": record.missed + missed,
            "passed": passed[-1].due if passed else record.passed,
            "passed_why": passed[-1].why if passed else record.passed_why,
        }
    )
    return Claimed(after, tuple(emitted), tuple(passed), missed)


# --- what became of it -----------------------------------------------------------------------------------


def note_sent(record: ScheduleRecord, sent: Collection[TaskId], now: datetime) -> ScheduleRecord:
    """Those of its pending firings were sent. Idempotent."""
    fired = [_fired(pending, now) for pending in record.pending if pending.task_id in sent]
    if not fired:
        return record
    return record.model_copy(
        update={
            "pending": tuple(pending for pending in record.pending if pending.task_id not in sent),
            "open": (*record.open, *fired)[-_MOST_OPEN:],
            "last": fired[-1],
            "sent": record.sent + len(fired),
        }
    )


def follow(record: ScheduleRecord, ended: Mapping[TaskId, Ended]) -> ScheduleRecord:
    """Those of its open tasks came out so. The same record when none of them is its own."""
    over = [task for task in record.open if task.task_id in ended]
    if not over:
        return record
    concluded = [
        task.model_copy(update={"verdict": ended[task.task_id].verdict, "counts": dict(ended[task.task_id].counts)})
        for task in over
    ]
    good = [task.nominal for task in concluded if task.verdict is Verdict.GOOD and task.nominal is not None]
    last = next((task for task in concluded if record.last and task.task_id == record.last.task_id), record.last)
    return record.model_copy(
        update={
            "open": tuple(task for task in record.open if task.task_id not in ended),
            "last": last,
            "succeeded": max([*good, *([record.succeeded] if record.succeeded else [])], default=None),
        }
    )


def _fired(pending: PendingFiring, now: datetime) -> FiredTask:
    return FiredTask(
        task_id=pending.task_id,
        nominal=pending.nominal,
        due=pending.due,
        sent_at=now,
        sha256=hashlib.sha256(pending.body.encode()).hexdigest(),
        hash=content_hash(json.loads(pending.body)),
        not_after=pending.not_after or now + _ACCEPTED_FOR,
    )
