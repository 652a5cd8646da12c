"""A command that runs under a slot: who holds the slot, what runs, by which processes it is found again, how it ended.

And a group: the hosts on which such commands may run.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import ID, NodeId, ScopeName

__all__ = [
    "MOST_ARGV",
    "MOST_HOSTS",
    "TAIL_BYTES",
    "CommandEnd",
    "CommandHow",
    "CommandNote",
    "CommandRecord",
    "Group",
    "GroupName",
    "Processes",
    "draw_holder",
    "host_called",
    "shown_argv",
]

GroupName = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]

MOST_HOSTS = 5_000
MOST_ARGV = 2_000
TAIL_BYTES = 4_096

_LONGEST_HOST = 53
"""So that `-x` and eight characters make a node id of it."""


class Processes(Noun):
    """How the processes of a command are found again on their machine, by whoever comes after.

    `pid`, `start`: the one that waits for the command; `session`, `session_start`: the command's own, of which its pid
    is the session's. `boot`, `machine`: which boot of which machine; `machine` None: it has no id. `pid_space`: what
    its numbers count in, for containers. `uid`: whose they are.
    """

    pid: int
    start: int
    session: int
    session_start: int
    boot: str
    machine: str | None
    pid_space: str
    uid: int


class CommandHow(StrEnum):
    """`ended`: the command ended. `lost`: nobody saw its end, and it was proved. `released`: a person said so."""

    ENDED = "ended"
    LOST = "lost"
    RELEASED = "released"


class CommandEnd(Noun):
    """How a command ended. `exit` None: nobody knows. `max_rss_bytes`: of its largest process."""

    at: Timestamp
    how: CommandHow
    exit: int | None = None
    max_rss_bytes: int = Field(default=0, ge=0)
    tail: str = ""
    why: str = ""


class CommandNote(Noun):
    """The data of a command's slot, for people."""

    v: Literal[1] = 1
    host: NodeId
    command: str
    at: Timestamp


class CommandRecord(Noun):
    """`/commands/<holder>`: made by the take; while it has no `end` its slot is in its scope.

    `promise`: how many it lets be there at once. `argv`: as it was typed, cut to a length.
    """

    v: Literal[1] = 1
    holder: NodeId
    host: NodeId
    scope: ScopeName
    promise: int = Field(ge=1)
    group: GroupName | None = None
    argv: tuple[str, ...]
    by: str = Field(max_length=200)
    processes: Processes
    began: Timestamp
    end: CommandEnd | None = None

    @property
    def command(self) -> str:
        """What runs, on one line."""
        return " ".join(" ".join(self.argv).split())[:200]


class Group(Noun):
    """`/groups/<g>`: the hosts on which a command of the group may run. It is never deleted: versions only rise."""

    v: Literal[1] = 1
    hosts: tuple[NodeId, ...] = Field(max_length=MOST_HOSTS)


def host_called(name: str) -> NodeId:
    """The id of the host that calls itself `name`; "" when nothing of the name can be one."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", name).lstrip("-_")
    if len(safe) <= _LONGEST_HOST:
        return safe
    return f"{safe[: _LONGEST_HOST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def draw_holder(host: NodeId) -> NodeId:
    """A holder's id that nobody had before: `<host>-x<8 random>`."""
    alphabet = "23456789abcdefghjkmnpqrstvwxyz"
    return f"{host_called(host)}-x" + "".join(secrets.choice(alphabet) for _ in range(8))


def shown_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv` as a record takes it: text, and not longer than is useful."""
    kept: list[str] = []
    room = MOST_ARGV
    for word in argv:
        text = word.encode(errors="surrogateescape").decode(errors="replace")
        if len(text) > room or len(kept) == 200:
            return (*kept, f"{text[:room]}…")
        kept.append(text)
        room -= len(text) + 1
    return tuple(kept)
