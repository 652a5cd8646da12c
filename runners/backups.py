"""Backups in an object store: each is some objects and a manifest that is written last. Without it there is no backup.

    <prefix>/<node or cluster>/<time>-<attempt>/<part>      what was backed up
    <prefix>/<node or cluster>/<time>-<attempt>/manifest    its parts, their sizes and sha256, and what the runner adds

A reader trusts nothing but a manifest, and each part only as far as its checksum. A backup that was killed half-way has
no manifest: it is not listed, not restored, not counted by retention, and removed by it when it is old.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from runners.objects import NoSuchObject, ObjectStore, Stored, StoreRefuses, StoreUnavailable
from taskerman import Check, Refuse, Wait

__all__ = ["Backup", "Backups", "Damaged", "Unfinished", "not_now"]

MANIFEST = "manifest"
_TIME = "%Y%m%dT%H%M%SZ"
_OURS = re.compile(r"\d{8}T\d{6}Z-")
_ABANDONED = timedelta(days=2)


class Damaged(Exception):
    """A backup is not what its manifest says: a part is missing, shorter, or has another checksum."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole one. `name`: its folder. `parts`: by key relative to it. `facts`: what the runner wrote about it."""

    name: str
    at: datetime
    parts: tuple[Stored, ...]
    facts: Mapping[str, JsonValue]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


def not_now(error: StoreUnavailable | Damaged) -> Check:
    """What a pre_check says of an error of the store: `Wait` where it may pass by itself, else `Refuse`."""
    if isinstance(error, StoreUnavailable) and not isinstance(error, (StoreRefuses, NoSuchObject)):
        return Wait(str(error))
    return Refuse(str(error))


class Unfinished:
    """A backup that is being written. It counts after `finish`, and not before."""

    def __init__(self, store: ObjectStore, folder: str, at: datetime) -> None:
        self._store, self._folder, self._at = store, folder, at
        self._parts: list[Stored] = []

    @property
    def name(self) -> str:
        """Its folder."""
        return self._folder

    def add(self, part: str, chunks: Iterable[bytes]) -> Stored:
        """Stream one part into the store. Raises `StoreUnavailable`, and what `chunks` raises; then there is none.

        `ValueError` for the manifest's own name: it would be a backup before it is whole.
        """
        if part.rpartition("/")[2] == MANIFEST:
            raise ValueError(f"a part is not called {part!r}")
        stored = self._store.put(f"{self._folder}/{part}", chunks)
        self._parts.append(Stored(part, stored.size, stored.sha256, stored.at))
        return stored

    def finish(self, **facts: JsonValue) -> Backup:
        """Write the manifest: from now on it is a backup. Raises `Damaged` when a part is not there any more, or is
        shorter; `StoreUnavailable`."""
        there = {each.key: each.size for each in self._store.list(f"{self._folder}/")} if self._parts else {}
        for part in self._parts:
            if there.get(f"{self._folder}/{part.key}") != part.size:
                raise Damaged(f"{self._folder}/{part.key} is not there any more as it was written: there is no backup")
        document = {
            "v": 1,
            "at": self._at.strftime(_TIME),
            "parts": [{"key": part.key, "size": part.size, "sha256": part.sha256} for part in self._parts],
            "facts": facts,
        }
        self._store.put(f"{self._folder}/{MANIFEST}", [json.dumps(document, sort_keys=True).encode()])
        return Backup(self._folder, self._at, tuple(self._parts), facts)


class Backups:
    """All backups of one thing. `of`: what is backed up, a node or a cluster; part of every key."""

    def __init__(self, store: ObjectStore, of: str) -> None:
        self._store = store
        self._of = of.replace(":", ".")

    def begin(self, attempt: str, now: datetime) -> Unfinished:
        """A new one, in a folder of its own. `now`: aware."""
        at = now.astimezone(UTC)
        return Unfinished(self._store, f"{self._of}/{at.strftime(_TIME)}-{attempt}", at)

    def made_by(self, attempt: str) -> Backup | None:
        """The whole backup that this attempt wrote, if it did: what `recover` asks."""
        mine = [folder for folder in self._folders() if _attempt_of(folder) == attempt]
        return next((found for folder in mine if (found := self._read(folder)) is not None), None)

    def whole(self) -> Sequence[Backup]:
        """Every whole one, oldest first. Raises `StoreUnavailable`, `Damaged` for a manifest that cannot be read."""
        found = [self._read(folder) for folder in self._folders()]
        return sorted((each for each in found if each is not None), key=lambda each: (each.at, each.name))

    def newest(self) -> Backup | None:
        """The last whole one. Raises `StoreUnavailable`, `Damaged`: an older one is not taken for it."""
        for folder in reversed(self._folders()):
            if (found := self._read(folder)) is not None:
                return found
        return None

    def read(self, backup: Backup, part: str) -> Iterator[bytes]:
        """The content of one part. After the last byte raises `Damaged` if it was not what was written: whoever
        restores must not call it done before that."""
        wanted = next((each for each in backup.parts if each.key == part), None)
        if wanted is None:
            raise Damaged(f"{backup.name} has no part {part}")
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in self._store.read(f"{backup.name}/{part}"):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        except NoSuchObject:
            raise Damaged(f"{backup.name}/{part} is not there any more") from None
        if (size, digest.hexdigest()) != (wanted.size, wanted.sha256):
            raise Damaged(f"{backup.name}/{part} is not what was written: {size:,} bytes of {wanted.size:,}")

    def prune(
        self, now: datetime, *, keep: int, keep_for: timedelta, alike: Mapping[str, JsonValue] | None = None
    ) -> list[str]:
        """Remove whole backups that are older than `keep_for`, always leaving the newest `keep` (at least one), and
        what unfinished ones left days ago. The names of what was removed. A manifest goes first, its parts after it.

        `alike`: facts that a backup must have to be counted and removed: one of less never pushes out one of more.
        One whose parts are not all there is left to a person, and is none of those that are kept. Raises
        `StoreUnavailable`; `Damaged` for a manifest that cannot be read, and then nothing was removed.
        """
        whole = self.whole()
        listed = self._store.list(f"{self._of}/")
        sizes = {each.key: each.size for each in listed}
        sound = [one for one in whole if all(sizes.get(f"{one.name}/{part.key}") == part.size for part in one.parts)]
        sound = [one for one in sound if all(one.facts.get(name) == value for name, value in (alike or {}).items())]
        too_many = sound[: max(0, len(sound) - max(keep, 1))]
        gone = [each.name for each in too_many if now - each.at > keep_for]
        known = {each.name for each in whole}
        by_folder: dict[str, list[Stored]] = {}  # a part may lie in a folder of its own, below that of its backup
        depth = self._of.count("/") + 2
        for each in listed:
            by_folder.setdefault("/".join(each.key.split("/")[:depth]), []).append(each)
        for folder, objects in by_folder.items():
            last = max((each.at for each in objects if each.at is not None), default=now)
            if folder not in known and _OURS.match(folder.rpartition("/")[2]) and now - last > _ABANDONED:
                gone.append(folder)
        for folder in gone:
            keys = [each.key for each in by_folder[folder]]
            self._store.delete(sorted(keys, key=lambda key: not key.endswith(f"/{MANIFEST}")))
        self._store.abort_unfinished(_ABANDONED)
        return gone

    def _folders(self) -> Sequence[str]:
        """Those with a manifest, in the order of their times."""
        end = f"/{MANIFEST}"
        return [each.key.removesuffix(end) for each in self._store.list(f"{self._of}/") if each.key.endswith(end)]

    def _read(self, folder: str) -> Backup | None:
        try:
            raw = self._store.read_all(f"{folder}/{MANIFEST}", most=16 * 1024 * 1024)
        except NoSuchObject:
            return None  # removed since it was listed
        try:
            document = json.loads(raw)
            parts = tuple(Stored(each["key"], each["size"], each["sha256"]) for each in document["parts"])
            at = datetime.strptime(document["at"], _TIME).replace(tzinfo=UTC)
            return Backup(folder, at, parts, document["facts"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"The manifest of {folder} cannot be read: {error}") from error


def _attempt_of(folder: str) -> str:
    """Behind the time, which has a length of its own: the ids of attempts have `-` in them, too."""
    return folder.rpartition("/")[2][len("20260131T120000Z-") :]
