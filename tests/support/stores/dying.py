"""A harness whose commands are run on this machine, and whose action can be killed -9 at any of its points.

A point is what divides an action for whoever comes after a crash: a value was saved, a command begins or has ended, a
piece of a stream went by. The action runs in a process of its own that kills itself there, with all that it started: no
clean-up, no last word. What it had saved is what the next hook reads.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskerman import CommandFailed, CommandResult, TaskRunner
from taskerman.testing.harness import RunnerHarness

__all__ = ["Dying"]

_ENDED, _FAILED = 0, 3


class Dying(RunnerHarness[Any]):
    """The harness, but commands are run. `passed`: the points of the last action that was to be killed."""

    def __init__(self, runner: type[TaskRunner], **given: Any) -> None:
        super().__init__(runner, **given)
        self.passed: list[str] = []
        self._diary: Path | None = None
        self._dies_after = 0

    def killed_at(self, point: int, diary: Path) -> bool:
        """Run the action in a process that dies at its `point`th point, from 1; whether it came so far. Else it ended
        well."""
        diary.write_text("")
        child = os.fork()
        if child == 0:
            code = _FAILED
            try:
                os.setpgid(0, 0)
                self._diary, self._dies_after = diary, point
                self.execute_action()
                code = _ENDED
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        lines = [json.loads(line) for line in diary.read_text().splitlines()]
        self.passed = [line["point"] for line in lines]
        self.saved = lines[-1]["saved"] if lines else {}
        assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, _ENDED), f"the action failed after {self.passed}"
        return os.waitstatus_to_exitcode(status) == -signal.SIGKILL

    def point(self, name: str) -> None:
        """One was passed."""
        if self._diary is None:
            return
        with self._diary.open("a", encoding="utf-8") as diary:
            diary.write(json.dumps({"point": name, "saved": self.saved}) + "\n")
        self._dies_after -= 1
        if self._dies_after == 0:
            for child in _children():
                os.killpg(child, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def runner(self, phase: str = "") -> Any:
        """A new instance, as a new process would make it."""
        made = super().runner(phase)
        made.ctx._on_save = self._saves
        return made

    def _saves(self, values: Mapping[str, Any]) -> None:
        self.saved = json.loads(json.dumps(values))
        self.point(f"saved {sorted(values)}")

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        self.commands.append(words)
        self.point(f"begins {words[0]}")
        try:
            done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError as error:
            raise CommandFailed(words, None, "", f"cannot be started: {error.strerror}: {words[0]}") from error
        self.point(f"ended {words[0]}")
        output = done.stdout + done.stderr
        if check and done.returncode:
            raise CommandFailed(words, done.returncode, output)
        return CommandResult(words, done.returncode, output)


def _children() -> list[int]:
    """What this process started and has not reaped; each leads a group of its own."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in children.read_text().split()]
