"""What a runner is given: this attempt's facts, a log, commands, and values that outlive the process.

Everything a command prints goes into the attempt's log as it comes. There is no shell here, on purpose: an argument
list cannot be read in two ways.
"""

from __future__ import annotations

import json
import os
import sys
import time

from taskerman.runner.log_line import log_line
from taskerman.runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from os import PathLike

    from pydantic import JsonValue

__all__ = ["CommandFailed", "CommandResult", "Context", "text_tail"]

COMMAND_TAIL_BYTES = 16 * 1024
ANSWER_BYTES = 32 * 1024 * 1024
MAX_SAVED_BYTES = 64 * 1024


class CommandResult(Value):
    """How a command ended. `exit`: its code, negative for a signal. `output`: the last 16 KiB of what it printed on
    standard output and standard error, in order; what is not UTF-8 is replaced."""

    __match_args__ = __slots__ = ("argv", "exit", "output")
    argv: tuple[str, ...]
    exit: int
    output: str

    def __init__(self, argv: Sequence[str], exit: int = 0, output: str = "") -> None:  # noqa: A002
        self._set(argv=tuple(argv), exit=exit, output=output)


class CommandFailed(Exception):
    """A command ended with another code than 0, could not be started, or took too long.

    `exit`: None when it could not be started or was killed at its timeout. `tail`: the end of its output.
    """

    def __init__(self, argv: Sequence[str], exit: int | None, tail: str, why: str = "") -> None:  # noqa: A002
        """`why`: said instead of the exit code."""
        self.argv = tuple(argv)
        self.exit = exit
        self.tail = tail
        self.why = why or (f"ended by signal {-exit}" if exit is not None and exit < 0 else f"exit {exit}")
        last = tail.strip().splitlines()[-1:] or ["it printed nothing"]
        super().__init__(f"{' '.join(self.argv)[:200]}: {self.why}; last output: {last[0][:300]}")


class Context:
    """One attempt, as its runner sees it. Only `save`, `log`, `command` and `ask` do anything."""

    def __init__(
        self,
        *,
        assignment: Mapping[str, JsonValue],
        attempt_id: str,
        node_id: str,
        cluster: str,
        nodes: Sequence[str],
        cap: int,
        boot_id: str,
        fence: int,
        args: Mapping[str, JsonValue],
        settings: Mapping[str, JsonValue],
        saved: Mapping[str, JsonValue],
        on_save: Callable[[Mapping[str, JsonValue]], None],
        log_form: str = "human",
        accepted_at: str = "",
    ) -> None:
        """Made by the engine, or by the harness in a test.

        `on_save`: makes all saved values durable before it returns. `log_form`: of its log's lines, `human` or `json`.
        """
        self.assignment = assignment
        """The task document, with this node as `destnode`."""
        self.task_id = str(assignment.get("task_id", ""))
        self.attempt_id = attempt_id
        self.node_id = node_id
        self.cluster = cluster
        """`kind:name`."""
        self.nodes = tuple(nodes)
        """The ids of all nodes that the task was planned for."""
        self.cap = cap
        """On how many nodes the task acts at once, this one among them: a count, also where the task says percent."""
        self.boot_id = boot_id
        """Which boot of this machine it is: another one after every reboot."""
        self.fence = fence
        """Grows with every attempt that is started in this cluster: give it to whatever can refuse older ones."""
        self.args = args
        """`action_args`, as sent; a runner with an `Args` model reads `self.args` instead."""
        self.settings = settings
        """This node's configuration for the runner: how its service is restarted, where it answers."""
        self.accepted_at = accepted_at
        """When a router accepted the task, RFC 3339; the same for all of its nodes and attempts."""
        self.phase = ""
        """The hook that is being run."""
        self._saved = dict(saved)
        self._on_save = on_save
        self._log_form = log_form

    @property
    def saved(self) -> Mapping[str, JsonValue]:
        """What this or an earlier hook of the attempt saved. A copy."""
        return dict(self._saved)

    def save(self, **values: JsonValue) -> None:
        """Keep `values` for later hooks, also after a crash of anything, and after a reboot; durable on return.

        A name that was saved before gets the new value. All values together are at most 64 KiB of JSON. Raises
        `TypeError` or `ValueError` for what is not JSON or too much; then nothing has changed.
        """
        merged = self._saved | values
        size = len(json.dumps(merged, allow_nan=False))
        if size > MAX_SAVED_BYTES:
            raise ValueError(f"{size:,} bytes of saved values; at most {MAX_SAVED_BYTES:,} are kept")
        self._on_save(merged)
        self._saved = merged

    def log(self, message: str, **fields: object) -> None:
        """One line in the attempt's log, with the time, the phase, the attempt and `fields`."""
        self.log_as("info", message, fields)

    def log_as(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """The same, of a level: `debug`, `info`, `warning` or `error`."""
        ids = {"task": self.task_id, "node": self.node_id, "attempt": self.attempt_id, "phase": self.phase}
        self._write(log_line(self._log_form, message, ids, fields, level=level))

    def command(
        self,
        argv: Sequence[str],
        *,
        timeout: timedelta | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> CommandResult:
        """Start `argv` (never through a shell), stream what it prints into the log, and wait for it.

        `timeout`: then it and its process group are ended (SIGTERM, 5 s later SIGKILL); None: the hook's own timeout
        binds it. `check`: raise for another exit than 0. `env`: added to the environment. `cwd`: where it stands.
        `user`: as whom it runs, with that user's groups; then nothing of our environment is passed on, also when it is
        our own user. `pass_fds`: descriptors that it gets under the same numbers.
        Its standard input is empty. What it leaves in the background is not waited for.
        Raises `CommandFailed`; with `check` off only when it cannot be started or took too long.
        """
        from taskerman.runner.command import stream  # noqa: PLC0415  (not every hook runs one)

        words = [str(word) for word in argv]
        self.log("command", argv=words, **({} if user is None else {"user": user}))
        began = time.monotonic()
        code, raw, why = stream(
            words,
            timeout=timeout,
            env=env,
            cwd=cwd,
            write=self._write,
            tail_bytes=COMMAND_TAIL_BYTES,
            user=user,
            pass_fds=pass_fds,
        )
        output = text_tail(raw, COMMAND_TAIL_BYTES)
        self.log("command ended", exit=code if code is not None else why, seconds=round(time.monotonic() - began, 3))
        if code is None or (check and code != 0):
            raise CommandFailed(words, code, output, why)
        return CommandResult(words, code, output)

    def ask(
        self, argv: Sequence[str], *, timeout: timedelta | None = None, most_bytes: int = ANSWER_BYTES
    ) -> CommandResult:
        """Run `argv` for what it answers: the whole of it is in `output`, and nothing of it in the log.

        For answers that a program reads, of which the last 16 KiB would be a lie: a list of all nodes, all partitions.
        Any exit is an answer; `timeout` as of `command`. Raises `CommandFailed` when it cannot be started, took too
        long, or printed more than `most_bytes`: a part of an answer is none.
        """
        from taskerman.runner.command import stream  # noqa: PLC0415  (not every hook runs one)

        words = [str(word) for word in argv]
        parts: list[bytes] = []
        size = 0

        def keep(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size <= most_bytes:
                parts.append(data)

        code, tail, why = stream(words, timeout=timeout, env=None, cwd=None, write=keep, tail_bytes=COMMAND_TAIL_BYTES)
        self.log("asked", argv=words, exit=code if code is not None else why, bytes=size)
        if size > most_bytes:
            why = f"printed {size:,} bytes; at most {most_bytes:,} are read"
        if why:
            raise CommandFailed(words, None, text_tail(tail, COMMAND_TAIL_BYTES), why)
        assert code is not None
        text = b"".join(parts).replace(b"\r\n", b"\n").decode(errors="replace")
        return CommandResult(words, code, text)

    def _write(self, data: bytes) -> None:
        """Into the attempt's log: standard output is the pipe that the keeper reads. What was printed comes first."""
        sys.stdout.flush()
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


_CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), 127) if chr(code) not in "\t\n"}


def text_tail(raw: bytes, most: int, *, longest_line: int = 1000, cut: bool = False) -> str:
    """The last whole lines of `raw` that fit into `most` bytes, as text that is safe to print on a terminal.

    What is not UTF-8 and control characters are replaced; lines are cut at `longest_line` characters. `cut`: `raw` is
    itself the end of something longer, so its first line may have lost its beginning.
    """
    if len(raw) > most:
        raw, cut = raw[-most:], True
    text = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode(errors="replace").translate(_CONTROL)
    lines = text.splitlines()
    if cut and len(lines) > 1:
        del lines[0]
    elif cut and lines:
        lines[0] = "…" + lines[0][-longest_line:]
    lines = [line if len(line) <= longest_line + 1 else line[:longest_line] + "…" for line in lines]
    # Replacing made bytes of invalid text longer; drop from the front what does not fit any more.
    size = sum(len(line.encode()) + 1 for line in lines)
    while size > most and len(lines) > 1:
        size -= len(lines.pop(0).encode()) + 1
    return "\n".join(lines)
