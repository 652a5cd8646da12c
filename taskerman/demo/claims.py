"""What the demo claims, and the error that says in one line what was not so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskerman.demo.facts import Facts

__all__ = ["NotSo", "check_rolling", "check_untouched"]


class NotSo(Exception):
    """Something that the demo claims was not so. Its text is one line."""


def check_rolling(facts: Facts, nodes: Sequence[str], begin: float, end: float, limit: int) -> None:
    """Between `begin` and `end` each node was restarted exactly once, and never were more than `limit` down.

    Raises `NotSo`. What the prober saw decides; what Taskerman says of itself is not asked.
    """
    for node in nodes:
        started = facts.processes_started(node, begin, end)
        if len(started) != 1:
            raise NotSo(f"{node} was restarted {len(started)} times, not once (seen by the prober, by pid and start)")
        if not facts.down(node, begin, end):
            raise NotSo(f"the prober never saw {node} down, so what it counted means nothing")
        if facts.is_down(node, end):
            raise NotSo(f"{node} is still down")
    most = facts.most_down(nodes, begin, end)
    if most > limit:
        raise NotSo(f"{most} of {len(nodes)} nodes were down at once; {limit} were allowed")


def check_untouched(
    facts: Facts, nodes: Sequence[str], processes: Mapping[str, object], begin: float, end: float
) -> None:
    """Between `begin` and `end` nobody restarted `nodes`, and none was down; `processes`: who served them before.

    Raises `NotSo`.
    """
    for node in nodes:
        if facts.process(node) != processes[node] or facts.processes_started(node, begin, end):
            raise NotSo(f"{node} was restarted, and should have been left alone")
        if facts.down(node, begin, end):
            raise NotSo(f"{node} was down, and should have been left alone")
