"""What is known of a run when it is over: what witnesses wrote, what people did, what ZooKeeper committed.

Values only, made from files, so that a run can be judged again, and a history can be made up to see the judge cry out.
Times are CLOCK_MONOTONIC of the one machine; those of ZooKeeper's transactions are milliseconds of its time of day.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.ledger import Change
from tests.chaos.town import SCOPES
from tests.chaos.witness import read_lines

__all__ = ["History", "Order", "Stop", "Violation", "read_history"]

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """A task that was put into the queue, and the answer was "it is there". `cap`: what it allows at once.
    `exclusive`: it admits no other task beside it. `scope`: the named scope in which its nodes take a place, too."""

    task: str
    cluster: str
    owner: str
    cap: int
    exclusive: bool = False
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """An acknowledged stop. `on`: "*", "cluster:...", "owner:..." or "task:...". `named`: the attempts that the
    acknowledgement named. `over_at`: when somebody set about lifting it; None: never."""

    on: str
    acked_at: float
    named: frozenset[str]
    over_at: float | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise (1 to 4) that was broken, in words; 0: something else that may not be."""

    promise: int
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """`lines`: of the witness, by time. `clusters`: of each node, where it is of several.
    `scopes`: the capacity of each named one.
    `alive`: by (pid, start), when a process that never said that it ended was last seen alive.
    `freed`: (node, since when): a person or EC2 said that it is off, or a person gave its slot back.
    `letters`: the keys that arrived in the dead-letter queue; `garbage`: keys of documents that had to be refused.
    `past`: task, node, attempt and outcome of what the history in SQL has, `past_verbs` the ids of its audited verbs.
    `waiting`: by task and node, the reason for which it still waits for a person; None when explain names none.
    `left`: what is still there that should not be. `accidents`: ends and answers that nobody expects.
    """

    orders: tuple[Order, ...] = ()
    lines: tuple[Line, ...] = ()
    clusters: Mapping[str, tuple[str, ...]] | None = None
    scopes: Mapping[str, int] | None = None
    alive: Mapping[tuple[int, int], float] | None = None
    freed: tuple[tuple[str, float], ...] = ()
    stops: tuple[Stop, ...] = ()
    letters: frozenset[str] = frozenset()
    garbage: frozenset[str] = frozenset()
    ledger: tuple[Change, ...] = ()
    past: frozenset[tuple[str, str, str, str]] | None = None
    past_verbs: frozenset[str] = frozenset()
    waiting: Mapping[tuple[str, str], str | None] | None = None
    left: tuple[str, ...] = ()
    accidents: tuple[str, ...] = ()

    def clusters_of(self, line: Line) -> tuple[str, ...]:
        """Of the node that a line speaks of."""
        return (self.clusters or {}).get(line["node"], (line["cluster"],))

    def order(self, task: str) -> Order | None:
        """What was ordered as that task; a redrive of an ended task is ordered as `<task>-r<n>`."""
        found = next((order for order in self.orders if order.task == task), None)
        head, _, tail = task.rpartition("-r")
        return self.order(head) if found is None and head and tail.isdigit() else found


def read_history(folder: Path, ledger: Sequence[Change], alive: Mapping[tuple[int, int], float]) -> History:
    """From the files of a run."""
    events = read_lines(folder / "events.jsonl")
    past, past_verbs = _past(folder / "history.db")
    return History(
        orders=tuple(
            Order(line["task"], line["cluster"], line["owner"], line["cap"], line["exclusive"], line["scope"])
            for line in _of(events, "ordered")
        ),
        lines=tuple(sorted(read_lines(folder / "witness.jsonl"), key=lambda line: line["at"])),
        clusters={line["node"]: tuple(line["clusters"]) for line in _of(events, "seated")},
        scopes=SCOPES,
        alive=dict(alive),
        freed=tuple(
            (line["node"], line.get("typed_at", line["at"])) for line in _of(events, "terminated", "off", "released")
        ),
        stops=tuple(_stops(events)),
        letters=frozenset(line["key"] for line in _of(events, "letter")),
        garbage=frozenset(line["key"] for line in _of(events, "garbage")),
        ledger=tuple(ledger),
        past=past,
        past_verbs=past_verbs,
        waiting={(line["task"], line["node"]): line["reason"] for line in _of(events, "waits")},
        left=tuple(line["text"] for line in _of(events, "left")),
        accidents=tuple(line["text"] for line in _of(events, "accident")),
    )


def _past(path: Path) -> tuple[frozenset[tuple[str, str, str, str]], frozenset[str]]:
    """Read with Python's own SQLite. Before a janitor first needs it, there is none."""
    if not path.exists():
        return frozenset(), frozenset()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        past = database.execute("select task_id, node, attempt, outcome from assignment").fetchall()
        verbs = database.execute("select id from audit").fetchall()
    return frozenset(past), frozenset(verb for (verb,) in verbs)


def _of(events: Iterable[Line], *kinds: str) -> list[Line]:
    return [line for line in events if line["what"] in kinds]


def _stops(events: Sequence[Line]) -> Iterable[Stop]:
    over = {line["id"]: line["at"] for line in reversed(_of(events, "unstops"))}  # the first who set about it
    for line in _of(events, "stopped"):
        yield Stop(line["on"], line["at"], frozenset(line["named"]), over.get(line["id"]))
