"""What the agent holds: accepted assignments, the doorbells that brought them, and when to look at each again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from taskerman.agent.journal import Accepted
from taskerman.model.assignment import Doorbell
from taskerman.model.ids import TaskId
from taskerman.model.plan import Plan
from taskerman.ports.queue import Delivery

__all__ = ["Held", "Holding"]


@dataclass(slots=True)
class Held:
    """One accepted assignment. `look_at`: monotonic seconds; before that only a wake makes it look."""

    task: TaskId
    hash: str
    deliveries: list[Delivery] = field(default_factory=list)
    plan: Plan | None = None
    look_at: float = 0.0
    unknown_since: float | None = None


class Holding:
    """All of them. Used on the agent's one thread."""

    def __init__(self) -> None:
        self._held: dict[TaskId, Held] = {}
        self._look_now = True

    @staticmethod
    def read(delivery: Delivery) -> Doorbell | None:
        """The doorbell that was delivered; None for anything else."""
        try:
            return Doorbell.model_validate_json(delivery.body)
        except ValidationError:
            return None

    def accept(self, task: TaskId, digest: str, delivery: Delivery | None = None) -> None:
        """Hold the assignment, once, and every delivery that rings for it."""
        held = self._held.setdefault(task, Held(task, digest))
        if delivery is not None:
            held.deliveries.append(delivery)
            held.look_at = 0.0

    def drop(self, task: TaskId, settled: Sequence[Delivery]) -> None:
        """Let go of it, unless a doorbell came in that is not among the settled ones: then look at it anew."""
        held = self._held[task]
        held.deliveries = [delivery for delivery in held.deliveries if delivery not in settled]
        held.plan = None
        held.look_at = 0.0
        if not held.deliveries:
            del self._held[task]

    def tasks(self) -> Sequence[TaskId]:
        """What is held."""
        return list(self._held)

    def accepted(self) -> tuple[Accepted, ...]:
        """The same, as the journal keeps it."""
        return tuple(Accepted(task_id=held.task, hash=held.hash) for held in self._held.values())

    def look_now(self) -> None:
        """Everything may have changed."""
        self._look_now = True

    def woken(self) -> bool:
        """Whether something changed since this was asked last."""
        woken, self._look_now = self._look_now, False
        if woken:
            for held in self._held.values():
                held.look_at = 0.0
        return woken

    def due(self, now: float) -> Sequence[Held]:
        """What is to be looked at, oldest task first as far as plans are known."""
        self.woken()
        found = [held for held in self._held.values() if held.look_at <= now]
        return sorted(found, key=lambda held: (held.plan.accepted.at.timestamp() if held.plan else 0.0, held.task))

    def next_look(self) -> float | None:
        """When the next one is due."""
        return min((held.look_at for held in self._held.values()), default=None)
