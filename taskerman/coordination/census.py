"""Counting the installation for those who watch it: how much is open, waits, is held, and needs a person.

Numbers by cluster, scope and kind, never by task or node: the rows that metrics show. Counting is cheap enough to be
done each minute: nothing that cannot change is read twice, and of a line or of what has ended only the number is.
Hints, as every read is; nobody decides on them. A record that cannot be read is left out of the numbers and named:
one of them must not hide everything else from those who watch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from taskerman.coordination import layout
from taskerman.coordination.reading import BATCH, get_each
from taskerman.coordination.snapshot import as_names
from taskerman.errors import Bug
from taskerman.model.base import Noun
from taskerman.model.bracket import Bracket, BracketState
from taskerman.model.breaker import ClusterRecord
from taskerman.model.hold import Hold
from taskerman.model.outcome import DeadLetterState, End
from taskerman.model.plan import Plan, Refusal
from taskerman.model.slot import Slot
from taskerman.model.task import TaskControl
from taskerman.ports.tree import Children, Exists, Names, Read, Record, Stat, Tree

__all__ = ["Census", "Row"]

T = TypeVar("T")
N = TypeVar("N", bound=Noun)
Answer = Record | Stat | Names | None
Row = tuple[str | float, ...]
"""What the number is of, and last the number."""

_OPEN = (DeadLetterState.OWED, DeadLetterState.SENT)


class Census:
    """Counts again and again, and remembers what need not be read again. Used on one thread."""

    def __init__(self, tree: Tree) -> None:
        """`tree` need not be open yet."""
        self.unreadable: dict[str, Bug] = {}
        """What the last count had to leave out, by its path, and why."""
        self._tree = tree
        self._letters: dict[str, _Letters] = {}
        self._put_away: set[str] = set()
        self._settled_refusals: set[str] = set()

    def take(self, plans: Sequence[Plan], now: datetime) -> Mapping[str, Sequence[Row]]:
        """The rows by the names of what they count. `plans`: of every open task. `now`: by the tree's clock.

        Raises `CoordinationUnavailable`, `StopNow`.
        """
        self.unreadable = {}
        counted = {
            **self._tasks(plans, now),
            **self._scopes(),
            **self._letters_open(now),
            **self._brackets(now),
            "holds": _holds(layout.check_layout(self._tree.get(layout.CONTROL)).holds, now),
            "counted_timestamp_seconds": [(now.timestamp(),)],
        }
        return {**counted, "unreadable_records": [(len(self.unreadable),)]}

    # --- open tasks --------------------------------------------------------------------------------------

    def _tasks(self, plans: Sequence[Plan], now: datetime) -> Mapping[str, Sequence[Row]]:
        """What a task does is counted for its own cluster, also where its nodes are of others as well."""
        states: Counter[tuple[str, str]] = Counter()
        unended: Counter[str] = Counter()
        in_line: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        controls = get_each(self._tree, [layout.control(plan.task.task_id) for plan in plans])
        ended = self._count_children(layout.ends(plan.task.task_id) for plan in plans)
        lanes = [(plan, layout.line(plan.task.task_id, lane.name)) for plan in plans for lane in plan.header.lanes]
        standing = self._count_children(path for _, path in lanes)
        for (plan, _), number in zip(lanes, standing, strict=True):
            in_line[plan.task.cluster_name] += number or 0
        for plan, record, ends in zip(plans, controls, ended, strict=True):
            if record is None:
                continue  # put away meanwhile
            cluster, task = plan.task.cluster_name, plan.task.task_id
            unended[cluster] += len(plan.nodes) - (ends or 0)
            oldest[cluster] = max(oldest.get(cluster, 0.0), (now - plan.accepted.at).total_seconds())
            control = self._decode(TaskControl, record, layout.control(task))
            if control is None:
                continue
            states[cluster, control.state.value] += 1
            failed[cluster] += len(control.counted())
        return {
            "open_tasks": [(*key, number) for key, number in states.items()],
            "nodes_without_end": list(unended.items()),
            "nodes_in_line": list(in_line.items()),
            "failed_nodes": list(failed.items()),
            "oldest_open_task_seconds": list(oldest.items()),
        }

    # --- scopes ------------------------------------------------------------------------------------------

    def _scopes(self) -> Mapping[str, Sequence[Row]]:
        names = _of(self._tree.children(layout.SCOPES))
        listings = self._read([Children(layout.scope(name)) for name in names], as_names)
        held: Counter[tuple[str, str]] = Counter()
        kept: dict[str, float] = {}
        for name, listing in zip(names, listings, strict=True):
            slots = [slot for child in _of(listing) if (slot := self._slot(name, child)) is not None]
            held.update((name, slot.state.value) for slot in slots)
            if ":" in name:
                kept[name] = float(any(slot.state.kept for slot in slots))
        recent = self._clusters(kept)
        return {
            "slots": [(*key, number) for key, number in held.items()],
            "breaker_open": list(kept.items()),
            "recent_failures": list(recent.items()),
        }

    def _clusters(self, breakers: dict[str, float]) -> dict[str, int]:
        """The failures in a row of each cluster; those whose breaker they opened are added to `breakers`."""
        names = _of(self._tree.children(layout.CLUSTERS))
        paths = [layout.cluster(name) for name in names]
        recent: dict[str, int] = {}
        for name, path, record in zip(names, paths, get_each(self._tree, paths), strict=True):
            if record is not None and record.data:
                found = self._decode(ClusterRecord, record, path)
                if found is None:
                    continue
                recent[name] = len(found.recent)
                breakers[name] = float(breakers.get(name, 0.0) or found.open_until is not None)
        return recent

    # --- brackets ----------------------------------------------------------------------------------------

    def _brackets(self, now: datetime) -> Mapping[str, Sequence[Row]]:
        names = _of(self._tree.children(layout.BRACKETS))
        paths = [f"{layout.BRACKETS}/{name}" for name in names]
        not_closed: Counter[str] = Counter()
        failing: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        for path, record in zip(paths, get_each(self._tree, paths), strict=True):
            found = None if record is None else self._decode(Bracket, record, path)
            if found is None:
                continue
            is_open = found.state is not BracketState.CLOSED
            not_closed[found.cluster] += is_open
            failing[found.cluster] += found.state is BracketState.CLOSING
            age = max((now - found.since).total_seconds(), 0.0) if is_open else 0.0
            oldest[found.cluster] = max(oldest.get(found.cluster, 0.0), age)
        return {
            "brackets_open": list(not_closed.items()),
            "brackets_failing": list(failing.items()),
            "oldest_bracket_seconds": list(oldest.items()),
        }

    # --- what needs a person -----------------------------------------------------------------------------

    def _letters_open(self, now: datetime) -> Mapping[str, Sequence[Row]]:
        ends = self._open_ends()
        refusals = self._open_refusals()
        ages = [(now - at).total_seconds() for at in (*(end.at for end in ends), *(each.at for each in refusals))]
        return {
            "dead_letters_open": [("assignment", len(ends)), ("document", len(refusals))],
            "oldest_dead_letter_seconds": [(max([0.0, *ages]),)],
        }

    def _open_ends(self) -> list[End]:
        names = set(_of(self._tree.children(layout.TASKS)))
        self._put_away &= names
        self._letters = {task: letters for task, letters in self._letters.items() if task in names}
        tasks = sorted(names - self._put_away)
        stats = self._read([Exists(layout.ends(task)) for task in tasks], _as_stat)
        found: list[End] = []
        for task, stat in zip(tasks, stats, strict=True):
            if stat is None:
                self._put_away.add(task)  # only its tombstone is left, and that stays as it is
                self._letters.pop(task, None)
                continue
            letters = self._letters.setdefault(task, _Letters())
            if stat.children_version != letters.seen:
                letters.keep(_of(self._tree.children(layout.ends(task))), stat.children_version)
            unsettled = sorted(letters.unsettled)
            paths = [layout.end(task, node) for node in unsettled]
            for node, path, record in zip(unsettled, paths, get_each(self._tree, paths), strict=True):
                end = None if record is None else self._decode(End, record, path)
                if end is not None and end.dead_letter in _OPEN:
                    found.append(end)
                elif end is not None:
                    letters.settle(node, end.dead_letter)
        return found

    def _open_refusals(self) -> list[Refusal]:
        names = set(_of(self._tree.children(layout.REFUSED)))
        self._settled_refusals &= names
        unsettled = sorted(names - self._settled_refusals)
        paths = [layout.refused(name) for name in unsettled]
        found: list[Refusal] = []
        for name, path, record in zip(unsettled, paths, get_each(self._tree, paths), strict=True):
            refusal = None if record is None else self._decode(Refusal, record, path)
            if refusal is not None and refusal.dead_letter == "discarded":
                self._settled_refusals.add(name)
            elif refusal is not None:
                found.append(refusal)
        return found

    # --- reading -----------------------------------------------------------------------------------------

    def _decode(self, kind: type[N], record: Record, path: str) -> N | None:
        """The noun in `record`. None: it cannot be read, which is noted."""
        try:
            return layout.decode(kind, record, path)
        except Bug as error:
            self.unreadable[path] = error
            return None

    def _slot(self, scope: str, name: str) -> Slot | None:
        try:
            return Slot.parse(name)
        except Bug as error:
            self.unreadable[f"{layout.scope(scope)}/{name}"] = error
            return None

    def _count_children(self, paths: Iterable[str]) -> list[int | None]:
        stats = self._read([Exists(path) for path in paths], _as_stat)
        return [None if stat is None else stat.children for stat in stats]

    def _read(self, reads: Sequence[Read], as_kind: Callable[[Answer], T]) -> list[T]:
        found: list[T] = []
        for start in range(0, len(reads), BATCH):
            found += [as_kind(answer) for answer in self._tree.read(*reads[start : start + BATCH])]
        return found


class _Letters:
    """What is known of one task's ends: which of them must be read again.

    An end that never owed a dead letter is never redriven, so it stays as it is. One that a person discarded stays so
    until a redrive deletes it, and that changes the version of the ends together.
    """

    def __init__(self) -> None:
        self.seen = -1
        self.unsettled: set[str] = set()
        self._well: set[str] = set()

    def keep(self, nodes: Sequence[str], version: int) -> None:
        """These nodes have an end now."""
        self.unsettled = set(nodes) - self._well
        self.seen = version

    def settle(self, node: str, state: DeadLetterState) -> None:
        """Its end needs nobody."""
        self.unsettled.discard(node)
        if state is DeadLetterState.NONE:
            self._well.add(node)


def _holds(holds: Sequence[Hold], now: datetime) -> list[Row]:
    """By what they stand on; one that has run out stands no more, also before it is removed."""
    standing = Counter(_KINDS[hold.on.partition(":")[0]] for hold in holds if hold.until is None or hold.until > now)
    return list(standing.items())


_KINDS = {"*": "everything", "cluster": "cluster", "owner": "owner"}


def _as_stat(answer: Answer) -> Stat | None:
    assert answer is None or isinstance(answer, Stat)
    return answer


def _of(names: Names | None) -> tuple[str, ...]:
    return () if names is None else names.names
