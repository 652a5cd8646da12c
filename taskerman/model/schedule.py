"""A schedule as it is declared: a task template, and when to make a task of it. It says when; whether it is time now
is asked in `policy.firing`.

A firing has a nominal time (the instant that the expression names) and is due a little later, by the schedule's
jitter. The id of its task is made of the schedule's name and the nominal time, and of nothing else: emitting it twice
is one task, and a changed jitter does not make another one.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, JsonValue, StringConstraints, model_validator

from taskerman.model.base import Noun, Timestamp
from taskerman.model.cron import CronExpression
from taskerman.model.ids import TaskId
from taskerman.model.span import Span
from taskerman.model.task import TaskDocument, parse_task_document
from taskerman.model.window import ZoneName

__all__ = [
    "COMPUTED",
    "LONGEST_SCHEDULE_NAME",
    "CatchUp",
    "Firing",
    "Overlap",
    "Schedule",
    "ScheduleName",
    "document_of",
    "firing_of",
    "task_id_of",
    "template_of",
]

LONGEST_SCHEDULE_NAME = 40
ScheduleName = Annotated[
    str, StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_SCHEDULE_NAME - 1}}}\z")
]
"""Short enough that the ids of its tasks, and of what is redriven of them, are still ids."""

_VERSION = 1.2
_STAMP = "%Y%m%dT%H%M%SZ"
COMPUTED = ("task_id", "scheduled_for", "not_after", "destnode", "signature")
"""Fields of a document that a firing fills in."""


class CatchUp(StrEnum):
    """What becomes of firings that were due while nobody looked, within the horizon.

    `none`: only the latest, and only if it is hardly late (see `policy.firing.HARDLY_LATE`). `latest`: only the latest.
    `all`: each, oldest first.
    """

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a firing that is due while a task of an earlier one is still open.

    `skip`: there is none. `queue`: its task waits behind the other, as tasks of a cluster do. `cancel_previous`: the
    other one is cancelled first.
    """

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_PREVIOUS = "cancel_previous"


class Binary(Noun):
    """A program that is fetched before it is run. `sha256`: of its content; another one is not run."""

    url: str = Field(pattern=r"^s3://[^/]+/.+$", max_length=1024)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}\z")
    args: tuple[str, ...] = Field(default=(), max_length=200)


class Schedule(Noun):
    """One declared entry of `configs/tasks/`, or one that a person added.

    `task`: a task document without what a firing fills in (its id, times, signature). `command`, `script` and `binary`
    stand for the action `command_task:run`, `:script` or `:binary` with these arguments, in place of `task.action`.
    `cron`: five fields, or `@daily` and friends, on the wall of `timezone`. `every`: counted from 1970 in UTC, so
    that `6h` is 00:00, 06:00, 12:00 and 18:00 UTC. `jitter`: each firing is due up to so much later, always by the same
    time, which depends on the name. `not_after`: how long after it was due the task's nodes may still start; absent:
    as acceptance fills it in. `stale_after`: without a success for so long it is stale; absent: two firings in a row
    without one.
    """

    name: ScheduleName
    description: str = Field(default="", max_length=1000)
    runbook: str = Field(default="", max_length=500)
    notify: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=20
    )
    enabled: bool = True
    cron: CronExpression | None = None
    every: Span | None = None
    timezone: ZoneName = "UTC"
    jitter: Span = timedelta()
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_horizon: Span = timedelta(hours=1)
    overlap: Overlap = Overlap.SKIP
    not_after: Span | None = None
    stale_after: Span | None = None
    task: dict[str, JsonValue]
    command: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=200)
    script: str | None = Field(default=None, min_length=1, max_length=32 * 1024)
    binary: Binary | None = None

    @model_validator(mode="after")
    def _says_when_and_what(self) -> Schedule:
        if (self.cron is None) is (self.every is None):
            raise ValueError("it says when by one of cron and every")
        if self.every is not None and not timedelta(seconds=1) <= self.every <= timedelta(days=366):
            raise ValueError("every is 1s to 366d")
        if self.every is not None and self.timezone != "UTC":
            raise ValueError("every is counted in UTC; a timezone goes with cron")
        if self.jitter > timedelta(days=1):
            raise ValueError("jitter is at most 1d")
        if not timedelta() < self.catch_up_horizon <= timedelta(days=31):
            raise ValueError("catch_up_horizon is 1s to 31d")
        for name in ("not_after", "stale_after"):
            span: timedelta | None = getattr(self, name)
            if span is not None and not timedelta() < span <= timedelta(days=366):
                raise ValueError(f"{name} is 1s to 366d")
        if self.catch_up is CatchUp.ALL and self.overlap is not Overlap.QUEUE:
            raise ValueError("catch_up: all makes up for several at once, so it wants overlap: queue")
        filled = sorted(set(COMPUTED) & set(self.task))
        if filled:
            raise ValueError(f"task.{filled[0]} is filled in by each firing")
        ways = [name for name in ("command", "script", "binary") if getattr(self, name) is not None]
        if len(ways) + ("action" in self.task) != 1:
            raise ValueError("it says what by one of task.action, command, script and binary")
        if ways and "action_args" in _params(self.task):
            raise ValueError(f"{ways[0]} is all the arguments: task.taskerman_params.action_args is not given with it")
        return self

    @property
    def offset(self) -> timedelta:
        """How long after its nominal time each firing is due: whole seconds, the same for ever, spread by the name."""
        drawn = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")
        return timedelta(seconds=drawn % (int(self.jitter.total_seconds()) + 1))

    @property
    def timing(self) -> tuple[object, ...]:
        """What says when. A schedule of which this changed starts from now, as a new one does."""
        return (self.cron, self.every, self.timezone, self.jitter, self.enabled)

    @property
    def action(self) -> str:
        """What its tasks do, `<runner>:<operation>`."""
        return str(_action(self).get("action", self.task.get("action", "")))

    @property
    def cluster(self) -> str:
        """To which cluster."""
        return str(self.task.get("cluster_name", ""))

    def firing(self, nominal: datetime) -> Firing:
        """The firing of that nominal time."""
        return Firing(nominal=nominal.astimezone(UTC), due=nominal.astimezone(UTC) + self.offset)


class Firing(Noun):
    """`nominal`: the instant that the expression names. `due`: when its task is emitted, never before."""

    nominal: Timestamp
    due: Timestamp


def task_id_of(name: str, nominal: datetime) -> TaskId:
    """`nightly-backup-20260131T020000Z`."""
    return f"{name}-{nominal.astimezone(UTC):{_STAMP}}"


def firing_of(task: TaskId) -> tuple[str, datetime] | None:
    """The schedule and the nominal time in such an id; None: of no firing. Of `-r2` behind it: what was redriven."""
    found = re.fullmatch(r"(.+)-([0-9]{8}T[0-9]{6}Z)(-r[0-9]+)?", task)
    if found is None:
        return None
    try:
        return found[1], datetime.strptime(found[2], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def document_of(schedule: Schedule, firing: Firing, task_id: TaskId | None = None) -> dict[str, Any]:
    """The document of a firing: a function of its arguments alone. `task_id`: instead of the firing's own.

    Raises the `DocumentError` of a template that no router would accept.
    """
    document: dict[str, Any] = {"version": _VERSION, **schedule.task}
    document |= _action(schedule)
    document["task_id"] = task_id or task_id_of(schedule.name, firing.nominal)
    document["scheduled_for"] = f"{firing.due.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if schedule.not_after is not None:
        document["not_after"] = f"{firing.due.astimezone(UTC) + schedule.not_after:%Y-%m-%dT%H:%M:%SZ}"
    return document


def template_of(schedule: Schedule) -> TaskDocument:
    """The document that its firings make, judged as a router judges it. Raises `DocumentError`."""
    some = schedule.firing(datetime(2026, 1, 1, tzinfo=UTC))
    return parse_task_document(json.dumps(document_of(schedule, some)))[0]


def _action(schedule: Schedule) -> dict[str, Any]:
    args: dict[str, Any]
    if schedule.command is not None:
        operation, args = "run", {"argv": list(schedule.command)}
    elif schedule.script is not None:
        operation, args = "script", {"script": schedule.script}
    elif schedule.binary is not None:
        operation, args = "binary", schedule.binary.model_dump(mode="json")
    else:
        return {}
    named = {"action": f"command_task:{operation}"}
    if not isinstance(schedule.task.get("taskerman_params", {}), dict):
        return named  # no groups at all: judged with the document, and not lost under the arguments
    return {**named, "taskerman_params": {**_params(schedule.task), "action_args": args}}


def _params(task: dict[str, JsonValue]) -> dict[str, Any]:
    """The groups of a template; of one that has something else there: none, and it is judged with the document."""
    found = task.get("taskerman_params", {})
    return found if isinstance(found, dict) else {}
