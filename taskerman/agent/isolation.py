"""Keeping attempts apart from everything else: a control group for each, made, emptied and removed.

What this machine offers is found out once. Where it offers nothing, an attempt is a session whose orphans its keeper
adopts, and only its memory can be bound, process by process. It refuses to pretend: `honoured` says what is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taskerman.agent.hierarchies import CONTROLLERS, Hierarchy, usable
from taskerman.child.cgroup import WORK, Cgroup
from taskerman.model.ids import AttemptId
from taskerman.policy.bounds import Bounds

__all__ = ["NO_GROUPS", "Isolation", "detect"]

_PERIOD_US = 100_000
_TRACKING = ("pids", "memory", "cpu")
"""Where v1 is all there is: in which of its hierarchies it is said who belongs to an attempt."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine offers. `mark`: begins the name of every group of ours, so that we touch nobody else's.

    `hierarchies`: the first says who belongs to an attempt; none = there are no groups. `why`: there are not more.
    """

    hierarchies: tuple[Hierarchy, ...] = ()
    mark: str = ""
    why: str = ""

    @property
    def honoured(self) -> frozenset[str]:
        """The bounds that are kept here for an attempt as a whole, by the names of the document."""
        return frozenset(CONTROLLERS[name] for name in self._controllers)

    def __str__(self) -> str:
        if not self.hierarchies:
            return f"a session for each attempt ({self.why})"
        first = self.hierarchies[0]
        kind = "cgroup v2" if first.v2 else "cgroup v1"
        if first.v2 and any(not each.v2 for each in self.hierarchies):
            kind += ", limits by v1"
        kept = ", ".join(sorted(self.honoured)) or "none"
        return f"a group for each attempt ({kind}, below {first.base}); limits that are kept: {kept}"

    # --- one attempt -------------------------------------------------------------------------------------

    def enclose(self, attempt: AttemptId, bounds: Bounds) -> str:
        """Make the groups of `attempt` and bind them; the answer is for its spec and the journal. Empty: no groups.

        Idempotent: an attempt's next child gets the same groups, bound anew. Raises `OSError`.
        """
        group = self._group(attempt)
        if group is None:
            return ""
        first = self.hierarchies[0]
        for directory in group.directories:
            Path(directory).mkdir(exist_ok=True)
        if first.v2:
            for name in sorted(first.controllers):
                (Path(group.directories[0]) / "cgroup.subtree_control").write_text(f"+{name}", encoding="ascii")
        Path(group.keeper).mkdir(exist_ok=True)
        Path(group.work[0]).mkdir(exist_ok=True)
        for controller in self._controllers:
            work = self._work(group, controller)
            _BIND[controller](work, self._home(controller).v2, bounds)
        return str(group)

    def rlimit_memory_mb(self, bounds: Bounds) -> int | None:
        """What each process has to be bound to by itself, because no group here can bind their memory."""
        return None if "memory_mb" in self.honoured else bounds.memory_mb

    def empty(self, attempt: AttemptId, within_s: float) -> bool:
        """Kill whoever is left in its groups; True only if nobody is. Without groups it has nobody to ask: True."""
        group = self._group(attempt)
        return group is None or group.kill(time.monotonic() + within_s)

    def release(self, attempt: AttemptId) -> bool:
        """Remove its groups, which must be empty; False: somebody is in there. Idempotent."""
        group = self._group(attempt)
        return group is None or group.remove()

    # --- all of ours -------------------------------------------------------------------------------------

    def sweep(self, keep: AttemptId | None, within_s: float) -> Sequence[str]:
        """Empty and remove what crashed agents of this journal left, but for `keep`; the answer: what could not be.

        Only groups that carry our mark are looked at.
        """
        left = []
        for attempt in sorted(self._found() - {keep}):
            if not (self.empty(attempt, within_s) and self.release(attempt)):
                left.append(attempt)
        return left

    def _found(self) -> set[str]:
        found = set()
        for each in self.hierarchies:
            try:
                names = [entry.name for entry in each.base.iterdir() if entry.is_dir()]
            except OSError:
                continue
            found |= {name.removeprefix(f"{self.mark}.") for name in names if name.startswith(f"{self.mark}.")}
        return found

    # --- where things are --------------------------------------------------------------------------------

    @property
    def _controllers(self) -> tuple[str, ...]:
        return tuple(name for name in CONTROLLERS if any(name in each.controllers for each in self.hierarchies))

    def _home(self, controller: str) -> Hierarchy:
        return next(each for each in self.hierarchies if controller in each.controllers)

    def _group(self, attempt: AttemptId) -> Cgroup | None:
        if not self.hierarchies:
            return None
        return Cgroup([str(each.base / f"{self.mark}.{attempt}") for each in self.hierarchies])

    def _work(self, group: Cgroup, controller: str) -> Path:
        number = self.hierarchies.index(self._home(controller))
        directory = Path(group.directories[number])
        return directory / WORK if number == 0 else directory


NO_GROUPS = Isolation(why="control groups are not wanted")


def detect(folder: str, uuid: str, **where: Path) -> Isolation:
    """Find out what this machine offers. `folder`: where our groups are to be, in every hierarchy; "none" = nowhere.
    `uuid`: of the journal. `where`: see `usable`."""
    if folder == "none":
        return NO_GROUPS
    found, why = usable(folder, **where)
    first = next((each for each in found if each.v2), None) or next(
        (each for name in _TRACKING for each in found if name in each.controllers), None
    )
    if first is None:
        return Isolation(why=why or "no hierarchy has a controller that we need")
    chosen, covered = [first], set(first.controllers)
    for each in found:
        if not each.v2 and each.controllers - covered:
            chosen.append(each)
            covered |= each.controllers
    return Isolation(tuple(chosen), uuid.replace("-", "")[:12], why)


# --- binding a group: the kernel's own files -------------------------------------------------------------


def _bind_memory(work: Path, v2: bool, bounds: Bounds) -> None:
    if v2:
        text = "max" if bounds.memory_mb is None else str(bounds.memory_mb * 1024 * 1024)
        _write(work / "memory.max", text)
        _write_if_there(work / "memory.swap.max", "max" if bounds.memory_mb is None else "0")
        return
    text = "-1" if bounds.memory_mb is None else str(bounds.memory_mb * 1024 * 1024)
    both, alone = work / "memory.memsw.limit_in_bytes", work / "memory.limit_in_bytes"
    # Memory with swap is never less than memory alone: which of the two has to give way first depends on the way.
    _write_if_there(both, "-1")
    _write(alone, text)
    _write_if_there(both, text)


def _bind_cpu(work: Path, v2: bool, bounds: Bounds) -> None:
    quota = None if bounds.cpu_percent is None else bounds.cpu_percent * _PERIOD_US // 100
    if v2:
        _write(work / "cpu.max", f"{'max' if quota is None else quota} {_PERIOD_US}")
        return
    _write(work / "cpu.cfs_period_us", str(_PERIOD_US))
    _write(work / "cpu.cfs_quota_us", str(-1 if quota is None else quota))


def _bind_pids(work: Path, v2: bool, bounds: Bounds) -> None:
    _write(work / "pids.max", "max" if bounds.processes is None else str(bounds.processes))


_BIND = {"memory": _bind_memory, "cpu": _bind_cpu, "pids": _bind_pids}


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="ascii")


def _write_if_there(file: Path, text: str) -> None:
    if file.exists():
        _write(file, text)
