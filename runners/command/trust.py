"""Whether a file is what the node's operator meant: nobody else can have put it there, or put another in its place.

A path is as trustworthy as every folder and every link on its way. What only trusted users may write cannot be changed
between this look and its use, so nothing here has to be done twice.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection

__all__ = ["untrusted"]

_MOST_LINKS = 40


def untrusted(path: str, owners: Collection[int], *, to_run: bool = True) -> str:
    """Why `path` is not trusted: who else could change it, or what it is; empty: it is.

    `owners`: the ids of users who may own it and what is on its way; root always may. `to_run`: it must be a file that
    may be executed. Raises nothing: what cannot be looked at is not trusted.
    """
    try:
        at, wrong = _walk(path, {0, *owners})
        return wrong or (_no_program(at, os.lstat(at)) if to_run else "")
    except FileNotFoundError as error:
        return f"{error.filename} is not there"
    except OSError as error:
        return f"{error.filename or path} cannot be looked at: {error.strerror}"


def _walk(path: str, trusted: Collection[int]) -> tuple[str, str]:
    """Where `path` leads, and what is wrong on its way. Raises `OSError`."""
    todo = _parts(path)
    at, links = "/", 0
    wrong = _wrong(at, os.lstat(at), trusted)
    while todo and not wrong:
        part = todo.pop(0)
        if part == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, part)
        found = os.lstat(here)
        wrong = _wrong(here, found, trusted)
        if not stat.S_ISLNK(found.st_mode):
            at = here
            continue
        links += 1
        if links > _MOST_LINKS:
            return here, f"{path} leads through more than {_MOST_LINKS} links"
        target = os.readlink(here)
        at = "/" if target.startswith("/") else at
        todo = _parts(target) + todo
    return at, wrong


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _wrong(path: str, found: os.stat_result, trusted: Collection[int]) -> str:
    if found.st_uid not in trusted:
        return f"{path} belongs to {_called(found.st_uid)}"
    if stat.S_ISLNK(found.st_mode):
        return ""  # its own mode says nothing; who may exchange it is said by its folder
    if stat.S_ISDIR(found.st_mode):
        # As in /tmp: what a trusted user has in it nobody else removes or renames.
        return "" if found.st_mode & stat.S_ISVTX else _written_by_others(path, found)
    return _written_by_others(path, found) if stat.S_ISREG(found.st_mode) else f"{path} is no file"


def _written_by_others(path: str, found: os.stat_result) -> str:
    if found.st_mode & stat.S_IWOTH:
        return f"everybody may write {path}"
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
        return f"the group {found.st_gid} may write {path}"
    return ""


def _no_program(path: str, found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is no file"
    return "" if found.st_mode & 0o111 else f"{path} may not be executed"


def _called(uid: int) -> str:
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
