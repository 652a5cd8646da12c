"""What is to be undone, on disk before it is done: one small file a fault.

Of the standard library alone: the switch and a person's command read it when nothing of ours may be running. A file
that cannot be read is a fault that nobody can undo: it is told, and never taken for none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Entry", "Journal", "Unreadable", "boot_id"]


class Unreadable(Exception):
    """A journal is there, and nobody can say what it wants undone."""


def boot_id() -> str:
    """Which boot of the machine it is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault. `kind`: how it is undone. `undo`: what is needed for that. `until`: when it should be over, in
    seconds of the wall clock; for people. `boot`: the boot in which it was done."""

    id: str
    kind: str
    undo: Mapping[str, Any]
    task: str
    until: float
    boot: str


class Journal:
    """The faults of this node that are not known to be undone."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made by the first entry; must survive a reboot."""
        self.folder = folder

    def write(self, entry: Entry) -> None:
        """Durable on return. Raises `OSError`; then nothing may be begun."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self._place(entry.id)
        part = place.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
        self._sync()

    def entries(self) -> tuple[Entry, ...]:
        """All of them. Raises `Unreadable`, `OSError`."""
        if not self.folder.exists():
            return ()
        found = []
        for place in sorted(self.folder.glob("*.fault")):
            try:
                text = place.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # undone meanwhile
            try:
                found.append(Entry(**json.loads(text)))
            except (ValueError, TypeError) as error:
                raise Unreadable(
                    f"{place} cannot be read: {error}. Undo by hand what it names, and delete it"
                ) from None
        return tuple(found)

    def remove(self, entry: Entry) -> None:
        """It is verified that it is undone. Idempotent."""
        self._place(entry.id).unlink(missing_ok=True)
        self._sync()

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.fault"

    def _sync(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
