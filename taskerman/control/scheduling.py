"""SCHEDULES: how each stands, stopping one, letting it go on, and firing one beside its times.

What is shown is what is in force, as the scheduler that leads has it; what is declared and not in force yet is not
shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_cluster, check_schedule
from taskerman.control.schedule_values import (
    LastFiring,
    ScheduleLine,
    ScheduleOverview,
    SchedulePaused,
    ScheduleResumed,
    ScheduleShown,
    ScheduleTriggered,
    Standing,
)
from taskerman.control.submitting import Prepared, preview
from taskerman.coordination import layout
from taskerman.coordination.leading import LeaderRecord
from taskerman.coordination.schedules import ScheduleVerbs, read_schedules
from taskerman.coordination.verdicts import ended_tasks
from taskerman.errors import NotFound, QueuesUnavailable, ScheduleUnknown
from taskerman.model.ids import ClusterName, TaskId
from taskerman.model.schedule import Firing, Schedule, ScheduleName, document_of
from taskerman.model.schedule_record import (
    FiredTask,
    PendingFiring,
    ScheduleRecord,
    Verdict,
)
from taskerman.model.span import span_text
from taskerman.policy.emission import Ended, ahead, follow
from taskerman.policy.firing import HARDLY_LATE, next_nominal, stale_since

__all__ = [
    "in_force",
    "list_schedules",
    "pause_schedule",
    "resume_schedule",
    "show_schedule",
    "trigger_document",
    "trigger_schedule",
]

_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"


def list_schedules(
    desk: Desk, *, cluster: ClusterName | None = None, ill: bool = False, everything: bool = False
) -> ScheduleOverview:
    """The schedules in force, by name. `ill`: those alone that are stale, overdue, or whose last task came out bad.
    `everything`: also what is declared no more, and still remembered.
    """
    if cluster is not None:
        check_cluster(cluster)
    tree = desk.opened()
    now = desk.now()
    spoilt: dict[str, str] = {}
    records = {name: known.record for name, known in read_schedules(tree, None, spoilt).items()}
    ended = ended_tasks(tree, [task for record in records.values() for task in record.open], now)
    lines = [_line(follow(record, ended), now) for _, record in sorted(records.items())]
    return ScheduleOverview(
        leader=_leader(desk),
        schedules=tuple(
            line
            for line in lines
            if (cluster is None or line.cluster_name == cluster) and (not ill or _is_ill(line))
            if everything or line.standing != "retired"
        ),
        spoilt=tuple(sorted(spoilt)),
    )


def in_force(desk: Desk) -> Sequence[ScheduleRecord]:
    """Every record that there is, by name. Raises `CoordinationUnavailable`, `LayoutUnsupported`."""
    return [known.record for _, known in sorted(read_schedules(desk.opened()).items())]


def show_schedule(desk: Desk, name: ScheduleName) -> ScheduleShown:
    """One schedule. Raises `ScheduleUnknown`."""
    tree, now = desk.opened(), desk.now()
    found = _record(desk, name)
    record = follow(found, ended_tasks(tree, found.open, now))
    after = max(record.through, now - record.schedule.offset)
    nominal = next_nominal(record.schedule, after) if record.fires else None
    return ScheduleShown(
        line=_line(record, now),
        definition=record.schedule.model_dump(mode="json", exclude_defaults=True),
        paused=record.paused,
        document=None if nominal is None else document_of(record.schedule, record.schedule.firing(nominal)),
    )


def pause_schedule(desk: Desk, name: ScheduleName, why: str) -> SchedulePaused:
    """Nothing of it is decided any more, from the moment this returns. Raises `ScheduleUnknown`, `RefusedByState`."""
    check_why(why)
    record = _verbs(desk, name).pause(name, why)
    record = follow(
        record, ended_tasks(desk.opened(), record.open, desk.now())
    )  # the scheduler may not have looked yet
    decided = [*(task.task_id for task in record.open), *(pending.task_id for pending in record.pending)]
    return SchedulePaused(name=name, decided=tuple(decided))


def resume_schedule(desk: Desk, name: ScheduleName, why: str = "") -> ScheduleResumed:
    """It fires again, and makes up for nothing. Raises `ScheduleUnknown`, `RefusedByState` (it is not paused)."""
    record = _verbs(desk, name).resume(name, why)
    nominal = next_nominal(record.schedule, record.through) if record.fires else None
    return ScheduleResumed(name=name, next=None if nominal is None else record.schedule.firing(nominal).due)


def trigger_document(desk: Desk, name: ScheduleName) -> dict[str, JsonValue]:
    """The document of a firing now, under an id of its own. Raises `ScheduleUnknown`, `DocumentError`."""
    schedule = _record(desk, name).schedule
    drawn = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    now = desk.now().replace(microsecond=0)
    return document_of(schedule, Firing(nominal=now, due=now), f"{name}-x{drawn}")


def trigger_schedule(
    desk: Desk, name: ScheduleName, prepared: Prepared, why: str, *, unchecked: bool = False
) -> ScheduleTriggered:
    """Fire it now, whatever is open, paused or disabled: `prepared` is what `trigger_document` made.

    It is decided in an audited commit, then sent. Raises what `preview` raises unless `unchecked`, `ScheduleUnknown`,
    `RefusedByState` (it is declared no more); nothing was decided then.
    """
    check_why(why)
    verbs = _verbs(desk, name)
    if not unchecked:
        preview(desk, prepared)
    ended = _ended(desk, name)
    document = prepared.document
    firing = PendingFiring(
        task_id=document.task_id,
        nominal=None,
        due=document.scheduled_for or desk.now(),
        body=prepared.body,
        not_after=document.not_after,
        by=desk.by,
    )
    record = verbs.trigger(name, firing, why)
    sent = True
    try:
        desk.queues.send(desk.names.tasks, prepared.body)
    except (QueuesUnavailable, NotFound):
        sent = False
    else:
        verbs.triggered(name, document.task_id)
    open_before = tuple(task.task_id for task in follow(record, ended).open)
    return ScheduleTriggered(name=name, task_id=document.task_id, sent=sent, open=open_before)


def _verbs(desk: Desk, name: ScheduleName) -> ScheduleVerbs:
    _record(desk, name)
    return ScheduleVerbs(desk.opened(), desk.by, desk.clock.now)


def _ended(desk: Desk, name: ScheduleName) -> Mapping[TaskId, Ended]:
    """Those of its tasks that are over, also where the scheduler has not looked yet. Asked before a change is made:
    what is done must not end in an error about a look."""
    return ended_tasks(desk.opened(), _record(desk, name).open, desk.now())


def _record(desk: Desk, name: ScheduleName) -> ScheduleRecord:
    known = read_schedules(desk.opened(), [check_schedule(name)]).get(name)
    if known is None:
        raise ScheduleUnknown(
            f"There is no schedule {name[:80]!r} in force.",
            next_step="`taskerman schedules list` lists those there are; a new one is in force when a scheduler has "
            "read it.",
        )
    return known.record


def _leader(desk: Desk) -> str | None:
    path = layout.leader("scheduler")
    found = desk.opened().get(path)
    return None if found is None else layout.decode(LeaderRecord, found, path).who


def _line(record: ScheduleRecord, now: datetime) -> ScheduleLine:
    schedule = record.schedule
    first = next_nominal(schedule, record.through) if record.fires else None
    due = None if first is None else first + schedule.offset
    return ScheduleLine(
        name=schedule.name,
        action=schedule.action,
        cluster_name=schedule.cluster,
        owner=str(schedule.task.get("owner", "")),
        when=_when(schedule),
        standing=_standing(record),
        origin=record.origin,
        place=record.place,
        next=_coming(record, now),
        last=_last(record),
        open=tuple(task.task_id for task in record.open),
        ahead=record.fires and ahead(record, now),
        overdue=due is not None and now - due > HARDLY_LATE and not record.pending,
        stale_since=stale_since(schedule, record.succeeded, record.since, now) if record.fires else None,
        skipped=record.skipped,
        missed=record.missed,
        passed=record.passed,
        passed_why=record.passed_why,
    )


def _coming(record: ScheduleRecord, now: datetime) -> tuple[datetime, ...]:
    if not record.fires:
        return ()
    found: list[datetime] = []
    after = max(record.through, now - record.schedule.offset)
    while len(found) < 3 and (nominal := next_nominal(record.schedule, after)) is not None:
        found.append(nominal + record.schedule.offset)
        after = nominal
    return tuple(found)


def _last(record: ScheduleRecord) -> LastFiring | None:
    if record.pending:
        pending = record.pending[-1]
        return LastFiring(task_id=pending.task_id, due=pending.due, sent_at=None, outcome="unsent", counts={})
    last: FiredTask | None = record.last
    if last is None:
        return None
    return LastFiring(
        task_id=last.task_id, due=last.due, sent_at=last.sent_at, outcome=last.verdict or "open", counts=last.counts
    )


def _standing(record: ScheduleRecord) -> Standing:
    if record.retired_at is not None:
        return "retired"
    if record.paused is not None:
        return "paused"
    return "enabled" if record.schedule.enabled else "disabled"


def _when(schedule: Schedule) -> str:
    said = f"every {span_text(schedule.every)}" if schedule.every is not None else f"{schedule.cron}"
    if schedule.cron is not None and schedule.timezone != "UTC":
        said += f" {schedule.timezone}"
    return said + (f" +{span_text(schedule.jitter)}" if schedule.jitter else "")


def _is_ill(line: ScheduleLine) -> bool:
    bad = line.last is not None and line.last.outcome in (Verdict.BAD, Verdict.REFUSED, "unsent")
    return bad or line.overdue or line.ahead or line.stale_since is not None
