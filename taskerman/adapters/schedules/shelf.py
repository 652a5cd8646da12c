"""Where files of schedules lie: what the two kinds of place have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["ENDINGS", "Shelf", "Stamp", "Unfit", "shown"]

ENDINGS = (".yaml", ".yml")

Stamp = tuple[object, ...]
"""What tells one version of a file from another without reading it."""


class Unfit(Exception):
    """This file cannot be read, for a reason that a person must look into; the others can."""


class Shelf(Protocol):
    """A folder, or a prefix in a bucket."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def stamps(self) -> Mapping[str, Stamp]:
        """Every file of schedules, by its path from here, and its version. Hidden files and folders are left out.

        Raises `SchedulesUnavailable`, `NotPermitted`.
        """
        ...

    def fetch(self, name: str, stamp: Stamp) -> bytes:
        """What is in this version of the file; of a larger one than is read at all, at least so much that it is seen.

        Raises `Unfit`, `SchedulesUnavailable` (it is another version now, or gone), `NotPermitted`.
        """
        ...


def shown(name: str) -> bool:
    """Whether a path is of a file of schedules, none of its parts hidden."""
    return name.endswith(ENDINGS) and not any(part.startswith(".") for part in name.split("/"))
