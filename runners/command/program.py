"""`command_task:run`: a program of the node, with arguments that the node lets through."""

from __future__ import annotations

from collections.abc import Iterator

from runners.command.acting import CommandRunner, Start
from runners.command.args import RunArgs
from runners.command.permission import Surroundings, allowed_argv

__all__ = ["Run"]


class Run(CommandRunner):
    """Runs an argument list as it is. There is no shell."""

    Args = RunArgs
    args: RunArgs
    description = "runs a command that the node allows"

    def permit(self, at: Surroundings) -> str:
        """See `CommandRunner.permit`."""
        allowed_argv(self.config, self.args.argv, at.who)
        return ""

    def made_ready(self, at: Surroundings) -> Iterator[Start]:
        """See `CommandRunner.made_ready`."""
        yield allowed_argv(self.config, self.args.argv, at.who), ()
