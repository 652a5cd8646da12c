"""A file without a name: what is run stands where nobody else can change it, and is gone with whoever holds it open.

The name is taken away before the first byte is written, so that there is nothing to be cleaned up, whatever crashes,
and nothing that could be exchanged between a look and its use. It is run through its descriptor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runners.command.permission import SECTION, Denied
from runners.command.trust import untrusted

__all__ = ["check_folder", "open_folder", "private_file", "runnable"]


def check_folder(folder: str, *, needed_bytes: int, to_run: bool) -> str:
    """Why nothing could be kept in `folder` now; empty when it could, which may be wrong a moment later.

    Raises `Denied` for what does not pass by itself. `to_run`: programs are to be run from it. Changes nothing.
    """
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if wrong := untrusted(there, {os.geteuid()}, to_run=False):
        raise Denied(f"{folder} is no folder to keep programs in: {wrong}. Name another one: `folder` in {SECTION}.")
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        raise Denied(f"This agent may not write into {there}. Grant it, or name another `folder` in {SECTION}.")
    room = os.statvfs(there)
    if to_run and room.f_flag & os.ST_NOEXEC:
        raise Denied(f"{there} is mounted noexec. Name another `folder` in {SECTION}.")
    free = room.f_bavail * room.f_frsize
    return f"only {free:,} bytes are free for {folder}, and {needed_bytes:,} are needed" if free < needed_bytes else ""


def open_folder(folder: str, *below: str) -> str:
    """`folder/below...`, made where it is missing, for this user alone. Raises `Denied`, `OSError`."""
    path = os.path.join(folder, *below)
    os.makedirs(path, mode=0o700, exist_ok=True)
    if wrong := untrusted(path, {os.geteuid()}, to_run=False):
        raise Denied(f"{path} is no folder to keep programs in: {wrong}.")
    return path


@contextmanager
def private_file(folder: str, chunks: Iterable[bytes]) -> Iterator[int]:
    """A descriptor, to read and to run, of a file without a name that holds what `chunks` yields.

    Raises `OSError`, and what `chunks` raises.
    """
    writing, path = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        os.unlink(path)
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(writing, view) :]
        os.fchmod(writing, 0o555)
        # What is open for writing cannot be executed. Who runs it may be another user, who has no other way to it.
        reading = os.open(runnable(writing), os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


def runnable(descriptor: int) -> str:
    """The path under which whoever has that descriptor reaches its file."""
    return f"/proc/self/fd/{descriptor}"
