"""`fault_task:kill_process` and `fault_task:pause_process`: a crash, and a hang.

A paused process is the worse of the two for those who talk to it: its connections stay open, and nothing answers.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from typing import Any

from pydantic import Field, JsonValue

from runners.fault import process, rules
from runners.fault.config import Processes
from runners.fault.operation import Fault, FaultArgs
from taskerman import Check, Go, Refuse, Wait

__all__ = ["KillProcess", "PauseProcess", "ProcessArgs"]

DIES_WITHIN_S = 10.0


class ProcessArgs(FaultArgs):
    """Which processes."""

    process: str = Field(description="A name under `processes` of the node's configuration.")


class _OnProcesses(Fault):
    """What both have in common: which processes are meant, and that they are not too many."""

    Args = ProcessArgs
    args: ProcessArgs

    def fits(self) -> Check:
        """Whether they are named, there, few enough, and ours to signal."""
        answer = rules.named("processes", self.args.process, self.config.processes)
        if not isinstance(answer, Go):
            return answer
        if self._meant.start is not None and shutil.which(self._meant.start[0]) is None:
            return Refuse(f"no such program: {self._meant.start[0]} (start of {self.args.process!r})")
        found = process.find(self._target)
        if not found:
            return Wait(f"no process {self.args.process!r} runs")
        if len(found) > self._meant.most:
            return Refuse(
                f"{len(found)} processes are meant by {self.args.process!r}, and `most` is {self._meant.most}"
            )
        try:
            for each in found:
                process.send(each, 0)
        except PermissionError:
            return Refuse(f"processes of {self.args.process!r} are not this user's to signal")
        return Go()

    def prepare(self, fault: str) -> Mapping[str, Any]:
        """Which they are now, by number and start."""
        found = process.find(self._target)
        if not 1 <= len(found) <= self._meant.most:
            raise RuntimeError(f"{len(found)} processes are meant by {self.args.process!r} by now; nothing was done")
        start = None if self._meant.start is None else list(self._meant.start)
        return {"processes": [list(each) for each in found], "target": self._target, "start": start}

    @property
    def _meant(self) -> Processes:
        return self.config.processes[self.args.process]

    @property
    def _target(self) -> dict[str, JsonValue]:
        meant: dict[str, JsonValue] = self._meant.model_dump(
            mode="json", include={"pattern", "pid_file", "pid_command"}
        )
        return meant


class KillProcess(_OnProcesses):
    """Kills them once. They may come back at any time; at the end of the time they are started, if they have not."""

    description = "kills processes, and sees that they are running again after a time"
    kind = "kill_process"

    @property
    def needs_switch(self) -> bool:
        """Without a start of ours nobody but their supervisor could undo it anyhow."""
        return self.args.process in self.config.processes and self._meant.start is not None

    def inject(self, undo: Mapping[str, Any]) -> None:
        """Kill -9 each of them, and see it dead."""
        for each in undo["processes"]:
            process.send(each, signal.SIGKILL)
        give_up_at = time.monotonic() + DIES_WITHIN_S
        while alive := [each for each in undo["processes"] if process.same(each)]:
            if time.monotonic() >= give_up_at:
                raise RuntimeError(f"killed, and not dead after {DIES_WITHIN_S:g} s: {alive}")
            time.sleep(0.02)


class PauseProcess(_OnProcesses):
    """Stops them with SIGSTOP, and lets them go on."""

    description = "pauses processes for a time, as if they hung"
    kind = "pause_process"

    def inject(self, undo: Mapping[str, Any]) -> None:
        """SIGSTOP to each of them."""
        for each in undo["processes"]:
            process.send(each, signal.SIGSTOP)
