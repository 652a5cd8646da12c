"""A proxy that understands just enough of ZooKeeper's wire to lose exactly one answer.

ZooKeeper's frames are a length (4 bytes) and a payload; a request begins with its xid and its operation code, a reply
with the xid that it answers, and replies come in the order of the requests. Because of that order nothing is ever
taken out of the middle of a connection: what is swallowed is the last thing that its connection carried in that
direction, as on a real network.

One thing is said here that no client said: while a transaction is held back, its session is kept alive at the server.
Otherwise the server's clock decides whether the transaction still arrives in its session, and a busy machine turns
"late" into "never". Who wants the session to end ends it.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

__all__ = ["Held", "Trap", "ZookeeperProxy"]

MULTI = 14
_XID_AND_CODE = struct.Struct(">ii")
_REPLY = struct.Struct(">iqi")  # xid, zxid, error
_PING = struct.pack(">iii", 8, -2, 11)  # as every idle client sends it
_PING_EVERY_S = 0.3


class _What(Enum):
    REPLY = "reply"
    REQUEST = "request"
    HOLD = "hold"


@dataclass
class Trap:
    """Something that will happen to the next transaction that comes by."""

    what: _What
    cut: bool
    sprung: threading.Event = field(default_factory=threading.Event)

    def wait(self, within_s: float = 15.0) -> None:
        """Wait until it has happened."""
        assert self.sprung.wait(within_s), f"no transaction came by whose {self.what.value} could be lost"


@dataclass
class Held(Trap):
    """A transaction held back on its way, for as long as it takes.

    The connection to the server is still open and its session alive, the client's connection is not: nobody's patience
    and no load of the machine decides whether it arrives.
    """

    frame: bytes = b""
    pair: _Pair | None = None

    def deliver(self, within_s: float = 15.0) -> int | None:
        """Send it now. Returns the error code of the server's reply, or None if the server does not reply.

        A refused transaction is answered with code 0 too: its reasons are in the body.
        """
        assert self.pair is not None
        return self.pair.deliver(self.frame, within_s)


class _Pair:
    """One client's connection and ours to the server for it."""

    def __init__(self, proxy: ZookeeperProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._trap_of: dict[int, Trap] = {}
        self._replies: dict[int, int] = {}
        self._replied = threading.Condition()
        self._sending = threading.Lock()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=pump, name=f"proxy-{pump.__name__}", daemon=True)
            for pump in (self._to_server, self._to_client)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._over.set()
        _close(self._client)
        _close(self._server)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the proxy hangs"

    def deliver(self, frame: bytes, within_s: float) -> int | None:
        xid = _XID_AND_CODE.unpack_from(frame, 4)[0]
        with self._sending:
            _send(self._server, frame)
        with self._replied:
            self._replied.wait_for(lambda: xid in self._replies or self._server.fileno() < 0, within_s)
        return self._replies.get(xid)

    def _to_server(self) -> None:
        first, keep_server = True, False
        while frame := _frame(self._client):
            trap = None
            if not first:
                xid, code = _XID_AND_CODE.unpack_from(frame, 4)
                trap = self._proxy._spring(code)
                if trap is not None and trap.what is _What.REPLY:
                    self._trap_of[xid] = trap
                    trap = None
            first = False
            if trap is None:
                self._proxy._pause("requests")
                if not _send(self._server, frame):
                    break
                continue
            keep_server = isinstance(trap, Held)
            if isinstance(trap, Held):
                trap.frame, trap.pair = frame, self
                self._proxy._refuse()
            trap.sprung.set()
            if trap.cut:
                break
            while _frame(self._client):  # the rest of this connection is lost on the way too
                pass
        _close(self._client)
        if keep_server:
            self._keep_alive()
        _close(self._server)

    def _keep_alive(self) -> None:
        """Speak for the session until the server or a test ends the connection."""
        while not self._over.wait(_PING_EVERY_S):
            with self._sending:
                if not _send(self._server, _PING):
                    break

    def _to_client(self) -> None:
        first = True
        deaf = False
        while frame := _frame(self._server):
            xid = 0
            if not first:
                xid, _, error = _REPLY.unpack_from(frame, 4)
                with self._replied:
                    self._replies[xid] = error
                    self._replied.notify_all()
            first = False
            trap = self._trap_of.pop(xid, None)
            if trap is not None:
                deaf = True
                trap.sprung.set()
                if trap.cut:
                    break
            self._proxy._pause("replies")
            if not deaf:
                _send(self._client, frame)
        self.close()
        with self._replied:
            self._replied.notify_all()


class ZookeeperProxy:
    """Listens on a port of 127.0.0.1 and passes everything on to one server. A context manager.

    Clients of any process may use it. Traps are for whoever's transaction comes next.
    """

    def __init__(self, server_port: int) -> None:
        """`server_port`: of a ZooKeeper on 127.0.0.1."""
        self._server_port = server_port
        self.delay_s = 0.0
        """How long every frame is held up, each way."""
        self.requests = 0
        """How many requests of clients have been passed on."""
        self._lock = threading.Lock()
        self._traps: list[Trap] = []
        self._pairs: list[_Pair] = []
        self._refusing = False
        self._flowing = {direction: threading.Event() for direction in ("requests", "replies")}
        self.thaw()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, name="proxy-accept", daemon=True)
        self._accepting.start()

    @property
    def hosts(self) -> str:
        """What a client connects to."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    # --- faults ------------------------------------------------------------------------------------------

    def lose_next_reply(self, *, cut: bool = True) -> Trap:
        """The server applies the next transaction; its reply is swallowed.

        Then the connection breaks; or, not `cut`, stays open and carries nothing more to the client.
        """
        return self._arm(Trap(_What.REPLY, cut))

    def lose_next_request(self, *, cut: bool = True) -> Trap:
        """The next transaction never reaches the server.

        Then the connection breaks; or, not `cut`, stays open and carries nothing more to the server.
        """
        return self._arm(Trap(_What.REQUEST, cut))

    def hold_next_request(self) -> Held:
        """The next transaction is kept, and its client cut off until `heal`; `Held.deliver` sends it late.

        Deliver before healing: a server closes the old connection of a session that comes back.
        """
        held = Held(_What.HOLD, cut=True)
        self._arm(held)
        return held

    def cut(self) -> None:
        """Break every connection and let nobody in."""
        self._refuse()
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.close()

    def heal(self) -> None:
        """Let clients in again."""
        with self._lock:
            self._refusing = False

    def freeze(self, *, replies_only: bool = False) -> None:
        """Keep every connection open and carry nothing, as a network that drops packets."""
        self._flowing["replies"].clear()
        if not replies_only:
            self._flowing["requests"].clear()

    def thaw(self) -> None:
        """Carry what was held up, and all that follows."""
        for flowing in self._flowing.values():
            flowing.set()

    def close(self) -> None:
        """Break everything, and end all threads."""
        self.thaw()
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)
        self.cut()
        for pair in self._pairs:
            pair.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- for the pairs -----------------------------------------------------------------------------------

    def _arm(self, trap: Trap) -> Trap:
        with self._lock:
            self._traps.append(trap)
        return trap

    def _spring(self, code: int) -> Trap | None:
        with self._lock:
            return self._traps.pop(0) if code == MULTI and self._traps else None

    def _refuse(self) -> None:
        with self._lock:
            self._refusing = True

    def _pause(self, direction: str) -> None:
        self._flowing[direction].wait()
        if direction == "requests":
            with self._lock:
                self.requests += 1
        if self.delay_s:
            time.sleep(self.delay_s)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._lock:
                    refusing = self._refusing
                if refusing:
                    _close(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            for wire in (client, server):
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs.append(pair)
            pair.start()


def _frame(wire: socket.socket) -> bytes:
    """One frame with its length, or nothing when the connection is over."""
    head = _exactly(wire, 4)
    if len(head) < 4:
        return b""
    body = _exactly(wire, struct.unpack(">i", head)[0])
    return head + body if body else b""


def _exactly(wire: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        try:
            part = wire.recv(size)
        except OSError:
            return b""
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(wire: socket.socket, frame: bytes) -> bool:
    try:
        wire.sendall(frame)
    except OSError:
        return False
    return True


def _close(wire: socket.socket) -> None:
    with suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
    wire.close()
