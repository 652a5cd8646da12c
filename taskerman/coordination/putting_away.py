"""GC: the records of a task that ended are deleted, and a tombstone is left in their place. One step at a time.

The order is the promise. First `closing`: no redrive and no resume after it. Then, by whoever finds it closing, and
without counting anew: what is owed is settled, everything is copied to the history, and what was copied is deleted at
the very version that was copied. At last one transaction leaves the tombstone, so that a late copy of the task's
document cannot run it again. Any of it may be repeated, and done by two at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record, open_entries
from taskerman.coordination.reading import BATCH, get_each
from taskerman.model.history import PastAssignment, TaskHistory
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import End
from taskerman.model.plan import Plan, Tombstone
from taskerman.model.task import PuttingAway, TaskControl, TaskState
from taskerman.policy.putting_away import summary
from taskerman.ports.tree import Check, Children, Committed, Delete, Get, Op, Set, Tree

__all__ = ["Standing", "begin_closing", "bury", "delete_copied", "forget", "stand"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task stands, as far as its records are there: its control and its ends, with the versions read.

    `last_end_at`: when the youngest of the ends was written or changed, by the tree's clock.
    """

    plan: Plan
    control: TaskControl
    control_version: int
    ends: Mapping[NodeId, tuple[End, int]]
    last_end_at: datetime

    @property
    def task(self) -> TaskId:
        """Whose it is."""
        return self.plan.task.task_id

    @property
    def history(self) -> TaskHistory:
        """What the history is to keep: the control record as it was before it was being put away."""
        control = self.control
        if control.putting_away is not None:
            control = control.model_copy(update={"state": control.putting_away.was, "putting_away": None})
        past = (PastAssignment(node=node, end=end) for node, (end, _) in sorted(self.ends.items()))
        return TaskHistory(plan=self.plan, control=control, assignments=tuple(past))


def stand(tree: Tree, plan: Plan) -> Standing | None:
    """How the task of `plan` stands. The control record is read before the ends: what brings one of them back changes
    it. None: it was put away."""
    task = plan.task.task_id
    found, listing = tree.read(Get(layout.control(task)), Children(layout.ends(task)))
    record, names = as_record(found), as_names(listing)
    if record is None or names is None:
        return None
    ends: dict[NodeId, tuple[End, int]] = {}
    last_ms = 0
    paths = [layout.end(task, node) for node in names.names]
    for node, path, end in zip(names.names, paths, get_each(tree, paths), strict=True):
        if end is not None:
            ends[node] = layout.decode(End, end, path), end.stat.version
            last_ms = max(last_ms, end.stat.changed_ms)
    return Standing(
        plan=plan,
        control=layout.decode(TaskControl, record, layout.control(task)),
        control_version=record.stat.version,
        ends=ends,
        last_end_at=datetime.fromtimestamp(last_ms / 1000, UTC),
    )


def begin_closing(tree: Tree, seen: Standing) -> bool:
    """Make the task closing, if it still stands as `seen`: nothing of it is redriven or resumed after this.

    Of a task with a header among the open ones nothing is put away. One of which every node ended while it was parked
    (its machines were terminated) is: nobody has anything to approve any more. Raises `AnswerUnknown`.
    """
    if (
        seen.control.state is TaskState.CLOSING
        or len(seen.ends) < len(seen.plan.nodes)
        or open_entries(tree, seen.plan)
    ):
        return False
    remembered = PuttingAway(was=seen.control.state, summary=summary(end for end, _ in seen.ends.values()))
    closing = seen.control.model_copy(update={"state": TaskState.CLOSING, "putting_away": remembered})
    done = tree.commit([Set(layout.control(seen.task), closing.to_json(), seen.control_version)])
    return isinstance(done, Committed)


def delete_copied(tree: Tree, seen: Standing) -> bool:
    """Delete the ends of a closing task that `seen` has, each at the version that was copied to the history.

    False: one of them moved meanwhile (a person discarded its letter, or another janitor was first): look again.
    """
    nodes = sorted(seen.ends)
    for start in range(0, len(nodes), BATCH):
        chunk = nodes[start : start + BATCH]
        ops: list[Op] = [
            Check(layout.control(seen.task), seen.control_version),
            *(Delete(layout.end(seen.task, node), seen.ends[node][1]) for node in chunk),
        ]
        if not isinstance(tree.commit(ops), Committed):
            return False
    return True


def bury(tree: Tree, seen: Standing, stone: Tombstone) -> bool:
    """The last transaction of a closing task without ends: what is left is deleted, and `stone` is in its place.

    False: something is there that is not to be deleted so; look again.
    """
    task = seen.task
    listing, left, found = tree.read(
        Children(layout.lines(task)), Children(layout.progresses(task)), Get(layout.task(task))
    )
    lanes, progresses, record = as_names(listing), as_names(left), as_record(found)
    if lanes is None or progresses is None or record is None:
        return False
    lines = [layout.line(task, lane) for lane in lanes.names]
    # Places and progress that nobody needs any more: of an agent that has not looked since, or left by an old fault.
    strays = [f"{layout.progresses(task)}/{name}" for name in progresses.names]
    for line, answer in zip(lines, tree.read(*(Children(line) for line in lines)), strict=True):
        places = as_names(answer)
        strays += [f"{line}/{name}" for name in (places.names if places else ())]
    check = Check(layout.control(task), seen.control_version)
    for start in range(0, len(strays), BATCH):
        if not isinstance(tree.commit([check, *map(Delete, strays[start : start + BATCH])]), Committed):
            return False
    ops: list[Op] = [
        Delete(layout.control(task), seen.control_version),
        *(Delete(line) for line in lines),
        Delete(layout.lines(task)),
        Delete(layout.progresses(task)),
        Delete(layout.ends(task)),
        Set(layout.task(task), stone.to_json(), record.stat.version),
    ]
    return isinstance(tree.commit(ops), Committed)


def forget(tree: Tree, task: TaskId, stone: Tombstone) -> bool:
    """Delete a tombstone that has outlived every copy of its document, if it is still that one."""
    path = layout.task(task)
    record = tree.get(path)
    if record is None or record.data != stone.to_json():
        return False
    return isinstance(tree.commit([Delete(path, record.stat.version)]), Committed)
