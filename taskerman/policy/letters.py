"""Dead letters: what a person is told of what will not go on by itself, made from its record.

`dead_letter(plan, node, end)` is the letter of an assignment, `dead_letter_of_document(refusal)` that of a document
that was not accepted, `announcement(letter)` the text of either for the dead-letter queue. Pure: made anew from the
record wherever it is wanted, so the announcement may be repeated and what `dlq show` prints is the same thing.
"""

from __future__ import annotations

import json

from taskerman.errors import TaskEnded
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetter, End, Outcome
from taskerman.model.plan import Plan, Refusal

__all__ = ["MOST_BYTES", "announcement", "dead_letter", "dead_letter_of_document", "next_commands"]

MOST_BYTES = 240 * 1024
"""Of an announcement. A message has at most 256 KiB; the record keeps what does not fit."""

_CUT = 8 * 1024


def dead_letter(plan: Plan, node: NodeId, end: End) -> DeadLetter:
    """The letter of the assignment of `node` in `plan` that ended as `end`, with the commands that may come next.

    Its key is the end's own, so that readers of several announcements can tell that they are one.
    """
    task = plan.task
    return DeadLetter(
        key=end.attempt,
        kind="assignment",
        outcome=end.outcome,
        code=end.code,
        reason=end.reason,
        task_id=task.task_id,
        destnode=node,
        cluster_name=task.cluster_name,
        owner=task.owner,
        action=task.action,
        attempts=end.attempts,
        kept=end.kept,
        at=end.at,
        tail=end.tail,
        task=plan.assignment(node),
        next=next_commands(task.task_id, node, end),
    )


def dead_letter_of_document(refusal: Refusal) -> DeadLetter:
    """The letter of a body that was not accepted. Its key is the body's sha256."""
    return DeadLetter(
        key=refusal.sha256,
        kind="document",
        outcome=Outcome.EXPIRED if refusal.code == TaskEnded.code else Outcome.REJECTED,
        code=refusal.code,
        reason=refusal.reason,
        task_id=refusal.task_id,
        cluster_name=refusal.cluster_name,
        at=refusal.at,
        body=refusal.body,
        body_bytes=refusal.body_bytes,
        body_sha256=refusal.sha256,
        body_truncated=refusal.body_truncated,
        next=(
            f"taskerman dlq show {refusal.sha256}",
            "taskerman submit --file CORRECTED.json",
            f'taskerman dlq discard {refusal.sha256} --why "..."',
        ),
    )


def next_commands(task: TaskId, node: NodeId, end: End) -> tuple[str, ...]:
    """What the oncall may type about an ended assignment, the harmless first. Empty when it ended well."""
    if not end.outcome.owes_dead_letter:
        return ()
    commands = [f"taskerman explain {task} {node}"]
    if end.outcome is not Outcome.GONE:  # a terminated machine will not try again
        commands.append(f"taskerman dlq redrive {task} {node}")
    if end.outcome.uses_budget:
        commands.append(f"taskerman resume {task}")
    if end.kept:
        commands.append(f'taskerman slots release {node} --why "..."')
    commands.append(f'taskerman dlq discard {task} {node} --why "..."')
    return tuple(commands)


def announcement(letter: DeadLetter) -> str:
    """The letter as one message: JSON in ASCII, because a message may not hold every character that JSON may.

    What would make it too long is cut, the output of the action first: the record has all of it.
    """
    text = _ascii(letter)
    if len(text) > MOST_BYTES:
        text = _ascii(letter := letter.model_copy(update={"tail": letter.tail[-_CUT:], "reason": letter.reason[:_CUT]}))
    if len(text) > MOST_BYTES and letter.body is not None:
        text = _ascii(letter := letter.model_copy(update={"body": letter.body[:_CUT], "body_truncated": True}))
    if len(text) > MOST_BYTES:
        text = _ascii(letter.model_copy(update={"task": None}))
    return text


def _ascii(letter: DeadLetter) -> str:
    return json.dumps(letter.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=True)
