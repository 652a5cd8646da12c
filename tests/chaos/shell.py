"""A shell in which the shipped commands start at once: one process has imported everything, and each command is a fork.

A fresh Python costs a second of a busy machine's time for its imports, and dozens of people would stop the machine.
What is forked is the command itself: its own process, its own connections, its own exit code. One at a time a shell.
"""

# ruff: noqa: PLC0415  (only a shell imports the commands)
from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Mapping

__all__ = ["Shells"]


class Shells:
    """So many shells: whoever types waits for a free one."""

    def __init__(self, env: Mapping[str, str], count: int = 2) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.shell"],
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        self._free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        for process in self._processes:
            self._free.put(process)

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`taskerman` with `words`. Raises `queue.Empty` when no shell was free for a minute."""
        process = self._free.get(timeout=60)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
            code, out, err = json.loads(process.stdout.readline())
            return subprocess.CompletedProcess(words, code, out, err)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End them, in the middle of a command too."""
        for process in self._processes:
            process.kill()
            process.communicate()


def _serve() -> None:
    # Only imported, nothing opened: a fork inherits no connection and no thread.
    import taskerman.adapters.zookeeper
    import taskerman.bootstrap
    import taskerman.cli.views
    import taskerman.control  # noqa: F401
    from taskerman.cli import invoke

    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                code = invoke(json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # the rest of the loop, and what it had buffered, is the shell's
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read())
        print(json.dumps([code, *texts]), flush=True)


if __name__ == "__main__":
    _serve()
