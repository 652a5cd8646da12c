"""All files of one place together: what is declared there, every fault in it, and whether it has changed.

A version is read whole. A place that changes while it is read is read again; a change is told only when it has been
seen twice the same, because a checkout under way is a version that nobody reviewed. What is in a file is remembered by
its content, so that of a thousand files only those that changed are parsed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskerman.adapters.schedules.one_file import Entry, FileRead, read_file
from taskerman.adapters.schedules.shelf import Shelf, Stamp, Unfit
from taskerman.errors import SchedulesInvalid, SchedulesUnavailable
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.ports.schedules import Judge, Looked

__all__ = ["DeclaredFiles"]

_TRIES = 3

_Version = Mapping[str, Stamp]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file was when it was last read."""

    stamp: Stamp
    digest: bytes
    read: FileRead


class DeclaredFiles:
    """The `ScheduleFiles` of one shelf."""

    origin = ScheduleOrigin.FILES

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._known: dict[str, _Known] = {}
        self._answered: _Version | None = None
        """The version of which `read` last gave an answer, the faults in it included."""
        self._seen: _Version | None = None
        self._settled: _Version | None = None
        """The version of which `changed` said that it may be read."""

    @property
    def place(self) -> str:
        """See `ScheduleSource.place`."""
        return self._shelf.place

    def changed(self) -> bool:
        """See `ScheduleSource.changed`."""
        if self._answered is None:
            return True
        now = self._shelf.stamps()
        settled = now == self._seen and now != self._answered
        self._seen = now
        self._settled = now if settled else None
        return settled

    def read(self) -> Sequence[Declaration]:
        """See `ScheduleSource.read`. Of a version that `changed` told, or of none: another one is still being made."""
        looked = self.look()
        if not looked.files:  # a mount that went away leaves an empty folder: that must not retire everything
            raise SchedulesInvalid(
                (f"there is no file of schedules in {self.place}",),
                next_step="To declare none, leave a file with `schedules: []` there.",
            )
        if looked.faults:
            raise SchedulesInvalid(looked.faults, next_step=f"`taskerman validate {self.place}` prints every fault.")
        return looked.declarations

    def look(self, judge: Judge | None = None) -> Looked:
        """See `ScheduleFiles.look`."""
        version = self._shelf.stamps()
        settled, self._settled = self._settled, None
        if settled is not None and version != settled:
            raise self._under_way()
        for _ in range(_TRIES):
            try:
                files = {name: self._file(name, stamp, judge) for name, stamp in version.items()}
                again = self._shelf.stamps()
            except SchedulesUnavailable:
                again = self._shelf.stamps()
                if again == version:
                    raise
            if again == version:
                self._known = {name: known for name, known in self._known.items() if name in version}
                self._answered = version
                return _together(files)
            version = again
        raise self._under_way()

    def _file(self, name: str, stamp: Stamp, judge: Judge | None) -> FileRead:
        known = self._known.get(name)
        if judge is None and known is not None and known.stamp == stamp:
            return known.read
        try:
            raw = self._shelf.fetch(name, stamp)
        except Unfit as error:
            return FileRead((), (f"1: {error}",))
        digest = hashlib.sha256(raw).digest()
        if judge is not None:
            return read_file(raw, judge)
        read = known.read if known is not None and known.digest == digest else read_file(raw)
        self._known[name] = _Known(stamp, digest, read)
        return read

    def _under_way(self) -> SchedulesUnavailable:
        return SchedulesUnavailable(
            f"The schedules in {self.place} are being changed.",
            next_step="It passes by itself when nobody writes there any more.",
        )


def _together(files: Mapping[str, FileRead]) -> Looked:
    """What all files say, each name once."""
    faults = [f"{file}:{fault}" for file, read in files.items() for fault in read.faults]
    first: dict[str, tuple[str, Entry]] = {}
    for file, read in files.items():
        for entry in read.entries:
            name = entry.schedule.name
            if name in first:
                there, other = first[name]
                faults.append(
                    f"{file}:{entry.name_line}: schedules[{entry.index}] ({name}) name: another schedule is called "
                    f"{name!r}, in {there}:{other.name_line}"
                )
            else:
                first[name] = (file, entry)
    declarations = tuple(
        Declaration(schedule=entry.schedule, origin=ScheduleOrigin.FILES, place=f"{file}:{entry.line}")
        for _, (file, entry) in sorted(first.items())
    )
    return Looked(declarations, tuple(faults), len(files))
