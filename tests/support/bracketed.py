"""A scripted runner with a bracket: its witness is the same log, with a line before and after each of its two hooks.

Behaviour as of `Scripted`, and `cluster_begin`, `cluster_end`: "ok", "raise", "hang", "until" (a file `<node>.<hook>`
appears), "die-agent" (the agent that started the child is killed with SIGKILL, and the hook goes no further).
"""

from __future__ import annotations

import os
import signal
import time

from tests.support.scripted import Scripted

__all__ = ["Bracketed"]


class Bracketed(Scripted):
    """`cluster_begin` notes "opening" and "opened", `cluster_end` "closing" and "closed"."""

    bracket = "silence"

    def cluster_begin(self) -> None:
        self._hook("cluster_begin", "opening", "opened")

    def cluster_end(self) -> None:
        self._hook("cluster_end", "closing", "closed")

    def _hook(self, hook: str, before: str, after: str) -> None:
        self.note(before)
        how = self.behaviour(hook, "ok")
        if how == "raise":
            raise RuntimeError(f"told to fail in {hook}")
        if how == "hang":
            time.sleep(3600)
        if how == "die-agent":
            _kill_agent()
            time.sleep(3600)
        while how == "until" and not (self.folder / f"{self.ctx.node_id}.{hook}").exists():
            time.sleep(0.01)
        self.note(after)


def _kill_agent() -> None:
    """The parent of the keeper, which is this process's parent."""
    with open(f"/proc/{os.getppid()}/stat", encoding="ascii") as stat:
        agent = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(agent, signal.SIGKILL)
