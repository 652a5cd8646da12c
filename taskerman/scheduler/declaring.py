"""What is declared becomes what is in force. A source that cannot be read, or holds a fault, keeps its last good word:
that is in the records already, and stays there."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination.schedules import Change
from taskerman.errors import NotPermitted, SchedulesInvalid, TransientError
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy.emission import adopt, forgotten, retire
from taskerman.ports.schedules import ScheduleSource
from taskerman.scheduler.kit import Kit
from taskerman.scheduler.table import Table

__all__ = ["Declaring"]


class Declaring:
    """Looks at the sources now and then. Used from one thread."""

    def __init__(self, kit: Kit, table: Table) -> None:
        """As handed."""
        self._kit = kit
        self._table = table
        self._declared: dict[ScheduleOrigin, Sequence[Declaration]] = {}
        self._ill: dict[ScheduleOrigin, str] = {}
        self._due = True

    def again(self) -> None:
        """The records are new to us: compare them with everything, also with what did not change."""
        self._due = True

    def look(self) -> None:
        """Read what changed, and write what is to be in force. Raises `CoordinationUnavailable`."""
        news = [self._read(source) for source in self._kit.sources]
        if self._due or any(news):
            self._due = False
            self._adopt()

    @property
    def ill(self) -> bool:
        """Whether something that is declared is not in force, because it cannot be read."""
        return bool(self._ill)

    def _read(self, source: ScheduleSource) -> bool:
        """Whether it has something new to say. What keeps it from that is said once."""
        kit, origin = self._kit, source.origin
        try:
            if not source.changed():
                return False
            kit.pulse.beat()
            self._declared[origin] = source.read()
        except SchedulesInvalid as error:
            if self._ill.get(origin) != str(error):
                self._ill[origin] = str(error)
                kit.say(
                    "schedules_refused",
                    "error",
                    origin=origin.value,
                    place=source.place,
                    faults=list(error.faults[:20]),
                    count=len(error.faults),
                )
            return False
        except (TransientError, NotPermitted) as error:
            if self._ill.get(origin) != str(error):
                self._ill[origin] = str(error)
                kit.say(
                    "schedules_not_read", "warning", origin=origin.value, place=source.place, why=str(error),
                    code=error.code,
                )  # fmt: skip
            return False
        if self._ill.pop(origin, None) is not None:
            kit.say("schedules_read_again", origin=origin.value, place=source.place)
        return True

    def _adopt(self) -> None:
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
        changes: list[Change] = []
        counts = {"new": 0, "changed": 0, "retired": 0}
        for name, declared in wanted.items():
            known = table.record(name)
            record = adopt(known, declared, now)
            if record is not None:
                changes.append(Change(name, record, table.version(name)))
                counts["new" if known is None else "changed"] += 1
        for name, known in table.records():
            if name in wanted:
                continue
            if forgotten(known, now):
                changes.append(Change(name, None, table.version(name)))
            elif (record := retire(known, self._declared.keys(), now)) is not None:
                changes.append(Change(name, record, table.version(name)))
                counts["retired"] += 1
        if not changes:
            return
        written = table.write(changes)
        if len(written) < len(changes):
            self._due = True  # something moved: compare again
        kit.say("schedules_adopted", declared=len(wanted), **counts)
