"""The chore that moves the past out of the present: ended tasks to the history, and a tombstone in their place.

Nothing is deleted before the history said yes; while it is away, ended tasks stay, and nothing else waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination import layout
from taskerman.coordination.brackets import standing_in
from taskerman.coordination.plans import read_plan
from taskerman.coordination.putting_away import Standing, begin_closing, bury, delete_copied, forget, stand
from taskerman.errors import Bug, HistoryUnavailable
from taskerman.janitor.kit import Kit, Turn
from taskerman.janitor.settling import settle
from taskerman.model.ids import TaskId
from taskerman.model.outcome import DeadLetterState
from taskerman.model.plan import Plan, Tombstone
from taskerman.model.task import TaskState
from taskerman.policy.putting_away import has_outlived, may_be_put_away, tombstone

__all__ = ["PuttingAway"]

_LOOKS = 5


class PuttingAway:
    """Remembers tombstones, and what it recorded, so that what rests costs little."""

    name = "put away"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.put_away_every_s
        self._stones: dict[TaskId, Tombstone] = {}
        self._plans: dict[TaskId, Plan] = {}
        self._recorded: dict[TaskId, int] = {}
        self._without_history = False

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. Raises `HistoryUnavailable` for all when it fails for one: it would fail for the next."""
        kit = self._kit
        tasks = self._tasks()
        if turn.clock_is_right:
            kit.each(self.name, tasks, lambda task: self._forget(task, turn), str)
        if kit.history is None:
            if not self._without_history:
                self._without_history = True
                kit.say("history_missing", "warning")
            return
        kept = {plan.task.task_id for plan in kit.open_plans()} | standing_in(kit.tree)
        ended = [task for task in tasks if task not in kept and task not in self._stones]
        kit.each(self.name, ended, lambda task: self._look(task, turn), str, but=(HistoryUnavailable,))

    def _tasks(self) -> Sequence[TaskId]:
        listing = self._kit.tree.children(layout.TASKS)
        tasks = listing.names if listing else ()
        there = set(tasks)
        self._stones = {task: stone for task, stone in self._stones.items() if task in there}
        self._plans = {task: plan for task, plan in self._plans.items() if task in there}
        self._recorded = {task: print_ for task, print_ in self._recorded.items() if task in there}
        return tasks

    def _forget(self, task: TaskId, turn: Turn) -> None:
        stone = self._stones.get(task)
        if stone is not None and has_outlived(stone, turn.tree_time) and forget(self._kit.tree, task, stone):
            del self._stones[task]

    def _look(self, task: TaskId, turn: Turn) -> None:
        kit = self._kit
        if task not in self._plans:
            found = read_plan(kit.tree, task)
            if isinstance(found, Tombstone):
                self._stones[task] = found
            if not isinstance(found, Plan):
                return
            self._plans[task] = found
        seen = stand(kit.tree, self._plans[task])
        if seen is None:
            del self._plans[task]  # it is a tombstone by now
            return
        if seen.control.state is not TaskState.CLOSING:
            if len(seen.ends) < len(seen.plan.nodes):
                return
            self._record(seen)  # the history knows it from now on, and is there: else it would not be begun
            ends = {node: end for node, (end, _) in seen.ends.items()}
            ripe = may_be_put_away(seen.plan, ends, seen.last_end_at, now=turn.tree_time, upkeep=kit.upkeep)
            if not (ripe and turn.clock_is_right and begin_closing(kit.tree, seen)):
                return
        self._finish(task, turn)

    def _finish(self, task: TaskId, turn: Turn) -> None:
        """What whoever finds the task closing goes on with."""
        kit, plan = self._kit, self._plans[task]
        for _ in range(_LOOKS):
            seen = stand(kit.tree, plan)
            if seen is None or seen.control.state is not TaskState.CLOSING:
                return
            owed = {node: end for node, (end, _) in seen.ends.items() if end.dead_letter is DeadLetterState.OWED}
            if owed:
                for node, end in sorted(owed.items()):
                    settle(kit, plan, node, end)
                continue  # look again: only when nothing is owed any more it goes on
            if seen.ends:
                self._record(seen)
                if not delete_copied(kit.tree, seen):
                    continue
            remembered = seen.control.putting_away
            if remembered is None:
                raise Bug(f"Task {task} is closing, and its control record does not say what it was.")
            stone = tombstone(plan, remembered.summary, now=turn.tree_time, upkeep=kit.upkeep)
            if bury(kit.tree, seen, stone):
                kit.say("task_put_away", task=task, cluster=plan.task.cluster_name)
                del self._plans[task]
                return

    def _record(self, seen: Standing) -> None:
        """Tell the history, unless it was told that very thing."""
        assert self._kit.history is not None
        past = seen.history
        print_ = hash(past.to_json())
        if self._recorded.get(seen.task) != print_:
            self._kit.history.record_task(past)
            self._recorded[seen.task] = print_
