"""What every chore of a janitor works with, and how one that fails keeps the others from nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from taskerman.coordination import layout
from taskerman.coordination.overview import open_tasks
from taskerman.coordination.plans import read_plan
from taskerman.errors import Bug, CoordinationUnavailable, StopNow, TaskermanError
from taskerman.model.event import Event, Listener
from taskerman.model.ids import QueueNames, TaskId
from taskerman.model.plan import Plan
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.clock import Clock
from taskerman.ports.discovery import Discovery
from taskerman.ports.history import History
from taskerman.ports.queue import Queues
from taskerman.ports.tree import Tree
from taskerman.pulse import Pulse

__all__ = ["Chore", "Kit", "Turn"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a leader. `term`: of its leadership. `tree_time`: the tree's clock. `clock_is_right`: whether this
    machine's clock agrees with it: what time decides is left alone when it does not."""

    term: int
    tree_time: datetime
    clock_is_right: bool


class Chore(Protocol):
    """One thing that a janitor does, again and again."""

    @property
    def name(self) -> str:
        """For events."""
        ...

    @property
    def every_s(self) -> float:
        """Between two times, at least."""
        ...

    def do(self, turn: Turn) -> None:
        """Do it. May be repeated at any time; what it cannot do for one thing does not keep it from the next.

        Raises `CoordinationUnavailable`, `StopNow`, and any other error that stops the whole chore for now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kit:
    """Handed to every chore. `history` None: there is none, so nothing is put away. `discoveries`: by the name that a
    document's `discovery` gives. `pulse`: to be beaten by whatever goes on for long. `counts`: whether
    anybody wants the installation counted."""

    tree: Tree
    queues: Queues
    names: QueueNames
    discoveries: Mapping[str, Discovery]
    history: History | None
    clock: Clock
    emit: Listener
    upkeep: Upkeep
    by: str
    pulse: Pulse = field(default_factory=Pulse)
    counts: bool = True
    _plans: dict[TaskId, Plan] = field(default_factory=dict)

    def say(self, name: str, level: str = "info", /, **fields: object) -> None:
        """Emit an event."""
        self.emit(Event(name, fields, level))

    def failed(self, chore: str, error: Exception, **fields: object) -> None:
        """Say that a chore could not be done."""
        known = error if isinstance(error, TaskermanError) else Bug(f"{type(error).__name__}: {error}")
        self.say("chore_failed", "error", chore=chore, why=str(known), code=known.code, **fields)

    def each(
        self,
        chore: str,
        things: Iterable[T],
        do: Callable[[T], object],
        name: Callable[[T], str],
        *,
        but: tuple[type[TaskermanError], ...] = (),
    ) -> None:
        """Do `do` for each of `things`; what fails for one is said, and the next one is done.

        Raises only what fails for all: `CoordinationUnavailable`, `StopNow`, and any of `but`.
        """
        passed: tuple[type[TaskermanError], ...] = (CoordinationUnavailable, StopNow, *but)
        for thing in things:
            self.pulse.beat()
            try:
                do(thing)
            except passed:
                raise
            except Exception as error:  # what nobody foresaw stops one thing, not the others, and is told
                self.failed(chore, error, of=name(thing))

    def open_plans(self) -> list[Plan]:
        """The plan of every open task, oldest first in each cluster. Plans never change, so they are kept."""
        headers = [header.task for _, header in open_tasks(self.tree)]
        for task in self._plans.keys() - set(headers):
            del self._plans[task]
        plans: list[Plan] = []

        def look(task: TaskId) -> None:
            if task not in self._plans and isinstance(found := read_plan(self.tree, task), Plan):
                self._plans[task] = found
            if task in self._plans:
                plans.append(self._plans[task])

        self.each("read the plans", headers, look, layout.task)
        return plans
