"""One evening at which everything is going on: a fleet for whoever types something wrong.

| what | how it stands |
|---|---|
| `demo:web` | i-1 ended well, i-2 keeps a slot (unsafe), i-3 waits |
| `demo:shop` | s-1 acts |
| `demo:jump` | shrank from six nodes to one, so its second task is parked |
| `t-ended` | every node ended well |
| `t-halted` | i-2 unsafe, its dead letter open; i-3 waits |
| `t-open` | s-1 acts, s-2 waits |
| brackets | `silence` of `demo:web` is open and nobody acts in it; in that of `demo:shop` s-1 acts |
| `t-cancelled`, `t-expired` | over; s-3 of t-expired has a dead letter, s-3 of t-discarded has had one |
| `t-parked` | waits for a person |
| `demo:burnt` | its breaker is open: three failures in a row |
| `t-away` | was put away: only its tombstone is left |
| `t-refused` | a document that was refused; `REFUSED` is its sha256 |
| holds | one on owner:dba |
| `busy` | a scope that nobody declared, and a command of w-1 in it: `HOLDER`; `OVER` has ended |
| groups | `nightly`: w-1 |
| schedules | `nightly`; `paused`, by a person; `gone`, declared no more |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.brackets import begun, enter
from taskerman.coordination.commands import CommandMoves, Ready, Wish
from taskerman.model.attempt import Attempt
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Tombstone
from taskerman.ports.tree import Create
from tests.support.commands import END, record_of
from tests.support.fleet import Fleet, document
from tests.support.scheduling import Tower, schedule

__all__ = ["HOLDER", "OVER", "an_evening", "everything"]


def add_schedules(fleet: Fleet) -> None:
    """`nightly`; `paused`, by a person; and `gone`, which is declared no more."""
    tower = Tower(*(schedule(name) for name in ("nightly", "paused", "gone")), fleet=fleet)
    scheduler = tower.scheduler()
    scheduler.turn()
    control.pause_schedule(fleet.desk, "paused", "an incident")
    tower.source.declare(schedule("nightly"), schedule("paused"))
    scheduler.turn()


HOLDER = "w-1-x22222222"
OVER = "w-1-x33333333"


def add_commands(fleet: Fleet) -> None:
    """One that runs under a slot, one that has ended, and a group."""
    moves = CommandMoves(fleet.tree)
    moves.prepare()
    for holder in (OVER, HOLDER):
        one = Wish(holder, "w-1", "busy", 1)
        ready = moves.look(one) or moves.look(one)
        assert isinstance(ready, Ready)
        assert moves.take(ready, record_of(one))
        if holder == OVER:
            moves.end(holder, END)
    control.set_group(fleet.desk, "nightly", ["w-1"], "new")


def go_in(fleet: Fleet, attempt: Attempt, node: str) -> None:
    """As an attempt that begins the bracket `silence` of its cluster."""
    for move in (enter, begun):
        move(fleet.agent(node), attempt, "silence", "demo_task:restart", fleet.clock.now())


def an_evening() -> Fleet:
    """The fleet as the table above says."""
    fleet = Fleet()
    fleet.install()
    fleet.discovery.declare("demo:shop", [Node(id=f"s-{n}") for n in (1, 2, 3)])
    fleet.discovery.declare("demo:jump", [Node(id=f"j-{n}") for n in range(1, 7)])

    add_schedules(fleet)
    add_commands(fleet)
    fleet.send("t-ended", limit=1)
    fleet.do("t-ended", "i-1", Outcome.SUCCEEDED)

    soon = (fleet.clock.now() + timedelta(minutes=5)).isoformat()
    for name in ("t-expired", "t-discarded"):
        fleet.send(name, cluster_name="demo:shop", nodes=["s-3"], not_after=soon)
    fleet.clock.advance(timedelta(minutes=10))
    for name in ("t-expired", "t-discarded"):
        fleet.expire(name, "s-3")
    control.discard(fleet.desk, "t-discarded", "s-3", "too late")

    fleet.send("t-cancelled", cluster_name="demo:shop", nodes=["s-2"])
    control.cancel(fleet.desk, "t-cancelled", "not tonight")
    fleet.send("t-open", cluster_name="demo:shop", nodes=["s-1", "s-2"])
    go_in(fleet, fleet.take("t-open", "s-1"), "s-1")
    fleet.join("t-open", "s-2")

    fleet.send("t-halted", nodes=["i-2", "i-3"])
    go_in(fleet, fleet.take("t-halted", "i-2"), "i-2")
    fleet.end("t-halted", "i-2", Outcome.UNSAFE, "port 8080 does not answer")

    fleet.send("t-six", cluster_name="demo:jump")
    for n in range(1, 7):
        fleet.do("t-six", f"j-{n}", Outcome.SUCCEEDED)
    fleet.discovery.declare("demo:jump", [Node(id="j-1")])
    fleet.send("t-parked", cluster_name="demo:jump")

    plan = fleet.plan("t-six")
    stone = Tombstone(
        hash=plan.hash,
        cluster_name="demo:jump",
        owner="gsi",
        planned_at=plan.accepted.at,
        not_after=plan.accepted.not_after,
        put_away_at=fleet.clock.now(),
        kept_until=plan.accepted.not_after,
        summary={"succeeded": 6},
    )
    fleet.tree.commit([Create(layout.task("t-away"), stone.to_json())])

    fleet.discovery.declare("demo:burnt", [Node(id=f"b-{n}") for n in (1, 2, 3)])
    fleet.send("t-burnt", cluster_name="demo:burnt", params={"failure_args": {"max_failures": 3}})
    for n in (1, 2, 3):
        fleet.do("t-burnt", f"b-{n}", Outcome.FAILED, "exit 1", retry=False)

    fleet.queues.send(fleet.names.tasks, document("t-refused", cluster_name="demo:none"))
    fleet.route()
    control.hold(fleet.desk, "owner:dba", "quarter end")
    return fleet


def everything(fleet: Fleet) -> Mapping[str, object]:
    """All that a verb could change: every record with its version, and every message and tag of every queue."""
    records = {path: (record.data, record.stat.version) for path, record in fleet.server.dump().items()}
    queues = {
        f"queue {name}": (fleet.queues.bodies(name), dict(fleet.queues.tags(name))) for name in fleet.queues.names()
    }
    return {**records, **queues}
