"""`fault_task:fill_disk`: a file system is nearly full, and then it is not.

The file that fills it has no name. It goes when the process that made it closes it, or dies of whatever: nobody has to
remember it, also not after a reboot.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from runners.fault import process, rules
from runners.fault.config import Disk
from runners.fault.operation import Fault, FaultArgs
from taskerman import Check, Go, Refuse, Skip

__all__ = ["FillDisk", "FillDiskArgs"]

CHUNK = 64 * 1024 * 1024
NOT_ALONE = ("nfs", "cifs", "smb", "fuse", "9p", "ceph", "gluster", "glusterfs", "lustre", "afs")
"""File systems of which a nameless file is not known to vanish with its process, or which are others' as well."""


class FillDiskArgs(FaultArgs):
    """Which disk, and how full."""

    disk: str = Field(description="A name under `disks` of the node's configuration.")
    leave_free_bytes: int = Field(ge=0, description="So much stays free; not less than the node's `min_free_bytes`.")


class FillDisk(Fault):
    """Allocates all but so many bytes; what others free meanwhile stays free."""

    Args = FillDiskArgs
    args: FillDiskArgs
    description = "fills a file system for a time, down to so many free bytes"
    kind = "fill_disk"
    guards_itself = True
    _file: int | None = None

    def fits(self) -> Check:
        """Whether the disk is named, is one whose files vanish with their process, and is not that full already."""
        answer = rules.named("disks", self.args.disk, self.config.disks)
        if not isinstance(answer, Go):
            return answer
        disk, leave = self._disk, self.args.leave_free_bytes
        if leave < disk.min_free_bytes:
            return Refuse(
                f"leave_free_bytes is {leave:,}, and this node keeps {disk.min_free_bytes:,} (min_free_bytes)"
            )
        folder = Path(disk.path)
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            return Refuse(f"{folder} is no folder that can be written")
        kind = _file_system(folder)
        if kind.split(".")[0].rstrip("4") in NOT_ALONE:
            return Refuse(f"{folder} is on {kind}: a file there is not known to vanish with its process")
        if _own_device(self.journal.folder) == folder.stat().st_dev:
            return Refuse(f"the state folder {self.journal.folder} is on the disk that would be filled")
        free = _free(folder)
        return Go() if free > leave else Skip(f"{free:,} bytes are free, and {leave:,} should be left")

    def prepare(self, fault: str) -> Mapping[str, JsonValue]:
        """Make the nameless file, still empty; who holds it is how one sees that it is gone."""
        self._file = _nameless(self._disk.path)
        about = os.fstat(self._file)
        return {"file": [about.st_dev, about.st_ino], "holder": list(process.itself())}

    def inject(self, undo: Mapping[str, Any]) -> None:
        """Allocate, a piece at a time, so that what others write meanwhile counts."""
        assert self._file is not None
        at = 0
        while (left := _free(Path(self._disk.path)) - self.args.leave_free_bytes) > 0:
            size = min(left, CHUNK)
            try:
                os.posix_fallocate(self._file, at, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break  # others were quicker: it is as full as it gets
            at += size
        self.ctx.log("filled", bytes=at, free=_free(Path(self._disk.path)))

    def release(self) -> None:
        """Close it, and it is gone."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def _disk(self) -> Disk:
        return self.config.disks[self.args.disk]


def _own_device(folder: Path) -> int:
    """On which file system `folder` is, or will be when it is made."""
    return next(each for each in (folder, *folder.parents) if each.exists()).stat().st_dev


def _free(folder: Path) -> int:
    """For whoever is not root: what root keeps for itself is not free."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def _nameless(folder: str) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    handle, name = tempfile.mkstemp(prefix=".taskerman-fault-", dir=folder)
    os.unlink(name)  # while it is empty: a crash in between leaves a name, and nothing that fills
    return handle


def _file_system(folder: Path) -> str:
    """The kind of the file system that `folder` is on, as the kernel calls it; "" when it does not say."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words, _, rest = line.partition(" - ")
        if words.split()[2] == wanted:
            return rest.split()[0]
    return ""
