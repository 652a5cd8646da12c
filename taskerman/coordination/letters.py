"""REDRIVE and DISCARD: what a person decides about a dead letter."""

from __future__ import annotations

from taskerman.coordination import layout
from taskerman.coordination.answers import open_entries
from taskerman.coordination.verbs import Verbs
from taskerman.errors import NotFound, RefusedByState
from taskerman.model.assignment import Progress
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.model.task import FailureMark, TaskState
from taskerman.ports.tree import Check, Create, Delete, Op, Set

__all__ = ["LetterVerbs"]

_ALIVE = (TaskState.OPEN, TaskState.HALTED)


class LetterVerbs(Verbs):
    """Verbs on what needs a person."""

    def redrive(self, task: TaskId, node: NodeId, why: str) -> bool:
        """Open the ended assignment of `node` again, in place; fresh nodes wait behind it. Ring it afterwards.

        False: the task is over (cancelled, expired, or put away); a new task must be made of its document.
        Raises `RefusedByState` when the assignment ended well.
        """
        plan = self.plan(task)

        def build() -> tuple[list[Op], bool]:
            end, version = self._end(task, node)
            if end.outcome.well or end.outcome is Outcome.CANCELLED:
                raise RefusedByState(
                    f"{node} ended {end.outcome.value} in {task}; there is nothing to redrive.",
                    next_step=f"To do it once more, submit a task for it: `taskerman submit ... --node {node}`.",
                )
            control, ctl_version = self._control(task)
            if control.state not in _ALIVE or self._clock() >= plan.accepted.not_after:
                return [], False
            failed = {**control.failed, node: FailureMark.RETRYING}
            excused = tuple(n for n in control.excused if n != node)
            after = control.model_copy(
                update={"failed": failed, "excused": excused, "state": TaskState.OPEN, "why": f"redrive of {node}"}
            )
            ops: list[Op] = [
                Delete(layout.end(task, node), version),
                Create(layout.progress(task, node), Progress(why="redriven by a person").to_json()),
                Set(layout.control(task), after.to_json(), ctl_version),
            ]
            return [*ops, *self._stay_open(plan)], True

        return self._commit(build, "redrive", f"{task}/{node}", why)

    def redriven(self, task: TaskId, node: NodeId, why: str) -> None:
        """Note that a dead letter of a closed task lives on in a new task."""
        self._settle_letter(task, node, DeadLetterState.REDRIVEN, "redrive", why)

    def discard(self, task: TaskId, node: NodeId, why: str) -> None:
        """A person decided that nothing more is to be done about this dead letter. Raises `RefusedByState`."""
        self._settle_letter(task, node, DeadLetterState.DISCARDED, "discard", why)

    def discard_document(self, sha256: str, why: str) -> None:
        """The same for a document that was refused. Raises `NotFound`."""

        def build() -> tuple[list[Op], None]:
            path = layout.refused(sha256)
            record = self._tree.get(path)
            if record is None:
                raise NotFound(f"No refused document {sha256}.", next_step="`taskerman dlq list` shows them.")
            refusal = layout.decode(Refusal, record, path)
            if refusal.dead_letter == "discarded":
                raise RefusedByState(
                    f"The document {sha256[:12]} is discarded already.",
                    next_step="`taskerman dlq list` shows what is open.",
                )
            after = refusal.model_copy(update={"dead_letter": "discarded"})
            return [Set(path, after.to_json(), record.stat.version)], None

        self._commit(build, "discard", f"refused/{sha256}", why)

    def _settle_letter(self, task: TaskId, node: NodeId, state: DeadLetterState, verb: str, why: str) -> None:
        def build() -> tuple[list[Op], None]:
            end, version = self._end(task, node)
            if end.dead_letter not in (DeadLetterState.OWED, DeadLetterState.SENT):
                never = end.dead_letter is DeadLetterState.NONE
                because = f"it ended {end.outcome.value}" if never else f"it is {end.dead_letter.value} already"
                raise RefusedByState(
                    f"{node} in {task} has no open dead letter: {because}.",
                    next_step="`taskerman dlq list` shows those that are open.",
                )
            after = end.model_copy(update={"dead_letter": state})
            _, ctl_version = self._control(task)
            # After a redrive the next end has the same version again; but a redrive changes the control record.
            return [
                Check(layout.control(task), ctl_version),
                Set(layout.end(task, node), after.to_json(), version),
            ], None

        self._commit(build, verb, f"{task}/{node}", why)

    def _stay_open(self, plan: Plan) -> list[Op]:
        """The task stands among the open ones of all its clusters afterwards, in the same order everywhere."""
        entries = open_entries(self._tree, plan)
        if len(entries) == len(plan.clusters):
            # A router that closes the task right now does not change its control record: it must not pass us.
            return [Check(path, None) for path in entries.values()]
        priority = plan.task.taskerman_params.lease_args.priority
        header = plan.header.to_json()
        return [
            *(Delete(path) for path in entries.values()),
            *(Create(layout.open_task(cluster, priority), header, sequence=True) for cluster in plan.clusters),
        ]
