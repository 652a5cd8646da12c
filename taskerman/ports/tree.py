"""A small tree of versioned records with transactions, sessions and watches: what the protocol stands on.

The contract is ZooKeeper's, no more and no less, so that the protocol is written once and runs on the real thing
and on the in-memory one alike. What it promises:

- a commit is atomic and linearizable; all of its checks hold at one instant, or nothing of it happens;
- versions of a record rise by one with every set; a record created anew starts at 0;
- an ephemeral record vanishes some time after its session ended, never before; no write of an ended session that
  creates one is applied;
- reads may be old; versions in a commit decide;
- a watch fires at most once, after the change, and again for every reason that makes it unreliable (a lost
  connection, an ended session): whoever is woken reads again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = [
    "Check",
    "Children",
    "Committed",
    "Create",
    "Delete",
    "Exists",
    "Get",
    "Link",
    "Names",
    "Op",
    "Read",
    "Record",
    "Refusal",
    "Refused",
    "Set",
    "Stat",
    "Tree",
    "Wake",
]

Wake = Callable[[], None]
"""Called on the tree's own thread: it must not block and must not call the tree. The same callable given for one
path again is registered once."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What the tree knows of a record besides its data. Versions are those of ZooKeeper's Stat.

    `owner`: the session id of an ephemeral record, 0 for a persistent one. `created_ms`, `changed_ms`: the server's
    clock, milliseconds since the epoch. `children_version` changes whenever a child is created or deleted.
    """

    version: int
    children_version: int
    owner: int
    created_ms: int
    changed_ms: int
    children: int


@dataclass(frozen=True, slots=True)
class Record:
    """Data and stat of one path, read together."""

    data: bytes
    stat: Stat


@dataclass(frozen=True, slots=True)
class Names:
    """Child names (sorted) and the parent's stat, read together."""

    names: tuple[str, ...]
    stat: Stat


# --- reads -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Get:
    """-> Record | None. With `wake`: woken when the data changes or the record appears or vanishes."""

    path: str
    wake: Wake | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """-> Stat | None. With `wake`: woken when the record appears, changes or vanishes."""

    path: str
    wake: Wake | None = None


@dataclass(frozen=True, slots=True)
class Children:
    """-> Names | None. With `wake`: woken when a child appears or vanishes, or the record itself vanishes.

    When there is no such record the answer is None and nothing is watched.
    """

    path: str
    wake: Wake | None = None


Read = Get | Exists | Children


# --- writes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Create a record. `sequence`: the tree appends ten digits that rise within the parent."""

    path: str
    data: bytes = b""
    ephemeral: bool = False
    sequence: bool = False


@dataclass(frozen=True, slots=True)
class Set:
    """Replace the data. `version` None: whatever it is."""

    path: str
    data: bytes
    version: int | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a record without children. `version` None: whatever it is."""

    path: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Do nothing, but refuse the commit unless the record is there at this version (None: at any)."""

    path: str
    version: int | None


Op = Create | Set | Delete | Check


class Refusal(Enum):
    """Why a commit was refused. The names are ZooKeeper's."""

    BAD_VERSION = "bad version"
    NODE_EXISTS = "node exists"
    NO_NODE = "no node"
    NOT_EMPTY = "not empty"


@dataclass(frozen=True, slots=True)
class Committed:
    """All of it happened. One result an operation: a Create's path, a Set's Stat, None for the others."""

    results: tuple[str | Stat | None, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of it happened. `index`, `path`: the operation that was refused."""

    why: Refusal
    index: int
    path: str


class Link(Enum):
    """How the client stands to the servers."""

    UP = "up"
    DOWN = "down"  # cut off; the session may live
    ENDED = "ended"  # the session is gone, and all its ephemeral records will be


class Tree(Protocol):
    """One client of the tree. Safe to use from several threads; reads and commits of one thread keep their order."""

    def open(self) -> None:
        """Connect and start a session; wait for it. Idempotent. Raises `CoordinationUnavailable`."""
        ...

    def close(self) -> None:
        """End the session, and so its ephemeral records. Idempotent; never raises."""
        ...

    @property
    def session(self) -> int | None:
        """The id of the living session; None while there is none that this client knows to be connected."""
        ...

    @property
    def link(self) -> Link:
        """How it stands now."""
        ...

    def on_link(self, listener: Callable[[Link], None]) -> None:
        """Be told of every change of `link`, on the tree's thread: do not block, do not call the tree."""
        ...

    def read(self, *reads: Read) -> tuple[Record | Stat | Names | None, ...]:
        """Answer all reads, in order, in one trip. They are not one snapshot: each may see a later state.

        Raises `CoordinationUnavailable` when any of them gets no answer.
        """
        ...

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        """`read(Get(path, wake))`."""
        ...

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        """`read(Children(path, wake))`."""
        ...

    def commit(self, ops: Sequence[Op]) -> Committed | Refused:
        """Do all of `ops`, or nothing.

        Raises `AnswerUnknown` when no answer came: it may have happened, may still happen, or never will. Never
        repeated by the implementation. One request to the servers, however many operations.
        """
        ...

    def ensure(self, *paths: str) -> None:
        """Create persistent empty records and their parents where they are absent. Idempotent and repeatable.

        Raises `CoordinationUnavailable`.
        """
        ...

    def sync(self, path: str) -> None:
        """Make later reads of this client see every commit acknowledged to anybody before this call.

        Raises `CoordinationUnavailable`.
        """
        ...
