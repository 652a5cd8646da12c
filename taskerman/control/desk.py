"""The operator's desk: everything that a verb may touch, handed to it as one value; and what every reason must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.overview import installation
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import UsageError
from taskerman.model.ids import QueueNames
from taskerman.policy.guards import SizeGuard
from taskerman.ports.catalog import Catalog
from taskerman.ports.clock import Clock
from taskerman.ports.discovery import Discovery
from taskerman.ports.queue import Queues
from taskerman.ports.tree import Tree

__all__ = ["Desk", "check_why"]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a verb works with, as `by` (claimed, and recorded so).

    `tree` need not be open: a verb opens it when it needs it, so that what needs only a queue needs only a queue.
    `discoveries`: by the name that a document's `discovery` gives. `guard`: when routers park a plan. `secure`: gives
    every record its rights; None: the settings do not say who is who.
    """

    tree: Tree
    queues: Queues
    names: QueueNames
    discoveries: Mapping[str, Discovery]
    catalog: Catalog
    clock: Clock
    by: str
    guard: SizeGuard = field(default_factory=SizeGuard)
    secure: Callable[[], int] | None = None
    _looked: set[str] = field(default_factory=set, repr=False, compare=False)

    def reached(self) -> Tree:
        """The tree, connected, whatever it holds. Raises `CoordinationUnavailable`."""
        self.tree.open()
        return self.tree

    def opened(self) -> Tree:
        """The tree, connected, and it holds an installation that this build understands.

        Looked at once: where there is none, "there is no such task" would send people the wrong way, and a change
        would be the beginning of one. Raises `CoordinationUnavailable`, `LayoutUnsupported`.
        """
        tree = self.reached()
        if "layout" not in self._looked:
            installation(tree)
            self._looked.add("layout")
        return tree

    def moves(self) -> OperatorMoves:
        """What a person does to the tree."""
        return OperatorMoves(self.opened(), self.by, self.clock.now)

    def founding_moves(self) -> OperatorMoves:
        """The same where there may be no installation yet."""
        return OperatorMoves(self.reached(), self.by, self.clock.now)

    def router_moves(self) -> RouterMoves:
        """What a router does to it; a verb only reads by these."""
        return RouterMoves(self.opened())

    def now(self) -> datetime:
        """The time of day."""
        return self.clock.now()


def check_why(why: str) -> str:
    """A reason is for whoever reads it at night: it has words. Raises `UsageError`."""
    if not any(character.isalnum() for character in why):
        raise UsageError("A reason is wanted.", next_step='Say it in a few words: --why "disk replaced".')
    return why
