"""Files of many snapshots, each kept once: what a backup uploads is only what none before it had.

    data/<node>/<sha256>                             the content of a file, named by itself
    backups/<node>/<time>-<attempt>/files.json       which files a snapshot has: path, size, sha256
    backups/<node>/<time>-<attempt>/manifest         written last; without it there is no backup

A file of an SSTable is not changed after it was written, except small ones (Statistics) that are replaced, so names and
sizes do not say what is inside; the content's checksum does. Content is removed only when no backup that is left names
it, and it is days old: a younger one may be of a backup whose manifest is not written yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import JsonValue

from runners.backups import Backup, Backups, Damaged
from runners.objects import ObjectStore

__all__ = ["FILES", "Gone", "Kept", "Pool"]

FILES = "files.json"
_CHUNK = 1024 * 1024
_GRACE = timedelta(days=3)


class Gone(Exception):
    """A file of the snapshot changed or went while it was read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of a snapshot. `path`: <keyspace>/<table>/<file>."""

    path: str
    size: int
    sha256: str


class Pool:
    """The content of all backups of one node."""

    def __init__(self, store: ObjectStore, node: str) -> None:
        self._store = store
        self._folder = f"data/{node.replace(':', '.')}"
        self.backups = Backups(store, f"backups/{node}")

    def add(self, files: Iterable[tuple[str, Path]]) -> tuple[list[Kept], int]:
        """Keep each (path in the snapshot, where it lies) whose content is not kept yet: all of them, and how many
        bytes were uploaded. Raises `Gone`, `StoreUnavailable`, `OSError`."""
        there = self._there()
        kept: list[Kept] = []
        uploaded = 0
        for path, file in files:
            digest, size = _digest(file)
            if there.get(digest) != size:
                self._store.put(f"{self._folder}/{digest}", _unchanged(file, digest))
                there[digest] = size
                uploaded += size
            kept.append(Kept(path, size, digest))
        return kept, uploaded

    def missing(self, kept: Iterable[Kept]) -> list[str]:
        """The paths whose content is not in the store, or is shorter: asked before a manifest vouches for them."""
        there = self._there()
        return [one.path for one in kept if there.get(one.sha256) != one.size]

    def files(self, backup: Backup) -> list[Kept]:
        """What a backup names. Raises `Damaged`."""
        raw = b"".join(self.backups.read(backup, FILES))
        try:
            return [Kept(str(path), int(size), str(digest)) for path, size, digest in json.loads(raw)]
        except (ValueError, TypeError) as error:
            raise Damaged(f"{backup.name}/{FILES} cannot be read: {error}") from error

    def read(self, one: Kept) -> Iterator[bytes]:
        """The content of a file; raises `Damaged` after the last byte if it is not what was kept."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._store.read(f"{self._folder}/{one.sha256}"):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if (size, digest.hexdigest()) != (one.size, one.sha256):
            raise Damaged(f"{one.path} is not what was kept: {size:,} bytes of {one.size:,}")

    def prune(
        self, now: datetime, *, keep: int, keep_for: timedelta, alike: Mapping[str, JsonValue] | None = None
    ) -> tuple[list[str], int]:
        """Remove backups as `Backups.prune` does, then old content that none of those that are left names: the names of
        the backups, and how many contents.

        Raises `Damaged` when what one of them names cannot be read: then no content is removed.
        """
        gone = self.backups.prune(now, keep=keep, keep_for=keep_for, alike=alike)
        named = {one.sha256 for backup in self.backups.whole() for one in self.files(backup)}
        old = [
            each.key
            for each in self._store.list(f"{self._folder}/")
            if each.key.rpartition("/")[2] not in named and each.at is not None and now - each.at > _GRACE
        ]
        self._store.delete(old)
        return gone, len(old)

    def _there(self) -> dict[str, int]:
        return {each.key.rpartition("/")[2]: each.size for each in self._store.list(f"{self._folder}/")}


def listing(kept: Sequence[Kept]) -> bytes:
    """`files.json`."""
    return json.dumps([[one.path, one.size, one.sha256] for one in kept]).encode()


def snapshot_files(folders: Iterable[str], tag: str) -> Iterator[tuple[str, Path]]:
    """Every file of a snapshot, wherever its tables' data lie: `<folder>/<keyspace>/<table>/snapshots/<tag>/...`.

    The same path may come from two folders: their names are kept apart by the folder's number.
    """
    for number, folder in enumerate(folders):
        for table in sorted(Path(folder).glob("*/*")):
            snapshot = table / "snapshots" / tag
            for file in sorted(snapshot.rglob("*")) if snapshot.is_dir() else ():
                if file.is_file() and not file.is_symlink():
                    name = file.relative_to(snapshot)
                    yield f"{number}/{table.parent.name}/{table.name}/{name}", file


def _digest(file: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(file):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _unchanged(file: Path, sha256: str) -> Iterator[bytes]:
    """Its content; raises `Gone` after the last byte if it is not what it was: then there is no object of that name."""
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise Gone(f"{file} changed while it was read")


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
