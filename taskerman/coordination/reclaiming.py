"""RECLAIM: a machine is proved terminated. Its slots are freed, its attempt and all its assignments end as `gone`.

The proof is the caller's. Here it becomes a fact: the node's record says `gone`, in the same transaction that frees
the slots, so an agent that wakes up after all is fenced, and nothing is ever taken on that node again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from taskerman.coordination import layout
from taskerman.coordination.breakers import without_probe
from taskerman.coordination.janitor_record import Declared, janitor_record
from taskerman.coordination.plans import read_plan
from taskerman.coordination.snapshot import as_names, as_record
from taskerman.errors import Bug
from taskerman.model.assignment import Progress
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.ids import AttemptId, NodeId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy.conclusion import Ending, fail_for_good, give_up, spend
from taskerman.policy.reclaiming import Proof, allowance
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Get, Op, Record, Set, Tree

__all__ = ["Capped", "NotYet", "Reclaimed", "end_gone", "reclaim"]

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """The node is gone now. `freed`: paths of its slots. `attempt`: the one that it was in."""

    node: NodeId
    freed: tuple[str, ...]
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class Capped:
    """Nothing was done: too many nodes were declared gone within the hour. A person must look."""

    an_hour: int


class NotYet(Enum):
    """Nothing was done, and nothing is wrong."""

    GONE_ALREADY = auto()
    MOVING = auto()  # what was read changed whenever it was written; try again


def reclaim(
    tree: Tree, proof: Proof, *, at: datetime, an_hour: int, replaced: tuple[AttemptId, str] | None = None
) -> Reclaimed | Capped | NotYet:
    """RECLAIM, with the proof that the machine of `proof.node` is terminated. Safe by two at a time.

    `at`: the tree's time; the cap (`an_hour` nodes) is counted in it, and kept by the janitors' record, in this very
    transaction. `replaced`: the attempt whose action it was to terminate the machine, and why it counts as replaced;
    then that one has succeeded, and no cap binds what was asked for. Raises `AnswerUnknown`: call again; a second time
    it finds the node gone already.
    """
    for _ in range(_TRIES):
        known, known_version = janitor_record(tree)
        path = layout.node(proof.node)
        found = tree.get(path)  # before its slots: what takes or frees one of them changes this record
        record = NodeRecord() if found is None else layout.decode(NodeRecord, found, path)
        if record.gone:
            return NotYet.GONE_ALREADY
        lately = [one for one in known.declared if allowance([one.at], at, 1) == 0]
        attempt = record.attempt
        asked_for = replaced is not None and attempt is not None and attempt.id == replaced[0]
        if replaced is not None and not asked_for:
            return NotYet.MOVING  # it is in another attempt than the caller judged, or in none
        if not asked_for and not allowance([one.at for one in lately], at, an_hour):
            return Capped(an_hour)
        slots = _slots_of(tree, proof.node)
        if len(slots) < len(record.attempt.scopes if record.attempt is not None else record.kept):
            continue  # they moved while they were read
        gone = record.model_copy(update={"attempt": None, "revoke": None, "gone": True, "kept": ()})
        declared = tuple(lately) if asked_for else (*lately, Declared(node=proof.node, at=at))
        after = known.model_copy(update={"declared": declared})
        ops: list[Op] = [
            Set(layout.JANITOR, after.to_json(), known_version),
            Create(path, gone.to_json()) if found is None else Set(path, gone.to_json(), found.stat.version),
            *(Delete(slot) for slot in slots),
        ]
        if record.attempt is not None:
            lost = _lose(tree, record.attempt, proof, at, replaced[1] if replaced else None)
            if lost is None and _stands(tree, path, found):
                task = record.attempt.task
                raise Bug(f"{proof.node} is in attempt {record.attempt.id}, and {task} has no records of it.")
            if lost is None:
                continue  # its own end, or another janitor, was there first
            ops += lost
        if isinstance(tree.commit(ops), Committed):
            return Reclaimed(proof.node, tuple(slots), record.attempt)
    return NotYet.MOVING


def end_gone(tree: Tree, plan: Plan, node: NodeId, at: datetime) -> bool:
    """End the assignment of a node that was declared gone and is in no attempt: outcome `gone`, dead letter owed.

    True: this call did it. False: it has its end, the node is not gone, or something moved: look again. It raises
    the node's count of takes, so that the key of the dead letter is its own, also after a redrive that came between.
    """
    task = plan.task.task_id
    # The control record before the end: a redrive, which would bring the assignment back, changes it.
    found, ctl, ended, progress = tree.read(
        Get(layout.node(node)),
        Get(layout.control(task)),
        Get(layout.end(task, node)),
        Get(layout.progress(task, node)),
    )
    found_node, found_ctl, found_progress = as_record(found), as_record(ctl), as_record(progress)
    if found_node is None or found_ctl is None or ended is not None or plan.node(node) is None:
        return False
    record = layout.decode(NodeRecord, found_node, layout.node(node))
    control = layout.decode(TaskControl, found_ctl, layout.control(task))
    if not record.gone or record.attempt is not None or control.state is TaskState.CLOSING:
        return False
    known = layout.decode(Progress, found_progress, layout.progress(task, node)) if found_progress else Progress()
    end = End(
        outcome=Outcome.GONE,
        attempt=record.next_attempt(node, task),
        attempts=known.k,
        reason=f"{node} was proved terminated",
        at=at,
        dead_letter=DeadLetterState.OWED,
    )
    budget = plan.task.taskerman_params.failure_args.max_failures
    after = give_up(Outcome.GONE, node=node, control=control, max_failures=budget)
    counted = record.model_copy(update={"takes": record.takes + 1})
    ops: list[Op] = [
        Set(layout.node(node), counted.to_json(), found_node.stat.version),
        (
            Check(layout.control(task), found_ctl.stat.version)
            if after is None
            else Set(layout.control(task), after.to_json(), found_ctl.stat.version)
        ),
        Create(layout.end(task, node), end.to_json()),
    ]
    if found_progress is not None:
        ops.append(Delete(layout.progress(task, node), found_progress.stat.version))
    return isinstance(tree.commit(ops), Committed)


def _lose(tree: Tree, attempt: Attempt, proof: Proof, at: datetime, replaced: str | None) -> list[Op] | None:
    """The attempt ends with the machine that it was on: used from the budget, and a person is told; one that was
    `replaced`, which says why, has succeeded.

    None: there are no records of it, as when it has ended since.
    """
    task, node = attempt.task, proof.node
    plan = read_plan(tree, task)
    ctl, progress = tree.read(Get(layout.control(task)), Get(layout.progress(task, node)))
    found_ctl, found_progress = as_record(ctl), as_record(progress)
    if not isinstance(plan, Plan) or found_ctl is None or found_progress is None:
        return None
    control = layout.decode(TaskControl, found_ctl, layout.control(task))
    budget = plan.task.taskerman_params.failure_args.max_failures
    if replaced is not None:
        ending = Ending(Outcome.SUCCEEDED, replaced, post_check_passed=True)
        after = spend(ending, node=node, control=control, again=False, kept=False, max_failures=budget) or control
    else:
        after = fail_for_good(Outcome.GONE, node=node, control=control, max_failures=budget)
    end = End(
        outcome=Outcome.SUCCEEDED if replaced is not None else Outcome.GONE,
        attempt=attempt.id,
        attempts=attempt.k,
        reason=replaced or f"{node} was terminated in the middle of its attempt: {proof.why}",
        at=at,
        dead_letter=DeadLetterState.NONE if replaced is not None else DeadLetterState.OWED,
    )
    return [
        Create(layout.end(task, node), end.to_json()),
        Delete(layout.progress(task, node), found_progress.stat.version),
        Set(layout.control(task), after.to_json(), found_ctl.stat.version),
        *without_probe(tree, attempt),
    ]


def _stands(tree: Tree, path: str, found: Record | None) -> bool:
    """Whether what was found there is there still."""
    tree.sync(path)
    now = tree.get(path)
    return now is not None and found is not None and now.stat.version == found.stat.version


def _slots_of(tree: Tree, node: NodeId) -> list[str]:
    """The path of every slot that the node holds, whatever the scope and the state."""
    names = as_names(tree.read(Children(layout.SCOPES))[0])
    scopes = names.names if names else ()
    answers = tree.read(*(Children(layout.scope(scope)) for scope in scopes))
    return [
        f"{layout.scope(scope)}/{name}"
        for scope, answer in zip(scopes, answers, strict=True)
        if (listed := as_names(answer))
        for name in listed.names
        if name.startswith(f"{node}~")
    ]
