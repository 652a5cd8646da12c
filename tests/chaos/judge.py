"""The judge: whether the four promises were kept, by what the actions themselves wrote.

Nothing of Taskerman is imported or believed: not its records, not its answers, except where a promise is about an
answer. It errs towards silence by at most the time between two looks of the coroner; what it says is certain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.audit import audit
from tests.chaos.history import History, Line, Violation

__all__ = ["judge", "takes"]


def judge(history: History) -> tuple[Violation, ...]:
    """Every violation, the first of a kind first."""
    return (
        *_too_many("act", history, list(_acting(history))),
        *_too_many("are in maintenance", history, list(_in_maintenance(history))),
        *_after_stops(history),
        *_twice(history),
        *(Violation(2, text) for text in history.left),
        *(Violation(0, text) for text in history.accidents),
        *_unexplained(history),
        *_garbage(history),
        *audit(history),
    )


def takes(history: History) -> int:
    """How many attempts came as far as their check."""
    return len({line["attempt"] for line in history.lines if line["what"] == "pre"})


# --- 1: never more than allowed --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    node: str
    clusters: tuple[str, ...]
    task: str
    attempt: str
    cap: int
    exclusive: bool
    scope: str
    began: float
    ended: float


def _acting(history: History) -> Iterator[_Span]:
    """From each begin to its end; without one, for as long as the process was seen alive."""
    ends = {(line["attempt"], line["pid"], line["start"]): line["at"] for line in _lines(history, "end")}
    for line in _lines(history, "begin"):
        process = (line["pid"], line["start"])
        last_seen = (history.alive or {}).get(process, line["at"])
        yield _span(history, line, ends.get((line["attempt"], *process), last_seen))


def _in_maintenance(history: History) -> Iterator[_Span]:
    """From each begin until a check found the node well again, or a person or EC2 answers for it."""
    well = defaultdict(list)
    for line in _lines(history, "post"):
        if line["well"]:
            well[line["node"]].append(line["at"])
    for node, at in history.freed:
        well[node].append(at)
    for line in _lines(history, "begin"):
        until = min((at for at in well[line["node"]] if at >= line["at"]), default=float("inf"))
        yield _span(history, line, until)


def _too_many(how: str, history: History, spans: Sequence[_Span]) -> Iterator[Violation]:
    for span in spans:
        if span.scope:
            there = {other.node for other in spans if other.scope == span.scope and _overlap(other, span)}
            capacity = (history.scopes or {}).get(span.scope, 0)
            if len(there) > capacity:
                yield Violation(
                    1, f"{span.attempt} began as {capacity} may be in {span.scope}, and {len(there)} {how}: {there}"
                )
        for cluster in span.clusters:
            beside = {other.node: other for other in spans if cluster in other.clusters and _overlap(other, span)} | {
                span.node: span
            }
            allowed = min(other.cap for other in beside.values())
            names = ", ".join(sorted(other.attempt for other in beside.values()))
            if len(beside) > allowed:
                yield Violation(
                    1, f"{span.attempt} began as {allowed} of {cluster} may be away, and {len(beside)} {how}: {names}"
                )
            if any(other.exclusive for other in beside.values()) and len({o.task for o in beside.values()}) > 1:
                yield Violation(1, f"{span.attempt} began in {cluster}, and one of these admits no other task: {names}")


def _overlap(other: _Span, span: _Span) -> bool:
    """Whether `other` is there as `span` begins."""
    return other is span or other.began <= span.began < other.ended


def _span(history: History, line: Line, ended: float) -> _Span:
    order = history.order(line["task"])
    cap = order.cap if order is not None else 0  # nobody ordered it: nothing of it may act
    alone, scope = (order.exclusive, order.scope) if order is not None else (False, "")
    clusters = history.clusters_of(line)
    return _Span(line["node"], clusters, line["task"], line["attempt"], cap, alone, scope, line["at"], ended)


def _lines(history: History, *kinds: str) -> list[Line]:
    return [line for line in history.lines if line["what"] in kinds]


# --- 3: stops, and known results -------------------------------------------------------------------------


def _after_stops(history: History) -> Iterator[Violation]:
    """Whoever checks or begins under a stop was named in its acknowledgement, as taken before."""
    for stop in history.stops:
        for line in _lines(history, "pre", "begin"):
            if not stop.acked_at < line["at"] < (stop.over_at or float("inf")):
                continue
            order = history.order(line["task"])
            covered = (
                "*",
                *(f"cluster:{cluster}" for cluster in history.clusters_of(line)),
                f"task:{line['task']}",
                f"owner:{order.owner}" if order is not None else "*",
            )
            if stop.on in covered and line["attempt"] not in stop.named:
                late = line["at"] - stop.acked_at
                yield Violation(
                    3,
                    f"{line['attempt']}: {line['what']} {late:.3f} s after the stop on {stop.on} was acknowledged, "
                    f"which named {sorted(stop.named) or 'nobody'}",
                )


def _twice(history: History) -> Iterator[Violation]:
    """An attempt begins again only after recover() said that it had not happened."""
    begun: dict[str, Line] = {}
    for line in _lines(history, "begin", "recover"):
        if line["what"] == "recover":
            if line["answer"] == "not_done":
                begun.pop(line["attempt"], None)
        elif line["attempt"] in begun:
            yield Violation(3, f"{line['attempt']} began twice, and nobody said that it had not happened")
        else:
            begun[line["attempt"]] = line


# --- 2 and 4: what is left -------------------------------------------------------------------------------


def _unexplained(history: History) -> Iterator[Violation]:
    for (task, node), reason in (history.waiting or {}).items():
        if reason is None:
            yield Violation(2, f"{node} in {task} has not ended, and explain names no reason that a person could mend")


def _garbage(history: History) -> Iterable[Violation]:
    for key in sorted(history.garbage - history.letters):
        yield Violation(4, f"the document {key[:16]} had to be refused, and no dead letter of it arrived")
