"""How answers about schedules look to people. Pure: values in, lines and tables out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from taskerman.cli.printing import Block, Table, ago, one_line
from taskerman.control.schedule_values import (
    LastFiring,
    ScheduleLine,
    ScheduleOverview,
    SchedulePaused,
    ScheduleResumed,
    ScheduleShown,
    ScheduleTriggered,
)

__all__ = ["overview", "paused", "resumed", "shown", "triggered"]

_NOBODY = "No scheduler leads: nothing fires. Start one: taskerman scheduler"


def overview(found: ScheduleOverview, now: datetime) -> list[Block]:
    """A row a schedule; below it what is not well, in a sentence each."""
    lines: list[Block] = [] if found.leader else [_NOBODY]
    lines += [
        f"The record of {one_line(name)} cannot be read, so it does not fire. Delete /schedules/{one_line(name)} in "
        "ZooKeeper, and what is declared is adopted from now."
        for name in found.spoilt
    ]
    if not found.schedules:
        return [*lines, "No schedule is in force."]
    rows = tuple(
        (one.name, one.when, one.cluster_name, _next(one, now), _last(one.last, now), _note(one, now))
        for one in found.schedules
    )
    return [*lines, Table(("SCHEDULE", "WHEN", "CLUSTER", "NEXT", "LAST", "NOTE"), rows)]


def shown(found: ScheduleShown, now: datetime) -> list[Block]:
    """Everything about one."""
    line = found.line
    lines: list[Block] = [
        f"{line.name} is {line.standing}; {line.action} on {line.cluster_name}, {line.when}.",
        f"Declared at {line.place} ({line.origin.value}).",
    ]
    description = found.definition.get("description")
    if isinstance(description, str) and description:
        lines.append(" ".join(description.split()))
    if found.paused is not None:
        lines.append(
            f"Paused by {found.paused.by} {ago(found.paused.at, now)} ago: {found.paused.why}. "
            f"Let it go on: taskerman schedules resume {line.name}"
        )
    if line.next:
        lines.append("Next: " + ", ".join(f"{at:%Y-%m-%dT%H:%M:%SZ} ({ago(at, now)})" for at in line.next) + ".")
    if line.last is not None:
        lines.append(f"Last: {_last(line.last, now)}. See it: taskerman status {line.last.task_id}")
    if line.passed is not None:
        lines.append(
            f"Left out: {line.skipped} skipped, {line.missed} missed; the last, of {line.passed:%Y-%m-%dT%H:%M:%SZ}: "
            f"{line.passed_why}."
        )
    lines += [f"It is {word}." for word in _ills(line, now)]
    runbook = found.definition.get("runbook")
    if runbook:
        lines.append(f"Runbook: {runbook}")
    lines += ["Definition:", *json.dumps(found.definition, indent=2).splitlines()]
    if found.document is not None:
        lines += ["The document that it makes next:", json.dumps(found.document)]
    return lines


def paused(done: SchedulePaused) -> list[Block]:
    """What stops, and what does not."""
    lines: list[Block] = [f"{done.name} is paused: nothing is fired of it any more."]
    if done.decided:
        lines.append(f"Fired before, and going on: {', '.join(done.decided)}.")
    return lines


def resumed(done: ScheduleResumed, now: datetime) -> list[Block]:
    """When it fires next."""
    if done.next is None:
        return [f"{done.name} is not paused any more; as it is declared it does not fire."]
    return [f"{done.name} fires next at {done.next:%Y-%m-%dT%H:%M:%SZ}, {ago(done.next, now)}."]


def triggered(done: ScheduleTriggered) -> list[Block]:
    """The task that it became."""
    lines: list[Block] = [
        f"{done.name} was fired as {done.task_id}. Follow it: taskerman status {done.task_id} --watch"
    ]
    if not done.sent:
        lines.append("The queue did not take it yet; the scheduler sends it as soon as it does.")
    if done.open:
        lines.append(f"Open beside it: {', '.join(done.open)}.")
    return lines


def _next(line: ScheduleLine, now: datetime) -> str:
    if not line.next:
        return line.standing
    return ", ".join(_moment(at, now) for at in line.next)


def _moment(at: datetime, now: datetime) -> str:
    """Shorter when it is near: the day is said only of another one."""
    if at - now < timedelta(minutes=1):
        return ago(at, now)
    if at.date() == now.date():
        return f"{at:%H:%M}Z"
    return f"{at:%m-%d %H:%M}Z" if at - now < timedelta(days=300) else f"{at:%Y-%m-%d}"


def _last(last: LastFiring | None, now: datetime) -> str:
    if last is None:
        return ""
    if last.sent_at is None:
        return f"{last.task_id} is not sent yet"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(last.counts.items()))
    return f"{last.outcome} {ago(last.sent_at, now)} ago" + (f" ({counts})" if counts else "")


def _note(line: ScheduleLine, now: datetime) -> str:
    notes = _ills(line, now)
    if line.standing == "paused":
        notes.append("paused")
    if line.passed is not None and now - line.passed < timedelta(days=2):
        notes.append(f"left out {ago(line.passed, now)} ago: {line.passed_why}")
    return "; ".join(notes)


def _ills(line: ScheduleLine, now: datetime) -> list[str]:
    ills: list[str] = []
    if line.ahead:
        ills.append(f"silent, decided ahead by a wrong clock: pause and resume {line.name}")
    if line.overdue:
        ills.append("overdue: nobody has decided its time")
    if line.stale_since is not None:
        ills.append(f"stale for {ago(line.stale_since, now)}")
    return ills
