"""Schedules that people declare, in memory; away when a test says so, and a change whose answer is lost."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from taskerman.errors import (
    HistoryUnavailable,
    RefusedByState,
    ScheduleExists,
    SchedulesInvalid,
    ScheduleUnknown,
    TaskermanError,
)
from taskerman.model.audit import AuditEntry
from taskerman.model.schedule import Schedule, ScheduleName
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy.declaring import definition_of, schedule_of

__all__ = ["MemoryScheduleStore"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A schedule as it is stored: as text, because what comes back must not depend on what it was made of."""

    text: str
    place: str
    said: str


class _Shared:
    """What several stores have in common: all but what each of them has read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.failure: TaskermanError | None = None
        self.losing = False
        self.kept: dict[ScheduleName, _Kept] = {}
        self.removed: dict[ScheduleName, str] = {}
        self.audit: list[AuditEntry] = []


class MemoryScheduleStore:
    """The `ScheduleStore` of a test."""

    origin = ScheduleOrigin.DATABASE
    place = "a store in memory"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`clock`: what time it is when a change is made."""
        self._clock = clock
        self._shared = _Shared()
        self._answered: int | None = None

    @property
    def audit(self) -> Sequence[AuditEntry]:
        """Every change, in its order."""
        return tuple(self._shared.audit)

    def another(self) -> MemoryScheduleStore:
        """One more of the same schedules, that has read nothing yet."""
        other = MemoryScheduleStore(self._clock)
        other._shared = self._shared
        return other

    def fail(self, error: TaskermanError | None = None) -> None:
        """Every call from now on raises `error`, by default `HistoryUnavailable`, and changes nothing, until
        `recover`."""
        self._shared.failure = error or HistoryUnavailable(
            "The database does not answer.", next_step="It may work later."
        )

    def recover(self) -> None:
        """Answer again."""
        self._shared.failure = None

    def lose_an_answer(self) -> None:
        """The next change is made, and raises `HistoryUnavailable`: nobody can tell its caller that it was."""
        self._shared.losing = True

    def spoil(self, name: ScheduleName) -> None:
        """Its definition becomes one that a newer build wrote."""
        known = self._shared.kept[name]
        self._shared.kept[name] = replace(known, text=json.dumps({**json.loads(known.text), "of_tomorrow": 1}))

    def changed(self) -> bool:
        """See `ScheduleSource.changed`."""
        with self._shared.lock:
            self._answer()
            return self._answered != len(self._shared.audit)

    def read(self) -> Sequence[Declaration]:
        """See `ScheduleSource.read`."""
        with self._shared.lock:
            self._answer()
            self._answered = len(self._shared.audit)
            found: list[Declaration] = []
            faults: list[str] = []
            for name in sorted(self._shared.kept):
                try:
                    found.append(self._declaration(name))
                except SchedulesInvalid as error:
                    faults += error.faults
            if faults:
                raise SchedulesInvalid(tuple(faults), next_step="Declare each anew, or remove it.")
            return tuple(found)

    def find(self, name: ScheduleName) -> Declaration:
        """See `ScheduleStore.find`."""
        with self._shared.lock:
            self._answer()
            self._check_is_there(name)
            return self._declaration(name)

    def add(self, schedule: Schedule, by: str, why: str) -> None:
        """See `ScheduleStore.add`."""
        name = schedule.name
        with self._shared.lock:
            self._answer()
            if name in self._shared.kept:
                same = ", just so" if self._readable(name) == schedule else ""
                raise ScheduleExists(
                    f"{name} is declared already, {self._shared.kept[name].said}{same}.",
                    next_step=f"`taskerman schedules edit {name}` changes it.",
                )
            self._change("schedule add", name, schedule, by, why, f"added by {by}")

    def edit(self, schedule: Schedule, by: str, why: str, *, instead_of: Schedule | None = None) -> Schedule | None:
        """See `ScheduleStore.edit`."""
        name = schedule.name
        with self._shared.lock:
            self._answer()
            self._check_is_there(name)
            before = self._readable(name)
            if instead_of is not None and before != instead_of:
                raise RefusedByState(
                    f"{name} was changed meanwhile, {self._shared.kept[name].said}.",
                    next_step="Look at it again, and repeat what you want to change.",
                )
            self._change("schedule edit", name, schedule, by, why, f"changed by {by}")
            return before

    def remove(self, name: ScheduleName, by: str, why: str) -> Schedule | None:
        """See `ScheduleStore.remove`."""
        with self._shared.lock:
            self._answer()
            self._check_is_there(name)
            before = self._readable(name)
            self._change("schedule remove", name, None, by, why, "")
            return before

    def _change(self, verb: str, name: ScheduleName, to: Schedule | None, by: str, why: str, place: str) -> None:
        entry = AuditEntry(id=uuid.uuid4().hex, at=self._clock(), by=by, verb=verb, target=name, why=why)
        at = f"at {entry.at:%Y-%m-%dT%H:%M:%SZ}"
        self._shared.audit.append(entry)
        if to is None:
            del self._shared.kept[name]
            self._shared.removed[name] = f"{by} removed it {at}"
        else:
            self._shared.kept[name] = _Kept(
                json.dumps(definition_of(to)), place, f"{place} at {entry.at:%Y-%m-%dT%H:%M:%SZ}"
            )
        if self._shared.losing:
            self._shared.losing = False
            raise HistoryUnavailable("The answer was lost.", next_step="Look whether it happened.")

    def _declaration(self, name: ScheduleName) -> Declaration:
        kept = self._shared.kept[name]
        return Declaration(
            schedule=schedule_of(kept.text, f"{name} in {self.place}"), origin=self.origin, place=kept.place
        )

    def _readable(self, name: ScheduleName) -> Schedule | None:
        try:
            return self._declaration(name).schedule
        except SchedulesInvalid:
            return None

    def _check_is_there(self, name: ScheduleName) -> None:
        if name in self._shared.kept:
            return
        said = f"Nobody has added a schedule {name[:80]!r}."
        if name in self._shared.removed:
            said = f"{name} is not declared any more: {self._shared.removed[name]}."
        raise ScheduleUnknown(said, next_step="`taskerman schedules list` lists those in force.")

    def _answer(self) -> None:
        if self._shared.failure is not None:
            raise self._shared.failure
