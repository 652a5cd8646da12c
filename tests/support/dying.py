"""A harness whose commands are run, and whose action can be killed -9 at any of its points.

A point is what divides an action for whoever comes after a crash: a value was saved, a command is about to be run, a
command has ended. The action runs in a process of its own that kills itself there: no clean-up, no last word, and all
that it had started is killed with it, as the engine does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from taskerman import CommandFailed, CommandResult, TaskRunner
from taskerman.testing.harness import RunnerHarness

__all__ = ["OnTheMachine"]

R = TypeVar("R", bound=TaskRunner)
LAST_WORD = 75


class OnTheMachine(RunnerHarness[R]):
    """The harness, but commands are run. `points`: of the last action that was killed, what was passed, in order."""

    def __init__(self, runner: type[R], **given: Any) -> None:
        super().__init__(runner, **given)
        self.points: list[str] = []
        self._diary: Path | None = None
        self._dies_at: int | None = None

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        self.commands.append(words)
        self._pass(f"before {' '.join(words)}")
        try:
            done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError as error:
            raise CommandFailed(words, None, "", f"cannot be started: {error.strerror}") from error
        self._pass(f"after {' '.join(words)}")
        output = done.stdout + done.stderr
        if check and done.returncode:
            raise CommandFailed(words, done.returncode, output)
        return CommandResult(words, done.returncode, output)

    def saves(self, values: Mapping[str, Any]) -> None:
        """A value was saved."""
        self.saved = json.loads(json.dumps(values))
        self._pass(f"saved {json.dumps(values)}")

    def runner(self, phase: str = "") -> R:
        """A new instance, as a new process would make it."""
        made = super().runner(phase)
        made.ctx._on_save = self.saves
        return made

    def killed_at(self, point: int, diary: Path) -> bool:
        """Run the action in a process that dies at its `point`th point, counted from 1; whether it came so far."""
        diary.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                self._diary, self._dies_at = diary, point
                self.execute_action()
                code = LAST_WORD
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        lines = diary.read_text().splitlines() if diary.exists() else []
        self.points = [json.loads(line)["point"] for line in lines]
        if lines:
            self.saved = json.loads(lines[-1])["saved"]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == LAST_WORD, f"the action failed: {self.points}"
        return os.WIFSIGNALED(status)

    def _pass(self, point: str) -> None:
        if self._diary is None or self._dies_at is None:
            return
        with self._diary.open("a", encoding="utf-8") as diary:
            diary.write(json.dumps({"point": point, "saved": self.saved}) + "\n")
        self._dies_at -= 1
        if self._dies_at == 0:
            os.killpg(0, signal.SIGKILL)
