"""The chore of counting: once a minute, for everybody, what is open, waits, is held and needs a person."""

from __future__ import annotations

from taskerman.coordination.census import Census, Row
from taskerman.errors import NotFound, NotPermitted, QueuesUnavailable
from taskerman.janitor.kit import Kit, Turn

__all__ = ["Counting"]

_EVERY_S = 60.0


class Counting:
    """Emits one event with every number; who makes metrics of it forgets it when the next one does not come."""

    name = "count"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self._census = Census(kit.tree)
        self.every_s = _EVERY_S

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        counted = self._census.take(self._kit.open_plans(), turn.tree_time)
        for path, error in self._census.unreadable.items():
            self._kit.failed(self.name, error, of=path)
        self._kit.say("installation_counted", "debug", **counted, queue_messages=self._messages())

    def _messages(self) -> list[Row]:
        """A queue that cannot be looked at is left out; the count of everything else is told all the same."""
        names, found = self._kit.names, list[Row]()
        for kind, queue in (("tasks", names.tasks), ("dead_letter", names.dead_letter)):
            try:
                depth = self._kit.queues.depth(queue)
            except (QueuesUnavailable, NotFound, NotPermitted) as error:
                self._kit.say("queue_not_counted", "warning", queue=queue, why=str(error))
                continue
            found += [(kind, "visible", depth.visible), (kind, "in_flight", depth.in_flight)]
            found.append((kind, "delayed", depth.delayed))
        return found
