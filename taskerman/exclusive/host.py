"""This host, and whether what was recorded of a command here still runs.

"It ended" is said on proof only: the machine was started anew since, or it is the same boot and none of the recorded
processes is there any more. Whatever cannot be proved from here (another machine of the same name, another container,
processes that we may not see) leaves the slot to a person.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from taskerman.child.kin import Process, carries_marker, command_line, process_start, processes
from taskerman.model.command import Processes
from taskerman.model.ids import NodeId

__all__ = ["COMMAND_MARKER", "Gone", "Host", "Lives", "Unjudged", "Verdict", "judge", "this_host"]

COMMAND_MARKER = "TASKERMAN_COMMAND"
"""The environment variable that every process of a command inherits; its value is the holder's id."""

_MACHINE_ID = Path("/etc/machine-id")
_OUTERMOST = "pid:[4026531836]"
"""The machine's own pid namespace, by the number that the kernel gives it. In any other one a boot is not a proof: a
container that was moved has another boot, and the old one may run still."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where this process runs. `machine` None: the machine has no id. `sees_all`: no process is hidden from it."""

    id: NodeId
    boot: str
    machine: str | None
    pid_space: str
    uid: int
    sees_all: bool = True

    def processes_of(self, session: int) -> Processes | None:
        """This process, and the command's, which has `session` for its pid. None: that one is gone."""
        start, its = process_start(os.getpid()), process_start(session)
        if start is None or its is None:
            return None
        return Processes(
            pid=os.getpid(),
            start=start,
            session=session,
            session_start=its,
            boot=self.boot,
            machine=self.machine,
            pid_space=self.pid_space,
            uid=self.uid,
        )


@dataclass(frozen=True, slots=True)
class Gone:
    """It ended. `why`: what proves it."""

    why: str


@dataclass(frozen=True, slots=True)
class Lives:
    """Something of it is there. `who`: for people."""

    who: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Nobody can tell from here. `why`: for people."""

    why: str


Verdict = Gone | Lives | Unjudged


def this_host(host: NodeId, boot_id_file: Path) -> Host:
    """What this process can know of where it runs. Raises `OSError` without /proc."""
    machine = ""
    with suppress(OSError):
        machine = _MACHINE_ID.read_text().strip()
    return Host(
        id=host,
        boot=boot_id_file.read_text().strip(),
        # Only a hash of it: the machine's id is to be kept to the machine.
        machine=hashlib.sha256(f"taskerman:{machine}".encode()).hexdigest()[:16] if machine else None,
        pid_space=os.readlink("/proc/self/ns/pid"),
        uid=os.getuid(),
        sees_all=Path("/proc/1/stat").exists(),
    )


def judge(
    found: Processes,
    holder: NodeId,
    here: Host,
    *,
    table: Callable[[], Mapping[int, Process]] = processes,
) -> Verdict:
    """Whether anything of the command lives that was recorded as `found`. Read the record first, then ask."""
    if found.boot != here.boot:
        return _another_boot(found, here)
    if found.pid_space != here.pid_space:
        return Unjudged("it is in another container of this machine")
    if here.uid not in (0, found.uid) or not here.sees_all:
        return Unjudged("it may be in processes that only root can see")
    living = [process for process in _of(found, holder, table()) if process.alive]
    if living:
        return Lives(tuple(f"pid {process.pid}: {command_line(process)}" for process in living))
    return Gone("none of its processes is there any more")


def _another_boot(found: Processes, here: Host) -> Gone | Unjudged:
    if found.machine is None or found.machine != here.machine:
        return Unjudged("it is on a machine that has the same name as this one")
    if not found.pid_space == here.pid_space == _OUTERMOST:
        return Unjudged("it was in a container, which may run elsewhere now")
    return Gone("its machine was started anew since")


def _of(found: Processes, holder: NodeId, table: Mapping[int, Process]) -> list[Process]:
    leader = table.get(found.session)
    # A number is given anew only when no process has it for its session any more.
    reused = leader is not None and leader.start != found.session_start
    return [
        process
        for process in table.values()
        if (process.pid == found.pid and process.start == found.start)
        or (process.session == found.session and not reused)
        or carries_marker(process, holder, COMMAND_MARKER)
    ]
