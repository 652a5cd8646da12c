"""One connection that speaks MySQL's protocol, so that a test's load does not start a program for each request.

It knows the greeting, `mysql_native_password`, and a query whose result is text; no TLS, no prepared statements, no
packets of 16 MiB. The protocol: https://mariadb.com/kb/en/clientserver-protocol/
"""

from __future__ import annotations

import hashlib
import socket
import struct
from contextlib import suppress

__all__ = ["MysqlError", "MysqlWire"]

_CLIENT_FLAGS = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x80000  # long password, 4.1, transactions, secure, plugin name
_UTF8MB4 = 45


class MysqlError(Exception):
    """The server answered with an error. `code`: its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class MysqlWire:
    """A connection to one server. Raises `OSError` when it is cut or silent, `MysqlError`."""

    def __init__(self, host: str, port: int, user: str, password: str, *, timeout_s: float = 2.0) -> None:
        self._wire = socket.create_connection((host, port), timeout=timeout_s)
        try:
            self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet(user, password)
        except BaseException:
            self.close()
            raise

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of its result; none for a statement without one."""
        self._send(0, b"\x03" + sql.encode())
        first = self._packet()
        if first[0] == 0:
            return []
        columns, _ = _length(first, 0)
        assert columns is not None
        for _ in range(columns):
            self._packet()
        self._packet()  # the end of the columns
        rows = []
        while not _is_end(row := self._packet()):
            rows.append(_row(row, columns))
        return rows

    def close(self) -> None:
        """Say so, as far as anybody listens. Idempotent."""
        with suppress(OSError):
            self._send(0, b"\x01")
        self._wire.close()

    # --- the greeting ------------------------------------------------------------------------------------

    def _greet(self, user: str, password: str) -> None:
        greeting = self._packet()
        end = greeting.index(b"\0", 1)  # after the version
        salt = greeting[end + 5 : end + 13]
        salt += greeting[end + 32 : end + 44]
        answer = struct.pack("<IIB23x", _CLIENT_FLAGS, 1 << 24, _UTF8MB4) + user.encode() + b"\0"
        answer += b"\x14" + _scrambled(password, salt) + b"mysql_native_password\0"
        self._send(1, answer)
        self._packet()

    # --- packets -----------------------------------------------------------------------------------------

    def _send(self, number: int, content: bytes) -> None:
        self._wire.sendall(struct.pack("<I", len(content))[:3] + bytes([number]) + content)

    def _packet(self) -> bytes:
        size = int.from_bytes(self._exactly(4)[:3], "little")
        content = self._exactly(size)
        if content[0] == 0xFF:
            raise MysqlError(int.from_bytes(content[1:3], "little"), content[3:].decode(errors="replace"))
        return content

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._wire.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            data += part
        return bytes(data)


def _scrambled(password: str, salt: bytes) -> bytes:
    def sha1(data: bytes) -> bytes:
        return hashlib.sha1(data, usedforsecurity=False).digest()

    once = sha1(password.encode())
    mask = sha1(salt + sha1(once))
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def _is_end(packet: bytes) -> bool:
    return packet[0] == 0xFE and len(packet) < 9


def _row(packet: bytes, columns: int) -> tuple[str | None, ...]:
    values: list[str | None] = []
    place = 0
    for _ in range(columns):
        size, place = _length(packet, place)
        if size is None:
            values.append(None)
        else:
            values.append(packet[place : place + size].decode())
            place += size
    return tuple(values)


def _length(packet: bytes, place: int) -> tuple[int | None, int]:
    """A length as the protocol writes it, None for NULL, and where what follows begins."""
    first = packet[place]
    if first == 0xFB:
        return None, place + 1
    wide = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if wide:
        return int.from_bytes(packet[place + 1 : place + 1 + wide], "little"), place + 1 + wide
    return first, place + 1
