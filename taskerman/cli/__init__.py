"""The command line: parses, calls one verb of `control` or starts a daemon, prints the answer. It decides nothing.

Help must come at once, so nothing heavier than the parser is imported before a verb is called. Every error is one
line that says what, which, and the next step; its exit code says who must act:

    0 done   1 a bug   2 usage or bad input   3 no such thing   4 refused by its state   5 cannot reach
    6 not permitted   130 interrupted
    exclusive: the command's own; else also 13 the wait ran out   126 not executable   127 no such program
    submit --wait: 10 ended with dead letters   11 halted   12 cancelled or expired   13 the wait ran out
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["invoke", "main"]

INTERRUPTED = 130

_LISTS = {
    "actions": ("list", "show"),
    "slots": ("list", "release"),
    "scopes": ("list", "set"),
    "groups": ("list", "set"),
    "history": ("list", "letters", "audit", "commands", "upgrade"),
    "schedules": ("list", "show", "add", "edit", "pause", "resume", "remove", "trigger", "collect"),
}
"""Verbs with verbs of their own that list when none of those follows."""


def main() -> None:
    """The `taskerman` command."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(argv: Sequence[str]) -> int:
    """Do what `argv` (without the program's name) says; returns the exit code. Prints, and never raises."""
    from typer.main import get_command  # noqa: PLC0415  heavy, as is all that is imported below

    from taskerman.cli.app import parser_for  # noqa: PLC0415

    words = _spelled_out(argv)
    try:
        answer = get_command(parser_for(words[0]))(words, prog_name="taskerman", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the parser makes the second of the first, and of nothing else
        # The reader has had enough, as `head` has. Nothing more may be written, not even by the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        own = argv[: argv.index("--")] if "--" in argv else argv  # what follows are another command's words
        return _settle(error, as_json="--json" in own)


def _spelled_out(argv: Sequence[str]) -> list[str]:
    """The words as the parser wants them: no word at all asks for help; `slots [CLUSTER]` and `history` list."""
    words = list(argv) or ["--help"]
    verbs = _LISTS.get(words[0])
    if verbs is not None and (len(words) == 1 or words[1] not in (*verbs, "-h", "--help")):
        words.insert(1, "list")
    return words


def _settle(error: Exception, *, as_json: bool) -> int:
    """Say what is wrong; the exit code of it."""
    from typer.exceptions import Abort, Exit, TyperException  # noqa: PLC0415

    from taskerman.errors import TaskermanError  # noqa: PLC0415

    match error:
        case TaskermanError():
            return _report(error.code, error.what, error.next_step, error.exit_code, as_json=as_json)
        case Exit():
            return error.exit_code
        case Abort():
            return INTERRUPTED
        case TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "taskerman"
            said = _plain(error.format_message())
            return _report("E-USAGE", said, f"See `{command} --help`.", 2, as_json=as_json)
        case _:
            import traceback  # noqa: PLC0415

            traceback.print_exception(error)
            said = f"{type(error).__name__}: {error}."
            return _report("E-BUG", said, "Please report it, with the lines above.", 1, as_json=as_json)


def _plain(message: str) -> str:
    """The parser's words on one line, without the words of the library that it asks."""
    said = " ".join(message.split()).removesuffix(".")
    for theirs, ours in (
        ("Value error, ", ""),
        ("Input should be", "it should be"),
        (", unable to parse string as an integer", ""),
        (", unable to parse string as a number", ""),
    ):
        said = said.replace(theirs, ours)
    return f"{said}."


def _report(code: str, what: str, next_step: str, exit_code: int, *, as_json: bool) -> int:
    """One error, on standard error: a line for the eye, or the same as JSON."""
    if as_json:
        import json  # noqa: PLC0415

        error = {"code": code, "what": what, "next_step": next_step, "exit_code": exit_code}
        sys.stderr.write(json.dumps({"error": error}) + "\n")
    else:
        sys.stderr.write(f"error {code}: {what} {next_step}".rstrip() + "\n")
    return exit_code
