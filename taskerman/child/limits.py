"""Which of its limits a hook met, in words: from what the kernel counted since the hook began.

The words are for people and stand in results; `kind_of` says which limit they are about, for those who count.
"""

from __future__ import annotations

from taskerman.child.cgroup import Cgroup, Counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskerman.child.output import Output

__all__ = ["Limits", "kind_of"]

HELD_BACK_S = 1.0
"""Less is the ordinary grain of the scheduler, and no reason for anything."""


_KINDS = {"memory": "memory", "process": "processes", "CPU": "cpu", "output": "output"}


def kind_of(met: str) -> str:
    """Which limit one of the sentences of `met` is about: memory, processes, cpu or output; empty: of another build."""
    return _KINDS.get(met.removeprefix("the machine's ").partition(" ")[0], "")


class Limits:
    """Asked with `mark` when something begins, and with `met` when it is over."""

    def __init__(
        self, cgroup: Cgroup | None, bounds: Mapping[str, int | None], rlimit_memory_mb: int | None, output: Output
    ) -> None:
        """`bounds`: by the document's names. `rlimit_memory_mb`: kept by each process for itself, without a group."""
        self._cgroup = cgroup
        self._bounds = bounds
        self._rlimit_memory_mb = rlimit_memory_mb
        self._output = output
        self._before = Counters()
        self._dropped_before = 0

    def mark(self) -> None:
        """Something begins: what was met before is not its doing."""
        self._before = self._cgroup.counters() if self._cgroup is not None else Counters()
        self._dropped_before = self._output.dropped

    def met(self, *, failed: bool) -> list[str]:
        """What was met since the mark. `failed`: it ended badly, so that a limit that is not counted is named, too."""
        now = self._cgroup.counters() if self._cgroup is not None else Counters()
        found = []
        if killed := now.oom_kills - self._before.oom_kills:
            found.append(f"{self._named('memory', 'memory_mb', ' MB')} (the kernel killed {killed} of its processes)")
        if self._rlimit_memory_mb is not None and failed:
            found.append(f"memory limit {self._rlimit_memory_mb} MB for each process (perhaps: nobody counts it here)")
        if refused := now.refused_forks - self._before.refused_forks:
            found.append(f"{self._named('process', 'processes')} ({refused} more were refused)")
        held_back_s = now.held_back_s - self._before.held_back_s
        if held_back_s >= HELD_BACK_S:
            found.append(f"{self._named('CPU', 'cpu_percent', ' %')} (held back for {held_back_s:.0f} s)")
        if dropped := self._output.dropped - self._dropped_before:
            found.append(f"output limit {self._output.most:,} bytes ({dropped:,} more were not kept)")
        return found

    @property
    def peak_bytes(self) -> int:
        """The most memory at once, as far as it is counted."""
        return self._cgroup.peak_bytes() if self._cgroup is not None else 0

    def _named(self, what: str, key: str, unit: str = "") -> str:
        bound = self._bounds.get(key)
        return f"the machine's {what} limit" if bound is None else f"{what} limit {bound}{unit}"
