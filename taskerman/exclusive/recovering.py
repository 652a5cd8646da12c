"""What earlier commands of this host left in the tree: recorded, and their slots freed, where it is proved they ended.

The slot of one that still lives stays, and is named; so is one of which nobody can tell from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from taskerman.coordination.commands import CommandMoves
from taskerman.exclusive.host import Gone, Lives, Unjudged, judge
from taskerman.exclusive.kit import Kit
from taskerman.exclusive.notes import Notes
from taskerman.model.command import CommandEnd, CommandHow
from taskerman.model.ids import NodeId, ScopeName

__all__ = ["Recovering"]


@dataclass
class Recovering:
    """Looks again and again; what it has said of a holder it says once."""

    kit: Kit
    notes: Notes
    _said: set[NodeId] = field(default_factory=set)

    def recover(self, moves: CommandMoves, scope: ScopeName | None = None) -> bool:
        """Whether a slot was freed. `scope`: of this scope only; what stands in the way there is named.

        Raises `CoordinationUnavailable`, `AnswerUnknown`: repeat it.
        """
        freed = False
        for known in moves.running(self.kit.host.id, scope):
            holder = known.record.holder
            verdict = judge(known.record.processes, holder, self.kit.host)
            match verdict:
                case Gone(why):
                    lost = CommandEnd(at=self.kit.clock.now(), how=CommandHow.LOST, why=why)
                    moves.end(holder, self.notes.read(holder) or lost)
                    self.notes.remove(holder)
                    self.kit.say(f"{holder} ended without saying so ({why}): recorded, and its slot is free")
                    freed = True
                case Lives(who) if scope is not None:
                    self._say(holder, f"{holder} keeps its slot, it still runs: {'; '.join(who[:3])}")
                case Unjudged(why) if scope is not None:
                    self._say(
                        holder,
                        f"{holder} keeps its slot: {why}. When you know that it does not run: `taskerman slots release "
                        f'{holder} --node-is-off --why "..."`',
                    )
                case _:
                    pass
        return freed

    def _say(self, holder: NodeId, text: str) -> None:
        if holder not in self._said:
            self._said.add(holder)
            self.kit.say(text)
