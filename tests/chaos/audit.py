"""The second opinion: the same promises, read off what ZooKeeper committed, transaction by transaction.

It knows the records' layout, as anybody with a ZooKeeper client does, and none of the code that writes them. Where the
witness sees what happened on the nodes, this sees what was taken when: to the transaction, not to the millisecond.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.history import History, Violation
from tests.chaos.ledger import Change, Step

__all__ = ["audit"]

OWES = frozenset({"failed", "unsafe", "lost", "rejected", "expired", "gone"})


@dataclass
class _Tree:
    """What is there at one moment, and what was there.

    `owed`: dead letters, by key: "owed" or "sent". `put_away`: task, node, attempt and outcome of what was deleted for
    good. `verbs`: ids of audited verbs.
    """

    data: dict[str, bytes] = field(default_factory=dict)
    names: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    owed: dict[str, str] = field(default_factory=dict)
    put_away: set[tuple[str, str, str, str]] = field(default_factory=set)
    verbs: set[str] = field(default_factory=set)

    def apply(self, step: Step) -> None:
        parent, _, name = step.path.rpartition("/")
        if step.do == "delete":
            self.data.pop(step.path, None)
            self.names[parent].discard(name)
        else:
            self.data[step.path] = step.data
            self.names[parent].add(name)

    def json(self, path: str) -> dict[str, Any]:
        return json.loads(self.data[path]) if self.data.get(path) else {}


def audit(history: History) -> Iterator[Violation]:
    """Every violation, in the order of the transactions; then what is missing at the end."""
    tree = _Tree()
    ended_at: dict[str, int] = {}
    for change in history.ledger:
        yield from _take(change, tree)
        for step in change.steps:
            yield from _end(step, change, tree, ended_at)
            tree.apply(step)
    yield from _begun_after_the_end(history, ended_at)
    yield from _missing(history, tree)


def _take(change: Change, tree: _Tree) -> Iterator[Violation]:
    """The transaction that creates a slot of an acting node: everything must allow it at that moment."""
    for step in change.steps:
        if step.do != "create" or not step.path.startswith("/scopes/") or step.path.split("~")[2:3] != ["acting"]:
            continue
        parent, _, name = step.path.rpartition("/")
        scope = parent.removeprefix("/scopes/")
        node, cap, _, *alone = name.split("~")
        note = json.loads(step.data)
        who = f"{note['attempt']} (transaction {change.zxid:#x})"
        others = [other.split("~") for other in sorted(tree.names[parent]) if other.split("~")[0] != node]
        kept = [other for other in others if other[2] != "acting"]
        if ":" not in scope:
            capacity = tree.json(parent).get("capacity")
            if capacity is None or len(others) + 1 > capacity:
                yield Violation(1, f"{who} took a slot of {scope}, which has {capacity} and gave away {len(others)}")
            continue
        if kept:
            yield Violation(1, f"{who} took a slot of {scope} while {kept[0][0]} kept one ({kept[0][2]})")
        task = note["task"]
        breaker = tree.json(f"/clusters/{scope}")
        if breaker.get("probe") is not None:
            yield Violation(1, f"{who} took a slot of {scope} beside {breaker['probe']}, which probes it")
        claims = [json.loads(other.data).get("probe") for other in change.steps if other.path == f"/clusters/{scope}"]
        if breaker.get("open_until") is not None and claims != [note["attempt"]]:
            yield Violation(1, f"{who} took a slot of {scope}, whose breaker is open, and does not claim to probe it")
        if any(other[3:] not in ([], [task]) or (alone and other[3:] != [task]) for other in others):
            yield Violation(1, f"{who} took a slot of {scope} beside another task, and one of them is exclusive")
        allowed = min([int(cap), *(int(other[1]) for other in others)])
        if len(others) + 1 > allowed:
            yield Violation(1, f"{who} took a slot of {scope}: {len(others) + 1} of {allowed}")
        state = tree.json(f"/tasks/{task}/ctl").get("state")
        if state != "open":
            yield Violation(3, f"{who} was taken while its task was {state}")
        owner = tree.plans.get(task, {}).get("doc", {}).get("owner")
        for hold in tree.json("/control").get("holds", []):
            if hold["on"] in ("*", f"cluster:{scope}", f"owner:{owner}"):
                yield Violation(3, f"{who} was taken under the hold {hold['id']} on {hold['on']}")


def _end(step: Step, change: Change, tree: _Tree, ended_at: dict[str, int]) -> Iterator[Violation]:
    parts = step.path.split("/")
    match parts[1:]:
        case ["tasks", task] if step.do == "create":
            tree.plans[task] = json.loads(zlib.decompress(step.data))
        case ["audit", _] if step.do == "create":
            tree.verbs.add(json.loads(step.data)["id"])
        case ["tasks", task, "end", node]:
            if step.do == "delete":
                if tree.json(f"/tasks/{task}/ctl").get("state") == "closing":
                    old = tree.json(step.path)
                    tree.put_away.add((task, node, old["attempt"], old["outcome"]))
                    return  # put away, and not taken back
                tree.ends[task, node] -= 1
                key = tree.json(step.path).get("attempt", "")
                if tree.owed.get(key) == "owed":
                    del tree.owed[key]
                return
            end = json.loads(step.data)
            if step.do == "create":
                tree.ends[task, node] += 1
                ended_at[end["attempt"]] = change.at_ms
                if tree.ends[task, node] > 1:
                    yield Violation(2, f"{node} in {task} has two outcomes")
                if end["outcome"] in OWES and end["dead_letter"] != "owed":
                    yield Violation(4, f"{end['attempt']} ended {end['outcome']} and owes no dead letter")
            if end["dead_letter"] == "owed":
                tree.owed[end["attempt"]] = "owed"
            elif end["dead_letter"] == "sent" and tree.owed.get(end["attempt"]) is not None:
                tree.owed[end["attempt"]] = "sent"
            elif tree.owed.get(end["attempt"]) == "owed":
                del tree.owed[end["attempt"]]  # a person was faster than its announcement


def _begun_after_the_end(history: History, ended_at: dict[str, int]) -> Iterator[Violation]:
    for line in history.lines:
        ended = ended_at.get(line.get("attempt", ""))
        if line["what"] == "begin" and ended is not None and line["wall"] * 1000 > ended + 50:
            late = line["wall"] - ended / 1000
            yield Violation(3, f"{line['attempt']} began {late:.3f} s after its outcome was recorded")


def _missing(history: History, tree: _Tree) -> Iterator[Violation]:
    for order in history.orders:
        if order.task not in tree.plans and not any(
            json.loads(data).get("task_id") == order.task
            for path, data in tree.data.items()
            if path.startswith("/refused/")
        ):
            yield Violation(2, f"{order.task} was accepted by the queue and is neither planned nor refused")
    waiting = history.waiting or {}
    for task, plan in tree.plans.items():
        for node in plan["nodes"]:
            if tree.ends[task, node["id"]] != 1 and (task, node["id"]) not in waiting:
                yield Violation(2, f"{node['id']} in {task} has no outcome, and waits for nobody")
    if history.past is not None:
        for task, node, attempt, outcome in sorted(tree.put_away - history.past):
            yield Violation(
                2, f"{node} in {task} was put away ({attempt}, {outcome}), and the history does not know it"
            )
        there = {json.loads(data)["id"] for path, data in tree.data.items() if path.startswith("/audit/")}
        for verb in sorted(tree.verbs - there - history.past_verbs):
            yield Violation(2, f"the audited verb {verb} is neither in ZooKeeper nor in the history")
    for attempt, state in tree.owed.items():
        if state == "owed":
            yield Violation(4, f"the dead letter of {attempt} is owed, and was never sent")
        elif attempt not in history.letters:
            yield Violation(4, f"the dead letter of {attempt} counts as sent, and never arrived")
