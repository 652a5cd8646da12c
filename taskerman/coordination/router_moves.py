"""The router's moves: PLAN, what remains to be rung, CLOSE, and the record of what was refused.

Every one may be repeated by any router at any time; none needs to know whether it is the first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum, auto

from taskerman.coordination import layout
from taskerman.coordination.answers import open_entries
from taskerman.coordination.belonging import InstallationGuard
from taskerman.coordination.plans import read_plan
from taskerman.coordination.scopes import OWN_CAPACITY
from taskerman.errors import AnswerUnknown, Bug, ScopeUnknown, TaskExists
from taskerman.model.breaker import ClusterRecord
from taskerman.model.hold import Control
from taskerman.model.ids import ClusterName, NodeId, ScopeName, TaskId
from taskerman.model.plan import OpenTask, Plan, Refusal, Tombstone, unpack_task
from taskerman.model.slot import ScopeRecord
from taskerman.model.task import TaskControl, TaskDocument, TaskState
from taskerman.policy.guards import SizeGuard, suspicion
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Exists, Get, Names, Op, Set, Stat, Tree

__all__ = ["Published", "RouterMoves"]

_TRIES = 3


class Published(Enum):
    """What became of a plan."""

    NEW = auto()
    PARKED = auto()  # new, and nothing of it starts before a person has looked
    THERE = auto()  # the same document was planned before: go on from that plan


class RouterMoves:
    """What a router does to the tree. Keeps nothing; safe to use from several threads."""

    def __init__(self, tree: Tree) -> None:
        """`tree` is open, or is opened by `open`."""
        self._tree = tree
        self._guard = InstallationGuard(tree, "router")

    def open(self) -> None:
        """Connect, unless it is connected. Idempotent. Raises `CoordinationUnavailable`."""
        self._tree.open()

    def installation(self) -> Control:
        """The installation's control record. Raises `LayoutUnsupported` when there is none."""
        return layout.check_layout(self._tree.get(layout.CONTROL))

    def check_installation(self, now: datetime) -> None:
        """Return if plans may be made under what the tree holds now. Used from one thread.

        Raises `InstallationRefused`: ZooKeeper was emptied, exchanged or restored, as far as this process can tell, or
        a node says so; look again later.
        """
        self._guard.check(now)

    def plan(self, task: TaskId) -> Plan | Tombstone | None:
        """The plan of `task`, or the tombstone of one that was put away.

        After a sync: None means that there was neither when this was called.
        """
        self._tree.sync(layout.task(task))
        return read_plan(self._tree, task)

    def publish(self, plan: Plan, guard: SizeGuard | None = None) -> Published:
        """PLAN: write it unless the task has one. A lost answer needs no fence: it is create-if-absent.

        Parked if `guard` finds the cluster's size suspicious; else that size is the one that later plans are compared
        with. Raises `TaskExists` when the id is taken by another document, `AnswerUnknown` when nobody answers.
        """
        name = plan.task.task_id
        self._prepare(plan)
        silent = 0
        while True:
            ops, published = self._plan(plan, guard or SizeGuard())
            try:
                done = self._tree.commit(ops)
            except AnswerUnknown:
                silent += 1
                if silent == _TRIES:
                    raise
                continue
            if isinstance(done, Committed):
                return published
            if done.path != layout.cluster(plan.task.cluster_name):
                break  # else the cluster's record moved since it was read
        there = self.plan(name)
        if there is None:
            raise Bug(f"The plan of {name} was refused, and there is none.")
        if there.hash != plan.hash:
            raise TaskExists(
                f"Task {name} exists with other content ({there.hash[:19]} there, {plan.hash[:19]} here).",
                next_step="Give the new task an id of its own.",
            )
        return Published.THERE

    def parked(self, task: TaskId) -> str | None:
        """Why `task` is parked; None: it is not."""
        record = self._tree.get(layout.control(task))
        if record is None:
            return None
        control = layout.decode(TaskControl, record, layout.control(task))
        return control.why if control.state is TaskState.PARKED else None

    def size(self, cluster: ClusterName) -> int | None:
        """How many nodes the cluster had when that was last believed; None: nothing was planned for it yet."""
        record = self._tree.get(layout.cluster(cluster))
        return None if record is None else layout.decode(ClusterRecord, record, layout.cluster(cluster)).size

    def _plan(self, plan: Plan, guard: SizeGuard) -> tuple[list[Op], Published]:
        document = plan.task
        name, cluster = document.task_id, layout.cluster(document.cluster_name)
        found = self._tree.get(cluster)
        if found is None:
            raise Bug(f"{cluster} vanished while {name} was planned.")
        record = layout.decode(ClusterRecord, found, cluster)
        size = plan.accepted.discovered
        why = None if size is None else suspicion(record.size, size, guard)
        control = TaskControl() if why is None else TaskControl(state=TaskState.PARKED, why=why)
        priority, header = document.taskerman_params.lease_args.priority, plan.header.to_json()
        ops: list[Op] = [
            Create(layout.task(name), plan.pack()),
            Create(layout.control(name), control.to_json()),
            Create(layout.lines(name)),
            *(Create(layout.line(name, lane.name)) for lane in plan.header.lanes),
            Create(layout.progresses(name)),
            Create(layout.ends(name)),
            *(Create(layout.open_task(one, priority), header, sequence=True) for one in plan.clusters),
        ]
        # After the creates: whether the task is there already is the first question, also of a repeated commit.
        if why is None and size not in (None, record.size):
            ops.append(Set(cluster, record.model_copy(update={"size": size}).to_json(), found.stat.version))
        elif size is not None:
            ops.append(Check(cluster, found.stat.version))
        return ops, Published.NEW if why is None else Published.PARKED

    def declare_own_scope(self, name: ScopeName) -> None:
        """A runner's own scope, for what is heavy: where nobody has declared its capacity, it is one. Idempotent.

        Raises `AnswerUnknown` when nobody answers.
        """
        path = layout.scope(name)
        while True:
            record = self._tree.get(path)
            op: Op
            if record is None:
                self._tree.ensure(layout.SCOPES, layout.waits(name))
                op = Create(path, ScopeRecord(capacity=OWN_CAPACITY).to_json())
            elif (found := layout.decode(ScopeRecord, record, path)).capacity is None:
                one = found.model_copy(update={"capacity": OWN_CAPACITY})
                op = Set(path, one.to_json(), record.stat.version)
            else:
                return
            if isinstance(self._tree.commit([op]), Committed):
                return
            # Somebody else declared it, or a slot in it moved, since it was read: look again.

    def check_scope(self, task: TaskDocument) -> None:
        """Raise `ScopeUnknown` unless the named scope of `task`, if it has one, was declared."""
        name = task.taskerman_params.lease_args.scope
        if name is None:
            return
        record = self._tree.get(layout.scope(name))
        if record is None or layout.decode(ScopeRecord, record, layout.scope(name)).capacity is None:
            raise ScopeUnknown(
                f"Nobody declared the capacity of scope {name}.",
                next_step=f'Declare it: `taskerman scopes set {name} CAPACITY --why "..."`, and submit the task again.',
            )

    def registered(self, nodes: Collection[NodeId]) -> set[NodeId]:
        """Those whose agent ever registered."""
        asked = sorted(nodes)
        found = self._tree.read(*(Exists(layout.node(n)) for n in asked))
        return {n for n, stat in zip(asked, found, strict=True) if stat is not None}

    def unended(self, plan: Plan) -> Sequence[NodeId]:
        """The nodes of `plan` without a recorded outcome, in rank order: those to ring."""
        names = self._tree.children(layout.ends(plan.task.task_id))
        if names is None:
            return []  # it ended, and was put away since its plan was read
        ended = set(names.names)
        return [node.id for node in plan.nodes if node.id not in ended]

    def refusal(self, sha256: str) -> Refusal | None:
        """The record of a body that was refused."""
        path = layout.refused(sha256)
        record = self._tree.get(path)
        return None if record is None else layout.decode(Refusal, record, path)

    def refuse(self, refusal: Refusal, sent_at: datetime) -> Refusal:
        """Record a document that was not accepted; the record that stands is returned. Idempotent a message.

        `sent_at`: of the message. A record that is older than the message is of an earlier one, and is replaced.
        """
        self._tree.ensure(layout.REFUSED)
        path = layout.refused(refusal.sha256)
        if isinstance(self._tree.commit([Create(path, refusal.to_json())]), Committed):
            return refusal
        record = self._tree.get(path)
        there = refusal if record is None else layout.decode(Refusal, record, path)
        if record is None or (there.sent_at or there.at) >= sent_at:
            return there
        self._tree.commit([Set(path, refusal.to_json(), record.stat.version)])
        return refusal

    def announced(self, sha256: str) -> None:
        """Note that the dead letter of a refused document was sent. Idempotent."""
        path = layout.refused(sha256)
        record = self._tree.get(path)
        if record is None:
            return
        refusal = layout.decode(Refusal, record, path)
        if refusal.dead_letter == "owed":
            sent = refusal.model_copy(update={"dead_letter": "sent"})
            self._tree.commit([Set(path, sent.to_json(), record.stat.version)])

    def close_ended(self) -> Sequence[TaskId]:
        """CLOSE, as a sweep: remove the open entries of tasks of which every node has an end. Safe at any time.

        The control record is read before the ends are counted, and checked: a redrive in between changes it.
        """
        closed: list[TaskId] = []
        clusters = self._tree.children(layout.CLUSTERS)
        for name in clusters.names if clusters else ():
            closed += self._close_in(name)
        return closed

    def _close_in(self, cluster: ClusterName) -> Sequence[TaskId]:
        parent = layout.open_tasks(cluster)
        entries = self._tree.children(parent)
        closed = []
        for entry in entries.names if entries else ():
            path = f"{parent}/{entry}"
            record = self._tree.get(path)
            if record is None:
                continue
            task = layout.decode(OpenTask, record, path).task
            control, ends, plan = self._tree.read(
                Get(layout.control(task)), Children(layout.ends(task)), Get(layout.task(task))
            )
            if control is None or plan is None or not isinstance(ends, Names):
                continue
            assert not isinstance(control, Stat | Names)
            assert not isinstance(plan, Stat | Names)
            unpacked = unpack_task(plan.data)
            if isinstance(unpacked, Tombstone):
                continue  # it was closed and put away since its header was read
            if len(ends.names) < len(unpacked.nodes):
                continue
            # In all of its clusters at once: two tasks that share several stand in the same order in each.
            headers = open_entries(self._tree, unpacked).values()
            done = self._tree.commit(
                [Check(layout.control(task), control.stat.version), *(Delete(header) for header in headers)]
            )
            if isinstance(done, Committed):
                closed.append(task)
        return closed

    def _prepare(self, plan: Plan) -> None:
        """Parents of the plan. The records below them are only created, never set: repeating it is harmless."""
        found = self._tree.read(
            Get(layout.CONTROL),
            Exists(layout.TASKS),
            *(
                Exists(path)
                for cluster in plan.clusters
                for path in (layout.cluster(cluster), layout.open_tasks(cluster), layout.scope(cluster))
            ),
            Exists(layout.BRACKETS),
        )
        control = found[0]
        assert not isinstance(control, Stat | Names)
        layout.check_layout(control)
        if all(found):
            return
        self._tree.ensure(layout.CLUSTERS, layout.SCOPES, layout.NODES, layout.TASKS, layout.AUDIT, layout.BRACKETS)
        for cluster in plan.clusters:
            self._tree.commit([Create(layout.cluster(cluster), ClusterRecord().to_json())])
            self._tree.commit([Create(layout.scope(cluster), layout.SCOPE_DATA)])
        self._tree.ensure(*(layout.open_tasks(cluster) for cluster in plan.clusters))
