"""Files of schedules in a folder: a checkout of a repository, perhaps behind a link that is moved to the next one.

A checkout is looked at as it is behind all links at that moment, and to its end: a link that is moved meanwhile shows
the next version the next time, and no mixture of two.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from taskerman.adapters.schedules.composing import MAX_FILE_BYTES
from taskerman.adapters.schedules.shelf import Stamp, Unfit, shown
from taskerman.errors import NotPermitted, SchedulesUnavailable

__all__ = ["Folder"]


class Folder:
    """The `Shelf` of a folder, and of the folders in it. Links are followed; hidden files and folders are left out."""

    def __init__(self, path: Path, only: str | None = None) -> None:
        """`path`: absolute. `only`: the name of the one file in it that counts."""
        self._path = path
        self._only = only

    @property
    def place(self) -> str:
        """See `Shelf.place`."""
        return str(self._path if self._only is None else self._path / self._only)

    def stamps(self) -> Mapping[str, Stamp]:
        """See `Shelf.stamps`: where it is behind all links, its size, inode and times."""
        root = os.path.realpath(self._path)
        found: dict[str, Stamp] = {}
        try:
            if self._only is not None:
                found[self._only] = _stamp(root, self._only)
            else:
                self._walk(root, "", found, ())
        except PermissionError as error:
            raise _forbidden(error) from None
        except OSError as error:
            raise SchedulesUnavailable(
                f"The schedules in {self.place} cannot be looked at: {error.strerror}.",
                next_step="See TASKERMAN_SCHEDULES; if the folder is being replaced, it passes by itself.",
            ) from None
        return found

    def fetch(self, name: str, stamp: Stamp) -> bytes:
        """See `Shelf.fetch`."""
        root = str(stamp[0])
        try:
            if not stat.S_ISREG(os.stat(os.path.join(root, name)).st_mode):
                raise Unfit("it is no file")
            with open(os.path.join(root, name), "rb") as opened:
                raw = opened.read(MAX_FILE_BYTES + 1)
            now = _stamp(root, name)
        except FileNotFoundError:
            if os.path.lexists(os.path.join(root, name)):
                raise Unfit("it is a link that leads nowhere") from None
            raise _changing(self.place, name) from None
        except PermissionError as error:
            raise _forbidden(error) from None
        except OSError as error:
            raise Unfit(f"it cannot be read: {error.strerror}") from None
        if now != stamp:
            raise _changing(self.place, name)
        return raw

    def _walk(self, root: str, below: str, found: dict[str, Stamp], above: tuple[tuple[int, int], ...]) -> None:
        here = os.stat(os.path.join(root, below))
        known = (here.st_dev, here.st_ino)
        if known in above:
            return  # a link to a folder that it lies in
        with os.scandir(os.path.join(root, below)) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                name = f"{below}/{entry.name}" if below else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    self._walk(root, name, found, (*above, known))
                elif shown(name):
                    found[name] = _stamp(root, name)


def _stamp(root: str, name: str) -> Stamp:
    try:
        found = os.stat(os.path.join(root, name))
    except FileNotFoundError:
        return (root, None)
    return (root, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _changing(place: str, name: str) -> SchedulesUnavailable:
    return SchedulesUnavailable(
        f"{name} in {place} was changed while it was read.", next_step="It passes by itself when nobody writes there."
    )


def _forbidden(error: OSError) -> NotPermitted:
    return NotPermitted(f"{error.filename} may not be read.", next_step="Grant this user the right to read it.")
