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

from taskerman import ActionInterrupted, CommandFailed, CommandResult, TaskRunner
from taskerman.testing.harness import RunnerHarness

__all__ = ["INTERRUPTED", "OnTheMachine"]

R = TypeVar("R", bound=TaskRunner)
LAST_WORD, INTERRUPTED = 75, 76


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

    def begin(self, diary: Path, *, dies_at: int | None = None) -> int:
        """Have the action run in a process of its own, the leader of a session; its number. SIGTERM interrupts it, as
        the keeper does. `diary`: where it writes its points; `dies_at`: of them, counted from 1."""
        diary.unlink(missing_ok=True)
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, _interrupt)
            self._diary, self._dies_at = diary, dies_at
            self.execute_action()
            code = LAST_WORD
        except ActionInterrupted:
            code = INTERRUPTED
        except BaseException as error:  # nobody else hears it
            self._pass(f"failed: {type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def ended(self, child: int, diary: Path) -> int:
        """Wait for it, and read its diary: what it saved is what the next hook finds. How it ended, as in waitpid."""
        _, status = os.waitpid(child, 0)
        lines = diary.read_text().splitlines() if diary.exists() else []
        self.points = [json.loads(line)["point"] for line in lines]
        if lines:
            self.saved = json.loads(lines[-1])["saved"]
        return status

    def killed_at(self, point: int, diary: Path) -> bool:
        """Run the action in a process that dies at its `point`th point, counted from 1; whether it came so far."""
        status = self.ended(self.begin(diary, dies_at=point), diary)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == LAST_WORD, f"the action failed: {self.points}"
        return os.WIFSIGNALED(status)

    def _pass(self, point: str) -> None:
        if self._diary is None:
            return
        with self._diary.open("a", encoding="utf-8") as diary:
            diary.write(json.dumps({"point": point, "saved": self.saved}) + "\n")
        if self._dies_at is not None:
            self._dies_at -= 1
            if self._dies_at == 0:
                os.killpg(0, signal.SIGKILL)


def _interrupt(signum: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once, as the engine does
    raise ActionInterrupted("the action was asked to stop")
