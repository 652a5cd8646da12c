"""Schedulers over a fleet in memory: what is declared is a list, and time is a test's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from taskerman.coordination.schedules import KnownSchedule, read_schedules
from taskerman.errors import SchedulesInvalid
from taskerman.model.event import Event
from taskerman.model.schedule import Schedule
from taskerman.model.schedule_record import Declaration, ScheduleOrigin, ScheduleRecord
from taskerman.scheduler import Scheduler
from taskerman.scheduler.kit import Kit, Rhythm
from taskerman.scheduler.writing import writer
from tests.support.fleet import CLUSTER, Fleet


def schedule(name: str = "nightly", **fields: Any) -> Schedule:
    """Every day at 13:00 UTC, an hour after a fleet's clock starts, unless told otherwise."""
    task = {"action": "demo_task:restart", "cluster_name": CLUSTER, "owner": "gsi", **fields.pop("task", {})}
    if "every" not in fields:
        fields.setdefault("cron", "0 13 * * *")
    return Schedule.model_validate_json(json.dumps({"name": name, "task": task, **fields}))


class ListedSource:
    """A `ScheduleSource` that a test writes. `faults`: it cannot be read because of them. `settling`: it has changed,
    and does not say so yet."""

    def __init__(self, *schedules: Schedule, origin: ScheduleOrigin = ScheduleOrigin.FILES) -> None:
        self.origin = origin
        self.place = f"a list of {origin.value}"
        self.faults: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.settling = False
        self._schedules = schedules
        self._news = True

    def declare(self, *schedules: Schedule) -> None:
        self._schedules, self._news = schedules, True

    def changed(self) -> bool:
        if self.error is not None:
            raise self.error
        return self._news and not self.settling

    def read(self) -> Sequence[Declaration]:
        if self.faults:
            raise SchedulesInvalid(self.faults)
        self._news = False
        return [Declaration(schedule=one, origin=self.origin, place=f"{one.name}.yaml:1") for one in self._schedules]


class Tower:
    """A fleet with schedulers."""

    def __init__(self, *schedules: Schedule, fleet: Fleet | None = None) -> None:
        self.fleet = fleet or Fleet()
        if fleet is None:
            self.fleet.install()
        self.source = ListedSource(*schedules)
        self.events: list[Event] = []

    @property
    def clock(self) -> Any:
        return self.fleet.clock

    def scheduler(self, name: str = "one", **changes: Any) -> Scheduler:
        fleet = self.fleet
        parts: dict[str, Any] = {
            "tree": fleet.server.client(),
            "queues": fleet.queues,
            "names": fleet.names,
            "sources": (self.source,),
            "clock": fleet.clock,
            "emit": self.events.append,
            "body_of": writer(),
            "by": f"scheduler@{name}",
            "rhythm": Rhythm(look=timedelta(), follow=timedelta()),
        }
        return Scheduler(Kit(**{**parts, **changes}))

    def emitted(self) -> list[dict[str, Any]]:
        """The documents in the global queue, in the order in which they were sent."""
        return [json.loads(body) for body in self.fleet.queues.bodies(self.fleet.names.tasks)]

    def ids(self) -> list[str]:
        return [document["task_id"] for document in self.emitted()]

    def record(self, name: str = "nightly") -> ScheduleRecord:
        return self.known(name).record

    def known(self, name: str = "nightly") -> KnownSchedule:
        return read_schedules(self.fleet.tree, [name])[name]

    def said(self, name: str) -> list[Mapping[str, object]]:
        return [event.fields for event in self.events if event.name == name]
