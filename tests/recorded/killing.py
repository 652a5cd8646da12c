"""A harness whose runner can be killed at each command that changes something, before it or after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from taskerman import CommandFailed, CommandResult, TaskRunner
from taskerman.testing.harness import RunnerHarness

__all__ = ["Answer", "Killed", "Killing"]

R = TypeVar("R", bound=TaskRunner)
Answer = tuple[int | None, str]


class Killed(BaseException):
    """kill -9: no `except Exception` and no `except CommandFailed` of the runner sees it. (A `finally` does, which a
    real one would not run: what it would clean up is a test's own business.)"""


class Killing(RunnerHarness[R]):
    """Commands are answered by `answer`; `changes` says which of them change something.

    `kill_at`: the number of the changing command, from 1, at which the process dies, and whether before or after it.
    `seen`: how many changing commands there were. `world`: what is recorded. A dead one runs
    nothing any more until `revive`.
    """

    def __init__(
        self,
        runner: type[R],
        answer: Callable[[tuple[str, ...]], Answer],
        changes: Callable[[tuple[str, ...]], bool],
        **kept: Any,
    ) -> None:
        super().__init__(runner, **kept)
        self._answer, self._changes = answer, changes
        self.kill_at: tuple[int, str] | None = None
        self.seen = 0
        self.dead = False
        self.world: Any = None

    def revive(self) -> None:
        """Another process takes over; nobody kills that one."""
        self.dead, self.kill_at = False, None

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        if self.dead:
            raise Killed
        changing = self._changes(words)
        if changing:
            self.seen += 1
            self._maybe_die("before")
        self.commands.append(words)
        code, output = self._answer(words)
        if changing:
            self._maybe_die("after")
        if code is None:
            raise CommandFailed(words, None, "", output)
        if check and code != 0:
            raise CommandFailed(words, code, output)
        return CommandResult(words, code, output)

    def _maybe_die(self, when: str) -> None:
        if self.kill_at == (self.seen, when):
            self.dead = True
            raise Killed
