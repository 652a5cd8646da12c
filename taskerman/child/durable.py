"""Files that are there whole or not at all, whatever crashes: written aside, synced, renamed, folder synced."""

from __future__ import annotations

import os

__all__ = ["remove_durably", "write_durably"]


def write_durably(path: str, content: bytes) -> None:
    """Replace `path` by `content`. On return it survives a power cut; an error leaves the old one. Raises `OSError`."""
    aside = f"{path}.{os.getpid()}.tmp"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(aside, path)
    _sync_folder(path)


def remove_durably(path: str) -> None:
    """Remove `path`, so that it stays removed. Nothing there is fine. Raises `OSError`."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    _sync_folder(path)


def _sync_folder(path: str) -> None:
    handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
