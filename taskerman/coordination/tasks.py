"""CANCEL, RESUME and APPROVE: whether a task may go on."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination import layout
from taskerman.coordination.snapshot import as_names
from taskerman.coordination.sweeping import sweep
from taskerman.coordination.verbs import Verbs
from taskerman.errors import RefusedByState, TaskEnded
from taskerman.model.breaker import ClusterRecord
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.task import TaskControl, TaskState
from taskerman.ports.tree import Check, Children, Op, Set

__all__ = ["TaskVerbs", "refuse_unless_parked"]


class TaskVerbs(Verbs):
    """Verbs on a whole task."""

    def cancel(self, task: TaskId, why: str) -> TaskControl:
        """No attempt of the task is taken any more; those that act are aborted by their agents.

        Idempotent. Raises `TaskUnknown`, `TaskEnded`. Ends what neither acts nor ended with `sweep`.
        """

        def build() -> tuple[list[Op], TaskControl]:
            control, version = self._control(task)
            if control.state is TaskState.CANCELLED:
                return [Check(layout.control(task), version)], control
            self._refuse_unless_unended(task, control)
            after = control.model_copy(update={"state": TaskState.CANCELLED, "why": f"{self._by}: {why}"})
            return [Set(layout.control(task), after.to_json(), version)], after

        return self._commit(build, "cancel", task, why)

    def sweep(self, task: TaskId) -> Sequence[NodeId]:
        """End, as cancelled, what neither acts nor ended of a cancelled task. Repeat it until nothing is left.

        Each end checks the control record at the version that says cancelled. Returns those without an end: the acting.
        Of what was put away meanwhile nothing is left. Raises `TaskUnknown`.
        """
        try:
            plan = self.plan(task)
        except TaskEnded:
            return ()
        return sweep(self._tree, plan, self._clock())

    def resume(self, task: TaskId, why: str) -> TaskControl:
        """Go on with a halted task: what failed so far is excused. Ring its nodes afterwards.

        Raises `RefusedByState`: a parked one is not resumed but approved, for that is another question.
        """

        def build() -> tuple[list[Op], TaskControl]:
            control, version = self._control(task)
            if control.state is TaskState.PARKED:
                raise RefusedByState(
                    f"Task {task} is parked: {control.why}.",
                    next_step=f'Look at its nodes; if they are right: `taskerman approve {task} --why "..."`.',
                )
            if control.state is not TaskState.HALTED:
                if control.state is not TaskState.CANCELLED:
                    self._refuse_unless_unended(task, control)
                raise RefusedByState(
                    f"Task {task} is {control.state.value}; only a halted one is resumed.",
                    next_step=f"`taskerman status {task}` shows it.",
                )
            excused = tuple(sorted({*control.excused, *control.failed}))
            after = control.model_copy(update={"state": TaskState.OPEN, "excused": excused, "why": ""})
            return [Set(layout.control(task), after.to_json(), version)], after

        return self._commit(build, "resume", task, why)

    def approve(self, task: TaskId, why: str) -> int | None:
        """Let a parked task begin, and believe the size that its cluster had when it was planned. That size.

        Whoever approves has looked at the plan's nodes, so the next plan is compared with them. Raises `TaskUnknown`,
        `RefusedByState` (it is not parked). Ring its nodes before: a crash in between must not leave it open, unrung.
        """
        plan = self.plan(task)
        cluster = layout.cluster(plan.task.cluster_name)
        size = plan.accepted.discovered

        def build() -> tuple[list[Op], int | None]:
            control, version = self._control(task)
            refuse_unless_parked(task, control)
            after = control.model_copy(update={"state": TaskState.OPEN, "why": ""})
            ops: list[Op] = [Set(layout.control(task), after.to_json(), version)]
            found = self._tree.get(cluster)
            if found is not None and size is not None:
                record = layout.decode(ClusterRecord, found, cluster).model_copy(update={"size": size})
                ops.append(Set(cluster, record.to_json(), found.stat.version))
            return ops, size

        return self._commit(build, "approve", task, why)

    def control(self, task: TaskId) -> TaskControl:
        """The task's control record. Raises `TaskUnknown`."""
        return self._control(task)[0]

    def _refuse_unless_unended(self, task: TaskId, control: TaskControl) -> None:
        ends = as_names(self._tree.read(Children(layout.ends(task)))[0])
        if control.state in (TaskState.CLOSING, TaskState.EXPIRED) or (
            ends is not None and len(ends.names) == len(self.plan(task).nodes)
        ):
            raise TaskEnded(f"Task {task} has ended.", next_step=f"`taskerman status {task}` shows its outcomes.")


def refuse_unless_parked(task: TaskId, control: TaskControl) -> None:
    """Raise `RefusedByState` for a task that nobody asks to be approved."""
    if control.state is not TaskState.PARKED:
        resume = f"`taskerman resume {task}` lets it go on."
        raise RefusedByState(
            f"Task {task} is {control.state.value}; only a parked one is approved.",
            next_step=resume if control.state is TaskState.HALTED else f"`taskerman status {task}` shows it.",
        )
