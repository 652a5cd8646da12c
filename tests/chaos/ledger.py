"""Everything that was ever committed, in the order of its commit: read from ZooKeeper's own transaction logs.

No client of ours has to be awake at the right moment, and nothing of ours has a say in what happened first. A
transaction counts when a majority of the members logged it: what one member alone has was never committed.
The format is ZooKeeper 3.6 to 3.9's (`FileTxnLog`, `zookeeper.jute`).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Change", "Step", "read_ledger", "transactions"]

_CREATES = (1, 15, 19, 21)
_DELETES = (2, 20)
_SET, _CHECK, _MULTI, _ERROR = 5, 13, 14, -1


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a transaction: "create", "set" or "delete"."""

    do: str
    path: str
    data: bytes = b""
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One transaction that changed something. `at_ms`: the leader's time of day when it was proposed."""

    zxid: int
    at_ms: int
    steps: tuple[Step, ...]


def read_ledger(members: Sequence[Sequence[Path]], root: str) -> tuple[Change, ...]:
    """What was committed below `root` (which is taken off the paths), in order. `members`: the log files of each."""
    seen: dict[int, Change] = {}
    votes: Counter[int] = Counter()
    for files in members:
        own = {change.zxid: change for file in files for change in transactions(file)}
        votes.update(own.keys())
        seen |= own
    found = []
    for zxid in sorted(zxid for zxid, count in votes.items() if 2 * count > len(members)):
        change = seen[zxid]
        steps = tuple(
            Step(step.do, step.path.removeprefix(root), step.data, step.ephemeral)
            for step in change.steps
            if step.path.startswith(f"{root}/")
        )
        if steps:
            found.append(Change(zxid, change.at_ms, steps))
    return tuple(found)


def transactions(file: Path) -> Iterator[Change]:
    """What one log file holds; its end may be zeros, or cut off by a crash."""
    data = file.read_bytes()
    if data[:4] != b"ZKLG":
        return
    at = 16
    while at + 12 <= len(data):
        length = struct.unpack_from(">i", data, at + 8)[0]
        entry = data[at + 12 : at + 12 + length]
        if length <= 0 or len(entry) < length:
            return
        at += 12 + length + 1
        reader = _Reader(entry)
        reader.take(12)  # session, xid
        zxid, time_ms, kind = reader.long(), reader.long(), reader.number()
        steps = tuple(_steps(kind, reader))
        if steps:
            yield Change(zxid, time_ms, steps)


def _steps(kind: int, reader: _Reader) -> Iterator[Step]:
    if kind == _MULTI:
        parts = [(reader.number(), reader.buffer()) for _ in range(reader.number())]
        if any(part == _ERROR for part, _ in parts):
            return  # refused as a whole
        for part, data in parts:
            yield from _steps(part, _Reader(data))
    elif kind in _CREATES:
        path, data = reader.text(), reader.buffer()
        for _ in range(max(reader.number(), 0)):
            reader.number(), reader.text(), reader.text()  # rights
        ephemeral = kind in (1, 15) and reader.take(1) == b"\1"
        yield Step("create", path, data, ephemeral)
    elif kind in _DELETES:
        yield Step("delete", reader.text())
    elif kind == _SET:
        yield Step("set", reader.text(), reader.buffer())


class _Reader:
    """Jute's encoding: big-endian, lengths before what they measure, -1 for nothing."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def long(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def buffer(self) -> bytes:
        return self.take(max(self.number(), 0))

    def text(self) -> str:
        return self.buffer().decode()
