"""The `Tree` on ZooKeeper: every read pipelined, every commit one transaction, every wait with an end.

kazoo is used in its asynchronous form only: the plain calls block for ever when the quorum is lost. Nothing is
retried here: a commit because it must not be, a read because whoever asked knows how long it is worth waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NodeExistsError, NoNodeError
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import ZnodeStat

from taskerman.adapters.zookeeper.connection import Connection
from taskerman.adapters.zookeeper.identity import (
    Acls,
    Credential,
    Wire,
    access_list,
    acls_of,
    open_to_all,
    owners_of,
    role_of,
)
from taskerman.adapters.zookeeper.translation import Rooted, read_error, stat_of, unknown, verdict
from taskerman.coordination.layout import RIGHTS, decode
from taskerman.errors import CoordinationUnavailable, TaskermanError, UsageError
from taskerman.model.rights import Identities, Role
from taskerman.ports.tree import (
    Children,
    Committed,
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

__all__ = ["ZookeeperTree"]

_T = TypeVar("_T")
_Answer = Record | Stat | Names | None


class ZookeeperTree:
    """One client of a ZooKeeper: a `Tree` below one root path."""

    def __init__(
        self,
        hosts: str,
        *,
        root: str = "/taskerman",
        session_timeout: timedelta = timedelta(seconds=10),
        answer_timeout: timedelta | None = None,
        open_timeout: timedelta = timedelta(seconds=15),
        on_request: Callable[[str], None] | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        credential: Credential | None = None,
        node_credential: Credential | None = None,
        wire: Wire | None = None,
    ) -> None:
        """Not connected yet.

        `hosts`: `host:port,...`. `root`: everything happens below it; created on `open`. `session_timeout`: after so
        much silence the servers end the session (they may answer with another limit). `answer_timeout`: the longest
        that any one call waits, a lost connection included; the session timeout when None. `on_request`: told
        "read" or "write" for every request sent, to count them. `on_failure`: likewise, and the code of our error,
        for every call that got no answer or an error for one; a refused commit is an answer. `credential`: as whom it
        comes; `node_credential`: the identity of this node, beside its role's. `wire`: TLS; None: in the clear. What
        it creates gets the rights of the installation's identities, as they are recorded when it is opened.

        Raises `UsageError`.
        """
        if "/" in hosts:
            raise UsageError(f"{hosts!r} has a path in it.", next_step="Set the root by its own setting.")
        if not root.startswith("/") or "//" in root or (root != "/" and root.endswith("/")):
            raise UsageError(f"{root!r} is not a root path for ZooKeeper.", next_step="Write it like /taskerman.")
        self._hosts, self._root, self._rooted = hosts, root, Rooted(root)
        self._session_timeout, self._open_timeout = session_timeout, open_timeout
        self._answer_s = (answer_timeout or session_timeout).total_seconds()
        self._count = on_request or (lambda kind: None)
        self._fail = on_failure or (lambda kind, code: None)
        self._listeners: list[Callable[[Link], None]] = []
        self._life = threading.Lock()
        self._connection: Connection | None = None
        self._credentials = tuple(one for one in (credential, node_credential) if one is not None)
        self._node_credential, self._wire = node_credential, wire
        self._acls: Acls = open_to_all

    # --- life --------------------------------------------------------------------------------------------

    def open(self) -> None:
        with self._life:
            if self._connection is not None:
                return
            connection = Connection(
                self._hosts, self._session_timeout, self._tell, credentials=self._credentials, wire=self._wire
            )
            self._connection = connection
            try:
                connection.start(self._open_timeout)
                self._learn_rights()
                self.ensure("/")
            except BaseException:
                self._connection = None
                connection.close()
                raise

    def close(self) -> None:
        with self._life:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @property
    def session(self) -> int | None:
        connection = self._connection
        return None if connection is None else connection.session

    @property
    def link(self) -> Link:
        connection = self._connection
        return Link.ENDED if connection is None else connection.link

    def on_link(self, listener: Callable[[Link], None]) -> None:
        self._listeners.append(listener)

    def _tell(self, link: Link) -> None:
        for listener in self._listeners:
            listener(link)

    # --- calls -------------------------------------------------------------------------------------------

    def read(self, *reads: Read) -> tuple[_Answer, ...]:
        with self._telling("read"):
            connection, deadline = self._reach()
            asked = [self._ask(connection, read) for read in reads]
            answers = tuple(answer(deadline) for answer in asked)
            self._watch_for_appearance(connection, reads, answers, deadline)
            return answers

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        (answer,) = self.read(Get(path, wake))
        assert answer is None or isinstance(answer, Record)
        return answer

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        (answer,) = self.read(Children(path, wake))
        assert answer is None or isinstance(answer, Names)
        return answer

    def commit(self, ops: Sequence[Op]) -> Committed | Refused:
        refuse_unsendable(ops)
        with self._telling("write"):
            return self._commit(ops)

    def _commit(self, ops: Sequence[Op]) -> Committed | Refused:
        try:
            connection, deadline = self._reach()
        except CoordinationUnavailable as error:
            raise unknown(ops, error) from error
        transaction = connection.client.transaction()
        transaction.operations += [self._rooted.request(op, self._acls) for op in ops]
        refuse_unsendable(ops, beside=_rights_bytes(transaction.operations))
        self._count("write")
        try:
            answers = transaction.commit_async().get(timeout=_left(deadline))
        except Exception as error:  # whatever it was, the request may be on its way
            raise unknown(ops, error) from error
        return verdict(ops, answers, self._rooted)

    def ensure(self, *paths: str) -> None:
        connection, deadline = self._reach()
        asked = [(path, self._ask(connection, Exists(path))) for path in paths]
        missing = [self._rooted.full(path) for path, answer in asked if answer(deadline) is None]
        # Parents before children, all of them in flight at once: the server keeps their order.
        created = []
        for part in dict.fromkeys(part for path in missing for part in ancestors(path)):
            self._count("write")
            created.append((part, connection.client.create_async(part, acl=self._acls(self._rooted.ours(part)))))
        for part, result in created:
            try:
                result.get(timeout=_left(deadline))
            except NodeExistsError:
                continue
            except NoAuthError as error:
                if part not in missing:
                    continue  # on the way, and not ours to make: whether it is there shows below it
                raise read_error(f"create {part}", error) from error
            except Exception as error:
                raise read_error(f"create {part}", error) from error

    def sync(self, path: str) -> None:
        with self._telling("read"):
            connection, deadline = self._reach()
            self._count("read")
            _wait(connection.client.sync_async(self._rooted.full(path)), f"sync {path}", deadline)

    @contextmanager
    def _telling(self, kind: str) -> Iterator[None]:
        try:
            yield
        except TaskermanError as error:
            self._fail(kind, error.code)
            raise

    # --- rights -----------------------------------------------------------------------------------------

    def _learn_rights(self) -> None:
        """Who is who in this installation, if that is recorded: it decides what others may do to what we create."""
        record = self.get(RIGHTS)
        self._acls = open_to_all
        if record is not None and record.data:
            self._acls = acls_of(decode(Identities, record, RIGHTS), self._node_credential)

    def is_control(self, identities: Identities) -> bool:
        """Whether this client comes as control, were these the installation's identities."""
        return role_of(identities, self._credentials) is Role.CONTROL

    def use_rights(self, identities: Identities) -> None:
        """What is created from now on gets the rights of these."""
        self._acls = acls_of(identities, self._node_credential)

    def give_rights(self, path: str, identities: Identities) -> None:
        """Give one record its rights, unless it is gone. A node's own identity is known to the node alone, and stays.

        Raises `NotPermitted`, `CoordinationUnavailable`.
        """
        connection, deadline = self._reach()
        full = self._rooted.full(path)
        there = _wait(connection.client.get_acls_async(full), f"rights of {path}", deadline)
        if there is None:
            return
        node = path.rpartition("/")[2]
        acls = access_list(identities, path, owners_of(there[0], node) or identities.agent)
        self._count("write")
        _wait(connection.client.set_acls_async(full, acls), f"set the rights of {path}", deadline)

    # --- reads -------------------------------------------------------------------------------------------

    def _reach(self) -> tuple[Connection, float]:
        connection = self._connection
        if connection is None:
            raise CoordinationUnavailable(f"The client of ZooKeeper at {self._hosts} is closed.")
        deadline = time.monotonic() + self._answer_s
        connection.wait_until_up(deadline)
        return connection, deadline

    def _ask(self, connection: Connection, read: Read) -> Callable[[float], _Answer]:
        """Send one read; what is returned waits for its answer until a deadline."""
        self._count("read")
        client: KazooClient = connection.client
        path = self._rooted.full(read.path)
        watch = None if read.wake is None else connection.watcher(read.wake)
        what = f"{type(read).__name__} {read.path}"
        match read:
            case Get():
                found = client.get_async(path, watch)
                return lambda deadline: _record(_wait(found, what, deadline))
            case Exists():
                stat = client.exists_async(path, watch)
                return lambda deadline: _stat(_wait(stat, what, deadline))
            case Children():
                names = client.get_children_async(path, watch, include_data=True)
                return lambda deadline: _names(_wait(names, what, deadline))

    def _watch_for_appearance(
        self, connection: Connection, reads: Sequence[Read], answers: Sequence[_Answer], deadline: float
    ) -> None:
        """ZooKeeper does not watch what a get does not find; an exists does.

        The answer stays "nothing", as of the moment of the get, so that the order of the reads holds; a record that
        has appeared since is a change after the read, so its wake is due at once.
        """
        asked = [
            (read.wake, self._ask(connection, Exists(read.path, read.wake)))
            for read, answer in zip(reads, answers, strict=True)
            if isinstance(read, Get) and read.wake is not None and answer is None
        ]
        for wake, answer in asked:
            if answer(deadline) is not None:
                connection.dispatch(wake)


def _rights_bytes(requests: Sequence[object]) -> int:
    """What the access lists of a transaction's creates weigh: the server counts them too."""
    return sum(24 + len(acl.id.id) for request in requests for acl in getattr(request, "acl", None) or ())


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _wait(result: IAsyncResult[_T], what: str, deadline: float) -> _T | None:
    try:
        return result.get(timeout=_left(deadline))
    except NoNodeError:
        return None
    except Exception as error:
        raise read_error(what, error) from error


def _record(answer: tuple[bytes, ZnodeStat] | None) -> Record | None:
    return None if answer is None else Record(answer[0], stat_of(answer[1]))


def _stat(answer: ZnodeStat | None) -> Stat | None:
    return None if answer is None else stat_of(answer)


def _names(answer: tuple[list[str], ZnodeStat] | None) -> Names | None:
    return None if answer is None else Names(tuple(sorted(answer[0])), stat_of(answer[1]))
