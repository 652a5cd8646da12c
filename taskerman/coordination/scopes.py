"""Named scopes: what stands in one and who waits for it, and the verb by which a person declares its capacity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.known import Known
from taskerman.coordination.verbs import Verbs
from taskerman.errors import Bug
from taskerman.model.ids import ScopeName
from taskerman.model.plan import ScopePlace
from taskerman.model.slot import ScopeRecord
from taskerman.policy.snapshot import ScopeSeen
from taskerman.ports.tree import Children, Create, Get, Op, Read, Reader, Set, Wake

__all__ = ["NOT_THERE", "OWN_CAPACITY", "ScopeRead", "ScopeVerbs", "read_scopes"]

NOT_THERE = -2
"""The version of what is not there: no commit that carries it passes."""

_TRIES = 5


OWN_CAPACITY = 1
"""Of a scope that a runner declares for what is heavy, until a person declares another."""


@dataclass(frozen=True, slots=True)
class ScopeRead:
    """A named scope as it was seen. `version`, `children_version`: read with its slots in one read. `data`: of its
    record, at the same version. `places`: its queue, by path."""

    seen: ScopeSeen
    version: int
    children_version: int
    data: bytes
    places: Mapping[str, ScopePlace]

    @property
    def name(self) -> ScopeName:
        """Which scope."""
        return self.seen.name


def read_scopes(
    tree: Reader, names: Iterable[ScopeName], known: Known, wake: Wake | None = None
) -> Mapping[ScopeName, ScopeRead]:
    """Each of these named scopes. One that moves all the time is read so that no take passes on it."""
    return {name: _read(tree, name, known, wake) for name in dict.fromkeys(names)}


def _read(tree: Reader, name: ScopeName, known: Known, wake: Wake | None) -> ScopeRead:
    reads: tuple[Read, ...] = (
        Children(layout.scope(name), wake),
        Get(layout.scope(name), wake),
        Children(layout.waits(name), wake),
    )
    for last in (*[False] * (_TRIES - 1), True):
        listing, found, queue = tree.read(*reads)
        slots, record, waiting = as_names(listing), as_record(found), as_names(queue)
        same = slots is not None and record is not None and slots.stat.version == record.stat.version
        if not same and not last and (slots is not None or record is not None):
            continue  # the capacity is another version's than the slots
        places = known.read_places(tree, layout.waits(name), waiting.names if waiting else ())
        seen = ScopeSeen(
            name=name,
            capacity=layout.decode(ScopeRecord, record, layout.scope(name)).capacity if record else None,
            slots=layout.slots(slots.names) if slots else (),
            waiting=tuple(dict.fromkeys(place.of for place in places.values())),
        )
        return ScopeRead(
            seen=seen,
            version=slots.stat.version if slots is not None and same else NOT_THERE,
            children_version=slots.stat.children_version if slots else NOT_THERE,
            data=record.data if record else b"",
            places=places,
        )
    raise AssertionError("unreachable")


class ScopeVerbs(Verbs):
    """Verbs on named scopes."""

    def set_capacity(self, name: ScopeName, capacity: int, why: str) -> int | None:
        """Declare how many nodes may hold a slot in `name` at once; the answer is what was declared before.

        Below what is taken it may be: then nothing new starts until enough have ended. Idempotent.
        """
        path = layout.scope(name)
        self._tree.ensure(layout.SCOPES, layout.waits(name))
        if self._tree.get(path) is None:
            self._tree.commit([Create(path, ScopeRecord().to_json())])

        def build() -> tuple[list[Op], int | None]:
            record = self._tree.get(path)
            if record is None:
                raise Bug(f"{path} vanished.")
            before = layout.decode(ScopeRecord, record, path)
            after = before.model_copy(update={"capacity": capacity})
            return [Set(path, after.to_json(), record.stat.version)], before.capacity

        return self._commit(build, "set scope", name, why)
