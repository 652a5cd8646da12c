"""Asking a server a few things through MariaDB's own client program, whose output is read and never guessed at.

Who asks is in a file of options that nobody else can read, and never in an argument list, which everybody on the
machine can.
"""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from taskerman import CommandFailed, Context

__all__ = ["Address", "Client", "Denied", "Row", "ServerError", "Unreachable"]

Row = tuple[str, ...]

_ERROR = re.compile(r"^ERROR (\d+) \(\w+\)(?: at line \d+)?: (.*)$", re.MULTILINE)
_NOBODY_THERE = (2002, 2003)
_CUT = (2005, 2006, 2012, 2013, 2026, 2055)
_DENIED = (1044, 1045, 1142, 1143, 1227, 1698)
_ESCAPED = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


class ServerError(Exception):
    """The server answered, and its answer is an error. `code`: its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (error {code})")
        self.code = code


class Denied(ServerError):
    """The server answers, and does not let us ask: a wrong password or missing rights."""


class Unreachable(Exception):
    """No answer. `refused`: nobody listens there; else whoever is there may be alive."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Address:
    """Of a server: the path of its `socket` on this machine, or `host` and `port`."""

    host: str = ""
    port: int = 0
    socket: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host:port`. Raises `ValueError`."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r:.100} is not host:port")
        return cls(host.strip("[]"), int(port))

    @property
    def options(self) -> list[str]:
        """Of any of MariaDB's programs."""
        if self.socket:
            return ["--protocol=socket", f"--socket={self.socket}"]
        return ["--protocol=tcp", f"--host={self.host}", f"--port={self.port}"]

    def __str__(self) -> str:
        return self.socket or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Client:
    """`defaults_file`: with user and password; None: what the program finds by itself."""

    defaults_file: str | None
    timeout_s: float

    @property
    def options(self) -> list[str]:
        """Who asks; the first of any program's options."""
        return [] if self.defaults_file is None else [f"--defaults-file={self.defaults_file}"]

    def wrong(self) -> str:
        """Why it should not be used as it is configured; "" when nothing is wrong."""
        if self.defaults_file is None:
            return ""
        try:
            found = Path(self.defaults_file).stat()
        except OSError as error:
            return f"defaults_file {self.defaults_file} cannot be read: {error.strerror}. Write it, with mode 0600"
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return f"defaults_file {self.defaults_file} can be read by others: chmod 600 it, and change the password"
        return ""

    def ask(self, ctx: Context, address: Address, sql: str) -> list[Row]:
        """The rows of all statements of `sql`, in order; NULL is the text NULL.

        Raises `Unreachable`, `Denied`, `ServerError`, and `CommandFailed` when the program cannot be started.
        """
        argv = ["mariadb", *self.options, *address.options, f"--connect-timeout={max(1, round(self.timeout_s))}"]
        argv += ["--batch", "--skip-column-names", f"--execute={sql}"]
        try:
            answer = ctx.ask(argv, timeout=timedelta(seconds=self.timeout_s + 1))
        except CommandFailed as failed:
            if "cannot be started" in failed.why:
                raise
            raise Unreachable(f"it did not answer within {self.timeout_s:g} s") from None
        if answer.exit:
            raise _error(answer.output, address)
        return [_row(line) for line in answer.output.splitlines() if line]


def _error(output: str, address: Address) -> Exception:
    found = _ERROR.search(output)
    if found is None:
        return Unreachable(f"the client says {output.strip()[-200:]!r}")
    code, text = int(found[1]), found[2].strip()
    if code in _NOBODY_THERE:
        return Unreachable(text, refused=_nobody_listens(address))
    if code in _CUT:
        return Unreachable(text)
    return Denied(code, text) if code in _DENIED else ServerError(code, text)


def _nobody_listens(address: Address) -> bool:
    """Whether a connection is refused; the program does not tell that from one that is never answered."""
    try:
        if address.socket:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(address.socket)
        else:
            socket.create_connection((address.host, address.port), timeout=1).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False


def _row(line: str) -> Row:
    return tuple(re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[0]), cell) for cell in line.split("\t"))


def quoted(names: Sequence[str]) -> str:
    """As a list of literals; for names that are ours."""
    return ", ".join(f"'{name}'" for name in names)
