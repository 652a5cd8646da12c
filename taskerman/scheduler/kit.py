"""What a scheduler works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from taskerman.model.event import Event, Listener
from taskerman.model.ids import QueueNames
from taskerman.policy.emission import BodyOf
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Queues
from taskerman.ports.schedules import ScheduleSource
from taskerman.ports.tree import Tree
from taskerman.pulse import Pulse

__all__ = ["Kit", "Rhythm"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a scheduler does what. `turn`: at least so often, and whenever something is due. `stand_by`: between
    two questions whether it should lead. `look`: at the sources. `follow`: at the tasks that it emitted. `skew`: how
    far its clock may be from the tree's before nothing fires."""

    turn: timedelta = timedelta(seconds=2)
    stand_by: timedelta = timedelta(seconds=1)
    look: timedelta = timedelta(seconds=5)
    follow: timedelta = timedelta(seconds=15)
    skew: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Kit:
    """`sources`: where schedules are declared; of two that declare the same name the first counts. `body_of`: the text
    of a document. `by`: this process, for people."""

    tree: Tree
    queues: Queues
    names: QueueNames
    sources: Sequence[ScheduleSource]
    clock: Clock
    emit: Listener
    body_of: BodyOf
    by: str
    rhythm: Rhythm = Rhythm()
    pulse: Pulse = field(default_factory=Pulse)

    def say(self, name: str, level: str = "info", /, **fields: object) -> None:
        """Emit an event."""
        self.emit(Event(name, fields, level))
