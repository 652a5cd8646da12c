"""A ZooKeeper that was emptied, exchanged or restored: how it is noticed, reported, stopped, and accepted by a person.

A node notices by its journal, a daemon without one by what it has seen while it lives. Whoever knows a later state of
this very installation stops everything, because a slot that somebody holds may be missing from the older state; and a
node whose action nobody here knows of puts its slot back first, as lost. Nothing here lifts a stop but a person.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.verbs import Verbs
from taskerman.errors import InstallationRefused, NotPermitted, RefusedByState
from taskerman.model.attempt import NodeRecord
from taskerman.model.hold import MAX_ACCEPTS, Control, Hold
from taskerman.model.ids import AttemptId, ClusterName, NodeId, TaskId
from taskerman.model.installation import Stranger, Strangers
from taskerman.model.slot import Slot, SlotNote, SlotState
from taskerman.policy.belonging import Belongs, Known, judge
from taskerman.ports.tree import Check, Children, Create, Delete, Get, Op, Set, Tree

__all__ = ["AcceptVerbs", "InstallationGuard", "Unrecorded", "arrive", "forget_report", "put_back", "strangers"]

_STEP = "A person must look why; then: `taskerman init --accept-installation`."


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """An attempt of which the node's journal knows that its action began, and not that its end was recorded."""

    attempt: AttemptId
    task: TaskId
    clusters: tuple[ClusterName, ...]


def arrive(tree: Tree, node: NodeId, known: Known, unrecorded: Unrecorded | None, now: datetime) -> Belongs:
    """Whether `node` may start under what `tree` holds: HERE or ACCEPTED. Changes nothing then.

    Else it is reported, where that is possible, and raises `InstallationRefused`. `unrecorded`: counted only when it
    is not the attempt that is recorded of the node here. Idempotent. Raises `CoordinationUnavailable`.
    """
    control, version, record = _look(tree, node)
    if control is None or judge(known, control, record) not in (Belongs.HERE, Belongs.ACCEPTED):
        tree.sync(layout.CONTROL)  # a server that lags behind is no reason
        control, version, record = _look(tree, node)
    if control is None:
        layout.check_layout(None)
    assert control is not None
    belongs = judge(known, control, record)
    if belongs in (Belongs.HERE, Belongs.ACCEPTED):
        return belongs
    went_back = belongs is Belongs.WENT_BACK
    found = record or NodeRecord()
    why = (
        f"ZooKeeper is behind the journal of {node} (epoch {found.epoch}, {found.takes} takes; the journal has "
        f"{known.epoch} and {known.takes}): it was restored from a backup"
        if went_back
        else f"ZooKeeper holds installation {control.installation}, and {node} belongs to {known.installation}"
    )
    missing = unrecorded if unrecorded and not _recorded(found, unrecorded) else None
    report = Stranger(
        node=node,
        installation=known.installation,
        went_back=went_back,
        acting=missing.attempt if missing else None,
        why=why,
        at=now,
    )
    try:
        _report(tree, version, report, missing, now)
    except NotPermitted as error:  # in an installation whose rights are others': then the person sees it here only
        why = f"{why} (and it could not be reported: {error.what})"
    raise InstallationRefused(f"{why}. Nothing starts here.", next_step=_STEP)


def put_back(tree: Tree, node: NodeId, unrecorded: Unrecorded, why: str, now: datetime) -> None:
    """Make sure that a node whose action nobody here knows of keeps a slot in its clusters, as lost. Idempotent.

    A cluster without a scope has no task, so nobody starts there.
    """
    ops = _slots(tree, node, unrecorded, why, now)
    if ops:
        tree.commit(ops)


def forget_report(tree: Tree, node: NodeId) -> None:
    """The node goes on: it is no stranger any more. Idempotent."""
    if tree.get(layout.stranger(node)) is not None:
        tree.commit([Delete(layout.stranger(node))])


def strangers(tree: Tree) -> Sequence[Stranger]:
    """Every node that has reported and does not go on yet."""
    names = as_names(tree.read(Children(layout.STRANGERS))[0])
    paths = [f"{layout.STRANGERS}/{name}" for name in (names.names if names else ())]
    records = map(as_record, tree.read(*(Get(path) for path in paths)))
    return [
        layout.decode(Stranger, record, path) for path, record in zip(paths, records, strict=True) if record is not None
    ]


def _look(tree: Tree, node: NodeId) -> tuple[Control | None, int, NodeRecord | None]:
    control, record = map(as_record, tree.read(Get(layout.CONTROL), Get(layout.node(node))))
    return (
        None if control is None else layout.check_layout(control),
        -1 if control is None else control.stat.version,
        None if record is None else layout.decode(NodeRecord, record, layout.node(node)),
    )


def _recorded(record: NodeRecord, unrecorded: Unrecorded) -> bool:
    return record.attempt is not None and record.attempt.id == unrecorded.attempt


def _report(tree: Tree, control_version: int, report: Stranger, missing: Unrecorded | None, now: datetime) -> None:
    """One commit: the stop, the slots, the report. Refused when something moved: the next look repeats it.

    It rests on the control record that was read: a person who accepts meanwhile is not stopped again by it.
    """
    path = layout.stranger(report.node)
    ops: list[Op] = []
    if report.went_back:
        ops += _stop(tree, report.why, report.node, now)
        if missing is not None:
            ops += _slots(tree, report.node, missing, report.why, now)
    else:
        tree.ensure(layout.STRANGERS)
    there = tree.get(path)
    if there is None:
        ops.append(Create(path, report.to_json()))
    elif layout.decode(Stranger, there, path).model_copy(update={"at": now}) != report:
        ops.append(Set(path, report.to_json(), there.stat.version))
    if ops:
        tree.commit([Check(layout.CONTROL, control_version), *ops])


def _stop(tree: Tree, why: str, by: str, now: datetime) -> list[Op]:
    """Nothing is taken any more: a change of the record that every take checks. Empty when that is so already."""
    tree.ensure(layout.STRANGERS)
    record = tree.get(layout.STRANGERS)
    if record is None or layout.strangers(record).stopped is not None:
        return []
    hold = Hold(id=layout.RESTORED, on="*", why=f"{why}. {_STEP}".removesuffix(".")[:300], by=by, at=now)
    return [Set(layout.STRANGERS, Strangers(stopped=hold).to_json(), record.stat.version)]


def _slots(tree: Tree, node: NodeId, unrecorded: Unrecorded, why: str, now: datetime) -> list[Op]:
    """Lost slots where the node has none. The scope's and the cluster's versions rise, as with every kept slot."""
    ops: list[Op] = []
    held = Slot(node=node, cap=1, state=SlotState.LOST)
    note = SlotNote(task=unrecorded.task, attempt=unrecorded.attempt, at=now, why=why)
    for name in unrecorded.clusters:
        scope, cluster = tree.read(Children(layout.scope(name)), Get(layout.cluster(name)))
        names, record = as_names(scope), as_record(cluster)
        if names is None or record is None or any(slot.node == node for slot in layout.slots(names.names)):
            continue
        ops += [
            Set(layout.scope(name), layout.SCOPE_DATA, names.stat.version),
            Create(layout.slot(name, held), note.to_json()),
            Set(layout.cluster(name), record.data, record.stat.version),
        ]
    return ops


class InstallationGuard:
    """What a daemon without a journal can notice: another installation, or an older state, than it has seen itself.

    It remembers while it lives, and no longer; the nodes' journals do the rest. Used from one thread.
    """

    def __init__(self, tree: Tree, who: NodeId) -> None:
        """`who`: what kind of daemon this is; it reports under that name. `tree` is open when `check` is called."""
        self._tree, self._who, self._reported = tree, who, True
        self._seen: tuple[str, int] | None = None

    def check(self, now: datetime) -> Control:
        """Return if work may be begun under what the tree holds. One trip.

        Raises `InstallationRefused`: nothing may be begun, look again later; `CoordinationUnavailable`.
        """
        control, version, stopped = self._look()
        if control is None or self._differs(control, version):
            self._tree.sync(layout.CONTROL)
            control, version, stopped = self._look()
        if control is None:
            layout.check_layout(None)
        assert control is not None
        if self._seen is not None and self._differs(control, version):
            known, highest = self._seen
            went_back = known == control.installation
            why = (
                f"ZooKeeper is behind what a {self._who} has seen (version {version} of /control, it was {highest}): "
                "it was restored from a backup"
                if went_back
                else f"ZooKeeper holds installation {control.installation}, and a {self._who} began under {known}"
            )
            self._reported = True
            report = Stranger(node=self._who, installation=known, went_back=went_back, why=why, at=now)
            _report(self._tree, version, report, None, now)
            raise InstallationRefused(f"{why}.", next_step=_STEP)
        self._seen = control.installation, version
        if self._reported:
            forget_report(self._tree, self._who)  # also of one that was started anew, and so forgot what it knew
            self._reported = False
        if stopped is not None:
            raise InstallationRefused(f"Everything is stopped: {stopped.why}")
        return control

    def _differs(self, control: Control, version: int) -> bool:
        if self._seen is None:
            return False
        known, highest = self._seen
        if known == control.installation:
            return version < highest
        return known not in control.accepts

    def _look(self) -> tuple[Control | None, int, Hold | None]:
        control, top = map(as_record, self._tree.read(Get(layout.CONTROL), Get(layout.STRANGERS)))
        if control is None:
            return None, -1, None
        return layout.check_layout(control), control.stat.version, layout.strangers(top).stopped


class AcceptVerbs(Verbs):
    """The verb on an installation that is not the one it was."""

    def accept_installation(self, why: str, of: str | None = None) -> tuple[Control, tuple[str, ...]]:
        """Let nodes of other installations, or with later journals, go on here; the installations that are accepted.

        `of`: the installation; None: those that nodes have reported. When this installation itself is accepted, it
        gets a new id: so a restored state is told apart from what was there before. A hold on everything is put if
        none stands: what the nodes report when they go on wants to be looked at. Raises `RefusedByState` when there
        is nothing to accept.
        """
        fresh = str(uuid.uuid4())

        def build() -> tuple[list[Op], tuple[Control, tuple[str, ...]]]:
            record, top = map(as_record, self._tree.read(Get(layout.CONTROL), Get(layout.STRANGERS)))
            control = layout.check_layout(record)
            assert record is not None
            stopped = layout.strangers(top).stopped
            wanted = {of} if of else {report.installation for report in strangers(self._tree)}
            if stopped is not None:
                wanted.add(control.installation)
            found = tuple(sorted(wanted - set(control.accepts)))
            if not found:
                raise RefusedByState(
                    f"Every node that has reported belongs to {control.installation} or is accepted.",
                    next_step="Nodes look every 30 s. After a restore that nobody reports: "
                    f"`taskerman init --accept-installation --of {control.installation}`.",
                )
            holds = control.holds
            if not any(hold.on == "*" for hold in holds):
                hold = Hold(id=f"accepted-{fresh[:6]}", on="*", why=why, by=self._by, at=self._clock())
                holds = (*holds, hold)
            after = control.model_copy(
                update={
                    "installation": fresh if control.installation in found else control.installation,
                    "accepts": (*control.accepts, *found)[-MAX_ACCEPTS:],
                    "holds": holds,
                }
            )
            ops: list[Op] = [Set(layout.CONTROL, after.to_json(), record.stat.version)]
            if top is not None and stopped is not None:
                ops.append(Set(layout.STRANGERS, Strangers().to_json(), top.stat.version))
            return ops, (after, found)

        return self._commit(build, "init --accept-installation", "installation", why)
