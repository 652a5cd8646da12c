"""The moves of a person: HOLD, CANCEL, RESUME, REDRIVE, DISCARD, RELEASE. Every one is audited in its own transaction.

Each changes a record that every take checks, so an acknowledgement means that nothing is taken after it; what had
been taken before is read after the change, and named in the acknowledgement.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from taskerman.coordination import layout
from taskerman.coordination.snapshot import as_names, as_record
from taskerman.errors import AnswerUnknown, NodeActing, NotFound, RefusedByState, TaskEnded, TaskUnknown
from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.audit import AuditEntry
from taskerman.model.hold import MAX_HOLDS, Control, Hold
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import OpenTask, Plan, Refusal
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Get, Op, Set, Tree

__all__ = ["Clock", "OperatorMoves", "Released"]

Clock = Callable[[], datetime]
T = TypeVar("T")
_TRIES = 20
_ALIVE = (TaskState.OPEN, TaskState.HALTED)


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did. `asked`: the attempt that its agent was asked to end. `freed`: slots that are gone now."""

    node: NodeId
    asked: AttemptId | None
    freed: tuple[str, ...]
    ended: TaskId | None = None


class OperatorMoves:
    """What a person does to the tree, as `by`. Keeps nothing; each verb may be repeated after an error.

    All raise `CoordinationUnavailable`, `RefusedByState` (nothing was changed), `NotFound`.
    """

    def __init__(self, tree: Tree, by: str, clock: Clock) -> None:
        """`by`: who, as claimed. `clock`: the time of day, aware."""
        self._tree = tree
        self._by = by
        self._clock = clock

    # --- the installation and its holds ------------------------------------------------------------------

    def install(self, why: str) -> Control:
        """Create the installation, with a hold on everything: nothing runs before a person lifts it. Idempotent."""
        self._tree.ensure(
            layout.CLUSTERS, layout.SCOPES, layout.NODES, layout.TASKS, layout.REFUSED, layout.AUDIT, layout.WAITS
        )
        hold = Hold(id="new-installation", on="*", why=why, by=self._by, at=self._clock())
        fresh = Control(installation=str(uuid.uuid4()), holds=(hold,))
        self._tree.commit([Create(layout.CONTROL, fresh.to_json()), self._audit("init", "installation", why)])
        return layout.check_layout(self._tree.get(layout.CONTROL))

    def hold(self, on: str, why: str, until: datetime | None = None) -> Hold:
        """Stop new attempts on `*`, `cluster:<c>` or `owner:<o>`. Those that run go on. Raises `RefusedByState`."""

        def put(control: Control) -> tuple[Control, Hold]:
            same = next((h for h in control.holds if h.on == on), None)
            if same is not None:
                raise RefusedByState(
                    f"Hold {same.id} stands on {on} already, by {same.by}: {same.why}.",
                    next_step=f"Remove it first: `taskerman unhold {same.id}`.",
                )
            if len(control.holds) >= MAX_HOLDS:
                raise RefusedByState(f"There are {MAX_HOLDS} holds already.", next_step="Remove some: `unhold`.")
            hold = Hold(id=f"h{uuid.uuid4().hex[:6]}", on=on, why=why, by=self._by, at=self._clock(), until=until)
            return control.model_copy(update={"holds": (*control.holds, hold)}), hold

        return self._change_control(put, "hold", on, why)

    def unhold(self, hold_id: str, why: str) -> Hold:
        """Remove a hold, by its id or by what it stands on; what waits goes on by itself. Raises `NotFound`."""

        def remove(control: Control) -> tuple[Control, Hold]:
            found = next((h for h in control.holds if hold_id in (h.id, h.on)), None)
            if found is None:
                raise NotFound(f"There is no hold {hold_id}.", next_step="`taskerman status` lists the holds.")
            return control.model_copy(update={"holds": tuple(h for h in control.holds if h is not found)}), found

        return self._change_control(remove, "unhold", hold_id, why)

    def _change_control(
        self, change: Callable[[Control], tuple[Control, Hold]], verb: str, target: str, why: str
    ) -> Hold:
        def build() -> tuple[list[Op], Hold]:
            record = self._tree.get(layout.CONTROL)
            after, hold = change(layout.check_layout(record))
            assert record is not None
            return [Set(layout.CONTROL, after.to_json(), record.stat.version)], hold

        return self._commit(build, verb, target, why)

    # --- a task ------------------------------------------------------------------------------------------

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

        Each end checks the control record at the version that says cancelled. Returns the nodes still acting.
        """
        plan = self.plan(task)
        acting: list[NodeId] = []
        control, version = self._control(task)
        if control.state is not TaskState.CANCELLED:
            return acting
        ended = as_names(self._tree.read(Children(layout.ends(task)))[0])
        for node in plan.nodes:
            if ended and node.id in ended.names:
                continue
            record = self._tree.get(layout.progress(task, node.id))
            known = layout.decode(Progress, record, layout.progress(task, node.id)) if record else Progress()
            if known.state is ProgressState.ACTING:
                acting.append(node.id)
                continue
            end = End(
                outcome=Outcome.CANCELLED,
                attempt=f"{task}.{node.id}.0",
                attempts=known.k,
                reason=control.why,
                at=self._clock(),
            )
            ops: list[Op] = [
                Check(layout.control(task), version),
                Create(layout.end(task, node.id), end.to_json()),
            ]
            if record is not None:
                ops.append(Delete(layout.progress(task, node.id), record.stat.version))
            self._tree.commit(ops)
        return acting

    def resume(self, task: TaskId, why: str) -> TaskControl:
        """Go on with a halted or parked task: what failed so far is excused. Ring its nodes afterwards."""

        def build() -> tuple[list[Op], TaskControl]:
            control, version = self._control(task)
            if control.state not in (TaskState.HALTED, TaskState.PARKED):
                raise RefusedByState(
                    f"Task {task} is {control.state.value}; only a halted or parked one is resumed.",
                    next_step=f"`taskerman status {task}` shows it.",
                )
            excused = tuple(sorted({*control.excused, *control.failed}))
            after = control.model_copy(update={"state": TaskState.OPEN, "excused": excused, "why": ""})
            return [Set(layout.control(task), after.to_json(), version)], after

        return self._commit(build, "resume", task, why)

    # --- dead letters ------------------------------------------------------------------------------------

    def redrive(self, task: TaskId, node: NodeId, why: str) -> bool:
        """Open the ended assignment of `node` again, in place; fresh nodes wait behind it. Ring it afterwards.

        False: the task is over (cancelled, expired, or put away); a new task must be made of its document.
        Raises `RefusedByState` when the assignment ended well.
        """
        plan = self.plan(task)

        def build() -> tuple[list[Op], bool]:
            end, version = self._end(task, node)
            if end.outcome.well or end.outcome is Outcome.CANCELLED:
                raise RefusedByState(f"{node} ended {end.outcome.value} in {task}; there is nothing to redrive.")
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
            if self._open_entry(plan) is None:
                document = plan.task
                header = OpenTask(
                    task=task,
                    owner=document.owner,
                    cap=plan.cap,
                    max_failures=document.taskerman_params.failure_args.max_failures,
                )
                ops.append(Create(layout.open_task(document.cluster_name), header.to_json(), sequence=True))
            return ops, True

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
            after = layout.decode(Refusal, record, path).model_copy(update={"dead_letter": "discarded"})
            return [Set(path, after.to_json(), record.stat.version)], None

        self._commit(build, "discard", f"refused/{sha256}", why)

    def _settle_letter(self, task: TaskId, node: NodeId, state: DeadLetterState, verb: str, why: str) -> None:
        def build() -> tuple[list[Op], None]:
            end, version = self._end(task, node)
            if end.dead_letter not in (DeadLetterState.OWED, DeadLetterState.SENT):
                raise RefusedByState(f"{node} in {task} has no open dead letter ({end.dead_letter.value}).")
            after = end.model_copy(update={"dead_letter": state})
            return [Set(layout.end(task, node), after.to_json(), version)], None

        self._commit(build, verb, f"{task}/{node}", why)

    # --- slots -------------------------------------------------------------------------------------------

    def release(self, node: NodeId, why: str) -> Released:
        """Give back what the node holds: ask an acting agent to end its attempt, or free the kept slots of an idle one.

        A slot of an acting node is never taken away from it: its agent aborts, post_check decides. Raises
        `NotFound`, `RefusedByState` (nothing to release).
        """

        def build() -> tuple[list[Op], Released]:
            record, version = self._node(node)
            if record.attempt is not None:
                after = record.model_copy(update={"revoke": record.attempt.id})
                asked = Released(node, asked=record.attempt.id, freed=())
                return [Set(layout.node(node), after.to_json(), version)], asked
            slots = self._slots_of(node)
            if not slots:
                raise RefusedByState(f"{node} holds no slot.", next_step="`taskerman slots` lists who does.")
            return [Set(layout.node(node), record.to_json(), version), *self._delete_slots(slots, record)], Released(
                node, asked=None, freed=tuple(slots)
            )

        return self._commit(build, "release", node, why)

    def node_is_off(self, node: NodeId, why: str) -> Released:
        """A person's word that the machine is off: its slots are freed at once, its attempt ends lost.

        An agent that lives after all is fenced by the next epoch. Raises `NotFound`, `RefusedByState`.
        """

        def build() -> tuple[list[Op], Released]:
            record, version = self._node(node)
            slots = self._slots_of(node)
            attempt = record.attempt
            if attempt is None and not slots:
                raise RefusedByState(f"{node} holds no slot.", next_step="`taskerman slots` lists who does.")
            off = record.model_copy(update={"epoch": record.epoch + 1, "attempt": None, "revoke": None})
            ops: list[Op] = [Set(layout.node(node), off.to_json(), version), *self._delete_slots(slots, record)]
            if attempt is not None:
                ops += self._lose(attempt, node, why)
            return ops, Released(node, None, tuple(slots), ended=attempt.task if attempt else None)

        return self._commit(build, "release --node-is-off", node, why)

    def _lose(self, attempt: Attempt, node: NodeId, why: str) -> list[Op]:
        task = attempt.task
        control, version = self._control(task)
        failed = {**control.failed, node: FailureMark.FINAL}
        excused = tuple(n for n in control.excused if n != node)
        after = control.model_copy(update={"failed": failed, "excused": excused})
        budget = self.plan(task).task.taskerman_params.failure_args.max_failures
        if after.state is TaskState.OPEN and len(after.final()) > budget:
            after = after.model_copy(update={"state": TaskState.HALTED, "why": f"{node} was declared off: {why}"})
        end = End(
            outcome=Outcome.LOST,
            attempt=attempt.id,
            attempts=attempt.k,
            reason=f"{self._by} said that the node is off: {why}",
            at=self._clock(),
            dead_letter=DeadLetterState.OWED,
        )
        ops: list[Op] = [
            Create(layout.end(task, node), end.to_json()),
            Set(layout.control(task), after.to_json(), version),
            # the cluster's record, so that takes of other tasks in flight look again
            *self._touch_cluster(attempt.cluster),
        ]
        progress = self._tree.get(layout.progress(task, node))
        if progress is not None:
            ops.append(Delete(layout.progress(task, node), progress.stat.version))
        return ops

    def _touch_cluster(self, cluster: str) -> list[Op]:
        record = self._tree.get(layout.cluster(cluster))
        return [] if record is None else [Set(layout.cluster(cluster), record.data, record.stat.version)]

    def _slots_of(self, node: NodeId) -> list[str]:
        scopes = as_names(self._tree.read(Children(layout.SCOPES))[0])
        names = scopes.names if scopes else ()
        answers = self._tree.read(*(Children(layout.scope(scope)) for scope in names))
        return [
            f"{layout.scope(scope)}/{name}"
            for scope, answer in zip(names, answers, strict=True)
            if (found := as_names(answer))
            for name in found.names
            if name.startswith(f"{node}~")
        ]

    def _delete_slots(self, paths: Sequence[str], record: NodeRecord) -> list[Op]:
        expected = len(record.attempt.scopes) if record.attempt else 0
        if len(paths) < expected:
            raise NodeActing("The node's slots changed while they were read.", next_step="Try again.")
        return [Delete(path) for path in paths]

    # --- reading what a verb rests on --------------------------------------------------------------------

    def plan(self, task: TaskId) -> Plan:
        """The plan of `task`. Raises `TaskUnknown`."""
        record = self._tree.get(layout.task(task))
        if record is None:
            raise TaskUnknown(f"There is no task {task}.", next_step="It may not be planned yet: is a router running?")
        return Plan.unpack(record.data)

    def _control(self, task: TaskId) -> tuple[TaskControl, int]:
        record = self._tree.get(layout.control(task))
        if record is None:
            raise TaskUnknown(f"There is no task {task}.", next_step="`taskerman status` lists those there are.")
        return layout.decode(TaskControl, record, layout.control(task)), record.stat.version

    def _end(self, task: TaskId, node: NodeId) -> tuple[End, int]:
        record = self._tree.get(layout.end(task, node))
        if record is None:
            raise NotFound(f"{node} has no outcome in {task}.", next_step=f"`taskerman explain {task} {node}`.")
        return layout.decode(End, record, layout.end(task, node)), record.stat.version

    def _node(self, node: NodeId) -> tuple[NodeRecord, int]:
        record = self._tree.get(layout.node(node))
        if record is None:
            raise NotFound(f"No agent of {node} ever registered.", next_step="`taskerman slots` lists who holds one.")
        return layout.decode(NodeRecord, record, layout.node(node)), record.stat.version

    def _open_entry(self, plan: Plan) -> str | None:
        parent = layout.open_tasks(plan.task.cluster_name)
        names = as_names(self._tree.read(Children(parent))[0])
        paths = [f"{parent}/{name}" for name in (names.names if names else ())]
        for path, answer in zip(paths, self._tree.read(*(Get(path) for path in paths)), strict=True):
            record = as_record(answer)
            if record is not None and layout.decode(OpenTask, record, path).task == plan.task.task_id:
                return path
        return None

    def _refuse_unless_unended(self, task: TaskId, control: TaskControl) -> None:
        ends = as_names(self._tree.read(Children(layout.ends(task)))[0])
        if control.state in (TaskState.CLOSING, TaskState.EXPIRED) or (
            ends is not None and len(ends.names) == len(self.plan(task).nodes)
        ):
            raise TaskEnded(f"Task {task} has ended.", next_step=f"`taskerman status {task}` shows its outcomes.")

    # --- committing a verb -------------------------------------------------------------------------------

    def _audit(self, verb: str, target: str, why: str, entry_id: str | None = None) -> Create:
        entry = AuditEntry(
            id=entry_id or uuid.uuid4().hex, at=self._clock(), by=self._by, verb=verb, target=target, why=why
        )
        return Create(f"{layout.AUDIT}/", entry.to_json(), sequence=True)

    def _commit(self, build: Callable[[], tuple[list[Op], T]], verb: str, target: str, why: str) -> T:
        """Commit what `build` makes of the present, with its audit entry; build anew when the present moved.

        A lost answer is settled: the first record that the verb sets is written unchanged at the version that the
        verb carried. If that succeeds the verb did not happen and cannot; else its audit entry tells.
        """
        self._tree.ensure(layout.AUDIT)
        for _ in range(_TRIES):
            ops, answer = build()
            if not any(isinstance(op, Set | Create | Delete) for op in ops):
                return answer
            entry_id = uuid.uuid4().hex
            try:
                done = self._tree.commit([*ops, self._audit(verb, target, why, entry_id)])
            except AnswerUnknown:
                if self._happened(ops, entry_id):
                    return answer
                continue
            if isinstance(done, Committed):
                return answer
        raise RefusedByState(f"{target} changes too fast; nothing was done.", next_step="Try again.")

    def _happened(self, ops: Sequence[Op], entry_id: str) -> bool:
        guard = next(op for op in ops if isinstance(op, Set) and op.version is not None)
        for last in (*[False] * 4, True):
            try:
                record = self._tree.get(guard.path)
                if record is not None and record.stat.version == guard.version:
                    fence = self._tree.commit([Set(guard.path, record.data, guard.version)])
                    if isinstance(fence, Committed):
                        return False
                return self._audited(entry_id)
            except AnswerUnknown:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _audited(self, entry_id: str) -> bool:
        self._tree.sync(layout.AUDIT)
        names = as_names(self._tree.read(Children(layout.AUDIT))[0])
        latest = [f"{layout.AUDIT}/{name}" for name in (names.names if names else ())[-200:]]
        return any(
            record is not None and layout.decode(AuditEntry, record, path).id == entry_id
            for path, record in zip(latest, map(as_record, self._tree.read(*(Get(p) for p in latest))), strict=True)
        )
