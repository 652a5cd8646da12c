"""The schedules in force as one scheduler last saw them, and which of them is due next.

A copy, that may be old: every write goes at the version that was read, and what was refused is read again. A record
that cannot be read is none of it: nobody writes it, and all others go on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from taskerman.coordination.schedules import (
    Change,
    KnownSchedule,
    bell,
    read_schedules,
    schedule_names,
    write_schedules,
)
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import ScheduleRecord
from taskerman.policy.emission import blocked
from taskerman.policy.firing import next_nominal
from taskerman.ports.tree import Tree

__all__ = ["Table"]


class Table:
    """Used from one thread. Empty until `load`."""

    def __init__(self, tree: Tree) -> None:
        """`tree`: open."""
        self._tree = tree
        self._known: dict[ScheduleName, KnownSchedule] = {}
        self._next: dict[ScheduleName, datetime] = {}
        self._heap: list[tuple[datetime, ScheduleName]] = []
        self._pending: set[ScheduleName] = set()
        self._stale: set[ScheduleName] = set()
        self._spoilt: dict[str, str] = {}
        self._bell = -1

    @property
    def names(self) -> Sequence[ScheduleName]:
        """Of every record."""
        return list(self._known)

    def record(self, name: ScheduleName) -> ScheduleRecord | None:
        """The record as it is known; None: it is not."""
        known = self._known.get(name)
        return None if known is None else known.record

    def records(self) -> Iterator[tuple[ScheduleName, ScheduleRecord]]:
        """Every record with its name. Write nothing meanwhile."""
        for name, known in self._known.items():
            yield name, known.record

    @property
    def spoilt(self) -> Mapping[str, str]:
        """The names of records that are there and cannot be read, and why."""
        return self._spoilt

    @property
    def pending(self) -> Sequence[ScheduleName]:
        """Those with a firing that is decided and not noted as sent, the oldest first."""
        return sorted(self._pending, key=lambda name: self._known[name].record.pending[0].due)

    def load(self) -> None:
        """Read everything: whoever comes to lead knows nothing of what another one did."""
        self._bell = bell(self._tree)[0]
        self._spoilt = {}
        found = read_schedules(self._tree, None, self._spoilt)
        self._known, self._next, self._heap = {}, {}, []
        self._pending, self._stale = set(), set()
        for name, known in found.items():
            self._keep(name, known)

    def refresh(self) -> None:
        """Read again what moved, and what people changed."""
        at, name = bell(self._tree)
        if at != self._bell:
            # What rang before the last ring has no name any more: then everything is read. The parent itself, when it
            # appears with the first record, names nobody.
            self._stale |= {name} if at == self._bell + 1 and name else {*self._known, *schedule_names(self._tree)}
        wanted = self._stale | self._spoilt.keys()  # nobody rings when it is mended, or taken away
        if wanted:
            spoilt: dict[str, str] = {}
            found = read_schedules(self._tree, sorted(wanted), spoilt)
            for one in wanted:
                self._keep(one, found.get(one))
            self._spoilt = spoilt
        self._stale, self._bell = set(), at

    def due(self, now: datetime) -> Sequence[ScheduleName]:
        """Those whose next time has come, the earliest first."""
        found: dict[ScheduleName, datetime] = {}
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._next.get(name) == at:
                found.setdefault(name, at)
        for name, at in found.items():  # it stays due until its record says that it was decided
            heapq.heappush(self._heap, (at, name))
        return list(found)

    def next_due(self) -> datetime | None:
        """When the next one is due; None: never."""
        while self._heap and self._next.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def change(
        self, names: Iterable[ScheduleName], after: Callable[[ScheduleRecord], ScheduleRecord | None]
    ) -> Mapping[ScheduleName, ScheduleRecord]:
        """Write what `after` makes of each record that is known; None leaves it. Returns what stands now of those that
        were written; what moved is read again by the next `refresh`. Raises `CoordinationUnavailable`."""
        changes = []
        for name in names:
            known = self._known.get(name)
            record = None if known is None else after(known.record)
            if known is not None and record is not None and record is not known.record:
                changes.append(Change(name, record, known.version))
        return self.write(changes)

    def write(self, changes: Sequence[Change]) -> Mapping[ScheduleName, ScheduleRecord]:
        """The same for changes that are made already, also of what is new and of what goes."""
        if not changes:
            return {}
        # Whatever happens now, what is written is not known any more until it was read or acknowledged.
        self._stale.update(change.name for change in changes)
        written = write_schedules(self._tree, changes)
        for name, known in written.done.items():
            self._keep(name, known)
        for change in changes:
            if change.record is None and change.name not in written.stale:
                self._keep(change.name, None)
        self._stale -= {change.name for change in changes} - written.stale
        return {name: known.record for name, known in written.done.items()}

    def _keep(self, name: ScheduleName, known: KnownSchedule | None) -> None:
        self._pending.discard(name)
        if known is None:
            self._known.pop(name, None)
            self._next.pop(name, None)
            return
        before = self._known.get(name)
        self._known[name] = known
        if known.record.pending:
            self._pending.add(name)
        at = _next_of(known.record, None if before is None else before.record, self._next.get(name))
        if at is None:
            self._next.pop(name, None)
        elif self._next.get(name) != at:
            self._next[name] = at
            heapq.heappush(self._heap, (at, name))

    def version(self, name: ScheduleName) -> int | None:
        """The version of the record as it is known; None: it is not."""
        known = self._known.get(name)
        return None if known is None else known.version


def _next_of(record: ScheduleRecord, before: ScheduleRecord | None, known: datetime | None) -> datetime | None:
    """When it is due next; None: never, or not before what is decided of it was sent. To reckon is the dear part; most
    writes do not change it."""
    if not record.fires or blocked(record):
        return None
    same = (
        before is not None
        and before.fires
        and (before.through, before.schedule.timing) == (record.through, record.schedule.timing)
    )
    if same and known is not None:
        return known
    nominal = next_nominal(record.schedule, record.through)
    return None if nominal is None else nominal + record.schedule.offset
