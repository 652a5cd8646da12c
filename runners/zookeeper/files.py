"""The files in which ZooKeeper keeps its data: which there are, which are whole, which belong together.

A snapshot is whole when its last bytes are the checksum of all before them: ZooKeeper writes them last. A transaction
log is allocated ahead and filled: what counts is its prefix of whole records, each with a checksum of its own. A
snapshot is taken while transactions go on, so it holds some later than its name says: it is good only together with
all logs from the one that reaches back to its name, up to the last transaction applied when it was done.

Source: FileSnap, SnapStream, FileTxnLog and PurgeTxnLog of ZooKeeper 3.6 to 3.9.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "BrokenFile",
    "Data",
    "LogReader",
    "Numbered",
    "UnknownLayout",
    "complete",
    "follows",
    "logs_from",
    "read_data",
    "whole",
]

_NAME = re.compile(r"(snapshot|log)\.([0-9a-f]{1,16})(\.gz|\.snappy)?")
_LEFT_ALONE = re.compile(r"(accepted|current)Epoch(\.tmp)?|snapshot\.[0-9a-f]{1,16}(\.gz|\.snappy)?\.tmp")
_SNAPSHOT_MAGIC, _LOG_MAGIC = b"ZKSN", b"ZKLG"
_SEAL = 13
"""Bytes: the checksum, and "/" as a string with its length."""
_SEAL_END = b"\x00\x00\x00\x01/"
_LOG_HEADER = 16
_END_OF_RECORD = b"B"
_MOST_RECORD = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class UnknownLayout(Exception):
    """A folder is not what ZooKeeper leaves: nothing in it is touched."""


class BrokenFile(Exception):
    """A file is not whole, or files that should follow each other do not."""


@dataclass(frozen=True, slots=True, order=True)
class Numbered:
    """A file and the transaction that it is named after: the last in a snapshot, the first of a log."""

    zxid: int
    path: Path


@dataclass(frozen=True, slots=True)
class Data:
    """Snapshots and logs of one server, each oldest first."""

    snapshots: tuple[Numbered, ...]
    logs: tuple[Numbered, ...]


def read_data(data: Path, log: Path) -> Data:
    """What is in the two folders, which may be one.

    Raises `UnknownLayout` when one is not there, may not be read, or has something in it that is not ZooKeeper's.
    """
    found: dict[str, list[Numbered]] = {"snapshot": [], "log": []}
    for folder in dict.fromkeys((data, log)):
        if folder.name != "version-2":
            raise UnknownLayout(f"{folder} is not a folder version-2: another format than this runner knows")
        try:
            entries = list(folder.iterdir())
        except OSError as error:
            raise UnknownLayout(f"{folder} cannot be read: {error.strerror or error}") from error
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name is None and _LEFT_ALONE.fullmatch(entry.name):
                continue
            if name is None or entry.is_symlink() or not entry.is_file() or (name[1] == "log" and name[3]):
                raise UnknownLayout(f"{entry} is no file of ZooKeeper: move it away, or look who put it there")
            if name[3] == ".snappy":
                raise UnknownLayout(f"{entry} is compressed with snappy, which cannot be checked here: use gz or none")
            if folder == (data if name[1] == "snapshot" else log):
                found[name[1]].append(Numbered(int(name[2], 16), entry))
            else:
                raise UnknownLayout(f"{entry} is in the wrong one of {data} and {log}")
    return Data(tuple(sorted(found["snapshot"])), tuple(sorted(found["log"])))


def logs_from(logs: Sequence[Numbered], zxid: int) -> tuple[Numbered, ...]:
    """Those that a snapshot of `zxid` needs: the last that begins at or before it, and all that are later."""
    before = [each.zxid for each in logs if each.zxid <= zxid]
    return tuple(each for each in logs if each.zxid >= max(before, default=0))


def follows(earlier: int, later: int) -> bool:
    """Whether no transaction is missing between the two."""
    return later == earlier + 1 or (later >> 32 > earlier >> 32 and later & 0xFFFFFFFF == 1)


def whole(snapshot: Path) -> Iterator[bytes]:
    """The file as it is, in pieces. After the last one raises `BrokenFile` if its checksum is of something else."""
    sums = _Seal(snapshot)
    with snapshot.open("rb") as raw:
        if snapshot.suffix == ".gz":
            _unpack(raw, sums, snapshot)
            raw.seek(0)
            while chunk := raw.read(_CHUNK):
                yield chunk
            return
        while chunk := raw.read(_CHUNK):
            sums.add(chunk)
            yield chunk
        sums.check()


def _unpack(raw: IO[bytes], sums: _Seal, name: Path) -> None:
    """Raises `BrokenFile`."""
    try:
        with gzip.GzipFile(fileobj=raw) as content:
            while chunk := content.read(_CHUNK):
                sums.add(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BrokenFile(f"{name} is not whole: {error}") from error
    sums.check()


class _Seal:
    """The checksum of all but the last bytes of what comes in pieces."""

    def __init__(self, name: Path) -> None:
        self._name, self._sum, self._tail, self._first = name, 1, b"", b""

    def add(self, chunk: bytes) -> None:
        self._first = self._first or chunk[:4]
        both = self._tail + chunk
        self._sum = zlib.adler32(both[:-_SEAL], self._sum)
        self._tail = both[-_SEAL:]

    def check(self) -> None:
        if self._first != _SNAPSHOT_MAGIC:
            raise BrokenFile(f"{self._name} does not begin as a snapshot does")
        if len(self._tail) < _SEAL or self._tail[8:] != _SEAL_END:
            raise BrokenFile(f"{self._name} has no seal: it was not written to its end")
        if struct.unpack(">q", self._tail[:8])[0] != self._sum:
            raise BrokenFile(f"{self._name} does not have the content that its checksum is of")


class LogReader:
    """The whole records of a chain of logs, up to one transaction, checked to leave none out after a snapshot's."""

    def __init__(self, after: int, upto: int) -> None:
        """`after`: of the snapshot. `upto`: the last one that is wanted; later ones may not be agreed on yet."""
        self.last = after
        """The last transaction that was read; `after` before one was."""
        self._after, self._upto = after, upto

    def read(self, log: Path, content: IO[bytes]) -> Iterator[bytes]:
        """The bytes of one log, its header first. The logs must come in order.

        Ends at the first record that is not written yet. Raises `BrokenFile` for one that is damaged, and when
        transactions are missing before it.
        """
        header = content.read(_LOG_HEADER)
        if not header:
            return  # made a moment ago
        if header[:4] != _LOG_MAGIC:
            raise BrokenFile(f"{log} does not begin as a log does")
        yield header
        while (record := self._record(log, content)) is not None:
            zxid, raw = record
            if zxid > self._upto:
                return
            if zxid > self._after:
                if not follows(self.last, zxid):
                    raise BrokenFile(f"{log}: between {self.last:#x} and {zxid:#x} transactions are missing")
                self.last = zxid
            yield raw

    def _record(self, log: Path, content: IO[bytes]) -> tuple[int, bytes] | None:
        head = content.read(12)
        if len(head) < 12:
            return None
        checksum, size = struct.unpack(">qi", head)
        if size == 0:
            return None  # allocated, and not written yet
        if not 0 < size <= _MOST_RECORD:
            raise BrokenFile(f"{log}: after {self.last:#x} stands a record of {size} bytes")
        body = content.read(size + 1)
        if len(body) < size + 1 or body[size:] == b"\x00":
            return None  # it is being written
        if body[size:] != _END_OF_RECORD or zlib.adler32(body[:size]) != checksum or size < 32:
            raise BrokenFile(f"{log}: the record after {self.last:#x} is damaged")
        return struct.unpack(">q", body[12:20])[0], head + body


def complete(reached: int, snapshot: int, applied: int) -> bool:
    """Whether a chain from `snapshot` that ends at `reached` has all that the server had `applied`."""
    return reached >= applied or applied & 0xFFFFFFFF == 0 or (reached == snapshot and applied <= snapshot)
