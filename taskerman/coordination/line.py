"""The line: where an assignment stands, and JOIN. Courtesy only: what is safe is decided by the take.

Only the head of a line looks around; everybody else watches the one before. An entry must never outlive the wish to
go: a ghost at the head would stop the task for as long as its session lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.foresight import Foresight, Reads
from taskerman.coordination.passing import Passing
from taskerman.coordination.plans import read_plan
from taskerman.coordination.snapshot import Around, snapshot_of, survey, survey_reads
from taskerman.coordination.standing import Ended, Left, Over, Ready, Standing
from taskerman.errors import AnswerUnknown
from taskerman.model.assignment import Progress
from taskerman.model.ids import NodeId, TaskId, is_cluster
from taskerman.model.outcome import End
from taskerman.model.plan import Plan, PlannedNode, Tombstone
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy.admission import admit, behind
from taskerman.policy.patience import A_PLACE
from taskerman.policy.snapshot import Admission, Admitted, Reason, Waiting
from taskerman.policy.windows import CLOCK_TOLERANCE
from taskerman.ports.tree import (
    Check,
    Children,
    Committed,
    Create,
    Delete,
    Exists,
    Get,
    Names,
    Op,
    Read,
    Record,
    Tree,
    Wake,
)

__all__ = ["Ended", "Left", "Line", "Over", "Ready", "Standing"]

_LOOKS = 20
_CLOCK_BELIEVED = timedelta(minutes=10)
_CLOCK_DOUBTED = timedelta(seconds=20)
"""How long a comparison of the clocks holds, when they agreed and when they did not."""

_JUMP_S = 10.0
"""Less than this is what one clock's seconds may differ from the other's while it is believed."""

_OUT_OF_LINE = frozenset(
    {Reason.NODE_GONE, Reason.EXPIRED, Reason.NOT_OPEN, Reason.PARKED, Reason.BACKOFF, Reason.NODE_BUSY}
)
"""For these the node does not stand in the line: others must not wait behind it."""


def _own_end(planned: PlannedNode) -> str:
    return f".{layout.own_end(planned.rank)}"


def _rests_on_the_clock(answer: Admission) -> bool:
    """Whether the answer would be another one by another clock: nobody asks ZooKeeper for the time for nothing."""
    return isinstance(answer, Admitted) or answer.reason in (Reason.CLOCK, Reason.WINDOW)


def _measured_long_ago(entry: Record, now: datetime) -> bool:
    """Whether our clock is to be compared with the tree's again, before a window rests on it."""
    at, off = layout.entry_time(entry), layout.clock_off(entry)
    if at is None or off is None:
        return True
    return abs(now - at) > (_CLOCK_BELIEVED if abs(off) <= CLOCK_TOLERANCE else _CLOCK_DOUBTED)


class Line(Passing):
    """Where one node's assignments stand. Keeps which entries are its own."""

    def __init__(
        self,
        tree: Tree,
        node: NodeId,
        journal: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience: timedelta = A_PLACE,
    ) -> None:
        """As `Passing`."""
        super().__init__(tree, node, journal, monotonic=monotonic, patience=patience)
        self._entries: dict[str, TaskId] = {}  # every path at which this session may stand, known or not
        self._foresight = Foresight(tree)
        self._soon: dict[TaskId, tuple[Read, ...]] = {}
        self._measured: dict[TaskId, tuple[datetime, float]] = {}

    def plan(self, task: TaskId) -> Plan | Tombstone | None:
        """The plan of `task`, or the tombstone of one that was put away; None only after a sync: there was none."""
        return read_plan(self.tree, task, sync=True)

    def control(self, task: TaskId, wake: Wake | None = None) -> TaskControl | None:
        """The task's control record, watched."""
        found = self.tree.get(layout.control(task), wake)
        return None if found is None else layout.decode(TaskControl, found, layout.control(task))

    def stand(self, plan: Plan, now: datetime, wake: Wake) -> Standing:
        """Look where the assignment stands, joining the line if it should stand there.

        Only the head of the line looks around: what others must change for this node to go on is watched, and
        `wake` is called when it does. In a crowd that moves all the time the answer may be to look again now.
        """
        for _ in range(_LOOKS):
            standing = self._look(plan, now, wake)
            if standing is not None:
                return standing
        return Waiting(Reason.NOT_IN_LINE, "The line moved whenever it looked; it looks again.", until=now)

    def _look(self, plan: Plan, now: datetime, wake: Wake) -> Standing | None:  # noqa: PLR0911, PLR0912  one return an answer
        """One look. None: what was read had moved meanwhile."""
        self._notice_session()
        if self._owes_fence:
            self._settle()
        task = plan.task.task_id
        planned = plan.node(self.node)
        if planned is None:
            return Left()
        lane = layout.line(task, planned.lane)
        reads = self._foresight.look(task, also=self._soon.pop(task, ()))
        ended, ctl, progress, record, line = reads.read(
            Exists(layout.end(task, self.node), wake),
            Get(layout.control(task), wake),
            Get(layout.progress(task, self.node)),
            Get(layout.node(self.node), wake),
            Children(lane),
        )
        names = as_names(line)
        own = [f"{lane}/{name}" for name in (names.names if names else ()) if name.endswith(_own_end(planned))]
        if ended is not None and (found_end := self.tree.get(layout.end(task, self.node))) is not None:
            self.leave(task, own)
            return Ended(layout.decode(End, found_end, layout.end(task, self.node)), found_end.stat.version)
        found_ctl, found_progress, found_record = as_record(ctl), as_record(progress), as_record(record)
        self._mine(found_record)
        if found_ctl is None or names is None:
            return self._left(task)
        control = layout.decode(TaskControl, found_ctl, layout.control(task))
        if (over := self._over(plan, control, now)) is not None:
            self.leave(task, own)
            return over
        known = layout.decode(Progress, found_progress, layout.progress(task, self.node)) if found_progress else None
        progress_now = known or Progress()
        alone = admit(
            snapshot_of(plan, planned, control=control, record=self.record, progress=progress_now, place=0), now
        )
        if isinstance(alone, Waiting) and alone.reason in _OUT_OF_LINE:
            self.leave(task, own)
            return alone
        entry = self._standing_at(task, names, control)
        if entry is None or found_progress is None:
            self._join(plan, planned, known, control, found_ctl.stat.version, names, now)
            return None
        standing = self._place(plan, planned, reads, names, entry, wake)
        if standing is None:
            return None
        place, mine = standing
        if place == 1:
            # Whoever is the head next looks around: what it will ask then, it asks in the same breath.
            self._soon[task] = survey_reads(planned, self.record, wake)
        if place and not self._is_long_ago(task, place):
            return behind(place)
        around = survey(reads, plan, planned, self.record, now, wake=None if place else wake, known=self.known)
        self._foresight.remember(task, reads)
        seen = snapshot_of(
            plan,
            planned,
            control=control,
            record=self.record,
            progress=progress_now,
            place=place,
            around=around,
            entry=mine,
        )
        if entry.rpartition("/")[2].startswith("0") and not self._keeps_one(around):
            # It went first for a slot that it keeps no more: a person released it. Now it would only be in the way.
            self._join(plan, planned, known, control, found_ctl.stat.version, names, now)
            return None
        answer = admit(seen, now)
        if not place and self._queue_up(plan, planned, around, answer, found_ctl.stat.version):
            return None
        passes = self._may_pass(seen, around, answer, now)
        by_the_clock = plan.window is not None and (passes or _rests_on_the_clock(answer))
        if by_the_clock and (self._clock_jumped(task, now) or _measured_long_ago(mine, now)):
            self._join(plan, planned, known, control, found_ctl.stat.version, names, now, anew=True)
            return None
        if isinstance(answer, Waiting) and not passes:
            return behind(place) if place else answer
        return Ready(
            snapshot=seen,
            around=around,
            entry=entry,
            places=tuple(self._places_to_leave(around, planned, task)),
            passes=passes,
            node_version=self.version,
            ctl_version=found_ctl.stat.version,
            progress_version=found_progress.stat.version,
        )

    def _place(
        self, plan: Plan, planned: PlannedNode, reads: Reads, names: Names, entry: str, wake: Wake
    ) -> tuple[int, Record] | None:
        """How many stand before `entry`, and what it holds, watched; None: it changed meanwhile."""
        lane = layout.line(plan.task.task_id, planned.lane)
        place = names.names.index(entry.rpartition("/")[2])
        watched: list[Read] = [Get(entry, wake)]
        if place:
            watched.append(Exists(f"{lane}/{names.names[place - 1]}", wake))
        if place > plan.cap:
            # When that one goes, no more than one wave stands before us: the time to get ready. Nobody else tells.
            watched.append(Exists(f"{lane}/{names.names[place - plan.cap]}", wake))
        found, *others = reads.read(*watched)
        self._foresight.remember(plan.task.task_id, reads)
        mine = as_record(found)
        return None if mine is None or not all(others) else (place, mine)

    def leave(self, task: TaskId, seen: Sequence[str] = ()) -> None:
        """Leave the line of `task`. Idempotent. An entry that cannot be deleted now is met again by the next look.

        `seen`: entries of this node that were read there, of whichever session: an earlier one's blocks as well.
        """
        for path in sorted({*seen, *(path for path, of in self._entries.items() if of == task)}):
            self.tree.commit([Delete(path)])
            self._entries.pop(path, None)
        self._foresight.forget(task)
        self._soon.pop(task, None)
        self._measured.pop(task, None)
        self._leave_queues(task)
        self._forget_others(task)

    def _left(self, task: TaskId) -> Left | None:
        """The task was put away, unless the server that said so lags behind: after a lost session it may be another."""
        self.tree.sync(layout.control(task))
        if self.tree.get(layout.control(task)) is not None:
            return None
        self.leave(task)
        return Left()

    def _over(self, plan: Plan, control: TaskControl, now: datetime) -> Over | Left | None:
        if control.state is TaskState.CLOSING:
            return Left()
        if control.state is TaskState.CANCELLED:
            return Over.CANCELLED
        if control.state is TaskState.EXPIRED or now >= plan.accepted.not_after:
            return Over.EXPIRED
        return None

    def _standing_at(self, task: TaskId, names: Names, control: TaskControl) -> str | None:
        """The path of our entry, if we stand in the line as we should."""
        for path in [path for path, of in self._entries.items() if of == task]:
            name = path.rpartition("/")[2]
            if name not in names.names:
                del self._entries[path]
            elif self.node not in control.failed or not name.startswith("2"):
                return path
        return None

    def _join(
        self,
        plan: Plan,
        planned: PlannedNode,
        known: Progress | None,
        control: TaskControl,
        ctl_version: int,
        names: Names,
        now: datetime,
        *,
        anew: bool = False,
    ) -> None:
        """JOIN: one commit, carrying the node's version, so that it cannot be applied after our take or end.

        `anew`: also in the place of an entry of our own, whose time is to be measured again.
        """
        task = plan.task.task_id
        lane = layout.line(task, planned.lane)
        name = layout.entry_name(
            keeps_slot=self._keeps_slot(planned),
            failed=self.node in control.failed,
            deferrals=known.deferrals if known else 0,
            rank=planned.rank,
        )
        path = f"{lane}/{name}"
        ops: list[Op] = [Check(layout.node(self.node), self.version), Check(layout.control(task), ctl_version)]
        if known is None:
            ops.append(Create(layout.progress(task, self.node), Progress().to_json()))
        others = [f"{lane}/{other}" for other in names.names if other.endswith(_own_end(planned)) and other != name]
        ops += [Delete(other) for other in others]
        there = self.tree.get(path) if name in names.names else None
        stands = there is not None and there.stat.owner == self._session and not anew
        if there is not None and not stands:
            ops.append(Delete(path, there.stat.version))  # of an earlier session of this node, not yet expired
        if not stands:
            self._measured.pop(task, None)
            ops.append(Create(path, layout.entry_data(self.node, now if plan.window else None), ephemeral=True))
        self._entries[path] = task  # before the answer: if it is lost, the take deletes the entry all the same
        try:
            done = self.tree.commit(ops)
        except AnswerUnknown:
            self._owes_fence = True
            self._settle()
            return
        if isinstance(done, Committed):
            if not stands and plan.window:
                self._measured[task] = now, self._monotonic()
            for other in others:
                self._entries.pop(other, None)
        elif name not in names.names:
            del self._entries[path]

    def _clock_jumped(self, task: TaskId, now: datetime) -> bool:
        """Whether our clock went otherwise than time did, since it was compared with the tree's for that entry."""
        if task not in self._measured:
            return True
        then, at = self._measured[task]
        return abs((now - then).total_seconds() - (self._monotonic() - at)) > _JUMP_S

    def _keeps_one(self, around: Around) -> bool:
        return any(slot.node == self.node for read in around.clusters for slot in read.seen.slots)

    def _keeps_slot(self, planned: PlannedNode) -> bool:
        clusters = dict.fromkeys([*planned.clusters, *filter(is_cluster, self.record.kept)])
        found = [as_names(answer) for answer in self.tree.read(*(Children(layout.scope(s)) for s in clusters))]
        return any(slot.node == self.node for names in found if names for slot in layout.slots(names.names))

    def _notice_session(self) -> None:
        session = self.tree.session
        if (
            session is not None and session != self._session
        ):  # none while cut off: the session may live, and its entries
            self._session = session
            self._entries.clear()  # entries of another session vanish with it, or are replaced by our next join
            self._places.clear()
