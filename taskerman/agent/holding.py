"""What the agent holds: accepted assignments, the doorbells that brought them, and when to look at each again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from taskerman.agent.journal import Accepted
from taskerman.model.assignment import Doorbell
from taskerman.model.ids import AttemptId, TaskId
from taskerman.model.plan import Plan
from taskerman.ports.queue import Delivery

__all__ = ["Held", "Holding"]


@dataclass(slots=True)
class Held:
    """One accepted assignment. Times are monotonic seconds.

    `look_at`: before that only a wake makes it look. `not_before`: nothing but time lets it go on, and not earlier.
    `refused`: takes in a row that were. `unsent`, `send_at`: failed announcements of its dead letter in a row, and
    when to try again. `ended_here`: the attempt with which it ended here, since when no doorbell came in.
    `unknown_since`, `unknown_until`: of an action that this build does not know. `rung`: since the bracket of its
    action was looked at last; whoever rings may mean that.
    """

    task: TaskId
    hash: str
    deliveries: list[Delivery] = field(default_factory=list)
    plan: Plan | None = None
    look_at: float = 0.0
    not_before: float | None = None
    refused: int = 0
    unsent: int = 0
    send_at: float = 0.0
    ended_here: AttemptId | None = None
    unknown_since: float | None = None
    unknown_until: float = 0.0
    unknown_why: str = ""
    said: str = ""
    rung: bool = False


class Holding:
    """All of them. Used on the agent's one thread.

    Held by task *and* hash: a doorbell with another hash is another's, and must not take the right one with it.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[TaskId, str], Held] = {}
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
        held = self._held.setdefault((task, digest), Held(task, digest))
        if delivery is not None:
            held.deliveries.append(delivery)
            held.rung = True
            held.look_at = 0.0
            held.ended_here = None

    def drop(self, held: Held, settled: Sequence[Delivery]) -> None:
        """Let go of it, unless a doorbell came in that is not among the settled ones: then look at it anew."""
        held.deliveries = [delivery for delivery in held.deliveries if delivery not in settled]
        held.plan = None
        held.look_at = 0.0
        if not held.deliveries:
            del self._held[held.task, held.hash]

    def ended(self, task: TaskId, attempt: AttemptId, *, look: bool = False) -> None:
        """The assignment of `task` ended here with `attempt`: what rang until now did not ring for a redrive.

        `look`: at its bracket, as if somebody had rung: two that ended at once may each have left it to the other.
        """
        for held in self._held.values():
            if held.task == task:
                held.ended_here = attempt
                held.rung = held.rung or look

    def all(self) -> Sequence[Held]:
        """Everything that is held."""
        return list(self._held.values())

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
