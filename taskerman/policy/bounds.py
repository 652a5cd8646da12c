"""How much of a machine an attempt may use: the node's own bounds and the task's, of which the tighter counts.

A task's bound is a promise to whoever wrote it: where a node cannot keep it, the attempt is not begun. Pure values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from taskerman.model.task import TimeoutArgs

__all__ = ["UNBOUNDED", "Bounds", "asked_by"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of everything that an attempt starts, together. None: unbounded.

    `memory_mb`: MiB. `cpu_percent`: of one core, so 150 is one and a half. `processes`: threads count, too.
    """

    memory_mb: int | None = None
    cpu_percent: int | None = None
    processes: int | None = None

    def tightened(self, other: Bounds) -> Bounds:
        """The tighter of the two, in each."""
        return Bounds(
            _least(self.memory_mb, other.memory_mb),
            _least(self.cpu_percent, other.cpu_percent),
            _least(self.processes, other.processes),
        )

    @property
    def names(self) -> frozenset[str]:
        """Which of them are set, by the names of the document."""
        return frozenset(name for name, value in asdict(self).items() if value is not None)


UNBOUNDED = Bounds()


def asked_by(timeouts: TimeoutArgs) -> Bounds:
    """What the task asks for."""
    return Bounds(timeouts.memory_mb, timeouts.cpu_percent, timeouts.processes)


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)
