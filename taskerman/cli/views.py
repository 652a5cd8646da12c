"""How answers look to people. Pure: values in, lines and tables out; nothing that is not in the value is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from taskerman.cli import bracket_views
from taskerman.cli.printing import Block, Table, ago, one_line
from taskerman.control.values import (
    Approved,
    BreakerReset,
    BreakerShown,
    Cancelled,
    Examination,
    Explanation,
    Held,
    HeldPlace,
    LetterLine,
    NodeExplanation,
    NodeStatus,
    Overview,
    Preview,
    Redriven,
    ReleaseDone,
    Resumed,
    ScopeDeclared,
    ScopeStatus,
    ShownLetter,
    Submitted,
    TaskStatus,
)
from taskerman.model.hold import Hold
from taskerman.model.ids import attempt_node
from taskerman.model.installation import Stranger
from taskerman.model.task import TaskState
from taskerman.policy.snapshot import Reason

__all__ = [
    "approved",
    "breaker_reset",
    "breakers",
    "cancelled",
    "counts",
    "examined",
    "explained",
    "held",
    "letters",
    "overview",
    "places",
    "previewed",
    "redriven",
    "released",
    "resumed",
    "scope_set",
    "scopes",
    "shown_letter",
    "standing",
    "strangers",
    "submitted",
    "task",
]


def counts(found: Mapping[str, int]) -> str:
    """`3 succeeded, 2 acting, 1 planned`."""
    return ", ".join(f"{number} {name}" for name, number in reversed(list(found.items()))) or "no node"


def submitted(value: Submitted) -> list[Block]:
    """The id comes alone on the first line, for `$(... | head -1)`."""
    if value.planned_before:
        said = "It was planned before; its nodes without an end are rung again."
    elif value.nodes is None:
        said = f"Sent to {value.queue}, unchecked."
    else:
        said = f"Sent to {value.queue}: {_many(value.nodes, 'node')}, {value.cap} at a time."
    return [value.task_id, said, f"Follow it: taskerman status {value.task_id} --watch"]


def previewed(value: Preview, now: datetime) -> list[Block]:
    """The plan that would be made."""
    return [
        f"{value.action} on {len(value.nodes)} of {_many(value.discovered, 'node')} of {value.cluster_name}, "
        f"{value.cap} at a time, until {value.not_after:%Y-%m-%d %H:%M}Z. Nothing was sent.",
        Table(
            ("RANK", "NODE", "AZ", "NOW"),
            tuple(
                (str(node.rank), node.node, node.az, _with_until(node.text, node.until, now)) for node in value.nodes
            ),
        ),
    ]


def overview(value: Overview, now: datetime) -> list[Block]:
    """Everything that is going on."""
    blocks = [*_holds(value.holds, now), *strangers(value.strangers, now)]
    blocks += [f"{_breaker(one, now)} More: taskerman breaker show {one.cluster_name}" for one in value.breakers]
    blocks += [bracket_views.said(one, now) for one in value.brackets]
    if value.tasks:
        blocks.append(
            Table(
                ("CLUSTER", "TASK", "ACTION", "OWNER", "STATE", "AT ONCE", "NODES"),
                tuple(
                    (
                        line.cluster_name,
                        line.task_id,
                        line.action,
                        line.owner,
                        line.state.value,
                        str(line.cap),
                        counts(line.counts),
                    )
                    for line in value.tasks
                ),
            )
        )
        parked = (
            f"{line.task_id} is parked: {line.why}. Look at its nodes: taskerman status {line.task_id}"
            for line in value.tasks
            if line.state is TaskState.PARKED
        )
        blocks += dict.fromkeys(parked)  # a task stands in each of its clusters
    else:
        blocks.append("No task is open.")
    if value.waiting_documents:
        blocks.append(f"About {value.waiting_documents} documents wait for a router.")
    elif value.waiting_documents is None:
        blocks.append("The global queue cannot be looked at.")
    return blocks


def task(value: TaskStatus, now: datetime) -> list[Block]:
    """One task and its nodes."""
    why = f" ({value.why})" if value.why else ""
    blocks: list[Block] = [
        f"{value.task_id}: {value.action} on {value.cluster_name}, {value.cap} at a time, for {value.owner}",
        f"{standing(value.state, value.nodes)}{why}: {counts(value.counts)}",
        Table(
            ("NODE", "AZ", "STATE", "TRIED", "FOR", "WHAT"),
            tuple(
                (node.node, node.az, _state(node), str(node.attempts), ago(node.since, now), _what(node, now))
                for node in value.nodes
            ),
        ),
    ]
    blocks += [bracket_views.said(one, now) for one in value.brackets]
    if value.state is TaskState.PARKED:
        blocks.append(f'If these nodes are right: taskerman approve {value.task_id} --why "..."; else cancel it.')
    return blocks


def explained(value: Explanation, now: datetime) -> list[Block]:
    """Why it stands where it stands. Nodes with the same answer share a line."""
    why = f" ({value.why})" if value.why else ""
    blocks: list[Block] = [f"{value.task_id} on {value.cluster_name}: {standing(value.state, value.nodes)}{why}."]
    groups: dict[tuple[str, str], list[str]] = {}
    in_line = [node for node in value.nodes if node.reason == Reason.PLACE]
    for node in value.nodes:
        text = _with_until(node.text, node.until, now)
        if node.reason == Reason.PLACE and len(in_line) > 1:
            text = "Others of the task's nodes stand before each of them in the line."
        groups.setdefault((node.reason or "", text), []).append(node.node)
    blocks.append(
        Table(
            ("NODES", "REASON", "WHY"),
            tuple((_some(nodes), reason or "-", text) for (reason, text), nodes in groups.items()),
        )
    )
    blocks += [bracket_views.said(one, now) for one in value.brackets]
    if value.slots:
        blocks += ["Slots of the cluster:", _places(value.slots, now)]
    if value.next:
        blocks += ["What may be typed next:", *(f"  {command}" for command in value.next)]
    return blocks


def held(value: Held, now: datetime) -> list[Block]:
    """The acknowledgement: what runs goes on, and is named."""
    said = f"Hold {value.hold.id} stands on {value.hold.target}: nothing is taken any more."
    if value.hold.until is not None:
        said += f" The janitor lifts it {ago(value.hold.until, now)}."
    undo = f"Lift it: taskerman unhold {value.hold.id}"
    if not value.known:
        return [said, "No task was ever planned for that cluster: is its name right?", undo]
    if not value.acting:
        return [said, "Nothing was acting.", undo]
    return [
        said,
        f"Taken before, and going on: {_many(len(value.acting), 'attempt')}.",
        _places(value.acting, now),
        undo,
    ]


def cancelled(value: Cancelled, now: datetime) -> list[Block]:
    """The acknowledgement: who still acts is named."""
    said = f"{value.task_id} is cancelled: {value.ended} of {value.nodes} nodes have an end."
    if not value.acting:
        return [said]
    return [said, "Still acting, and asked to stop:", _places(value.acting, now)]


def resumed(value: Resumed) -> list[Block]:
    """What was forgiven, and who was rung."""
    blocks: list[Block] = [f"{value.task_id} goes on: {_many(value.rung, 'node')} rung."]
    if value.excused:
        blocks.append(f"Excused: {', '.join(value.excused)}.")
    if value.kept:
        blocks += [
            f"Nothing starts as long as {_some(value.kept)} keeps its slot. After the repair, either of:",
            *(f"  taskerman dlq redrive {value.task_id} {node}" for node in value.kept if node in value.excused),
            *(f'  taskerman slots release {node} --why "..."' for node in value.kept),
        ]
    if value.unreached:
        blocks.append(
            f"Not rung: {', '.join(value.unreached)}. Their queues did not answer; agents that have the task already "
            "go on by themselves."
        )
    return blocks


def approved(value: Approved) -> list[Block]:
    """What is believed from now on, and who was rung."""
    blocks: list[Block] = [f"{value.task_id} begins: {_many(value.rung, 'node')} rung."]
    if value.size is not None:
        blocks.append(f"Its cluster is believed to have {value.size} nodes from now on.")
    if value.unreached:
        blocks.append(
            f"Not rung: {', '.join(value.unreached)}. Their queues did not answer; submit the same document again, "
            "which rings who has no outcome yet."
        )
    return blocks


def breakers(values: Sequence[BreakerShown], now: datetime) -> list[Block]:
    """What stops clusters by itself, and what failed there."""
    if not values:
        return ["No breaker is open, and no failure is remembered."]
    blocks: list[Block] = [
        Table(
            ("CLUSTER", "BREAKER", "UNTIL", "PROBE", "KEPT SLOTS", "FAILED IN A ROW"),
            tuple(
                (
                    one.cluster_name,
                    one.state.value,
                    ago(one.until, now) if one.until is not None and one.until > now else "",
                    one.probe or "",
                    _some(one.kept) if one.kept else "",
                    str(len(one.failures)),
                )
                for one in values
            ),
        )
    ]
    failures = [(one.cluster_name, failure) for one in values for failure in one.failures]
    if failures:
        blocks.append(
            Table(
                ("CLUSTER", "NODE", "TASK", "OUTCOME", "FOR"),
                tuple(
                    (cluster, failure.node, failure.task, failure.outcome.value, ago(failure.at, now))
                    for cluster, failure in failures
                ),
            )
        )
    return blocks


def _breaker(one: BreakerShown, now: datetime) -> str:
    if one.kept:
        return f"{one.cluster_name} is stopped by the kept slots of {_some(one.kept)}."
    row = f"The breaker of {one.cluster_name} is open after {len(one.failures)} failures in a row"
    if one.probe is not None:
        return f"{row}; {attempt_node(one.probe)} tries."
    if one.until is not None and one.until > now:
        return f"{row}; one node may try {ago(one.until, now)}."
    return f"{row}; the next node that may go tries."


def breaker_reset(value: BreakerReset) -> list[Block]:
    """What was forgotten, and what stops the cluster all the same."""
    blocks: list[Block] = [f"The breaker of {value.cluster_name} is closed; {len(value.forgotten)} failures forgotten."]
    if value.kept:
        blocks.append(f"Still stopped by the kept slots of {_some(value.kept)}: taskerman slots {value.cluster_name}")
    return blocks


def places(values: Sequence[HeldPlace], now: datetime) -> list[Block]:
    """Who holds which slot."""
    return [_places(values, now)] if values else ["No slot is held."]


def scopes(values: Sequence[ScopeStatus], now: datetime) -> list[Block]:
    """Each scope, who is in it, and who waits."""
    if not values:
        return ["No scope is declared."]
    blocks: list[Block] = []
    for value in values:
        waiting = f"; waiting: {_many(len(value.waiting), 'lane')}" if value.waiting else ""
        if value.capacity is None:
            blocks.append(f"{value.name}: nobody declared it; {_many(len(value.taken), 'command')} in it")
        else:
            blocks.append(f"{value.name}: {len(value.taken)} of {value.capacity} places are taken{waiting}")
        if value.taken:
            blocks.append(_places(value.taken, now))
        if value.waiting:
            rows = tuple(
                (str(at), lane.task_id, " ".join(lane.clusters), lane.node) for at, lane in enumerate(value.waiting, 1)
            )
            blocks.append(Table(("TURN", "TASK", "CLUSTERS", "NODE"), rows))
    return blocks


def scope_set(value: ScopeDeclared) -> list[Block]:
    """What is so now."""
    before = "" if value.before is None else f" It was {value.before}."
    blocks: list[Block] = [f"At most {_many(value.capacity, 'node')} may be in {value.name} at once.{before}"]
    if value.taken > value.capacity:
        blocks.append(f"{value.taken} are in it now and go on; nothing starts until fewer than {value.capacity} are.")
    return blocks


def released(value: ReleaseDone) -> list[Block]:
    """What was given back."""
    if value.asked:
        return [f"{value.node} was asked to end {value.asked}; its check decides about the slot."]
    said = f"{value.node} holds no slot any more in {', '.join(value.freed) or 'any scope'}."
    return [said, f"Its attempt of {value.ended} counts as lost."] if value.ended else [said]


def letters(values: Sequence[LetterLine], now: datetime) -> list[Block]:
    """What needs a person."""
    if not values:
        return ["No dead letter."]
    return [
        Table(
            ("TASK", "NODE", "CLUSTER", "OUTCOME", "FOR", "STATE", "REASON"),
            tuple(
                (
                    line.task_id or line.key[:12],
                    line.node or "(document)",
                    line.cluster_name or "",
                    line.outcome.value,
                    ago(line.at, now),
                    line.state,
                    one_line(f"{line.code}: {line.reason}" if line.code else line.reason),
                )
                for line in values
            ),
        )
    ]


def shown_letter(value: ShownLetter) -> list[Block]:
    """The letter is JSON for people too: nothing of it is left out."""
    return [value.letter.model_dump_json(indent=2)]


def redriven(value: Redriven) -> list[Block]:
    """Where it is tried again."""
    if value.new_task is None:
        said = f"{value.node} is tried again in {value.task_id}, and its fresh nodes wait for it."
        late = f"{value.node} was not rung: its queue did not answer. If its agent was restarted since, redrive again."
        return [said] if value.reached else [said, late]
    blocks: list[Block] = [value.new_task, f"{value.task_id} is over, so {value.node} has a task of its own."]
    if value.dropped:
        blocks.append(f"Left out of its document: {', '.join(value.dropped)}.")
    return blocks


def examined(value: Examination) -> list[Block]:
    """One line for everything that was looked at, and the next step under what is not well."""
    blocks: list[Block] = []
    for finding in value.findings:
        blocks.append(f"{finding.level:<4}  {finding.what}: {finding.text}")
        if finding.level != "ok" and finding.next_step:
            blocks.append(f"      {finding.next_step}")
    return blocks


def _holds(holds: Sequence[Hold], now: datetime) -> list[Block]:
    return [f"HOLD {hold.id} on {hold.target}, by {hold.by}: {hold.why}{_hold_ends(hold, now)}" for hold in holds]


def _hold_ends(hold: Hold, now: datetime) -> str:
    if hold.until is None:
        return ""
    if hold.until <= now:
        return f" (its time is over since {ago(hold.until, now)}, and it stands until a janitor lifts it)"
    return f" (ends {ago(hold.until, now)})"


def strangers(values: Sequence[Stranger], now: datetime) -> list[Block]:
    """Nodes that start nothing until a person has looked at ZooKeeper."""
    if not values:
        return []
    rows = tuple(
        (one.node, one.installation, one.acting or "", ago(one.at, now), one.why)
        for one in sorted(values, key=lambda one: (one.acting is None, one.node))
    )
    said = (
        f"These {len(values)} start nothing until a person has looked at ZooKeeper and accepts it: "
        'taskerman init --accept-installation --why "..."'
    )
    return [said, Table(("NODE", "BELONGS TO", "ITS ACTION", "SINCE", "WHY"), rows)]


def _places(values: Sequence[HeldPlace], now: datetime) -> Table:
    return Table(
        ("SCOPE", "NODE", "AT ONCE", "STATE", "TASK", "FOR", "WHY"),
        tuple(
            (
                place.scope,
                place.node,
                str(place.cap or "-"),
                place.state.value,
                place.task_id or "-",
                ago(place.since, now),
                one_line(place.why if place.command is None else f"command: {place.command}"),
            )
            for place in values
        ),
    )


def _state(node: NodeStatus) -> str:
    return node.outcome.value if node.outcome else node.state.value


def _what(node: NodeStatus, now: datetime) -> str:
    parts = [one_line(f"{node.code}: {node.reason}" if node.code else node.reason)]
    if node.next_at is not None:
        parts.append(f"again {ago(node.next_at, now)}")
    if node.kept:
        parts.append("slot kept")
    if node.dead_letter not in ("none", "sent"):
        parts.append(f"dead letter {node.dead_letter.value}")
    return "; ".join(part for part in parts if part)


def _with_until(text: str, until: datetime | None, now: datetime) -> str:
    if until is None or until <= now:
        return text
    moment = f"{until:%H:%M:%S}Z" if until.date() == now.date() else f"{until:%Y-%m-%d %H:%M}Z"
    return f"{text} Until {moment}, {ago(until, now)}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def standing(state: TaskState, nodes: Sequence[NodeStatus] | Sequence[NodeExplanation]) -> str:
    """How a task stands, in a word. One whose nodes have all ended is over, whatever the record still calls it."""
    return "ended" if state is TaskState.OPEN and all(node.outcome for node in nodes) else state.value


def _some(nodes: Sequence[str]) -> str:
    shown = " ".join(nodes[:6])
    return shown if len(nodes) <= 6 else f"{shown} and {len(nodes) - 6} more"
