"""What may stand in a metric's labels. Never an id: tasks, nodes and attempts are without number, and a server of
metrics keeps every series that it ever saw.

A label either has a closed set of values, or takes names of one shape up to a number. Whatever does not fit becomes
`other`: it is still counted, and what it was stands in the log. Nothing here knows a library of metrics.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskerman.errors import TaskermanError
from taskerman.model.attempt import Phase
from taskerman.model.ids import ID
from taskerman.model.outcome import Outcome
from taskerman.model.schedule_record import Verdict
from taskerman.model.slot import SlotState
from taskerman.model.task import TaskState
from taskerman.policy.snapshot import Reason

__all__ = ["CHORES", "LABELS", "MOST_SERIES", "OTHER", "Bounds", "Label"]

OTHER = "other"
"""Stands for every value that is not admitted."""

CHORES = (
    "lift holds",
    "expire tasks",
    "reclaim",
    "end what is gone",
    "close tasks",
    "watch slots",
    "close brackets",
    "ring again",
    "settle dead letters",
    "put away",
    "sweep the audit",
    "sweep commands",
    "sweep refused documents",
    "delete queues",
    "count",
    "read the plans",
)
"""By their names. A test compares them with the janitor's own."""

MOST_SERIES = 1000
"""The most combinations of label values that one metric of one process ever has."""


@dataclass(frozen=True, slots=True)
class Label:
    """`values`: all that there are; empty: names that match `shape`, the first `most` of them."""

    name: str
    about: str
    values: frozenset[str] = frozenset()
    shape: str = ""
    most: int = 0


def _open(name: str, about: str, shape: str, most: int) -> Label:
    return Label(name, about, shape=shape, most=most)


def _closed(name: str, about: str, values: Sequence[str]) -> Label:
    return Label(name, about, values=frozenset(values))


def _codes(kind: type[TaskermanError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


LABELS: Mapping[str, Label] = {
    label.name: label
    for label in (
        _open("action", "the action, `runner:operation`", rf"{ID}:{ID}", 50),
        _open("cluster", "the cluster, `kind:name`", rf"{ID}:{ID}", 200),
        _open("scope", "the scope: a cluster, or a named one", rf"{ID}(:{ID})?", 300),
        _closed("code", "the error's code", sorted(_codes(TaskermanError))),
        _closed("chore", "what the janitor does again and again", CHORES),
        _open("aws_code", "the code of AWS's refusal, or the kind of error that came instead of an answer",
              r"[A-Z][A-Za-z]*(\.[A-Z][A-Za-z]*)*|[45][0-9][0-9]", 60),
        _open("operation", "the operation of AWS's interface, such as `ReceiveMessage`", r"[A-Z][A-Za-z]{2,40}", 40),
        _closed("kind", "`read` or `write`", ("read", "write")),
        _closed("level", "how a person should take it", ("debug", "info", "warning", "error")),
        _closed("limit", "which limit; `time` is the soft timeout", ("memory", "processes", "cpu", "output", "time")),
        _closed("on", "what the hold stands on", ("everything", "cluster", "owner")),
        _closed("outcome", "how it ended", [outcome.value for outcome in Outcome]),
        _closed("phase", "the attempt's phase", [phase.value for phase in Phase]),
        _closed("queue", "which of the installation's queues", ("tasks", "dead_letter")),
        _closed("reason", "why it waits", [*(reason.value for reason in Reason), "unknown_action"]),
        _closed("role", "the daemon", ("agent", "router", "janitor", "scheduler")),
        _closed("schedule_standing", "whether the schedule fires", ("enabled", "disabled", "paused", "retired")),
        _closed("verdict", "good: every node succeeded or had nothing to do", [verdict.value for verdict in Verdict]),
        _closed("slot_state", "why the slot is held", [state.value for state in SlotState]),
        _closed("standing", "where the assignments stand", ("waiting", "acting")),
        _closed("task_state", "the state of the task", [state.value for state in TaskState]),
        _closed("transit", "where the messages are", ("visible", "in_flight", "delayed")),
        _closed("origin", "what needs a person", ("assignment", "document")),
    )
}  # fmt: skip
"""Every label that any metric has, by the name that declarations use."""


@dataclass(slots=True)
class Bounds:
    """Holds one process's metrics within their bounds. Safe to use from several threads."""

    most_series: int = MOST_SERIES
    _seen: dict[str, set[str]] = field(default_factory=dict)
    _series: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, metric: str, labels: Sequence[str], given: Mapping[str, object]) -> tuple[str, ...]:
        """The values to count under: those `given` for the declared `labels`, or `other` for each that may not be.

        Names are admitted first come, first served, and stay admitted: a series does not change its meaning.
        """
        with self._lock:
            values = tuple(self._value(LABELS[label], str(given.get(label, ""))) for label in labels)
            series = self._series.setdefault(metric, set())
            if values not in series and len(series) >= self.most_series:
                values = tuple(
                    value if LABELS[label].values else OTHER for label, value in zip(labels, values, strict=True)
                )
            series.add(values)
            return values

    def _value(self, label: Label, value: str) -> str:
        if label.values:
            return value if value in label.values else OTHER
        seen = self._seen.setdefault(label.name, set())
        if value not in seen:
            if len(seen) >= label.most or not re.fullmatch(label.shape, value):
                return OTHER
            seen.add(value)
        return value
