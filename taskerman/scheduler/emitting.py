"""Firing: decide, commit, cancel what must go before, send, note. Each step may be repeated by anybody.

Nothing is sent that does not stand in a committed record; so a document that is sent twice, by two schedulers or by one
after a crash, is the same text under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.schedules import Change
from taskerman.coordination.verdicts import ended_tasks
from taskerman.errors import (
    Bug,
    CoordinationUnavailable,
    NotFound,
    NotPermitted,
    QueuesUnavailable,
    StopNow,
    TaskEnded,
    TaskermanError,
    TaskUnknown,
)
from taskerman.model.ids import TaskId
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import FiredTask, PendingFiring, ScheduleRecord
from taskerman.policy.emission import Claimed, claim, follow, note_sent
from taskerman.ports.queue import Letter
from taskerman.scheduler.following import say_ended
from taskerman.scheduler.kit import Kit
from taskerman.scheduler.table import Table

__all__ = ["Emitting"]

_AT_ONCE = 500
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Emitting:
    """Used from one thread."""

    def __init__(self, kit: Kit, table: Table) -> None:
        """As handed."""
        self._kit = kit
        self._table = table
        self._pause_s = 0.0
        self._send_at = 0.0
        self._held_up: dict[TaskId, str] = {}

    def fire(self) -> None:
        """Everything that is due. Raises `CoordinationUnavailable`."""
        names = self._table.due(self._kit.clock.now())
        for start in range(0, len(names), _AT_ONCE):
            self._kit.pulse.beat()
            self._claim(names[start : start + _AT_ONCE])
            self.send()
        if not names:
            self.send()

    def send(self) -> None:
        """Send what is decided; what is not accepted stays, and is sent again."""
        if not self._table.pending or self._kit.clock.monotonic() < self._send_at:
            return
        ready = []
        for name in self._table.pending:
            record = self._table.record(name)
            ready += [(name, one) for one in (record.pending if record else ()) if self._may_go(name, one)]
        sent = self._send([pending for _, pending in ready])
        by_name: dict[ScheduleName, list[PendingFiring]] = {}
        for name, pending in ready:
            if pending.task_id in sent:
                by_name.setdefault(name, []).append(pending)
            self._held_up.pop(pending.task_id, None)
        now = self._kit.clock.now()
        noted = self._table.change(by_name, lambda record: note_sent(record, sent, now))
        for name, record in noted.items():  # what could not be noted is sent again, and told then
            for pending in by_name[name]:
                self._say_fired(name, record, pending, now)

    def next_send_s(self) -> float | None:
        """In how many seconds to try again after the queue did not take something; None: whenever the next turn is."""
        left = self._send_at - self._kit.clock.monotonic()
        return left if self._table.pending and left > 0 else None

    def check_sent(self) -> None:
        """Raise `QueuesUnavailable` when something is decided that could not be sent."""
        if left := len(self._table.pending):
            raise QueuesUnavailable(
                f"Firings of {left} schedules are decided and not sent.",
                next_step="Whoever schedules next sends them; see why in the log.",
            )

    # --- deciding ----------------------------------------------------------------------------------------

    def _claim(self, names: Sequence[ScheduleName]) -> None:
        kit, table = self._kit, self._table
        records = {name: record for name in names if (record := table.record(name)) is not None}
        looked: list[FiredTask] = [task for record in records.values() for task in record.open]
        now = kit.clock.now()
        ended = ended_tasks(kit.tree, looked, now) if looked else {}
        claims: dict[ScheduleName, Claimed] = {}
        changes: list[Change] = []
        for name, record in records.items():
            kit.pulse.beat()  # to count what was missed in a month takes its time
            claimed = claim(follow(record, ended), now, kit.body_of)
            if claimed is not None:
                claims[name] = claimed
                changes.append(Change(name, claimed.record, table.version(name)))
        for name in table.write(changes):
            say_ended(kit, name, records[name].open, ended)
            self._say_passed(name, claims[name])

    # --- sending -----------------------------------------------------------------------------------------

    def _may_go(self, name: ScheduleName, pending: PendingFiring) -> bool:
        """Whether nothing is in its way. What keeps us from clearing it keeps nothing else, and is told once."""
        try:
            return not pending.cancels or self._cleared(name, pending)
        except (CoordinationUnavailable, StopNow):
            raise
        except Exception as error:  # a right that we lack, a record that cannot be read: of this one task
            if self._held_up.get(pending.task_id) != str(error):
                self._held_up[pending.task_id] = str(error)
                code = error.code if isinstance(error, TaskermanError) else Bug.code
                self._kit.say("firings_not_sent", "error", count=1, why=f"{pending.task_id}: {error}", code=code)
            return False

    def _cleared(self, name: ScheduleName, pending: PendingFiring) -> bool:
        """Whether everything that it cancels is cancelled, or over. One that no router planned yet is waited for."""
        moves = OperatorMoves(self._kit.tree, f"schedule:{name}", self._kit.clock.now)
        record = self._table.record(name)
        left = [task for task in (record.open if record else ()) if task.task_id in pending.cancels]
        over = ended_tasks(self._kit.tree, left, self._kit.clock.now()) if left else {}
        for task in left:
            if task.task_id in over:
                continue
            try:
                if task.hash not in ("", moves.plan(task.task_id).hash):
                    return False  # a stranger's, under the same id: ours will be refused
                moves.cancel(task.task_id, f"{pending.task_id} takes its place")
                moves.sweep(task.task_id)
            except TaskEnded:
                continue
            except TaskUnknown:
                return False
            self._kit.say("schedule_cancelled", "warning", schedule=name, task=task.task_id, by=pending.task_id)
        return True

    def _send(self, firings: Sequence[PendingFiring]) -> frozenset[TaskId]:
        """Those that were accepted."""
        kit = self._kit
        if not firings:
            return frozenset()
        letters = {pending.task_id: Letter(kit.names.tasks, pending.body) for pending in firings}
        try:
            refused = kit.queues.send_each(list(letters.values()))
        except (QueuesUnavailable, NotFound, NotPermitted) as error:
            kit.say("firings_not_sent", "error", count=len(letters), why=str(error), code=error.code)
            self._put_off()
            return frozenset()
        left = {letter.body for letter in refused}
        if left:
            kit.say(
                "firings_not_sent", "error", count=len(left), why=f"{kit.names.tasks} did not take them", code="E-SQS"
            )
            self._put_off()
        else:
            self._pause_s = self._send_at = 0.0
        return frozenset(task for task, letter in letters.items() if letter.body not in left)

    def _put_off(self) -> None:
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._send_at = self._kit.clock.monotonic() + self._pause_s

    # --- telling -----------------------------------------------------------------------------------------

    def _say_fired(self, name: ScheduleName, record: ScheduleRecord, pending: PendingFiring, now: datetime) -> None:
        schedule = record.schedule
        self._kit.say(
            "schedule_fired",
            schedule=name,
            task=pending.task_id,
            action=schedule.action,
            cluster=schedule.cluster,
            due=f"{pending.due:%Y-%m-%dT%H:%M:%SZ}",
            delay_s=round((now - pending.due).total_seconds(), 3),
        )

    def _say_passed(self, name: ScheduleName, claimed: Claimed) -> None:
        record: ScheduleRecord = claimed.record
        for one in claimed.passed:
            self._kit.say(
                "schedule_missed" if one.missed else "schedule_skipped",
                "warning",
                schedule=name,
                action=record.schedule.action,
                cluster=record.schedule.cluster,
                due=f"{one.due:%Y-%m-%dT%H:%M:%SZ}",
                why=one.why,
                **({"count": claimed.missed} if one.missed else {}),
            )
