"""One kazoo client's life: connect, follow its link, keep watchers from being lost, end.

It knows nothing of records. What it adds to kazoo: every wait has an end, a lost connection wakes its watchers once
the client is back (kazoo does it when it loses it, when nobody can read yet), and a dead server costs a fraction of
the session, not all of it.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.states import Callback, EventType, KazooState, WatchedEvent
from kazoo.retry import KazooRetry

from taskerman.adapters.zookeeper.identity import Credential, Wire, guarded_logger
from taskerman.errors import CoordinationUnavailable, UsageError
from taskerman.ports.tree import Link, Wake

__all__ = ["Connection", "Watcher"]

_LOG = logging.getLogger(__name__)
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LINKS = {KazooState.CONNECTED: Link.UP, KazooState.SUSPENDED: Link.DOWN, KazooState.LOST: Link.ENDED}


class _Handler(SequentialThreadingHandler):
    """kazoo's threads and sockets, with two patiences cut short: else a dead server costs the whole session.

    A server that does not even accept is given `connect_s`, not the session's time. And a server that has been silent
    for `silence_s` is given up, as ZooKeeper's own client does: kazoo asks for a sign of life only when it has sent
    nothing for a while, so a client that goes on asking would stay with a frozen server for ever.

    And the connection's thread does not end before the client does: kazoo ends it by any error that it does not know
    (an answer that makes no sense, a descriptor that is gone), and at once when it may not log in; then nothing would
    ever connect again, and the client would look cut off for ever. Here its loop is begun anew, as a new session.
    """

    def __init__(
        self, connect_s: float, silence_s: float, about_to_connect: Callable[[], None], over: Callable[[], bool]
    ) -> None:
        """`over`: whether the client was closed."""
        super().__init__()
        self._over = over
        self._connect_s, self._silence_s, self._about_to_connect = connect_s, silence_s, about_to_connect
        self._wire: socket.socket | None = None
        self._heard = 0.0

    def spawn(self, func: Callable[..., object], *args: object, **kwargs: object) -> threading.Thread:
        if getattr(func, "__name__", "") == "zk_loop":
            return super().spawn(self._without_end, func)
        return super().spawn(func, *args, **kwargs)

    def _without_end(self, loop: Callable[[], object]) -> None:
        """On the connection's thread."""
        pause_s = _PAUSE_S
        while True:
            began = time.monotonic()
            why = "its loop ended by itself"
            try:
                loop()
            except Exception as error:
                why = repr(error)
            if self._over():
                return
            _LOG.error("the thread of a ZooKeeper connection would have ended; it begins anew (%s)", why)
            pause_s = _PAUSE_S if time.monotonic() - began > _LONGEST_PAUSE_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            give_up = time.monotonic() + pause_s
            while time.monotonic() < give_up and not self._over():
                time.sleep(0.05)

    def create_connection(
        self, address: tuple[str, int], *, timeout: float | None = None, **options: object
    ) -> socket.socket:
        self._about_to_connect()
        shorter = self._connect_s if timeout is None else min(timeout, self._connect_s)
        return super().create_connection(address, timeout=shorter, **options)

    def select(
        self,
        readers: list[socket.socket],
        writers: list[socket.socket],
        others: list[socket.socket],
        timeout: float | None = None,
    ) -> tuple[list[socket.socket], list[socket.socket], list[socket.socket]]:
        """On the connection's thread. By poll(): kazoo makes an epoll for every wait, half of the cost of a read."""
        poll = select.poll()
        by_number = {wire.fileno(): wire for wire in (*readers, *writers)}
        for wires, events in ((readers, select.POLLIN), (writers, select.POLLOUT)):
            for wire in wires:
                poll.register(wire, events)
        found = poll.poll(None if timeout is None else math.ceil(timeout * 1000))
        ready = [by_number[number] for number, _ in found]
        # The main loop, and nothing else, waits for two: the connection, and kazoo's own queue of requests.
        if len(readers) == 2:
            self._give_up_silence(readers[0], heard=readers[0] in ready)
        return [wire for wire in ready if wire in readers], [wire for wire in ready if wire in writers], []

    def _give_up_silence(self, wire: socket.socket, *, heard: bool) -> None:
        now = time.monotonic()
        if heard or wire is not self._wire:
            self._wire, self._heard = wire, now
        elif now - self._heard > self._silence_s:
            raise KazooTimeoutError(f"nothing was heard of the server for {now - self._heard:.1f} s")


@dataclass(frozen=True, slots=True)
class Watcher:
    """What kazoo is given to call. Equal for equal wakes, because kazoo keeps *sets* of watchers per path."""

    wake: Wake
    owe: Callable[[Wake], None] = field(compare=False)

    def __call__(self, event: WatchedEvent) -> None:
        """On kazoo's callback thread. NONE says that kazoo lost the connection and forgot the watch."""
        if event.type == EventType.NONE:
            self.owe(self.wake)
        else:
            self.wake()


class Connection:
    """One session after the other on the same servers. Safe to use from several threads; not to be reopened."""

    def __init__(
        self,
        hosts: str,
        session_timeout: timedelta,
        told: Callable[[Link], None],
        *,
        credentials: Sequence[Credential] = (),
        wire: Wire | None = None,
    ) -> None:
        """`told`: of every change of the link, on kazoo's thread. `credentials`: as whom, all of them at once.

        `wire`: TLS; None: in the clear. Raises `UsageError` for malformed hosts and for files that cannot be read.
        """
        session_s = session_timeout.total_seconds()
        retry = KazooRetry(max_tries=-1, delay=0.05, backoff=2, max_delay=min(0.5, session_s / 4))
        self._handler = _Handler(
            max(0.5, session_s / 4), session_s * 2 / 3, self._forget_the_past, lambda: self._closed
        )
        self._forget_after_s, self._down_since = 2 * session_s, time.monotonic()
        try:
            self.client = KazooClient(
                hosts=hosts,
                timeout=session_s,
                connection_retry=retry,
                handler=self._handler,
                logger=guarded_logger(),
                auth_data=[("digest", f"{one.user}:{one.password}") for one in credentials],
                **({} if wire is None else _tls(wire)),
            )
        except ValueError as error:
            raise UsageError(
                f"{hosts!r} is not a list of ZooKeeper servers ({error}).", next_step="Write host:port,host:port,..."
            ) from error
        self._hosts, self._told = hosts, told
        self._changed = threading.Condition()
        self._link = Link.DOWN
        self._closed = False
        self._owed: list[Wake] = []
        self.client.add_listener(self._follow)

    @property
    def link(self) -> Link:
        """How it stands now."""
        return self._link

    @property
    def session(self) -> int | None:
        """The session's id while the link is up."""
        identity = self.client.client_id if self._link is Link.UP else None
        return None if identity is None else identity[0]

    def start(self, timeout: timedelta) -> None:
        """Connect and wait for it. Raises `CoordinationUnavailable`; call `close` then."""
        if not self.client.start_async().wait(timeout.total_seconds()):
            raise CoordinationUnavailable(
                f"No ZooKeeper server of {self._hosts} gave a session within {timeout.total_seconds():g} s.",
                next_step="Check the hosts, and whether a server there has a quorum (`echo srvr | nc HOST PORT`).",
            )

    def wait_until_up(self, deadline: float) -> None:
        """Wait for the link until `deadline` (monotonic). Raises `CoordinationUnavailable`.

        A request that kazoo is given while it is not connected would lie in its queue beyond all our deadlines.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._link is Link.UP or self._closed, deadline - time.monotonic())
            if self._link is not Link.UP:
                raise CoordinationUnavailable(
                    f"There is no connection to ZooKeeper at {self._hosts} ({self._link.value}).",
                    next_step="It is tried again without an end; check the servers if it lasts.",
                )

    def watcher(self, wake: Wake) -> Watcher:
        """What to give kazoo so that `wake` is called."""
        return Watcher(wake, self._owe)

    def dispatch(self, wake: Wake) -> None:
        """Call `wake` on kazoo's callback thread."""
        self._handler.dispatch_callback(Callback("watch", wake, ()))

    def close(self) -> None:
        """End the session and kazoo's threads. Idempotent; never raises. Not from kazoo's threads."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._owed.clear()
            self._changed.notify_all()
        try:
            self.client.stop()
            self.client.close()
        except Exception as error:  # kazoo's own clean-up fails in many ways, and nothing is left to be done
            _LOG.warning("a ZooKeeper client did not end in order; its session will expire", exc_info=error)
        if self._link is not Link.ENDED:
            self._follow(KazooState.LOST)

    def _forget_the_past(self) -> None:
        """Before each try to connect, on kazoo's thread.

        A server refuses whoever has seen a later transaction than it has. That keeps a session from going back to a
        server that lags behind; but servers that were restored from a backup would be refused for as long as this
        process lives. When the session must be over, nothing of it is to be protected any more.
        """
        if self._link is not Link.UP and time.monotonic() - self._down_since > self._forget_after_s:
            self.client.last_zxid = 0

    def _owe(self, wake: Wake) -> None:
        with self._changed:
            if self._link is not Link.UP:
                if not self._closed:
                    self._owed.append(wake)
                return
        wake()

    def _follow(self, state: str) -> None:
        """On kazoo's connection thread: it must not block."""
        with self._changed:
            if self._link is Link.UP:
                self._down_since = time.monotonic()
            self._link = _LINKS[state]
            owed: list[Wake] = []
            if self._link is Link.UP:
                owed, self._owed = self._owed, owed
            self._changed.notify_all()
        for wake in owed:
            self.dispatch(wake)
        self._told(_LINKS[state])


def _tls(wire: Wire) -> dict[str, Any]:
    """kazoo's words for it. What cannot be read is said now, and not for ever by each try to connect."""
    for name, file in (("CA", wire.ca), ("CERT", wire.cert), ("KEY", wire.key)):
        if file is not None and not os.access(file, os.R_OK):
            raise UsageError(f"{file} cannot be read.", next_step=f"See TASKERMAN_ZOOKEEPER_TLS_{name}.")
    return {
        "use_ssl": True,
        "ca": None if wire.ca is None else str(wire.ca),
        "certfile": None if wire.cert is None else str(wire.cert),
        "keyfile": None if wire.key is None else str(wire.key),
        "keyfile_password": wire.key_password,
        "check_hostname": wire.check_hostname,
    }
