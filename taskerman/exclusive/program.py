"""Which file a command's first word is, found before anything is taken for it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from taskerman.errors import CommandNotExecutable, CommandNotFound

__all__ = ["find_program"]


def find_program(argv: Sequence[str], path: str) -> str:
    """The file that `argv[0]` names, looked for in `path` as a shell does.

    Raises `CommandNotFound`, `CommandNotExecutable`.
    """
    word = argv[0]
    folders = [""] if "/" in word else [folder or "." for folder in path.split(os.pathsep)]
    found = ""
    for folder in folders if word else []:
        file = os.path.join(folder, word)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
        if os.path.exists(file):
            found = found or file
    if found:
        raise CommandNotExecutable(f"{found[:200]!r} cannot be executed.", next_step="Nothing was taken. chmod +x it?")
    raise CommandNotFound(
        f"There is no program {word[:200]!r}.",
        next_step="Nothing was taken. Give its whole path: cron's PATH is short.",
    )
