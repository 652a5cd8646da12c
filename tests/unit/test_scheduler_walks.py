"""Random walks: schedulers that come and go, die in the middle of anything, and never hear what became of a commit.

Whatever happens, each nominal time is emitted as its catch-up rule says: of `all` every one, of each id one text, and
nothing before it was due.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskerman.errors import TaskermanError
from taskerman.model.schedule import Schedule, firing_of
from taskerman.policy.firing import firings
from taskerman.ports.queue import Letter
from taskerman.ports.tree import Op
from taskerman.scheduler import Scheduler
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from taskerman.testing.tree import LostAnswer, MemoryTree
from tests.support.scheduling import Tower, schedule

WALKS = 60
STEPS = 120
BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone, just there."""


class Witness:
    """The queue, seen from outside: what was sent when. It may kill the sender before or after."""

    def __init__(self, tower: Tower, dice: random.Random) -> None:
        self.tower = tower
        self.dice = dice
        self.kills = 0.0
        self.seen: dict[str, str] = {}
        self.latest = tower.clock.now()
        """The latest time that any clock has shown: what was due then is due, also when the clock was set back."""
        self.inner = FaultyQueues(tower.fleet.queues, QueueFaults())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        if self.dice.random() < self.kills:
            raise Killed
        for letter in letters:
            document = json.loads(letter.body)
            due = datetime.fromisoformat(document["scheduled_for"])
            assert due <= self.latest, f"early: {document['task_id']}"
            before = self.seen.setdefault(document["task_id"], letter.body)
            assert before == letter.body, f"two texts of {document['task_id']}"
        refused = self.inner.send_each(letters)
        if self.dice.random() < self.kills:
            raise Killed
        return refused

    @property
    def nominals(self) -> list[datetime]:
        found = [firing_of(task) for task in self.seen]
        assert all(found)
        return sorted(one[1] for one in found if one)


def walk(seed: int, *schedules: Schedule) -> tuple[Tower, Witness]:
    """One walk; at its end the weather is fine and one scheduler has caught up."""
    dice = random.Random(seed)
    tower = Tower(*schedules)
    witness = Witness(tower, dice)
    names = iter(range(10_000))

    def start() -> Scheduler:
        return tower.scheduler(str(next(names)), queues=witness)

    crew = [start() for _ in range(3)]
    crew[0].turn()
    server = tower.fleet.server
    kill, lose = 0.0, 0.0

    def before(tree: MemoryTree, ops: Sequence[Op]) -> None:
        if dice.random() < kill:
            raise Killed

    def answers(tree: MemoryTree, ops: Sequence[Op]) -> LostAnswer | None:
        return dice.choice(list(LostAnswer)) if dice.random() < lose else None

    server.before_commit, server.faults = before, answers
    for _ in range(STEPS):
        kill, lose, witness.kills = dice.choice([(0.0, 0.0, 0.0), (0.05, 0.0, 0.1), (0.0, 0.15, 0.0), (0.05, 0.1, 0.1)])
        match dice.randrange(8):
            case 0:
                tower.clock.advance(dice.choice([0.3, 1, 7, 60, 400]))
                witness.latest = max(witness.latest, tower.clock.now())
            case 1:
                tower.clock.jump(timedelta(seconds=dice.choice([-5, -1])))
            case 2:
                faults = witness.inner.faults
                faults.fail_sends, faults.lose_answers = dice.choice([(2, 0), (0, 2), (0, 0)])
            case 3 if server.late:
                server.deliver_late(dice.randrange(len(server.late)))
            case 4:
                server.expire(tree_of(dice.choice(crew)), noticed=dice.random() < 0.5)
            case _:
                which = dice.randrange(len(crew))
                try:
                    crew[which].turn()
                except Killed:
                    server.expire(tree_of(crew[which]))
                    crew[which] = start()
                except TaskermanError:
                    pass
    server.before_commit = server.faults = None
    witness.kills = 0.0
    witness.inner.faults = QueueFaults()
    while server.late:
        server.deliver_late()
    for one in crew:
        server.expire(tree_of(one))
    tower.clock.advance(60)
    for _ in range(3):
        tower.clock.advance(1)
        witness.latest = max(witness.latest, tower.clock.now())
        assert start().run_once()
    return tower, witness


def tree_of(scheduler: Scheduler) -> MemoryTree:
    tree = scheduler._kit.tree
    assert isinstance(tree, MemoryTree)
    return tree


@pytest.mark.parametrize("seed", range(WALKS))
def test_each_time_of_a_schedule_that_makes_up_for_all_is_one_task(seed: int) -> None:
    one = schedule("all", every="7s", jitter="3s", catch_up="all", catch_up_horizon="30d", overlap="queue")
    tower, witness = walk(seed, one)
    times = [firing.nominal for firing in firings(one, BEGIN, tower.clock.now()) if firing.nominal > BEGIN]
    assert witness.nominals == times
    record = tower.record("all")
    assert (record.pending, record.missed, record.skipped, record.sent) == ((), 0, 0, len(times))


@pytest.mark.parametrize("seed", range(WALKS))
def test_of_what_makes_up_for_the_latest_alone_each_time_is_emitted_or_counted_as_missed(seed: int) -> None:
    one = schedule("latest", every="7s", overlap="queue")
    tower, witness = walk(seed, one)
    times = [firing.nominal for firing in firings(one, BEGIN, tower.clock.now())]
    record = tower.record("latest")
    assert set(witness.nominals) <= set(times)
    assert times[-1] in witness.nominals
    assert len(witness.nominals) == record.sent
    assert record.sent + record.missed == len(times)
