"""What every part of an agent works with: who it is, its journal, the world outside, and where it says what happened.

Values and ports only; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskerman.agent.isolation import Isolation
from taskerman.agent.journal import JournalFile
from taskerman.agent.profile import Profile
from taskerman.model.attempt import Attempt
from taskerman.model.event import Event, Listener
from taskerman.model.ids import ActionName, NodeId, QueueNames
from taskerman.ports.catalog import Catalog
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Queues
from taskerman.pulse import Pulse

__all__ = ["LOOK_AGAIN_S", "Kit"]

LOOK_AGAIN_S = 30.0
"""After so long it looks again although nothing woke it: a watch can be lost."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Handed to every part. `throw`: uniform in [0, 1). `pulse`: to be beaten by whatever goes on for long."""

    profile: Profile
    journal: JournalFile
    queues: Queues
    names: QueueNames
    catalog: Catalog
    clock: Clock
    emit: Listener
    throw: Callable[[], float]
    pulse: Pulse
    isolation: Isolation

    @property
    def node(self) -> NodeId:
        """Which node this is."""
        return self.profile.node

    def say(self, name: str, level: str = "info", /, **fields: object) -> None:
        """Emit an event of this node."""
        self.emit(Event(name, {"node": self.profile.node, **fields}, level))

    def ids(self, attempt: Attempt, action: ActionName = "") -> dict[str, object]:
        """The ids that an event of an attempt carries; with `action`, what it is counted under as well."""
        ids: dict[str, object] = {"task": attempt.task, "attempt": attempt.id}
        return {**ids, "action": action, "cluster": attempt.cluster} if action else ids

    def note_down(self, **changes: object) -> None:
        """Write to the journal what is good to have and not needed: without it things are only found out later."""
        try:
            self.journal.write(**changes)
        except OSError as error:
            self.say("journal_not_written", "error", why=str(error))
