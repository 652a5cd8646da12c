"""Where schedules are declared: files that are reviewed, and a database into which people add.

A source says what is declared, all of it or nothing: half of a reviewed version is another version, that nobody
reviewed. What is in force is another question; whoever asks it keeps the last good answer of each source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskerman.model.schedule import Schedule, ScheduleName
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.model.task import TaskDocument

__all__ = ["Judge", "Looked", "ScheduleFiles", "ScheduleSource", "ScheduleStore"]

Judge = Callable[[Schedule, TaskDocument], Iterable[tuple[tuple[str | int, ...], str]]]
"""What else is wrong with a schedule, of which this is the document: the way to each field, and the reason."""


class ScheduleSource(Protocol):
    """One place where schedules are declared. Used from one thread."""

    @property
    def origin(self) -> ScheduleOrigin:
        """What its declarations say they are from."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people, without secrets: the path of a folder, the address of a database."""
        ...

    def changed(self) -> bool:
        """Whether `read` may answer otherwise than it last did; True before the first one. Cheap: asked every few
        seconds. A change that is still being written (a checkout under way) is no change yet.

        Raises `TransientError`, `NotPermitted`.
        """
        ...

    def read(self) -> Sequence[Declaration]:
        """Everything that is declared there, by name. A database into which nobody added anything has
        nothing; a folder or a bucket without a file is a fault, because it is more likely one that went away.

        Raises `SchedulesInvalid`, which names every fault by file, line and field; `TransientError`, `NotPermitted`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in files: the good declarations by name, and what is wrong, a line each. `files`: how many."""

    declarations: tuple[Declaration, ...]
    faults: tuple[str, ...]
    files: int


class ScheduleFiles(ScheduleSource, Protocol):
    """The reviewed files, which may also be looked at while they are wrong."""

    def look(self, judge: Judge | None = None) -> Looked:
        """Everything in all files, faults or not; each fault names file, line and field. `judge`: says what else is
        wrong with each schedule that is well in itself; what it raises is raised.

        Raises `TransientError`, `NotPermitted`.
        """
        ...


class ScheduleStore(ScheduleSource, Protocol):
    """The one that people write. Every change is stored with its audit entry in one transaction, and read as one.

    An answer that is lost on the way is asked for again within the call, and the change is made once. Whoever repeats a
    whole call learns from `ScheduleExists` or `ScheduleUnknown` who made the change, and when. Writers may be several,
    at the same time. All raise `HistoryUnavailable` (a change may or may not have happened: look) and `NotPermitted`.
    """

    def find(self, name: ScheduleName) -> Declaration:
        """What is declared under that name. Raises `ScheduleUnknown`; `SchedulesInvalid` when it cannot be read."""
        ...

    def add(self, schedule: Schedule, by: str, why: str) -> None:
        """Declare a new one. Raises `ScheduleExists`."""
        ...

    def edit(self, schedule: Schedule, by: str, why: str, *, instead_of: Schedule | None = None) -> Schedule | None:
        """Declare it otherwise; what it was, None: nobody here can read that.

        `instead_of`: what the change was made from; absent: whatever it is. Raises `ScheduleUnknown`, and
        `RefusedByState` when it is another one by now.
        """
        ...

    def remove(self, name: ScheduleName, by: str, why: str) -> Schedule | None:
        """Declare it no more; what it was, None: nobody here can read that. Raises `ScheduleUnknown`."""
        ...
