"""Ringing nodes: one doorbell each, in parallel, and the queue made where it is missing.

The router rings what it planned, a person's verb rings what may go on. Both do it here, so that a node's queue looks
the same whoever made it. Nothing is decided here: a doorbell carries no custody, so one too many is harmless, and a
node that was not reached is named, for the caller to ring again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from taskerman.errors import NotPermitted, QueuesUnavailable
from taskerman.model.assignment import Doorbell
from taskerman.model.ids import NodeId, QueueNames
from taskerman.model.plan import Plan
from taskerman.ports.queue import Letter, Queues

__all__ = ["ensure_node_queue", "ring"]

_THREADS = 16
_AT_ONCE = 500


def ring(
    queues: Queues, names: QueueNames, plan: Plan, nodes: Sequence[NodeId], *, beat: Callable[[], None] = lambda: None
) -> Sequence[NodeId]:
    """Send each of `nodes` its doorbell for `plan`; returns those not reached, in the order given.

    A node without a queue gets one, and is rung again, once. Repeatable: receivers settle a doorbell by the record.
    Who rings a node without an end, and how often, is the caller's to decide. Never raises for an outage.

    `beat`: called after every few hundred nodes, for ten thousand may take minutes; what hangs does not call it.
    """
    unreached: list[NodeId] = []
    for start in range(0, len(nodes), _AT_ONCE):
        some = nodes[start : start + _AT_ONCE]
        missed = _ring(queues, names, plan, some)
        unreached += missed
        beat()
        if len(missed) == len(some):  # an outage: the others would wait as long for the same answer
            return (*unreached, *nodes[start + _AT_ONCE :])
    return tuple(unreached)


def _ring(queues: Queues, names: QueueNames, plan: Plan, nodes: Sequence[NodeId]) -> Sequence[NodeId]:
    task = plan.task.task_id
    by_queue = {names.node(node): node for node in nodes}
    letters = [
        Letter(queue, Doorbell(task_id=task, destnode=node, hash=plan.hash).to_json().decode())
        for queue, node in by_queue.items()
    ]
    missed = queues.send_each(letters)
    if not missed:
        return ()
    there = _make_queues(queues, names, [by_queue[letter.queue] for letter in missed])
    missed = [*_not_of(missed, there), *queues.send_each([letter for letter in missed if letter.queue in there])]
    unreached = {letter.queue for letter in missed}
    return tuple(node for queue, node in by_queue.items() if queue in unreached)


def ensure_node_queue(queues: Queues, names: QueueNames, node: NodeId) -> str:
    """Make the queue of `node` unless it is there, and return its name. Idempotent.

    Raises `QueuesUnavailable`, `NotPermitted`.
    """
    queue = names.node(node)
    queues.ensure(queue, tags={"taskerman:prefix": names.prefix, "taskerman:node": node})
    return queue


def _not_of(letters: Sequence[Letter], queues: frozenset[str]) -> list[Letter]:
    return [letter for letter in letters if letter.queue not in queues]


def _make_queues(queues: Queues, names: QueueNames, nodes: Sequence[NodeId]) -> frozenset[str]:
    """The queues that are there afterwards.

    The first that cannot be made stops the others: each would wait as long for the same answer.
    """
    stop = threading.Event()

    def make(node: NodeId) -> str | None:
        if stop.is_set():
            return None
        try:
            return ensure_node_queue(queues, names, node)
        except (QueuesUnavailable, NotPermitted):
            stop.set()
            return None

    with ThreadPoolExecutor(max_workers=min(_THREADS, len(nodes)), thread_name_prefix="ring") as pool:
        return frozenset(queue for queue in pool.map(make, nodes) if queue is not None)
