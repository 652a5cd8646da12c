"""A server's data as one snapshot (RDB): the file that it writes when it is asked, or what a replica would be sent.

The file is the better way where it can be read, because it is checked by Redis's own program before it is stored. Where
it cannot, and where the server keeps nothing on disk (a snapshot that is left there would come back to life with its
next start), `redis-cli --rdb` asks for it as a replica does.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runners.piped import Failed, Piped
from runners.redis.config import RedisConfig
from runners.redis.resp import Connection, ErrorReply
from taskerman import Context

__all__ = ["Persistence", "Way", "look_at_disk", "room", "save"]

ASK_EVERY_S = 0.1
_CHUNK = 1 << 20
_MAGIC = b"REDIS"
_END = 0xFF
_CHECKSUM_BYTES = 8
_MARK_BYTES = 40

Way = str
"""`file` or `stream`."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a server keeps its data. `file`: of its snapshots, None when it does not say. `keeps`: it loads something at
    its next start. `busy`: it writes a snapshot or rewrites its log. `saves`: so many snapshots since its start."""

    file: Path | None
    keeps: bool
    busy: bool
    saves: int
    last_ok: bool
    used_bytes: int
    run_id: str

    @property
    def way(self) -> Way:
        """How a snapshot is had."""
        if self.file is None or not (self.keeps or self.file.exists()):
            return "stream"
        return "file" if os.access(self.file.parent, os.R_OK | os.X_OK) else "stream"


def look_at_disk(config: RedisConfig) -> Persistence:
    """Ask the own server. Raises `OSError`, `ErrorReply`."""
    with config.access.open(config.own_address) as connection:
        return _persistence(connection)


def room(found: Persistence, *, copied: float) -> str:
    """Why this machine has no room for a snapshot, in memory or on disk; "" when it has.

    `copied`: the share of the data that is written to, and so copied in memory, while the snapshot is written.
    """
    free = _available_bytes()
    wanted = int(found.used_bytes * copied)
    if free is not None and free < wanted:
        return (
            f"a snapshot may copy {wanted:,} bytes in memory, and the machine has {free:,} left: the server might be "
            "killed. Back up another replica, or say that less is written meanwhile (copied)"
        )
    if found.way == "stream" or found.file is None:
        return ""
    old = found.file.stat().st_size if found.file.exists() else 0
    needed = old + old // 4 if old else found.used_bytes
    disk = shutil.disk_usage(found.file.parent).free
    if disk < needed:
        return f"a snapshot takes about {needed:,} bytes in {found.file.parent}, where {disk:,} are free"
    return ""


def save(ctx: Context, config: RedisConfig, found: Persistence, add: Callable[[str, Iterator[bytes]], object]) -> None:
    """Give a snapshot that is newer than `found` to `add`. Raises `Failed`, `OSError`, `ErrorReply`."""
    if found.way == "stream":
        _stream(ctx, config, add)
        return
    assert found.file is not None
    _have_it_saved(ctx, config, found)
    handle = os.open(found.file, os.O_RDONLY)  # this very file, also when the server writes the next one over it
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Failed(f"{found.file} is no file")
        _check(ctx, f"/proc/{os.getpid()}/fd/{handle}")
        add("dump.rdb", _whole(iter(lambda: file.read(_CHUNK), b"")))


def _have_it_saved(ctx: Context, config: RedisConfig, before: Persistence) -> None:
    with config.access.open(config.own_address) as connection:
        try:
            ctx.log("asks for a snapshot", said=str(connection.call("BGSAVE")))
        except ErrorReply as error:
            if "in progress" not in str(error):
                raise
            ctx.log("waits for the snapshot that is being written", why=str(error))
    while True:
        time.sleep(ASK_EVERY_S)
        now = look_at_disk(config)
        if now.run_id != before.run_id:
            raise Failed("the server was restarted while it wrote its snapshot")
        if now.saves > before.saves and now.last_ok:
            return
        if not now.busy:
            raise Failed("the server could not write its snapshot (rdb_last_bgsave_status); its log says why")


def _check(ctx: Context, path: str) -> None:
    """Have Redis's own program look at it, where there is one."""
    if shutil.which("redis-check-rdb") is None:
        ctx.log("redis-check-rdb is not installed: only the snapshot's beginning and end are looked at")
        return
    answer = ctx.ask(["redis-check-rdb", path])
    if answer.exit:
        raise Failed(f"redis-check-rdb refuses the snapshot: {answer.output.strip()[-300:]}")


def _stream(ctx: Context, config: RedisConfig, add: Callable[[str, Iterator[bytes]], object]) -> None:
    argv = ["redis-cli", "-h", config.host, "-p", str(config.port)]
    argv += ["--user", config.username] if config.username else []
    secret = {} if config.password is None else {"REDISCLI_AUTH": config.password.get_secret_value()}
    with Piped(ctx, [*argv, "--rdb", "-"], env=secret) as program:
        add("dump.rdb", _whole(_without_mark(program.chunks())))


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks` without what a server that does not know the length beforehand puts after a snapshot, and redis-cli
    takes off a file, but cannot take off a pipe: forty hexadecimal digits."""
    held = b""
    for chunk in chunks:
        held += chunk
        if len(held) > _MARK_BYTES:
            yield held[:-_MARK_BYTES]
            held = held[-_MARK_BYTES:]
    if not re.fullmatch(rb"[0-9a-f]{40}", held):
        yield held


def _whole(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks`; raises `Failed` at the end unless they begin and end as a snapshot does."""
    head, tail, size = b"", b"", 0
    for chunk in chunks:
        head = (head + chunk)[: len(_MAGIC)] if len(head) < len(_MAGIC) else head
        tail = (tail + chunk)[-_CHECKSUM_BYTES - 1 :]
        size += len(chunk)
        yield chunk
    if head != _MAGIC or len(tail) <= _CHECKSUM_BYTES or tail[0] != _END:
        raise Failed(f"what came is no whole snapshot: {size:,} bytes that begin with {head!r}")


def _persistence(connection: Connection) -> Persistence:
    text = "\n".join(connection.text("INFO", section) for section in ("server", "memory", "persistence", "replication"))
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    settings = {}
    for name in ("dir", "dbfilename", "save", "appendonly"):
        try:
            answer = connection.call("CONFIG", "GET", name)
        except ErrorReply:
            break  # renamed or not allowed: what it says of itself must do
        if isinstance(answer, tuple) and len(answer) == 2:
            settings[name] = str(answer[1])
    named = settings.get("dir") and settings.get("dbfilename")
    return Persistence(
        file=Path(settings["dir"], settings["dbfilename"]) if named else None,
        keeps=bool(settings.get("save")) or settings.get("appendonly") == "yes",
        busy="1" in (said.get("rdb_bgsave_in_progress"), said.get("aof_rewrite_in_progress")),
        saves=int(said.get("rdb_saves", said.get("rdb_last_save_time", "0"))),
        last_ok=said.get("rdb_last_bgsave_status") == "ok",
        used_bytes=int(said.get("used_memory", "0")),
        run_id=said["run_id"],
    )


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
