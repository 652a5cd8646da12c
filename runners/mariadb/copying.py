"""A member's data as a stream, by MariaDB's own programs: its files, or SQL. Neither is whole before it says so."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Literal

from runners.mariadb.config import MariadbConfig
from runners.mariadb.view import Server
from runners.piped import Failed, Piped
from taskerman import Context

__all__ = ["Method", "missing", "stream"]

Method = Literal["mariabackup", "mariadb-dump"]

_PACKAGES = {"mariabackup": "mariadb-backup", "mariadb-dump": "mariadb-client"}
_POSITION = re.compile(r"Writing Galera info succeeded with (\S+)")
_SUPER = re.compile(r"GRANT (ALL PRIVILEGES|[^;]*\bSUPER\b[^;]*) ON \*\.\*")


def missing(ctx: Context, config: MariadbConfig, own: Server, method: Method) -> str:
    """What a copy needs and this machine or the server has not, with the next step; "" when all is there.

    Raises what asking the server raises.
    """
    if shutil.which(method) is None:
        return f"the program {method} is not on PATH: install it (Debian: {_PACKAGES[method]})"
    grants = " ".join(row[0] for row in config.client.ask(ctx, config.own, "SHOW GRANTS"))
    if not _SUPER.search(grants):
        return "the user in defaults_file may not set wsrep_desync: GRANT SUPER ON *.* TO it"
    return _unfit(ctx, own) if method == "mariabackup" else ""


def stream(
    ctx: Context, config: MariadbConfig, method: Method, add: Callable[[str, Iterator[bytes]], object]
) -> str | None:
    """Give the copy to `add`, with the name of the part; the Galera position that the copy has of itself, if any.

    A dump has none: it lies between what was committed before and after. Raises `Failed`, in the midst of `add` too.
    """
    if method == "mariadb-dump":
        argv = [method, *config.client.options, *config.own.options, "--single-transaction", "--skip-lock-tables"]
        argv += ["--quick", "--routines", "--events", "--triggers", "--hex-blob", "--all-databases"]
        with Piped(ctx, argv) as program:
            add("dump.sql.gz", _gzipped(_ending(program.chunks(), b"-- Dump completed")))
        return None
    with tempfile.TemporaryDirectory(prefix="taskerman-") as folder:
        argv = [method, *config.client.options, "--backup", "--stream=xbstream", "--galera-info"]
        with Piped(ctx, [*argv, f"--socket={config.socket}", f"--target-dir={folder}"]) as program:
            add("data.xbstream", _saying(program, "completed OK!"))
        said = _POSITION.search("\n".join(program.said))
        return said[1] if said else None


def _unfit(ctx: Context, own: Server) -> str:
    said = ctx.ask(["mariabackup", "--version"], timeout=timedelta(seconds=20)).output
    found = re.search(r"server (\d+\.\d+)", said)
    version = found[1] if found else ""
    if not version or not own.version.startswith(f"{version}."):
        return f"mariabackup {version or '?'} does not fit the server {own.version}: install the one that does"
    if not os.access(own.datadir, os.R_OK | os.X_OK):
        return f"the agent may not read {own.datadir}: run it as root, or as the server's user"
    return ""


def _saying(program: Piped, last: str) -> Iterator[bytes]:
    """Its output; raises `Failed` at the end unless it said `last`."""
    yield from program.chunks()
    if not any(last in line for line in program.said):
        raise Failed(f"the program ended without saying {last!r}")


def _ending(chunks: Iterator[bytes], mark: bytes) -> Iterator[bytes]:
    """`chunks`; raises `Failed` at the end unless `mark` is among the last bytes."""
    tail = b""
    for chunk in chunks:
        tail = (tail + chunk)[-512:]
        yield chunk
    if mark not in tail:
        raise Failed(f"the dump does not end with {mark.decode()!r}")


def _gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()
