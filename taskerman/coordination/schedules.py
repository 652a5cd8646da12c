"""The schedules that are in force: one record each. Reading them, writing many at once, and the verbs of a person.

Every write is at the version that was read, and a record carries everything that a firing depends on: so a pause that
is acknowledged means that nothing is claimed after it, and of two schedulers that claim the same firing one has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taskerman.coordination import layout
from taskerman.coordination.reading import get_each
from taskerman.coordination.verbs import Verbs
from taskerman.errors import AnswerUnknown, Bug, RefusedByState, ScheduleUnknown
from taskerman.model.ids import TaskId
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import Paused, PendingFiring, ScheduleRecord
from taskerman.policy.emission import full, note_sent, resumed
from taskerman.ports.tree import Committed, Create, Delete, Op, Set, Stat, Tree

__all__ = [
    "Change",
    "KnownSchedule",
    "ScheduleVerbs",
    "Written",
    "bell",
    "read_schedules",
    "schedule_names",
    "write_schedules",
]

_AT_ONCE = 100
_MOST_BYTES = 500_000
_TRIES = 20


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A record and its version."""

    record: ScheduleRecord
    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """`record` None: it goes. `version` None: it is not there yet."""

    name: ScheduleName
    record: ScheduleRecord | None
    version: int | None

    def op(self) -> Op:
        """As one operation of a commit."""
        path = layout.schedule(self.name)
        if self.record is None:
            return Delete(path, self.version)
        if self.version is None:
            return Create(path, self.record.to_json())
        return Set(path, self.record.to_json(), self.version)


@dataclass(frozen=True, slots=True)
class Written:
    """`done`: what stands now, by name. `stale`: what moved meanwhile, or of which nobody knows: read it again."""

    done: Mapping[ScheduleName, KnownSchedule]
    stale: frozenset[ScheduleName]


def read_schedules(
    tree: Tree, names: Iterable[ScheduleName] | None = None, spoilt: dict[str, str] | None = None
) -> dict[ScheduleName, KnownSchedule]:
    """The records of `names`, or of all, by name; those that are not there are left out.

    `spoilt`: takes the names of those that cannot be read, and why; without it the first one raises `Bug`.
    """
    wanted = schedule_names(tree) if names is None else list(names)
    records = get_each(tree, [layout.schedule(name) for name in wanted])
    found: dict[ScheduleName, KnownSchedule] = {}
    for name, record in zip(wanted, records, strict=True):
        try:
            if record is not None:
                kept = layout.decode(ScheduleRecord, record, layout.schedule(name))
                found[name] = KnownSchedule(kept, record.stat.version)
        except Bug as error:
            if spoilt is None:
                raise
            spoilt[name] = str(error)
    return found


def schedule_names(tree: Tree) -> Sequence[ScheduleName]:
    """Of every record that there is."""
    listing = tree.children(layout.SCHEDULES)
    return () if listing is None else listing.names


def bell(tree: Tree) -> tuple[int, ScheduleName]:
    """Rises with every change that a person made; and the schedule that was changed last."""
    found = tree.get(layout.SCHEDULES)
    if found is None:
        return -1, ""
    return found.stat.version, found.data.decode()


def write_schedules(tree: Tree, changes: Sequence[Change]) -> Written:
    """Write each change unless its record moved; many in one commit, and one by one where one of them moved.

    A change of which no answer came is stale: it may still happen, but whatever is written after the record was read
    again has another version, and of the two one wins. Raises `CoordinationUnavailable` when nothing can be asked.
    """
    tree.ensure(layout.SCHEDULES)
    done: dict[ScheduleName, KnownSchedule] = {}
    stale: set[ScheduleName] = set()
    for chunk in _chunks(changes):
        if not _commit(tree, chunk, done, stale):
            for change in chunk:
                if not _commit(tree, [change], done, stale):
                    stale.add(change.name)
    return Written(done, frozenset(stale))


def _commit(
    tree: Tree, changes: Sequence[Change], done: dict[ScheduleName, KnownSchedule], stale: set[ScheduleName]
) -> bool:
    """False: one of them moved, and nothing was written."""
    try:
        answer = tree.commit([change.op() for change in changes])
    except AnswerUnknown:
        stale.update(change.name for change in changes)
        return True
    if not isinstance(answer, Committed):
        return False
    for change, result in zip(changes, answer.results, strict=True):
        if change.record is not None:
            done[change.name] = KnownSchedule(change.record, result.version if isinstance(result, Stat) else 0)
    return True


def _chunks(changes: Sequence[Change]) -> Iterable[Sequence[Change]]:
    chunk: list[Change] = []
    weight = 0
    for change in changes:
        own = len(change.record.to_json()) if change.record is not None else 0
        if chunk and (len(chunk) >= _AT_ONCE or weight + own > _MOST_BYTES):
            yield chunk
            chunk, weight = [], 0
        chunk.append(change)
        weight += own
    if chunk:
        yield chunk


class ScheduleVerbs(Verbs):
    """What a person does to schedules that are in force. Each rings the bell, for the scheduler that leads."""

    def pause(self, name: ScheduleName, why: str) -> ScheduleRecord:
        """Nothing is claimed of it any more. What was claimed before is in the answer's `pending` and `open`.

        Raises `ScheduleUnknown`, `RefusedByState` (it is paused already).
        """

        def build() -> tuple[list[Op], ScheduleRecord]:
            known = self._known(name)
            if known.record.paused is not None:
                raise RefusedByState(
                    f"{name} is paused already, by {known.record.paused.by}: {known.record.paused.why}.",
                    next_step=f"`taskerman schedules resume {name}` lets it go on.",
                )
            paused = Paused(by=self._by, at=self._clock(), why=why)
            after = known.record.model_copy(update={"paused": paused})
            return self._ops(name, after, known), after

        return self._commit(build, "schedule pause", name, why)

    def resume(self, name: ScheduleName, why: str) -> ScheduleRecord:
        """It fires again, from now on. Raises `ScheduleUnknown`, `RefusedByState` (it is not paused).

        Now by the tree's clock: a person's that is ahead would leave out what comes, and one that is behind make up for
        what was due in the pause.
        """
        now = self._tree_time(name)

        def build() -> tuple[list[Op], ScheduleRecord]:
            known = self._paused(name)
            after = resumed(known.record, now)
            return self._ops(name, after, known), after

        return self._commit(build, "schedule resume", name, why)

    def trigger(self, name: ScheduleName, firing: PendingFiring, why: str) -> ScheduleRecord:
        """Decide a firing beside its times: from here on it is sent, by whoever comes first. Idempotent by its id.

        Raises `ScheduleUnknown`, `RefusedByState` (it is declared no more; too many wait for the queue).
        """

        def build() -> tuple[list[Op], ScheduleRecord]:
            known = self._known(name)
            if known.record.retired_at is not None:
                raise RefusedByState(
                    f"{name} is declared no more, since {known.record.retired_at:%Y-%m-%dT%H:%M:%SZ}.",
                    next_step="Submit its task by itself: `taskerman submit`.",
                )
            if full(known.record.pending):
                raise RefusedByState(
                    f"{len(known.record.pending)} firings of {name} are decided, and the queue has not taken them.",
                    next_step="They are sent when it does; `taskerman doctor` looks at the queues.",
                )
            after = known.record.model_copy(update={"pending": (*known.record.pending, firing)})
            return self._ops(name, after, known), after

        return self._commit(build, "schedule trigger", name, why)

    def triggered(self, name: ScheduleName, task: TaskId) -> None:
        """Note that it was sent. If somebody else did, or nobody can say, the scheduler sends it again: harmless."""
        for _ in range(_TRIES):
            known = read_schedules(self._tree, [name]).get(name)
            if known is None:
                return
            after = note_sent(known.record, [task], self._clock())
            if after is known.record:
                return
            if write_schedules(self._tree, [Change(name, after, known.version)]).done:
                return

    def _tree_time(self, name: ScheduleName) -> datetime:
        """What the tree's clock says, by writing the record of a paused one as it is."""
        for _ in range(_TRIES):
            known = self._paused(name)
            done = self._tree.commit([Set(layout.schedule(name), known.record.to_json(), known.version)])
            if isinstance(done, Committed) and isinstance(done.results[0], Stat):
                return datetime.fromtimestamp(done.results[0].changed_ms / 1000, UTC)
        raise RefusedByState(f"{name} changes too fast; nothing was done.", next_step="Try again.")

    def _paused(self, name: ScheduleName) -> KnownSchedule:
        known = self._known(name)
        if known.record.paused is None:
            raise RefusedByState(
                f"{name} is not paused.", next_step=f"`taskerman schedules show {name}` shows how it stands."
            )
        return known

    def _known(self, name: ScheduleName) -> KnownSchedule:
        found = read_schedules(self._tree, [name]).get(name)
        if found is None:
            raise ScheduleUnknown(
                f"There is no schedule {name[:80]!r} in force.",
                next_step="`taskerman schedules list` lists those there are; a new one is in force when a scheduler "
                "has read it.",
            )
        return found

    def _ops(self, name: ScheduleName, after: ScheduleRecord, known: KnownSchedule) -> list[Op]:
        return [
            Set(layout.schedule(name), after.to_json(), known.version),
            Set(layout.SCHEDULES, name.encode(), None),
        ]
