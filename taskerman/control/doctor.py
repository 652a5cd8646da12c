"""DOCTOR: is everything there and reachable.

Each thing is looked at by itself: what one of them cannot say is a finding, and never keeps the others from being
looked at. It changes nothing but one record in ZooKeeper, which it deletes at once, to compare the clocks and to know
that it may write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial

from taskerman.control.brackets import left_over, open_brackets
from taskerman.control.desk import Desk
from taskerman.control.rights import rights_here
from taskerman.control.stores import history_here, keys_here
from taskerman.control.subject import Subject
from taskerman.control.values import BracketShown, Examination, Finding
from taskerman.control.wire import aws_wire
from taskerman.coordination import layout
from taskerman.coordination import overview as reading
from taskerman.coordination.belonging import strangers
from taskerman.errors import NotFound, NotPermitted, RefusedByState, TaskermanError
from taskerman.ports.tree import Committed, Create, Delete, Exists, Stat

__all__ = ["examine"]

_SKEW = timedelta(seconds=30)


def examine(desk: Desk, subject: Subject) -> Examination:
    """Look at everything that a router, an agent and a person need from here. Never raises for what it finds.

    Each part of the outside world is asked in a thread of its own: one that does not answer is waited for, and who asks
    because nothing works waits for the slowest of them and not for all.
    """
    questions = list(_questions(desk, subject))
    found: list[list[Finding]] = [[] for _ in questions]

    def ask(whom: str) -> None:
        for place, question in enumerate(questions):
            if question.whom == whom:
                found[place] = question.findings()

    parts = list(dict.fromkeys(question.whom for question in questions))
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in pool.map(ask, parts):
            pass
    return Examination(findings=tuple(finding for findings in found for finding in findings))


@dataclass(frozen=True, slots=True)
class _Question:
    """`whom`: the part of the world that it asks; a part is asked one question at a time."""

    whom: str
    what: str
    look: Callable[[], Sequence[Finding]]

    def findings(self) -> list[Finding]:
        """What it found; that it could not look is a finding, too."""
        try:
            return list(self.look())
        except TaskermanError as error:
            return [_failed(self.what, error)]


def _questions(desk: Desk, subject: Subject) -> Iterator[_Question]:
    """In the order in which people read the answers."""
    yield _Question("here", "settings", partial(_settings, subject))
    yield _Question("here", "aws", partial(aws_wire, subject))
    yield _Question("zookeeper", "zookeeper", partial(_zookeeper, desk))
    yield _Question("zookeeper", "installation", partial(_installation, desk))
    yield _Question("zookeeper", "rights", partial(rights_here, desk, subject))
    for queue in (desk.names.tasks, desk.names.dead_letter):
        yield _Question(queue, f"queue {queue}", partial(_queue, desk, queue))
    yield _Question("discovery", "discovery", partial(_discovery, desk, subject))
    yield _Question("zookeeper", "node", partial(_node, desk, subject))
    yield _Question("here", "actions", partial(_actions, desk, subject))
    yield _Question("here", "isolation", partial(_isolation, subject))
    yield _Question("history", "history", partial(history_here, subject))
    yield _Question("here", "signatures", partial(keys_here, subject))


def _settings(subject: Subject) -> Sequence[Finding]:
    if not subject.unknown:
        return [_ok("settings", "Every TASKERMAN_ variable is a setting.")]
    return [
        Finding(
            what="settings",
            level="warn",
            text=f"Not settings of this build: {', '.join(subject.unknown)}.",
            next_step="Correct the names: `taskerman settings` lists them all.",
        )
    ]


def _zookeeper(desk: Desk) -> Sequence[Finding]:
    tree = desk.reached()
    now = desk.now()
    place = f"{layout.DOCTOR}/" if tree.get(layout.DOCTOR) is not None else "/doctor."
    try:
        made = tree.commit([Create(place, ephemeral=True, sequence=True)])
    except NotPermitted:
        return [_ok("zookeeper", "It answers; this identity may not write here.")]
    path = made.results[0] if isinstance(made, Committed) else None
    if not isinstance(path, str):
        raise RefusedByState(f"ZooKeeper refused a write: {made}.", next_step="Correct TASKERMAN_ZOOKEEPER_ROOT.")
    stat = tree.read(Exists(path))[0]
    tree.commit([Delete(path)])
    found = [_ok("zookeeper", "It answers, and lets us write.")]
    if isinstance(stat, Stat):
        skew = abs(datetime.fromtimestamp(stat.created_ms / 1000, UTC) - now)
        fine = skew <= _SKEW
        text = f"This clock and ZooKeeper's differ by {skew.total_seconds():.1f} s."
        found.append(
            _ok("clock", text)
            if fine
            else Finding(what="clock", level="fail", text=text, next_step="Set the clock by NTP.", exit_code=4)
        )
    return found


def _installation(desk: Desk) -> Sequence[Finding]:
    control = reading.installation(desk.opened())
    found = [_ok("installation", f"{control.installation}, layout {control.layout}.")]
    found += [
        Finding(
            what="hold",
            level="warn",
            text=f"Hold {hold.id} stands on {hold.target}, by {hold.by}: {hold.why}.",
            next_step=f"When it is over: `taskerman unhold {hold.id}`.",
        )
        for hold in control.holds
        if hold.id != layout.RESTORED
    ]
    found += [
        Finding(
            what=f"node {one.node}",
            level="fail",
            text=f"It starts nothing: {one.why}."
            + (f" Its action {one.acting} is known to it alone." if one.acting else ""),
            next_step="Find out why; then: `taskerman init --accept-installation`.",
            exit_code=4,
        )
        for one in strangers(desk.opened())
    ]
    found += [_bracket(one, desk.now()) for one in open_brackets(desk)]
    return found


def _bracket(one: BracketShown, now: datetime) -> Finding:
    """What is so in a whole cluster, and since when; of what nobody ends a person must know."""
    minutes = max((now - one.since).total_seconds() / 60, 0)
    what = f"bracket {one.name} of {one.cluster_name}"
    text = f"It is {one.state.value} for {minutes:.0f} min; {len(one.inside)} nodes act in it."
    if not left_over(one):
        return _ok(what, text)
    failed = f" Ending it failed {one.tries} times: {one.why}." if one.tries else f" It is to be ended: {one.why}."
    step = f"A janitor asks nodes to. Undone by hand: `taskerman brackets close {one.cluster_name} {one.name}`."
    return Finding(what=what, level="warn", text=text + failed, next_step=step)


def _queue(desk: Desk, queue: str) -> Sequence[Finding]:
    if not desk.queues.exists(queue):
        raise NotFound(
            "It does not exist.", next_step="Create it: `taskerman init`; or correct TASKERMAN_QUEUE_PREFIX."
        )
    depth = desk.queues.depth(queue)
    return [_ok(f"queue {queue}", f"About {depth.visible + depth.in_flight + depth.delayed} messages.")]


def _discovery(desk: Desk, subject: Subject) -> Sequence[Finding]:
    """An agent never asks EC2, so on a node its silence is no failure."""
    found: list[Finding] = []
    for name in sorted(desk.discoveries):
        what = f"discovery {name}"
        try:
            discovery = desk.discoveries[name]
            sizes = [f"{cluster} has {len(discovery.nodes(cluster))} nodes" for cluster in subject.clusters]
            if not sizes:
                discovery.known(["i-00000000000000000"])
            found.append(_ok(what, f"It answers{': ' if sizes else ''}{', '.join(sizes)}."))
        except TaskermanError as error:
            failed = _failed(what, error)
            if subject.node is not None:
                failed = failed.model_copy(
                    update={
                        "level": "warn",
                        "next_step": f"{error.next_step} Agents do without; routers do not.".strip(),
                    }
                )
            found.append(failed)
    return found


def _node(desk: Desk, subject: Subject) -> Sequence[Finding]:
    if subject.node is None:
        return [_ok("node", "No TASKERMAN_NODE_ID is set: an agent here would ask the instance's metadata who it is.")]
    if not subject.clusters:
        return [
            Finding(
                what="node",
                level="warn",
                text=f"It is {subject.node}; no cluster is set, so its agent takes it from the instance's tags.",
                next_step="If those are not shown in its metadata: TASKERMAN_CLUSTERS=kind:name.",
            )
        ]
    record = reading.node_records(desk.opened(), [subject.node])[0]
    text = f"It is {subject.node}, of {', '.join(subject.clusters)}"
    if record is None:
        return [
            Finding(
                what="node",
                level="warn",
                text=f"{text}; its agent never registered.",
                next_step="Start it: `taskerman agent`.",
            )
        ]
    if record.gone:
        return [Finding(what="node", level="fail", text=f"{text}; it was declared terminated.", exit_code=4)]
    doing = f"in attempt {record.attempt.id}" if record.attempt else "idle"
    return [_ok("node", f"{text}; {doing}, {record.takes} attempts so far.")]


def _actions(desk: Desk, subject: Subject) -> Sequence[Finding]:
    installed = desk.catalog.names()
    if not subject.actions:
        level_ok = subject.node is None
        text = f"Installed: {', '.join(installed) or 'none'}; none is allowed on this node."
        if level_ok:
            return [_ok("actions", text)]
        step = "Name what may run here: TASKERMAN_ACTIONS=redis_task:restart."
        return [Finding(what="actions", level="warn", text=text, next_step=step)]
    found: list[Finding] = []
    for pattern in subject.actions:
        matching = [action for action in installed if fnmatchcase(action, pattern)]
        if not matching:
            raise NotFound(
                f"{pattern} is allowed here, and no such action is installed ({', '.join(installed) or 'none'}).",
                next_step="Correct TASKERMAN_ACTIONS, or install the package that has it.",
            )
        for action in matching:
            desk.catalog.traits(action)
        found.append(_ok("actions", f"{pattern} allows {', '.join(matching)}."))
    return found


def _isolation(subject: Subject) -> Sequence[Finding]:
    """It is asked of this process; the agent may have other rights. Where no agent is meant to run it is no matter."""
    if subject.node is None:
        return []
    text = f"Attempts here get {subject.isolation}."
    if subject.unkept:
        return [
            Finding(
                what="isolation",
                level="fail",
                text=f"{text} Set for this node, and not kept for an attempt as a whole: {', '.join(subject.unkept)}.",
                next_step="Let the agent make control groups (as root, TASKERMAN_CGROUP), or unset those limits.",
                exit_code=4,
            )
        ]
    if not subject.grouped:
        step = "Let the agent make control groups: as root, see TASKERMAN_CGROUP."
        return [Finding(what="isolation", level="warn", text=text, next_step=step)]
    return [_ok("isolation", text)]


def _ok(what: str, text: str) -> Finding:
    return Finding(what=what, level="ok", text=text)


def _failed(what: str, error: TaskermanError) -> Finding:
    return Finding(
        what=what,
        level="fail",
        text=f"{error.code}: {error.what}",
        next_step=error.next_step,
        exit_code=error.exit_code,
    )
