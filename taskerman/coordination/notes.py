"""The note that a dead letter was sent, by whoever sent it: the node's agent, or a janitor for one that is away.

A note must meet the very end whose letter it was. Ends are deleted and made anew, each begins at version 0, and who
makes the next one (another attempt, a sweep, a person's word) need not be who sent the letter.
"""

from __future__ import annotations

from taskerman.coordination import layout
from taskerman.coordination.answers import as_record
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End
from taskerman.ports.tree import Check, Committed, Get, Op, Set, Tree

__all__ = ["note_sent"]

_TRIES = 5


def note_sent(tree: Tree, task: TaskId, node: NodeId, end: End) -> bool:
    """Note that the dead letter of that very end was sent; whoever came first, it is noted. False: it moves too fast.

    After a redrive the next end has the same version again, and a key of its own. The control record, which a redrive
    changes, is read first and checked: a note that comes late must not be taken for one of the next end.
    """
    for _ in range(_TRIES):
        found, ended = tree.read(Get(layout.control(task)), Get(layout.end(task, node)))
        control, record = as_record(found), as_record(ended)
        if control is None or record is None:
            return True
        now = layout.decode(End, record, layout.end(task, node))
        if now.attempt != end.attempt or now.dead_letter is not DeadLetterState.OWED:
            return True
        sent = now.model_copy(update={"dead_letter": DeadLetterState.SENT})
        ops: list[Op] = [
            Check(layout.control(task), control.stat.version),
            Set(layout.end(task, node), sent.to_json(), record.stat.version),
        ]
        if isinstance(tree.commit(ops), Committed):
            return True
    return False
