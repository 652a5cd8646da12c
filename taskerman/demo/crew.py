"""The demo's processes: started with a log of their own, watched, and never outliving their parent.

What ends them all is the warden; here each is only given a parent that it dies with, as a second net.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskerman.demo.claims import NotSo

__all__ = ["Crew"]


class Crew:
    """Starts processes, from the thread that lives longest: they die with the thread that made them."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where their logs are, `<name>.log`."""
        self._folder = folder
        self._members: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, says: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start `argv`. `env` is added to this environment. `says`: its standard output is a pipe, not the log.

        Its standard input is a pipe: it may end when that closes.
        """
        setpriv = shutil.which("setpriv")
        dies_with_us = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]
        with (self._folder / f"{name}.log").open("ab") as log:
            member = subprocess.Popen(
                [*dies_with_us, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if says else log,
                stderr=log,
                env={**os.environ, **(env or {})},
                cwd=self._folder,
                process_group=0,
            )
        self._members[name] = member
        return member

    def first_line(self, name: str) -> str:
        """What the member says first, without the newline. Raises `NotSo` when it ends without a word."""
        member = self._members[name]
        assert member.stdout is not None
        line = member.stdout.readline().decode().strip()
        if not line:
            member.wait()
            raise NotSo(self._ended(name, member))
        return line

    def check(self) -> None:
        """Raises `NotSo` when one has ended that should not have."""
        for name, member in self._members.items():
            if member.poll() is not None:
                raise NotSo(self._ended(name, member))

    def _ended(self, name: str, member: subprocess.Popen[bytes]) -> str:
        log = self._folder / f"{name}.log"
        words = log.read_text(errors="replace").strip().splitlines()[-1:]
        last = f": {words[0]}" if words else ""
        return f"{name} ended with {member.returncode}{last}"
