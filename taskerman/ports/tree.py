"""A small tree of versioned records with transactions, sessions and watches: what the protocol stands on.

The contract is ZooKeeper's, no more and no less, so that the protocol is written once and runs on the real thing
and on the in-memory one alike. What it promises:

- a commit is atomic and linearizable; all of its checks hold at one instant, or nothing of it happens;
- within one commit each operation sees what the earlier ones did, and the first that cannot be done refuses all;
- versions of a record rise by one with every set; a record created anew starts at 0;
- an ephemeral record vanishes some time after its session ended, never before; no write of an ended session that
  creates one is applied;
- reads may be old; versions in a commit decide;
- a watch fires at most once: after the change, or, when the connection or the session was lost in between, as soon
  as the client is connected again: whoever is woken reads again. A wake without a visible change is allowed. After
  `close()` nobody is woken.

Paths are absolute, without a trailing slash; only a sequential create may end in one ("/audit/" + ten digits).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from taskerman.errors import Bug

__all__ = [
    "MOST_BYTES",
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
    "Reader",
    "Record",
    "Refusal",
    "Refused",
    "Set",
    "Stat",
    "Tree",
    "Wake",
    "ancestors",
    "parent_of",
    "refuse_unsendable",
]

MOST_BYTES = 1_000_000
"""The most that the operations of one commit may weigh together. ZooKeeper drops the connection of a client that
sends more than 1 MiB (its `jute.maxbuffer`) without a word of why, so such a commit would stay unknown for ever."""

_ON_THE_WIRE = 1_040_000
"""The same with what an implementation adds."""

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
    """Create a record. `sequence`: the tree appends ten digits: how many children the parent has ever been given,
    those without a sequence too. They rise, have gaps, and never go back while the parent lives."""

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
    NO_CHILDREN_FOR_EPHEMERALS = "no children for ephemerals"


@dataclass(frozen=True, slots=True)
class Committed:
    """All of it happened. One result an operation: a Create's path (with its digits), a Set's Stat as it was right
    after that operation, None for the others."""

    results: tuple[str | Stat | None, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of it happened. `index`, `path`: the first operation that was refused, its path as it was given."""

    why: Refusal
    index: int
    path: str


def parent_of(path: str) -> str:
    """`/a/b` -> `/a`; `/a` -> `/`; the parent of what a Create makes: `/a/` (sequential) -> `/a`."""
    return path.rpartition("/")[0] or "/"


def ancestors(path: str) -> tuple[str, ...]:
    """Every record on the way, the record itself last: `/a/b` -> (`/a`, `/a/b`); `/` -> ()."""
    names = [name for name in path.split("/") if name]
    return tuple("/" + "/".join(names[: depth + 1]) for depth in range(len(names)))


def refuse_unsendable(ops: Sequence[Op], *, beside: int = 0) -> None:
    """Raise `Bug` for a commit that no implementation sends: empty, too large, or with a malformed path.

    `beside`: bytes that an implementation sends with it, such as the rights of what is created.

    Every implementation calls this first, so that what passes on one passes on all.
    """
    if not ops:
        raise Bug("A commit without operations was asked for.")
    weight = 0
    for op in ops:
        path = op.path
        if isinstance(op, Create) and op.sequence:
            path += "0"
        if not path.startswith("/") or "//" in path or (path != "/" and path.endswith("/")):
            raise Bug(f"The path {op.path!r} of a {type(op).__name__} is malformed.")
        if path == "/" and isinstance(op, Create | Delete):
            raise Bug(f"A {type(op).__name__} of the root was asked for.")
        weight += len(op.path.encode()) + (len(op.data) if isinstance(op, Create | Set) else 0) + 64
    if weight > MOST_BYTES or weight + beside > _ON_THE_WIRE:
        raise Bug(
            f"A commit of {weight + beside} bytes was asked for (first path {ops[0].path}); at most {MOST_BYTES} go."
        )


class Link(Enum):
    """How the client stands to the servers."""

    UP = "up"
    DOWN = "down"  # cut off; the session may live
    ENDED = "ended"  # the session is gone, and all its ephemeral records will be; also before `open`, after `close`


class Reader(Protocol):
    """What can be asked: a `Tree`, or what stands before one for the length of a look."""

    def read(self, *reads: Read) -> tuple[Record | Stat | Names | None, ...]:
        """Answer all reads, in order. They are not one snapshot: each may see a later state than the one before.

        One trip, whatever their number (and one more when a watched `Get` finds nothing). While the link is down it
        waits for it, within the call's timeout. Raises `CoordinationUnavailable` when any of them gets no answer.
        """
        ...

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        """`read(Get(path, wake))`."""
        ...

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        """`read(Children(path, wake))`."""
        ...


class Tree(Reader, Protocol):
    """One client of the tree. Safe to use from several threads; reads and commits of one thread keep their order."""

    def open(self) -> None:
        """Connect and start a session; wait for it. Idempotent. Raises `CoordinationUnavailable`."""
        ...

    def close(self) -> None:
        """End the session, and so its ephemeral records. Idempotent; never raises."""
        ...

    @property
    def session(self) -> int | None:
        """The id of the living session (`Stat.owner` of its ephemeral records).

        None while there is none that this client knows to be connected. It changes when a session was lost.
        """
        ...

    @property
    def link(self) -> Link:
        """How it stands now."""
        ...

    def on_link(self, listener: Callable[[Link], None]) -> None:
        """Be told of every change of `link`, on the tree's thread: do not block, do not call the tree.

        A lost session shows as ENDED and then, when the client has got itself a new one, UP.
        """
        ...

    def commit(self, ops: Sequence[Op]) -> Committed | Refused:
        """Do all of `ops`, or nothing.

        Raises `AnswerUnknown` when no answer came: it may have happened, may still happen, or never will. Never
        repeated by the implementation. One request to the servers, however many operations. Raises `NotPermitted`,
        and `Bug` for what `refuse_unsendable` refuses; nothing of it happened then.
        """
        ...

    def ensure(self, *paths: str) -> None:
        """Create persistent empty records and their parents where they are absent. Idempotent and repeatable.

        One trip when all are there. Raises `CoordinationUnavailable`, `NotPermitted`.
        """
        ...

    def sync(self, path: str) -> None:
        """Make later reads of this client see every commit acknowledged to anybody before this call.

        Raises `CoordinationUnavailable`.
        """
        ...
