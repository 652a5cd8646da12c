"""What the commands of a test's world answer: a script in place of each program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskerman.runner import CommandFailed, CommandResult

__all__ = ["Said", "Script", "shown"]

Said = str | int | CommandResult | None
"""What a command of a test's world answers: what it prints, the code with which it ends, or both."""


@dataclass(frozen=True, slots=True)
class Script:
    """How commands that begin with `prefix` end. `times`: how many of them, None: all. `exit`: None: they cannot be
    started, or take too long. `by`: does it in their place."""

    prefix: tuple[str, ...]
    exit: int | None = 0
    output: str = ""
    times: int | None = None
    interrupts: bool = False
    reboots: bool = False
    by: Callable[[tuple[str, ...]], Said] | None = None

    def end(self, words: tuple[str, ...], check: bool) -> CommandResult:
        """What `Context.command` answers. Raises `CommandFailed` as it does."""
        if self.exit is None:
            raise CommandFailed(words, None, self.output, "no answer")
        result = CommandResult(words, self.exit, self.output)
        if self.by is not None:
            said = self.by(words)
            result = CommandResult(words, said if isinstance(said, int) else 0, said if isinstance(said, str) else "")
            result = said if isinstance(said, CommandResult) else result
        if check and result.exit != 0:
            raise CommandFailed(words, result.exit, result.output)
        return result


def shown(words: Sequence[str]) -> str:
    """A command on one line, not longer than is read."""
    text = " ".join(words)
    return text if len(text) <= 100 else text[:99] + "…"
