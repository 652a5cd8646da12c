"""`command_task:script`: a text that the task brings along, run by an interpreter that the node lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runners.command.acting import CommandRunner, Start
from runners.command.args import ScriptArgs
from runners.command.permission import Denied, Surroundings, allowed_interpreter
from runners.command.private import check_folder, open_folder, private_file, runnable

__all__ = ["Script", "first_line"]

DEFAULT = "sh"


class Script(CommandRunner):
    """Writes the text into a file without a name, and has the interpreter read that."""

    Args = ScriptArgs
    args: ScriptArgs
    description = "runs a script that the task brings along, by an interpreter that the node allows"
    what = "script"

    def permit(self, at: Surroundings) -> str:
        """See `CommandRunner.permit`."""
        self._interpreted(at)
        return check_folder(self.config.folder, needed_bytes=2 * len(self.args.script.encode()) + 4096, to_run=False)

    def made_ready(self, at: Surroundings) -> Iterator[Start]:
        """See `CommandRunner.made_ready`."""
        interpreter = self._interpreted(at)
        with private_file(open_folder(self.config.folder), [self.args.script.encode()]) as descriptor:
            yield (*interpreter, runnable(descriptor), *self.args.args), (descriptor,)

    def _interpreted(self, at: Surroundings) -> Sequence[str]:
        """The node's own program and options, and behind them those of the text's first line."""
        name, options = first_line(self.args.script)
        return allowed_interpreter(self.config, self.args.interpreter or name, options, at.who)


def first_line(script: str) -> tuple[str, Sequence[str]]:
    """The interpreter that the text names, without its folder, and the options that it wants. Raises `Denied`.

    To leave its options out would run another script: `#!/bin/sh -e` stops at the first fault.
    """
    line = script.split("\n", 1)[0].removesuffix("\r")
    if not line.startswith("#!"):
        return DEFAULT, ()
    program, _, rest = line[2:].strip().partition(" ")
    name = program.rpartition("/")[2]
    options = [rest.strip()] if rest.strip() else []  # the kernel passes all of it as one
    if name == "env":
        words = rest.split()
        if words[:1] == ["-S"]:
            words = words[1:]
        elif len(words) > 1:
            raise Denied(f"The script's first line is {line[:100]!r}: env takes several words only after -S.")
        name, options = (words[0], words[1:]) if words else ("", [])
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name) is None:
        raise Denied(f"The script's first line is {line[:100]!r}, and names no interpreter. Correct it.")
    return name, options
