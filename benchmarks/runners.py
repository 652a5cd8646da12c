"""The action that the benchmarks run: it takes a given time, and leaves a line for each thing it does."""

from __future__ import annotations

import os
import time
import zlib

from taskerman import Check, Go, TaskRunner

__all__ = ["Sleep"]


class Sleep(TaskRunner):
    """Sleeps for `seconds`, or for between half and one and a half of it where the node's settings say uneven.

    Each hook appends `<what> <node> <CLOCK_MONOTONIC>` to the file of the settings: one write, so lines stay whole.
    """

    def _note(self, what: str) -> None:
        line = f"{what} {self.ctx.node_id} {time.monotonic():.6f}\n".encode()
        log = os.open(str(self.ctx.settings["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(log, line)
        finally:
            os.close(log)

    def pre_check(self) -> Check:
        """Goes."""
        self._note("pre")
        return Go()

    def execute_action(self) -> None:
        """Sleeps."""
        self._note("begin")
        time.sleep(
            duration(self.ctx.node_id, float(str(self.ctx.settings["seconds"])), bool(self.ctx.settings["uneven"]))
        )
        self._note("end")

    def post_check(self) -> Check:
        """Is well."""
        return Go()


def duration(node: str, seconds: float, uneven: bool) -> float:
    """How long the action of `node` takes: drawn by its name, so that every contender does the same work."""
    if not uneven:
        return seconds
    return seconds * (0.5 + zlib.crc32(node.encode()) / 2**32)
