"""What became of the tasks that were emitted, and which schedules are without the success that they should have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from taskerman.coordination.verdicts import ended_tasks
from taskerman.model.ids import TaskId
from taskerman.model.schedule import Schedule, ScheduleName
from taskerman.model.schedule_record import FiredTask, ScheduleRecord, Verdict
from taskerman.policy.emission import Ended, follow
from taskerman.policy.firing import Staleness, staleness
from taskerman.scheduler.kit import Kit
from taskerman.scheduler.table import Table

__all__ = ["Following", "say_ended"]


def say_ended(kit: Kit, name: ScheduleName, tasks: Sequence[FiredTask], ended: Mapping[TaskId, Ended]) -> None:
    """Tell how those of `tasks` came out that are over."""
    for task in tasks:
        if (out := ended.get(task.task_id)) is not None:
            kit.say(
                "schedule_task_ended",
                "info" if out.verdict is Verdict.GOOD else "warning",
                schedule=name,
                task=task.task_id,
                verdict=out.verdict.value,
                counts=dict(out.counts),
            )


class Following:
    """Used from one thread. Remembers what it has said of staleness, so that it says it once."""

    def __init__(self, kit: Kit, table: Table) -> None:
        """As handed."""
        self._kit = kit
        self._table = table
        self._stale: dict[ScheduleName, datetime] = {}
        self._judged: dict[ScheduleName, tuple[Schedule, datetime | None, datetime, Staleness | None]] = {}

    def look(self) -> None:
        """Raises `CoordinationUnavailable`."""
        self._conclude()
        self._judge()

    def forget(self) -> None:
        """Another one leads: what we counted is not told any more."""
        self._stale.clear()
        self._judged.clear()
        self._kit.say("schedules_counted", "debug", standing={}, stale={})

    def _conclude(self) -> None:
        kit, table = self._kit, self._table
        open_tasks = {name: record.open for name, record in table.records() if record.open}
        tasks = [task for some in open_tasks.values() for task in some]
        ended = ended_tasks(kit.tree, tasks, kit.clock.now()) if tasks else {}
        if not ended:
            return
        for name in table.change(open_tasks, lambda record: follow(record, ended)):
            say_ended(kit, name, open_tasks[name], ended)

    def _judge(self) -> None:
        kit, now = self._kit, self._kit.clock.now()
        standing: Counter[str] = Counter()
        by_cluster: Counter[str] = Counter()
        stale: dict[ScheduleName, datetime] = {}
        for name, record in self._table.records():
            standing[_standing(record)] += 1
            since = self._stale_since(name, record, now)
            by_cluster[record.schedule.cluster] += 0
            if since is None:
                continue
            stale[name] = since
            by_cluster[record.schedule.cluster] += 1
            if name not in self._stale:
                kit.say(
                    "schedule_stale",
                    "error",
                    schedule=name,
                    cluster=record.schedule.cluster,
                    since=f"{since:%Y-%m-%dT%H:%M:%SZ}",
                    notify=list(record.schedule.notify),
                    runbook=record.schedule.runbook,
                )
        for name in self._stale.keys() - stale.keys():
            kit.say("schedule_fresh", schedule=name)
        self._stale = stale
        kit.say("schedules_counted", "debug", standing=dict(standing), stale=dict(by_cluster))

    def _stale_since(self, name: ScheduleName, record: ScheduleRecord, now: datetime) -> datetime | None:
        """To reckon it is the dear part, and it changes only with a success or a new definition."""
        if not record.fires:
            return None
        known = self._judged.get(name)
        if known is None or known[0] is not record.schedule or known[1:3] != (record.succeeded, record.since):
            found = staleness(record.schedule, record.succeeded, record.since)
            known = self._judged[name] = (record.schedule, record.succeeded, record.since, found)
        return known[3].since if known[3] is not None and now > known[3].at else None


def _standing(record: ScheduleRecord) -> str:
    if record.retired_at is not None:
        return "retired"
    if record.paused is not None:
        return "paused"
    return "enabled" if record.schedule.enabled else "disabled"
