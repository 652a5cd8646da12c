"""One connection that speaks Redis's protocol (RESP 2), for asking a server a few things. Not a client library.

No pooling, no retries, no pipelining, no pub/sub: whoever asks knows how long an answer is worth waiting for. What is
not RESP is an error and never a guess. The protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self

__all__ = ["Connection", "ErrorReply", "NotResp", "Reply"]

Reply = str | int | None | tuple["Reply", ...]

MAX_LINE_BYTES = 64 * 1024
MAX_BULK_BYTES = 64 * 1024 * 1024
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 8


class ErrorReply(Exception):
    """The server answered, and its answer is an error. `kind`: its first word, such as LOADING or NOAUTH."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.kind = text.partition(" ")[0]


class NotResp(OSError):
    """What came back is not RESP: something else listens there, or the connection was cut in mid-reply."""


class Connection:
    """A connection to one server. A context manager. After any `OSError` it is of no use any more."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float = 2.0,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        """Connect, and authenticate when a password is given.

        `timeout_s`: for the connection, and for each whole reply. Raises `OSError` (nobody there, too late) and
        `ErrorReply` (wrong password).
        """
        self._timeout_s = timeout_s
        self._buffer = bytearray()
        self._deadline = 0.0
        self._wire = socket.create_connection((host, port), timeout=timeout_s)
        try:
            self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if password is not None:
                self.call("AUTH", *([username] if username else []), password)
        except BaseException:
            self.close()
            raise

    def call(self, *words: str | int) -> Reply:
        """The reply to one command; text is UTF-8, what is not is replaced.

        Raises `ErrorReply`, `OSError` (`TimeoutError` when the whole reply did not come in time), `NotResp`.
        """
        self._deadline = time.monotonic() + self._timeout_s
        self._wire.settimeout(self._timeout_s)
        parts = [str(word).encode() for word in words]
        self._wire.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._reply(0)

    def text(self, *words: str | int) -> str:
        """`call`, for commands whose reply is text. Raises `NotResp` for another reply."""
        reply = self.call(*words)
        if not isinstance(reply, str):
            raise NotResp(f"{words[0]} was answered with {type(reply).__name__}, not with text")
        return reply

    def close(self) -> None:
        """Idempotent."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------------------

    def _reply(self, depth: int) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest.decode(errors="replace")
            case b"-":
                if depth:
                    raise NotResp("an error within an array: nothing that is asked here is answered so")
                raise ErrorReply(rest.decode(errors="replace"))
            case b":":
                return _integer(rest)
            case b"$":
                return self._bulk(_integer(rest))
            case b"*":
                return self._array(_integer(rest), depth)
        raise NotResp(f"not a reply of Redis: {line[:40]!r}")

    def _bulk(self, size: int) -> str | None:
        if size == -1:
            return None
        if not 0 <= size <= MAX_BULK_BYTES:
            raise NotResp(f"a text of {size} bytes is announced")
        data = self._exactly(size + 2)
        if data[-2:] != b"\r\n":
            raise NotResp("a text is longer than it was announced")
        return data[:-2].decode(errors="replace")

    def _array(self, count: int, depth: int) -> tuple[Reply, ...] | None:
        if count == -1:
            return None
        if not 0 <= count <= MAX_ELEMENTS or depth >= MAX_DEPTH:
            raise NotResp(f"an array of {count} elements is announced, {depth} deep")
        return tuple(self._reply(depth + 1) for _ in range(count))

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise NotResp("a line without an end")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the reply did not come in time")
        self._wire.settimeout(left)
        part = self._wire.recv(64 * 1024)
        if not part:
            raise NotResp("the connection was closed before the reply was complete")
        self._buffer += part


def _integer(text: bytes) -> int:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 20:
        raise NotResp(f"not a number: {text[:40]!r}")
    return int(text)
