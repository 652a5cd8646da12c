"""The two acts: a rolling restart that goes well, and one that stops by itself. Each ends in its report, or raises.

They type what a person would type, through the same verbs, and believe nobody but the prober about the cluster.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta

from taskerman.control import explain, hold, list_letters, list_slots, unhold
from taskerman.control.values import Explanation, NodeState, TaskStatus
from taskerman.demo.claims import NotSo, check_rolling, check_untouched
from taskerman.demo.facts import Facts, Interval
from taskerman.demo.scene import Followed, Scene, wait_for
from taskerman.demo.web_cluster import CLUSTER
from taskerman.model.outcome import DeadLetter, Outcome
from taskerman.model.slot import SlotState
from taskerman.model.task import TaskState

__all__ = ["one_that_goes_well", "one_that_stops"]

AT_ONCE = 2
SETTLE_S = 15
SETTLE_ILL_S = 4
AFTERWARDS_S = 0.7
"""How long the cluster is watched after a task: what should not happen must have had its time."""


def one_that_goes_well(scene: Scene) -> None:
    """Act 1. Raises `NotSo`."""
    screen, task = scene.screen, "restart-1"
    screen.title(f"Act 1: restart all six, {AT_ONCE} at a time")
    document = scene.document(task, AT_ONCE, SETTLE_S)
    screen.document(document)
    screen.gap()
    screen.say("A new installation begins with a hold on everything, so the task waits until that is lifted.")
    screen.command(f"taskerman submit --file {task}.json")
    followed = Followed(time.monotonic())
    scene.submit(document)
    with screen.following():
        scene.follow(task, followed, _all_in_line, "all six stand in line")
        screen.command("taskerman unhold new-installation")
        _go(scene, followed, "new-installation")
        status = scene.follow(task, followed, _all_ended, "every node has an outcome")
    time.sleep(AFTERWARDS_S)
    end = time.monotonic()
    facts = scene.facts()
    _report(scene, followed, facts, end)
    bad = [node for node in status.nodes if node.outcome is not Outcome.SUCCEEDED]
    if bad:
        raise NotSo(f"{bad[0].node} ended {bad[0].outcome}, not succeeded: {bad[0].reason}")
    check_rolling(facts, scene.nodes, followed.began, end, AT_ONCE)
    most = facts.most_down(scene.nodes, followed.began, end)
    probes, gap_ms = facts.probes(followed.began, end), facts.longest_gap_s() * 1000
    screen.gap()
    screen.say(
        f"At most {most} of {len(scene.nodes)} were down at once, seen by the prober "
        f"({probes:,} probes; no node was ever unasked for more than {gap_ms:.0f} ms).",
        "bold green",
    )
    screen.say("Each was restarted exactly once, by pid and start time.", "bold green")


def one_that_stops(scene: Scene) -> None:
    """Act 2. Raises `NotSo`."""
    screen, task, desk = scene.screen, "restart-2", scene.installation.desk
    first, others, sick = scene.nodes[:2], scene.nodes[3:], scene.nodes[2]
    screen.title("Act 2: the same, 1 at a time, and the third node does not come back well")
    screen.say("A hold on the cluster, until all six stand in line; so the third is the third of the plan.")
    target = f"cluster:{CLUSTER}"
    before = {node: scene.facts().process(node) for node in scene.nodes}
    followed = Followed(time.monotonic())
    placed = hold(desk, target, "until all stand in line")
    screen.command(f'taskerman hold {target} --why "until all stand in line"')
    scene.submit(scene.document(task, 1, SETTLE_ILL_S))
    screen.command(f"taskerman submit --file {task}.json")
    with screen.following():
        scene.follow(task, followed, _all_in_line, "all six stand in line")
        scene.cluster.sicken(sick)
        screen.command(f"taskerman unhold {placed.hold.id}")
        _go(scene, followed, placed.hold.id)
        scene.follow(task, followed, _halted, "the task stops by itself")
    letter = _announced(scene)
    time.sleep(AFTERWARDS_S)
    end = time.monotonic()
    facts = scene.facts()
    status = scene.look(task, followed)
    _report(scene, followed, facts, end)
    _check_stopped(scene, status, letter, sick)
    check_rolling(facts, first, followed.began, end, 1)
    check_untouched(facts, others, before, followed.began, end)
    if not facts.is_down(sick, end):
        raise NotSo(f"{sick} was to come back ill, and the prober finds it well")
    screen.gap()
    screen.say(f"The task stopped by itself ({status.state}): {status.why}.".replace("..", "."), "bold green")
    screen.say(f"The slot of {sick} is kept: nothing else starts on this cluster.", "bold green")
    screen.say(f"The other {len(others)} were left alone: the same processes, never down.", "bold green")
    screen.say(f"A dead letter lies in {letter.queue} (SQS) and in `taskerman dlq list`:", "bold green")
    screen.say(f"{letter.letter.outcome}: {letter.letter.reason}", "italic")
    _ask(scene, explain(desk, task))


def _go(scene: Scene, followed: Followed, hold_id: str) -> None:
    """Lift the hold: from here on time is counted."""
    scene.screen.start_clock()
    followed.began = time.monotonic()
    unhold(scene.installation.desk, hold_id, "all stand in line")


class _Announcement:
    """The message in the dead-letter queue."""

    def __init__(self, queue: str, letter: DeadLetter) -> None:
        self.queue = queue
        self.letter = letter


def _announced(scene: Scene) -> _Announcement:
    """Reads the dead-letter queue as anybody may, and leaves the message there."""
    desk = scene.installation.desk
    queue = desk.names.dead_letter

    def look() -> Sequence[DeadLetter]:
        found = desk.queues.receive(queue, wait=timedelta(seconds=1), loan=timedelta(seconds=5))
        for delivery in found:
            delivery.requeue()
        return [DeadLetter.model_validate_json(delivery.body) for delivery in found]

    letters: Sequence[DeadLetter] = wait_for(look, "a dead letter in the queue", scene.installation.check)
    return _Announcement(queue, letters[0])


def _check_stopped(scene: Scene, status: TaskStatus, announced: _Announcement, sick: str) -> None:
    ended = {node.node: node.outcome for node in status.nodes if node.outcome is not None}
    wanted = {**dict.fromkeys(scene.nodes[:2], Outcome.SUCCEEDED), sick: Outcome.UNSAFE}
    if ended != wanted:
        raise NotSo(f"the outcomes are {json.dumps(ended)}, not {json.dumps(wanted)}")
    desk = scene.installation.desk
    places = [(place.node, place.state) for place in list_slots(desk, CLUSTER)]
    if places != [(sick, SlotState.UNSAFE)]:
        raise NotSo(f"the slots held are {places}, not the one of {sick}")
    listed = [(line.key, line.node) for line in list_letters(desk)]
    if listed != [(announced.letter.key, sick)] or announced.letter.destnode != sick:
        raise NotSo(f"the dead letters are {listed}, and {announced.letter.key} was announced")


def _report(scene: Scene, followed: Followed, facts: Facts, end: float) -> None:
    began, status = followed.began, followed.status
    assert status is not None
    down = {node: facts.down(node, began, end) for node in scene.nodes}
    rows = []
    for node in status.nodes:
        seconds = sum(one.end - one.begin for one in down[node.node])
        rows.append(
            (
                node.node,
                node.az,
                _moment(followed.taken.get(node.node), began),
                _moment(followed.ended.get(node.node), began),
                f"{seconds:.1f} s" if seconds else "",
                node.outcome.value if node.outcome else "not begun",
            )
        )
    scene.screen.outcomes(rows)
    maintenance = {node: followed.maintenance(node, end) for node in scene.nodes}
    scene.screen.timeline(maintenance, down, Interval(began, end))


def _ask(scene: Scene, explanation: Explanation) -> None:
    screen = scene.screen
    screen.gap()
    screen.say("What the oncall asks, and is told:")
    screen.command(f"taskerman explain {explanation.task_id}")
    by_text: dict[str, list[str]] = {}
    for node in explanation.nodes:
        by_text.setdefault(node.text, []).append(node.node)
    for text, nodes in by_text.items():
        screen.say(f"{', '.join(nodes)}:", "bold")
        screen.say(text, indent=2)
    screen.gap()
    screen.say("What the oncall may type next, the harmless first:")
    for command in explanation.next:
        screen.command(command)


def _all_ended(status: TaskStatus) -> bool:
    return all(node.outcome is not None for node in status.nodes)


def _all_in_line(status: TaskStatus) -> bool:
    return all(node.state is NodeState.WAITING for node in status.nodes)


def _halted(status: TaskStatus) -> bool:
    acting = any(node.state is NodeState.ACTING for node in status.nodes)
    if _all_ended(status):
        raise NotSo("the task went on to its end; it should have stopped")
    return status.state is TaskState.HALTED and not acting


def _moment(at: float | None, began: float) -> str:
    return "" if at is None else f"{at - began:.1f} s"
