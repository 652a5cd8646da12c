"""A program whose standard output is content, read as it comes: a dump that is on its way into an object store.

The content counts only when the program ended well, which is known after its last byte: so `chunks` raises then, and
whoever writes an object of it writes none. What it says on standard error goes into the attempt's log, a line at a
time. It is never left behind, and gets no AWS identity.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from taskerman import Context

__all__ = ["Failed", "Piped"]

_CHUNK = 1 << 20
_LINES = 200
_GRACE_S = 5.0


class Failed(Exception):
    """The program could not be started, or ended with another code than 0."""


class Piped:
    """One program, as a context: it runs within, and afterwards nothing of it does.

    `said`: its last lines on standard error, complete when `chunks` has ended.
    """

    def __init__(self, ctx: Context, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """`env`: added to its environment, for what others must not read in a list of arguments."""
        self._ctx, self._argv, self._env = ctx, list(argv), dict(env or {})
        self.said: deque[str] = deque(maxlen=_LINES)

    def __enter__(self) -> Self:
        """Start it. Raises `Failed` when that is not possible."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._ctx.log("command", argv=self._argv)
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**ours, "LC_ALL": "C", **self._env},
                process_group=0,
            )
        except OSError as error:
            raise Failed(f"{self._argv[0]} cannot be started: {error.strerror}") from error
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            _end(self._process)
            self._listener.join(_GRACE_S)

    def chunks(self) -> Iterator[bytes]:
        """Its output. After the last chunk raises `Failed` unless it ended with 0."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while chunk := os.read(pipe, _CHUNK):  # what there is; a buffer would wait until it is full
            yield chunk
        code = self._process.wait()
        self._listener.join(_GRACE_S)
        self._ctx.log("command ended", exit=code)
        if code:
            last = next((line for line in reversed(self.said) if line.strip()), "it said nothing")
            how = f"ended by signal {-code}" if code < 0 else f"exit {code}"
            raise Failed(f"{self._argv[0]}: {how}; {last[:400]}")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            self.said.append(text)
            self._ctx.log(text[:1000])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End its group, if it still runs; also when we are interrupted while we wait for that."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_GRACE_S)
    except (subprocess.TimeoutExpired, ProcessLookupError):
        pass
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
