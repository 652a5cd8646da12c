"""DLQ: what will not go on by itself. Lists and changes the records; the messages in the queue only announce them.

A redrive is tried in the assignment's own task while that is open or halted. Of a task that is over a new task is
made, whose id is derived, so that a redrive that is typed twice is still one task.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_node
from taskerman.control.status import named
from taskerman.control.values import Discarded, LetterLine, Redriven, ShownLetter
from taskerman.coordination import overview as reading
from taskerman.coordination.overview import SeenTask
from taskerman.errors import NotFound, RefusedByState, TaskUnknown, UsageError
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.model.task import parse_task_document
from taskerman.policy.letters import dead_letter, dead_letter_of_document
from taskerman.ringing import ring

__all__ = ["discard", "list_letters", "redrive", "show_letter"]

_LONGEST_ID = 63


def list_letters(desk: Desk, *, everything: bool = False) -> Sequence[LetterLine]:
    """The dead letters that need a person, oldest first; with `everything`, redriven and discarded ones too."""
    tree = desk.opened()
    lines = [_line(plan, node, end) for plan, node, end in reading.undelivered(tree, everything=everything)]
    for refusal in reading.refusals(tree):
        if everything or refusal.dead_letter != "discarded":
            lines.append(_line_of_document(refusal))
    return tuple(sorted(lines, key=lambda line: (line.at, line.key)))


def show_letter(desk: Desk, name: str, node: NodeId | None = None) -> ShownLetter:
    """One dead letter, whole. `name`: a task (with `node`, unless it has one letter only), the key of a letter,
    the id of a refused document, or its sha256 or the beginning of it. Raises `NotFound`."""
    found = _find(desk, name, node)
    if isinstance(found, Refusal):
        return ShownLetter(state=found.dead_letter, letter=dead_letter_of_document(found))
    plan, at, end = found
    if not _letter(end):
        raise NotFound(
            f"{at} ended {end.outcome.value} in {plan.task.task_id}: there is no dead letter.",
            next_step=f"`taskerman status {plan.task.task_id}` shows how each node ended.",
        )
    return ShownLetter(state=end.dead_letter.value, letter=dead_letter(plan, at, end))


def discard(desk: Desk, name: str, node: NodeId | None, why: str) -> Discarded:
    """Nothing more is to be done about this dead letter; named as for `show_letter`. A kept slot stays kept.

    Raises `NotFound`, `RefusedByState` (it is not open).
    """
    check_why(why)
    found = _find(desk, name, node)
    if isinstance(found, Refusal):
        desk.moves().discard_document(found.sha256, why)
        return Discarded(key=found.sha256)
    plan, at, end = found
    desk.moves().discard(plan.task.task_id, at, why)
    return Discarded(key=end.attempt, task_id=plan.task.task_id, node=at)


def redrive(desk: Desk, name: str, node: NodeId | None = None, why: str = "") -> Redriven:
    """Try an ended assignment again, after the repair; named as for `show_letter`.

    In place while its task is open or halted: it goes first, and the task goes on when it succeeds. Else as the task
    `<task>-r<n>` with this one node. Raises `NotFound`, `RefusedByState` (it ended well, or its machine is gone).
    """
    found = _find(desk, name, node)
    if isinstance(found, Refusal):
        raise UsageError(
            "A document that was refused cannot be redriven: the same document would be refused again.",
            next_step="Correct it and submit it: `taskerman submit --file CORRECTED.json`.",
        )
    plan, at, end = found
    task = plan.task.task_id
    record = reading.node_records(desk.opened(), [at])[0]
    if record is not None and record.gone:
        raise RefusedByState(f"{at} was proved terminated: nothing can be done on it.", next_step="Discard the letter.")
    if end.dead_letter is DeadLetterState.REDRIVEN:
        raise RefusedByState(
            f"The dead letter of {at} in {task} was redriven already.",
            next_step="`taskerman status` lists the open tasks; the new one's id begins like the old one's.",
        )
    moves = desk.moves()
    if moves.redrive(task, at, why):
        return Redriven(task_id=task, node=at, reached=not ring(desk.queues, desk.names, plan, [at]))
    document, dropped = _again(
        plan, at, takes=record.takes if record else 0, over=desk.now() >= plan.accepted.not_after
    )
    body = json.dumps(document, separators=(",", ":"))
    parsed, _ = parse_task_document(body)
    desk.queues.send(desk.names.tasks, body)
    moves.redriven(task, at, f"{why} (as {parsed.task_id})".strip())
    return Redriven(task_id=task, node=at, new_task=parsed.task_id, dropped=dropped)


def _again(plan: Plan, node: NodeId, *, takes: int, over: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document of a new task that does for `node` what `plan` did, and the fields that could not be kept.

    `takes` rises with every attempt of the node, so that the id is the same until something was tried.
    """
    document: dict[str, Any] = json.loads(json.dumps(plan.doc))
    document |= {"task_id": _derived(plan.task.task_id, f"-r{takes}"), "nodes": [node], "destnode": ""}
    dropped = []
    if over and document.pop("not_after", None) is not None:
        dropped.append("not_after")
    if document.pop("signature", None) is not None:  # it was for the other task; nobody here may sign
        dropped.append("signature")
    lease = document.get("taskerman_params", {}).get("lease_args", {})
    if isinstance(lease.get("concurrency"), str):  # a percentage of the cluster says nothing about one node
        lease["concurrency"] = 1
        dropped.append("taskerman_params.lease_args.concurrency")
    return document, tuple(dropped)


def _derived(task: TaskId, suffix: str) -> TaskId:
    if len(task) + len(suffix) <= _LONGEST_ID:
        return task + suffix
    digest = hashlib.sha256(task.encode()).hexdigest()[:8]
    return f"{task[: _LONGEST_ID - len(suffix) - 9]}-{digest}{suffix}"


def _find(desk: Desk, name: str, node: NodeId | None) -> Refusal | tuple[Plan, NodeId, End]:
    """The record that a person means."""
    key = None
    if node is None and re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[0-9]+", name):
        key = name
        name, node, _ = name.split(".")
    if node is None and re.fullmatch(r"(sha256:)?[0-9a-f]{8,64}", name):
        beginning = name.removeprefix("sha256:")
        found = [refusal for refusal in reading.refusals(desk.opened()) if refusal.sha256.startswith(beginning)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(f"{len(found)} refused documents begin with {beginning}.", next_step="Give more of it.")
    if node is not None:
        check_node(node)
    with named(desk, name):
        try:
            seen = reading.see_task(desk.opened(), name)
        except TaskUnknown:
            refused = [refusal for refusal in reading.refusals(desk.opened()) if refusal.task_id == name]
            if node is None and len(refused) == 1:  # what `dlq list` calls by that name
                return refused[0]
            raise
    if node is not None:
        return seen.plan, node, _end_of(seen, node, key)
    letters = [(one.planned.id, one.end) for one in seen.assignments if one.end is not None and _letter(one.end)]
    if not letters:
        raise NotFound(f"Task {name} has no dead letter.", next_step="`taskerman dlq list` shows those there are.")
    if len(letters) > 1:
        nodes = ", ".join(node for node, _ in letters[:10])
        raise NotFound(f"Task {name} has {len(letters)} dead letters.", next_step=f"Name the node: {nodes}.")
    return seen.plan, *letters[0]


def _end_of(seen: SeenTask, node: NodeId, key: str | None) -> End:
    """How `node` ended, by that very key if there is one."""
    task = seen.plan.task.task_id
    mine = [one for one in seen.assignments if one.planned.id == node]
    if not mine:
        raise NotFound(f"{node} is not in the plan of {task}.", next_step=f"`taskerman status {task}` lists its nodes.")
    end = mine[0].end
    if end is None:
        raise NotFound(
            f"{node} has no outcome in {task} yet.", next_step=f"See why: `taskerman explain {task} {node}`."
        )
    if key is not None and end.attempt != key:
        raise NotFound(
            f"There is no dead letter {key} any more.",
            next_step=f"{node} may have ended again: `taskerman dlq show {task} {node}`, or `taskerman dlq list`.",
        )
    return end


def _letter(end: End) -> bool:
    return end.dead_letter is not DeadLetterState.NONE


def _line(plan: Plan, node: NodeId, end: End) -> LetterLine:
    return LetterLine(
        key=end.attempt,
        kind="assignment",
        task_id=plan.task.task_id,
        node=node,
        cluster_name=plan.task.cluster_name,
        outcome=end.outcome,
        code=end.code,
        reason=end.reason,
        at=end.at,
        state=end.dead_letter.value,
    )


def _line_of_document(refusal: Refusal) -> LetterLine:
    letter = dead_letter_of_document(refusal)
    return LetterLine(
        key=refusal.sha256,
        kind="document",
        task_id=refusal.task_id,
        node=None,
        cluster_name=refusal.cluster_name,
        outcome=Outcome(letter.outcome),
        code=refusal.code,
        reason=refusal.reason,
        at=refusal.at,
        state=refusal.dead_letter,
    )
