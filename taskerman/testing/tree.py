"""An in-memory `Tree` with ZooKeeper's semantics, and the faults of the real wire on demand.

`MemoryServer` is the shared state, `MemoryTree` one client with one session. Deterministic: no thread, no sleep, no
clock but the one it is given; faults happen when a test asks for them, or when the fault source it injected says so.
It refuses to be kinder than ZooKeeper: an answer can be lost in all three ways, a session can end unnoticed, reads
can lag behind. In one point it is harsher on purpose: a commit that arrives after its session has ended is applied
unless it creates ephemeral records, because the contract promises no more than that.

Server and client are one module because they are one state behind one lock.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from threading import Lock
from typing import TypeVar

from taskerman.errors import AnswerUnknown, CoordinationUnavailable
from taskerman.ports.tree import (
    Children,
    Committed,
    Create,
    Exists,
    Get,
    Link,
    Names,
    Op,
    Read,
    Record,
    Refused,
    Stat,
    Wake,
    ancestors,
    refuse_unsendable,
)
from taskerman.testing.records import Event, Records, Watched

__all__ = ["LateCommit", "LostAnswer", "MemoryServer", "MemoryTree"]

_T = TypeVar("_T")
_Calls = list[Callable[[], None]]


class LostAnswer(Enum):
    """What became of a commit whose answer was lost."""

    APPLIED = "applied"
    NEVER = "never"
    LATE = "late"  # kept until `MemoryServer.deliver_late`


@dataclass(frozen=True, slots=True)
class LateCommit:
    """A commit that is still on its way."""

    session: int
    ops: tuple[Op, ...]


class MemoryServer:
    """The shared state of all clients, and the hand that a test has in it. Safe to use from several threads.

    Hooks are called outside the lock. The first three are not called again while one of them runs, so that they may
    use other clients: `faults(tree, ops)` decides what becomes of a commit's answer (None: it arrives);
    `interleave(tree, read)` runs before every single read; `before_commit(tree, ops)` before every commit.
    `after_commit(ops, result)` sees every commit that was judged, late ones and those of hooks too, whether or not
    its client was told.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] | None = None,
        faults: Callable[[MemoryTree, Sequence[Op]], LostAnswer | None] | None = None,
        interleave: Callable[[MemoryTree, Read], None] | None = None,
        before_commit: Callable[[MemoryTree, Sequence[Op]], None] | None = None,
        after_commit: Callable[[Sequence[Op], Committed | Refused], None] | None = None,
    ) -> None:
        """`now_ms`: the server's clock, milliseconds since the epoch; the machine's when absent."""
        self.now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self.faults = faults
        self.interleave = interleave
        self.before_commit = before_commit
        self.after_commit = after_commit
        self._lock = Lock()
        self._records = Records(self.now_ms())
        self._trees: dict[MemoryTree, None] = {}
        self._sessions: set[int] = set()
        self._ids = itertools.count(0x1000001)
        self._late: list[LateCommit] = []
        self._refusing = False
        self._in_hook = False

    def client(self) -> MemoryTree:
        """A new client, open."""
        tree = MemoryTree(self)
        tree.open()
        return tree

    def dump(self) -> Mapping[str, Record]:
        """Every record by its path, as it is now: for the invariants of a test."""
        with self._lock:
            found = ((path, self._records.record(path)) for path in self._records.paths())
            return {path: record for path, record in found if record is not None}

    @property
    def late(self) -> Sequence[LateCommit]:
        """The commits that are still on their way, oldest first."""
        with self._lock:
            return tuple(self._late)

    # --- faults ------------------------------------------------------------------------------------------

    def deliver_late(self, which: int = 0) -> Committed | Refused | None:
        """Let one late commit arrive. None: its session has ended and it creates ephemerals, so nothing comes of it."""
        with self._lock:
            late = self._late.pop(which)
            ephemeral = any(isinstance(op, Create) and op.ephemeral for op in late.ops)
            if ephemeral and late.session not in self._sessions:
                return None
            result, calls = self._apply(late.ops, late.session)
        _run(calls)
        self._judged(late.ops, result)
        return result

    def expire(self, tree: MemoryTree, *, noticed: bool = True) -> None:
        """End the session of `tree` as if it had been silent for too long; its ephemeral records vanish.

        Not `noticed`: the client believes that it is connected, as a frozen process does, until its next call (which
        fails) or `notice`. A client that is cut off notices when it is healed, a closed one never.
        """
        with self._lock:
            calls = self._end(tree)
            if noticed:
                calls += tree._notice()
        _run(calls)

    def notice(self, tree: MemoryTree) -> None:
        """Let a client find out that its session has ended: DOWN, ENDED, and with a new session UP."""
        with self._lock:
            calls = tree._notice()
        _run(calls)

    def cut(self, *trees: MemoryTree) -> None:
        """Cut these clients off; without any: all of them, and nobody can connect. Their sessions live on."""
        with self._lock:
            self._refusing = self._refusing or not trees
            calls = [call for tree in trees or tuple(self._trees) for call in tree._cut()]
        _run(calls)

    def heal(self, *trees: MemoryTree) -> None:
        """Connect these clients again; without any: all of them. One whose session has ended gets a new one."""
        with self._lock:
            self._refusing = self._refusing and bool(trees)
            calls = [call for tree in trees or tuple(self._trees) for call in tree._heal()]
        _run(calls)

    def lag(self, tree: MemoryTree) -> None:
        """Freeze what `tree` reads, and its watches, until `catch_up`, or its next `sync` or answered commit.

        It is as a client of a ZooKeeper server that lags behind its leader: reads may be old.
        """
        with self._lock:
            if tree._view is None:
                tree._view = self._records.copy()

    def catch_up(self, tree: MemoryTree) -> None:
        """End a `lag`: the watches on what happened meanwhile fire."""
        with self._lock:
            calls = tree._catch_up()
        _run(calls)

    # --- for MemoryTree; with the lock held, unless said -------------------------------------------------

    def _begin(self) -> int:
        session = next(self._ids)
        self._sessions.add(session)
        return session

    def _end(self, tree: MemoryTree) -> _Calls:
        session = tree._session_id
        if session not in self._sessions:
            return []
        self._sessions.remove(session)
        return self._fire(self._records.end(session))

    def _apply(self, ops: Sequence[Op], session: int) -> tuple[Committed | Refused, _Calls]:
        result, events = self._records.apply(ops, session, self.now_ms())
        return result, self._fire(events)

    def _fire(self, events: Sequence[Event]) -> _Calls:
        return [call for tree in tuple(self._trees) for call in tree._see(events)]

    def _judged(self, ops: Sequence[Op], result: Committed | Refused) -> None:
        """Without the lock. In hooks too: it only watches."""
        if self.after_commit is not None:
            self.after_commit(ops, result)

    def _hook(self, hook: Callable[[], _T]) -> _T | None:
        """Without the lock. Hooks do not nest: a hook's own reads and commits run without hooks."""
        if self._in_hook:
            return None
        self._in_hook = True
        try:
            return hook()
        finally:
            self._in_hook = False


class MemoryTree:
    """One client of a `MemoryServer`: a `Tree`."""

    def __init__(self, server: MemoryServer) -> None:
        """Not open yet."""
        self._server = server
        self._session_id = 0
        self._open = False
        self._link = Link.ENDED
        self._listeners: list[Callable[[Link], None]] = []
        self._watches: dict[Event, dict[Wake, None]] = {}
        self._lost: deque[tuple[LostAnswer, bool]] = deque()
        self._view: Records | None = None
        self._unseen: list[Event] = []

    def lose_next_answer(self, became: LostAnswer, *, quiet: bool = False) -> None:
        """The next commit of this client gets no answer; may be called several times ahead.

        Its connection breaks with it and comes back at once, so all watches fire; unless `quiet`: then the answer
        alone is missing.
        """
        self._lost.append((became, quiet))

    # --- Tree --------------------------------------------------------------------------------------------

    def open(self) -> None:
        with self._server._lock:
            if self._open:
                return
            if self._server._refusing:
                raise CoordinationUnavailable("The in-memory coordination is cut off.")
            self._open = True
            self._server._trees[self] = None
            self._session_id = self._server._begin()
            calls = self._turn(Link.UP)
        _run(calls)

    def close(self) -> None:
        with self._server._lock:
            if not self._open:
                return
            self._open = False
            del self._server._trees[self]
            self._watches.clear()
            # Cut off, it cannot say good-bye: the session lives until the server finds it silent for too long.
            calls = [] if self._link is Link.DOWN else self._server._end(self)
            calls += self._turn(Link.ENDED)
        _run(calls)

    @property
    def session(self) -> int | None:
        return self._session_id if self._link is Link.UP else None

    @property
    def link(self) -> Link:
        return self._link

    def on_link(self, listener: Callable[[Link], None]) -> None:
        self._listeners.append(listener)

    def read(self, *reads: Read) -> tuple[Record | Stat | Names | None, ...]:
        return tuple(self._one(read) for read in reads)

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        return self._ask(Get(path, wake), lambda records: records.record(path))

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        return self._ask(Children(path, wake), lambda records: records.children(path))

    def commit(self, ops: Sequence[Op]) -> Committed | Refused:
        refuse_unsendable(ops)
        server, ops = self._server, tuple(ops)
        if server.before_commit is not None:
            server._hook(partial(server.before_commit, self, ops))
        lost, quiet = self._lost.popleft() if self._lost else (None, False)
        if lost is None and server.faults is not None:
            lost = server._hook(partial(server.faults, self, ops))
        result: Committed | Refused | None = None
        with server._lock:
            reached, calls = self._reach()
            if reached and lost in (None, LostAnswer.APPLIED):
                result, calls = server._apply(ops, self._session_id)
            if reached and lost is LostAnswer.LATE:
                server._late.append(LateCommit(self._session_id, ops))
            if reached and lost is None:
                calls += self._catch_up()
            if reached and lost is not None and not quiet:
                calls += self._cut() + self._heal()
        _run(calls)
        if result is not None:
            server._judged(ops, result)
        if result is None or lost is not None:
            raise AnswerUnknown(f"No answer to a commit of {len(ops)} operations, the first on {ops[0].path}.")
        return result

    def ensure(self, *paths: str) -> None:
        with self._server._lock:
            reached, calls = self._reach()
            for part in (part for path in paths for part in ancestors(path)):
                if reached and self._server._records.stat(part) is None:
                    calls += self._server._apply([Create(part)], self._session_id)[1]
        self._conclude(reached, calls, f"ensure {', '.join(paths)}")

    def sync(self, path: str) -> None:
        with self._server._lock:
            reached, calls = self._reach()
            if reached:
                calls = self._catch_up()
        self._conclude(reached, calls, f"sync {path}")

    # --- without the lock --------------------------------------------------------------------------------

    def _one(self, read: Read) -> Record | Stat | Names | None:
        path = read.path
        match read:
            case Get():
                return self._ask(read, lambda records: records.record(path))
            case Exists():
                return self._ask(read, lambda records: records.stat(path))
            case Children():
                return self._ask(read, lambda records: records.children(path))

    def _ask(self, read: Read, look: Callable[[Records], _T | None]) -> _T | None:
        server = self._server
        if server.interleave is not None:
            server._hook(partial(server.interleave, self, read))
        answer: _T | None = None
        with server._lock:
            reached, calls = self._reach()
            if reached:
                answer = look(self._view or server._records)
                kind = Watched.CHILDREN if isinstance(read, Children) else Watched.DATA
                if read.wake is not None and (kind is Watched.DATA or answer is not None):
                    self._watches.setdefault(Event(kind, read.path), {})[read.wake] = None
        self._conclude(reached, calls, f"{type(read).__name__} {read.path}")
        return answer

    @staticmethod
    def _conclude(reached: bool, calls: _Calls, what: str) -> None:
        _run(calls)
        if not reached:
            raise CoordinationUnavailable(f"No answer from the in-memory coordination to: {what}.")

    # --- with the server's lock held; what is returned is called after it ----------------------------------

    def _reach(self) -> tuple[bool, _Calls]:
        if self._link is not Link.UP:
            return False, []
        if self._session_id in self._server._sessions:
            return True, []
        return False, self._notice()

    def _see(self, events: Sequence[Event]) -> _Calls:
        if self._link is not Link.UP or self._session_id not in self._server._sessions:
            return []
        if self._view is not None:
            self._unseen += events
            return []
        return [wake for event in events for wake in self._watches.pop(event, {})]

    def _catch_up(self) -> _Calls:
        self._view, unseen, self._unseen = None, self._unseen, []
        return self._see(unseen)

    def _notice(self) -> _Calls:
        if self._link is not Link.UP or self._session_id in self._server._sessions:
            return []
        return self._cut() + self._heal()

    def _cut(self) -> _Calls:
        if self._link is not Link.UP:
            return []
        self._view, self._unseen = None, []
        return self._turn(Link.DOWN)

    def _heal(self) -> _Calls:
        if not self._open or self._link is not Link.DOWN:
            return []
        calls: _Calls = []
        if self._session_id not in self._server._sessions:
            calls += self._turn(Link.ENDED)
            self._session_id = self._server._begin()
        calls += self._turn(Link.UP)
        calls += [wake for wakes in self._watches.values() for wake in wakes]
        self._watches.clear()
        return calls

    def _turn(self, link: Link) -> _Calls:
        self._link = link
        return [partial(listener, link) for listener in self._listeners]


def _run(calls: _Calls) -> None:
    for call in calls:
        call()
