"""What is declared becomes what is in force. A source that cannot be read, or holds a fault, keeps its last good word:
that is in the records already, and stays there.

What was read in an earlier term is nobody's last word: another one led meanwhile, and may have read a newer one."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination.schedules import Change
from taskerman.errors import Bug, SchedulesInvalid, StopNow, TaskermanError
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy.emission import adopt, forgotten, retire
from taskerman.ports.schedules import ScheduleSource
from taskerman.scheduler.kit import Kit
from taskerman.scheduler.table import Table

__all__ = ["Declaring"]

_SHARE = 10
"""A source that is away is left alone for so many times as long as it kept us: firings wait meanwhile."""


class Declaring:
    """Looks at the sources now and then. Used from one thread."""

    def __init__(self, kit: Kit, table: Table) -> None:
        """As handed."""
        self._kit = kit
        self._table = table
        self._declared: dict[ScheduleOrigin, Sequence[Declaration]] = {}
        self._unread: set[ScheduleOrigin] = set()
        self._ill: dict[ScheduleOrigin, TaskermanError] = {}
        self._spoilt: dict[str, str] = {}
        self._not_before: dict[ScheduleOrigin, float] = {}
        self._due = True
        self.again()

    def again(self) -> None:
        """The records are new to us: read every source, also one that says that it did not change, and compare."""
        self._declared.clear()
        self._unread = {source.origin for source in self._kit.sources}
        self._due = True

    def look(self) -> None:
        """Read what changed, and write what is to be in force. Raises `CoordinationUnavailable`, `StopNow`."""
        news = [self._read(source) for source in self._kit.sources]
        self._look_at_spoilt()
        if self._due or any(news):
            self._due = True  # until it is written: a source says only once that it changed
            self._due = not self._adopt()

    def check_taken(self) -> None:
        """Raise what keeps something that is declared from being in force."""
        for error in self._ill.values():
            raise error

    def _read(self, source: ScheduleSource) -> bool:
        """Whether it has something new to say. What keeps it from that is said once."""
        kit, origin = self._kit, source.origin
        began = kit.clock.monotonic()
        if began < self._not_before.get(origin, began):
            return False
        try:
            if not source.changed() and origin not in self._unread:
                return False
            kit.pulse.beat()
            self._declared[origin] = source.read()
        except SchedulesInvalid as error:
            self._unread.discard(origin)  # it says when that changed
            if self._is_new(origin, error):
                kit.say(
                    "schedules_refused",
                    "error",
                    origin=origin.value,
                    place=source.place,
                    faults=list(error.faults[:20]),
                    count=len(error.faults),
                )
            return False
        except StopNow:
            raise
        except Exception as unforeseen:  # stops one source, not the schedules that are in force, and is told
            ended = kit.clock.monotonic()
            self._not_before[origin] = ended + _SHARE * (ended - began)
            failure = unforeseen if isinstance(unforeseen, TaskermanError) else _bug(unforeseen)
            if self._is_new(origin, failure):
                kit.say(
                    "schedules_not_read", "warning", origin=origin.value, place=source.place, why=str(failure),
                    code=failure.code,
                )  # fmt: skip
            return False
        self._unread.discard(origin)
        if self._ill.pop(origin, None) is not None:
            kit.say("schedules_read_again", origin=origin.value, place=source.place)
        return True

    def _look_at_spoilt(self) -> None:
        """Tell of records that cannot be read, once; where one was mended or taken away, compare again."""
        spoilt = dict(self._table.spoilt)
        for name in spoilt.keys() - self._spoilt.keys():
            self._kit.say("schedule_spoilt", "error", schedule=name, why=spoilt[name])
        self._due |= bool(self._spoilt.keys() - spoilt.keys())
        self._spoilt = spoilt

    def _is_new(self, origin: ScheduleOrigin, error: TaskermanError) -> bool:
        known, self._ill[origin] = self._ill.get(origin), error
        return str(known) != str(error)

    def _adopt(self) -> bool:
        """False: something moved, compare again."""
        kit, table, now = self._kit, self._table, self._kit.clock.now()
        wanted: dict[ScheduleName, Declaration] = {}
        for source in kit.sources:
            for declared in self._declared.get(source.origin, ()):
                first = wanted.setdefault(declared.schedule.name, declared)
                if first is not declared:
                    kit.say(
                        "schedule_declared_twice", "error", schedule=declared.schedule.name, place=declared.place,
                        counts=first.place,
                    )  # fmt: skip
        readable = self._declared.keys()
        hidden = {source.origin for source in kit.sources} - readable
        changes: list[Change] = []
        counts = {"new": 0, "changed": 0, "retired": 0}
        for name, declared in wanted.items():
            if name in table.spoilt:
                continue
            known = table.record(name)
            if known is not None and known.retired_at is None and known.origin in hidden:
                continue  # what is declared where nobody can look now stays
            record = adopt(known, declared, now)
            if record is not None:
                changes.append(Change(name, record, table.version(name)))
                counts["new" if known is None else "changed"] += 1
        for name, known in table.records():
            if name in wanted:
                continue
            if forgotten(known, now):
                changes.append(Change(name, None, table.version(name)))
            elif (record := retire(known, readable, now)) is not None:
                changes.append(Change(name, record, table.version(name)))
                counts["retired"] += 1
        if not changes:
            return True
        written = table.write(changes)
        kit.say("schedules_adopted", declared=len(wanted), **counts)
        return len(written) == len(changes)


def _bug(error: Exception) -> Bug:
    return Bug(f"{type(error).__name__}: {error}")
