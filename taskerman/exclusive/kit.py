"""What a command under a slot works with, and what was asked for, each as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from taskerman.exclusive.host import Host
from taskerman.model.command import GroupName
from taskerman.model.ids import ScopeName
from taskerman.ports.clock import Clock
from taskerman.ports.tree import Tree

__all__ = ["Kit", "Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """`promise`: how many may be in the scope at once, as this command is concerned. `wait` None: it gives up at once.

    `grace`: between TERM and KILL when its host leaves its group.
    """

    scope: ScopeName
    argv: tuple[str, ...]
    promise: int = 1
    group: GroupName | None = None
    wait: timedelta | None = None
    grace: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Kit:
    """`connect`: makes clients of the tree, not open yet. `say`: a line for the person who reads standard error.

    `notes`: folders for what could not be recorded; the first that can be written is used. `end_patience`: how long
    an end is tried to be recorded.
    """

    connect: Callable[[], Tree]
    clock: Clock
    host: Host
    by: str
    notes: Sequence[Path]
    say: Callable[[str], None]
    path: str
    end_patience: timedelta = timedelta(seconds=60)
    pass_after: timedelta = timedelta(seconds=30)
