"""Reading in one trip what would take several: who looks again asks at once for what the last look asked for in turn.

A look at a line goes from answer to answer: where do I stand, who is before me, what stands around. Its questions are
nearly always those of the look before. Reads are hints and versions decide, so an answer that was asked for a moment
early is as good; one that was not needed is dropped. Nothing is kept from one look to the next but the questions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from taskerman.coordination.answers import as_names, as_record
from taskerman.ports.tree import Children, Get, Names, Read, Reader, Record, Stat, Wake

__all__ = ["Foresight", "Reads"]

Answer = Record | Stat | Names | None

_MOST = 64
"""Questions of one look that are remembered: a look that asked for more was not an ordinary one."""


class Reads:
    """One look's reads: answered from what was asked ahead, each answer once, else by the tree."""

    def __init__(self, tree: Reader, ahead: Sequence[Read]) -> None:
        """Asks for `ahead`, in one trip. Raises `CoordinationUnavailable`."""
        self._tree = tree
        self._answers: dict[Read, Answer] = dict(zip(ahead, tree.read(*ahead), strict=True)) if ahead else {}
        self.asked: dict[Read, None] = {}

    def read(self, *reads: Read) -> tuple[Answer, ...]:
        """See `Reader.read`."""
        self.asked.update(dict.fromkeys(reads))
        missing = list(dict.fromkeys(read for read in reads if read not in self._answers))
        if missing:
            self._answers.update(zip(missing, self._tree.read(*missing), strict=True))
        found = tuple(self._answers[read] for read in reads)
        for read in reads:
            self._answers.pop(read, None)
        return found

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        """See `Reader.get`."""
        return as_record(self.read(Get(path, wake))[0])

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        """See `Reader.children`."""
        return as_names(self.read(Children(path, wake))[0])


class Foresight:
    """What the looks at each subject asked for last time. Used from one thread."""

    def __init__(self, tree: Reader) -> None:
        """`tree`: where the looks are made."""
        self._tree = tree
        self._questions: dict[Hashable, Sequence[Read]] = {}

    def look(self, subject: Hashable, *, also: Sequence[Read] = ()) -> Reads:
        """The reads of a new look at `subject`, with those of the last one asked for ahead, and `also` with them."""
        return Reads(self._tree, tuple(dict.fromkeys((*self._questions.get(subject, ()), *also))))

    def remember(self, subject: Hashable, reads: Reads) -> None:
        """Keep what this look asked for; the next one will probably ask for it too."""
        self._questions[subject] = tuple(reads.asked)[:_MOST]

    def forget(self, subject: Hashable) -> None:
        """Nobody will look at it again. Idempotent."""
        self._questions.pop(subject, None)
