"""One server of a test's cluster, and the handles on its supervisor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import supervisor

__all__ = ["Member", "start_together"]

SCRIPT = Path(supervisor.__file__)


@dataclass
class Member:
    """A server that `argv` runs in the foreground in `folder`. `ready`: a command that ends with 0 once it serves.

    `user`: as whom it runs (None: as we). `events`: the file of all members' ups and downs. `more`: of the spec.
    """

    name: str
    folder: Path
    argv: Sequence[str]
    ready: Sequence[str]
    events: Path
    user: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    @property
    def socket(self) -> Path:
        """Where its supervisor listens. In a short folder: such a path has at most 107 characters."""
        return self.folder / "door"

    def supervise(self) -> None:
        """Start its supervisor, which starts it, and do not wait; `wait_started` does."""
        spec = self.folder / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "node": self.name,
                    "socket": str(self.socket),
                    "events": str(self.events),
                    "folder": str(self.folder),
                    "log": str(self.folder / "server.log"),
                    "argv": list(self.argv),
                    "ready": list(self.ready),
                    "user": self.user,
                    **self.more,
                }
            )
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SCRIPT), "serve", str(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_started(self) -> None:
        """Back when it serves. Raises RuntimeError, with the end of its log, when it does not come up."""
        assert self._process is not None
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer.startswith("ok"):
            raise RuntimeError(answer or f"the supervisor of {self.name} ended")

    def close(self) -> None:
        """End it and its supervisor. Idempotent."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)

    # --- verbs -------------------------------------------------------------------------------------------

    def command_line(self, verb: str) -> list[str]:
        """An argv that asks the supervisor, from any process; exits 0 when done, 1 with the reason on stdout."""
        return [sys.executable, "-I", "-S", str(SCRIPT), "ask", str(self.socket), verb]

    def ask(self, verb: str) -> str:
        """The supervisor's answer, "ok ..." or "failed ..."."""
        return supervisor.ask(str(self.socket), verb)

    def must(self, verb: str) -> None:
        """The same. Raises RuntimeError for "failed"."""
        answer = self.ask(verb)
        if not answer.startswith("ok"):
            raise RuntimeError(f"{verb} of {self.name}: {answer}")

    @property
    def pid(self) -> int | None:
        """Of the server, by its supervisor; None while it is down."""
        answer = self.ask("status")
        return int(answer.rsplit(" ", 1)[1]) if "pid" in answer else None


def start_together(members: Sequence[Member], close: Callable[[], None]) -> None:
    """Start all, back when each serves. When one does not come up, `close` is called, and RuntimeError raised."""
    try:
        for member in members:
            member.supervise()
        for member in members:
            member.wait_started()
    except BaseException:
        close()
        raise
