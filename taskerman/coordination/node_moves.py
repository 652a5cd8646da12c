"""All moves of a node's own agent, but for the ends, which are in `ending`; here: TAKE, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.incarnation import Started
from taskerman.coordination.line import Ended, Left, Line, Over, Ready, Standing
from taskerman.coordination.notes import note_sent
from taskerman.coordination.snapshot import ClusterRead
from taskerman.model.assignment import ProgressState
from taskerman.model.attempt import Attempt, NodeRecord, SeenIn
from taskerman.model.ids import ClusterName, TaskId, attempt_takes
from taskerman.model.outcome import DeadLetterState
from taskerman.model.plan import Plan
from taskerman.model.slot import Slot, SlotNote
from taskerman.policy.breaker import claimed
from taskerman.policy.snapshot import Snapshot
from taskerman.ports.tree import Check, Create, Delete, Op, Refusal, Refused, Set

__all__ = ["Ended", "Left", "NodeMoves", "Over", "Ready", "Standing", "Started", "Taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """The slots are held. `probes`: the clusters whose open breaker it tries."""

    attempt: Attempt
    probes: tuple[ClusterName, ...] = ()


def _claim(read: ClusterRead, attempt: Attempt) -> Op:
    """Nothing of the cluster has changed; and if its breaker is open, this is the one attempt that tries."""
    path, record = layout.cluster(read.name), claimed(read.seen.record, attempt.id)
    if record is read.seen.record:
        return Check(path, read.record_version)
    return Set(path, record.to_json(), read.record_version)


def _probes(read: ClusterRead, attempt: Attempt) -> bool:
    return read.name in attempt.scopes and read.seen.record.open_until is not None


class NodeMoves(Line):
    """One incarnation of one node's agent towards the tree. Used from one thread.

    Keeps what is its own: the epoch, the last known version of its record, its entries in lines. Raises `Fenced`
    when another incarnation has started or the node was declared gone, `CoordinationUnavailable` when nobody
    answers; then the same call may be made again.
    """

    def take(self, ready: Ready, plan: Plan, now: datetime) -> Taken | None:
        """TAKE: one commit that checks everything and takes everything. None: something changed; look again.

        Raises `AnswerUnknown` when nobody answers: then call `settle_take` until it does.
        """
        attempt, ops = self._take(ready, plan, now)
        done = self.tree.commit(ops)
        if isinstance(done, Refused):
            if done.why is Refusal.NO_NODE:
                self._entries.pop(done.path, None)
                self._places.pop(done.path, None)
            return None
        return self._took(ready, plan, attempt, ready.node_version + 1)

    def settle_take(self, ready: Ready, plan: Plan, now: datetime) -> Taken | None:
        """Find out whether a take without an answer happened. None: it did not, and cannot any more."""
        attempt, _ = self._take(ready, plan, now)
        self.version = ready.node_version
        self.record = ready.snapshot.record
        if self.fence():
            return None
        if self.record.attempt is None or self.record.attempt.id != attempt.id:
            return None
        return self._took(ready, plan, self.record.attempt, self.version)

    def _took(self, ready: Ready, plan: Plan, attempt: Attempt, version: int) -> Taken:
        self._entries.clear()
        self._places.clear()
        self._forget_others()
        self.version = version
        seen = self._seen(plan, self.record)
        self.record = self.record.model_copy(
            update={"attempt": attempt, "takes": attempt_takes(attempt.id), "seen": seen}
        )
        return Taken(attempt, tuple(read.name for read in ready.around.clusters if _probes(read, attempt)))

    def _take(self, ready: Ready, plan: Plan, now: datetime) -> tuple[Attempt, list[Op]]:
        seen, around = ready.snapshot, ready.around
        planned = plan.node(self.node)
        assert planned is not None
        held = {read.name: [slot for slot in read.seen.slots if slot.node == self.node] for read in around.reads}
        own = [slot for slots in held.values() for slot in slots]
        scopes = (*planned.scopes, *(scope for scope, slots in held.items() if slots and scope not in planned.scopes))
        cap, beside = promises(seen, own)
        attempt = Attempt(
            id=seen.record.next_attempt(self.node, seen.task),
            task=seen.task,
            cluster=seen.cluster,
            k=seen.progress.k + 1,
            cap=cap,
            exclusive=seen.exclusive,
            beside=beside,
            scopes=scopes,
            inherited=own[0].state if own else None,
            fence=around.clusters[0].version + 1,
        )
        taking = {"attempt": attempt, "takes": seen.record.takes + 1, "kept": (), "seen": self._seen(plan, seen.record)}
        record = seen.record.model_copy(update=taking)
        progress = seen.progress.model_copy(
            update={"k": attempt.k, "state": ProgressState.ACTING, "attempt": attempt.id, "adopts": 0, "next_at": None}
        )
        note = SlotNote(task=seen.task, attempt=attempt.id, at=now)
        ops: list[Op] = [
            Check(layout.CONTROL, around.control_version),
            *(_claim(read, attempt) for read in around.clusters if read.name in scopes),
            Check(layout.control(seen.task), ready.ctl_version),
            Set(layout.node(self.node), record.to_json(), ready.node_version),
            Set(layout.progress(seen.task, self.node), progress.to_json(), ready.progress_version),
        ]
        if around.strangers_version is not None:
            ops.append(Check(layout.STRANGERS, around.strangers_version))
        data = {read.name: read.data for read in around.scopes}
        for read in around.reads:
            if read.name in scopes:
                ops.append(Set(layout.scope(read.name), data.get(read.name, layout.SCOPE_DATA), read.version))
                ops += [Delete(layout.slot(read.name, slot)) for slot in held[read.name]]
                ops.append(Create(layout.slot(read.name, attempt.slot(self.node, read.name)), note.to_json()))
        # In every line in which this node may stand: at the head of another it would stop that task while it acts.
        ops += [Delete(entry) for entry in sorted({ready.entry, *self._entries})]
        ops += [Delete(place) for place in ready.places]
        return attempt, ops

    def _seen(self, plan: Plan, record: NodeRecord) -> SeenIn | None:
        """Where this node was discovered; a plan that was only given its name knows nothing newer."""
        planned = plan.node(self.node)
        if planned is None or planned.source != "ec2":
            return record.seen
        return SeenIn(discovery=plan.task.discovery, cluster=plan.task.cluster_name)

    # --- SETTLE ------------------------------------------------------------------------------------------

    def announced(self, task: TaskId, ended: Ended) -> None:
        """Note that the dead letter of that very end was sent. Whoever came first, it is noted."""
        if ended.end.dead_letter is DeadLetterState.OWED:
            note_sent(self.tree, task, self.node, ended.end)


def promises(seen: Snapshot, own: Sequence[Slot]) -> tuple[int, TaskId | None]:
    """What binds the others while this attempt acts: how many at once, and the exclusive task that is not its own.

    `own`: the kept slots that it takes over. They were kept because the node is not known to be well, so what was
    promised for them holds until it is: a task that allows one away is not joined because another, that allows three,
    tries its broken node again.
    """
    cap = min([seen.cap, *(slot.cap for slot in own if slot.cap is not None)])
    return cap, next((slot.exclusive for slot in own if slot.exclusive not in (None, seen.task)), None)
