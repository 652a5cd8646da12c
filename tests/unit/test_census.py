"""The census promises: the numbers are those of the tree, by names that are bounded, and counting stays cheap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.census import Census
from taskerman.janitor import Janitor
from taskerman.janitor.kit import Kit
from taskerman.model.breaker import ClusterRecord, RecentFailure
from taskerman.model.event import Event
from taskerman.model.outcome import Outcome
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Create, Read, Set
from taskerman.telemetry.declarations import METRICS, PREFIX
from taskerman.testing.history import MemoryHistory
from tests.support.fleet import Fleet

TWO = {"lease_args": {"concurrency": 2}}


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.install()
    return fleet


class Counter:
    """A census of a fleet, and how many reads it took."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.tree = fleet.server.client()
        self.census = Census(self.tree)
        self.reads = 0
        read = self.tree.read

        def counting(*reads: Read):
            self.reads += len(reads)
            return read(*reads)

        self.tree.read = counting  # type: ignore[method-assign]

    def __call__(self, *tasks: str) -> Mapping[str, list[tuple[str | float, ...]]]:
        self.reads = 0
        plans = [self.fleet.plan(task) for task in tasks]
        return {name: sorted(rows) for name, rows in self.census.take(plans, self.fleet.clock.now()).items()}


def test_a_task_under_way_is_counted_where_its_nodes_stand(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    fleet.clock.advance(90)
    fleet.take("t-1", "i-1")
    fleet.do("t-1", "i-2", Outcome.SUCCEEDED)
    fleet.join("t-1", "i-3", "i-4")
    found = Counter(fleet)("t-1")
    assert found["open_tasks"] == [("demo:web", "open", 1)]
    assert found["nodes_without_end"] == [("demo:web", 5)]
    assert found["nodes_in_line"] == [("demo:web", 2)]
    assert found["slots"] == [("demo:web", "acting", 1)]
    assert found["breaker_open"] == [("demo:web", 0.0)]
    assert found["failed_nodes"] == [("demo:web", 0)]
    assert found["oldest_open_task_seconds"] == [("demo:web", 90.0)]
    assert found["dead_letters_open"] == [("assignment", 0), ("document", 0)]


def test_a_kept_slot_is_the_open_breaker_and_a_failed_node_uses_the_budget(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    fleet.do("t-1", "i-1", Outcome.UNSAFE)
    fleet.clock.advance(30)
    found = Counter(fleet)("t-1")
    assert found["slots"] == [("demo:web", "unsafe", 1)]
    assert found["breaker_open"] == [("demo:web", 1.0)]
    assert found["failed_nodes"] == [("demo:web", 1)]
    assert found["open_tasks"] == [("demo:web", "halted", 1)]
    assert found["dead_letters_open"] == [("assignment", 1), ("document", 0)]
    assert found["oldest_dead_letter_seconds"] == [(30.0,)]


def test_a_breaker_that_failures_in_a_row_opened_is_open_without_a_kept_slot(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    failures = tuple(
        RecentFailure(task="t-0", node=node, outcome=Outcome.FAILED, at=fleet.clock.now()) for node in ("i-5", "i-6")
    )
    count = Counter(fleet)
    record = ClusterRecord(size=6, recent=failures)
    fleet.tree.commit([Set(layout.cluster("demo:web"), record.to_json(), None)])
    found = count("t-1")
    assert (found["recent_failures"], found["breaker_open"]) == ([("demo:web", 2)], [("demo:web", 0.0)])
    record = record.model_copy(update={"open_until": fleet.clock.now()})
    fleet.tree.commit([Set(layout.cluster("demo:web"), record.to_json(), None)])
    assert count("t-1")["breaker_open"] == [("demo:web", 1.0)]


def test_holds_that_stand_are_counted_by_what_they_stand_on(fleet: Fleet) -> None:
    moves = fleet.desk.moves()
    moves.hold("*", "look", fleet.clock.now() + timedelta(minutes=1))
    moves.hold("cluster:demo:web", "look", None)
    moves.hold("owner:gsi", "look", None)
    count = Counter(fleet)
    assert count()["holds"] == [("cluster", 1), ("everything", 1), ("owner", 1)]
    fleet.clock.advance(61)
    assert count()["holds"] == [("cluster", 1), ("owner", 1)]


def test_a_dead_letter_is_open_until_a_person_settles_it_also_when_it_comes_again(fleet: Fleet) -> None:
    fleet.send(params={**TWO, "failure_args": {"max_failures": 5}})
    count = Counter(fleet)

    def open_now() -> object:
        return count("t-1")["dead_letters_open"][0][1]

    fleet.do("t-1", "i-1", Outcome.FAILED, retry=False)
    fleet.do("t-1", "i-2", Outcome.FAILED, retry=False)
    fleet.do("t-1", "i-3", Outcome.SUCCEEDED)
    assert open_now() == 2
    control.discard(fleet.desk, "t-1", "i-2", "known")
    assert open_now() == 1
    control.redrive(fleet.desk, "t-1", "i-1", "repaired")
    assert open_now() == 0
    fleet.do("t-1", "i-1", Outcome.FAILED, retry=False)
    assert open_now() == 1
    control.redrive(fleet.desk, "t-1", "i-2", "after all")  # the one that was discarded
    fleet.do("t-1", "i-2", Outcome.FAILED, retry=False)
    assert open_now() == 2


def test_a_document_that_was_refused_is_open_until_a_person_settles_it(fleet: Fleet) -> None:
    fleet.queues.send(fleet.names.tasks, "rubbish")
    fleet.route()
    count = Counter(fleet)
    assert ("document", 1) in count()["dead_letters_open"]
    control.discard(fleet.desk, hashlib.sha256(b"rubbish").hexdigest(), None, "known")
    assert ("document", 0) in count()["dead_letters_open"]


def test_what_has_ended_well_is_read_once_and_what_is_put_away_no_more(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    for node in ("i-1", "i-2", "i-3"):
        fleet.do("t-1", node, Outcome.SUCCEEDED)
    count = Counter(fleet)
    count("t-1")
    first = count.reads
    count("t-1")
    assert count.reads == first - 3  # the three ends


def test_a_record_that_cannot_be_read_is_named_and_everything_else_is_counted(fleet: Fleet) -> None:
    fleet.send(params=TWO)
    fleet.take("t-1", "i-1")
    fleet.do("t-1", "i-2", Outcome.FAILED, retry=False)
    fleet.queues.send(fleet.names.tasks, "rubbish")
    fleet.route()
    refusal = layout.refused(hashlib.sha256(b"rubbish").hexdigest())
    broken = (layout.control("t-1"), layout.end("t-1", "i-2"), layout.cluster("demo:web"), refusal)
    count = Counter(fleet)
    before = count("t-1")
    assert before["unreadable_records"] == [(0,)]
    fleet.tree.commit([Set(path, b"{", None) for path in broken])
    fleet.tree.commit([Create(f"{layout.scope('demo:web')}/rubbish", b"")])
    found = count("t-1")
    assert set(count.census.unreadable) == {*broken, f"{layout.scope('demo:web')}/rubbish"}
    assert found["unreadable_records"] == [(5,)]
    assert (found["open_tasks"], found["recent_failures"]) == ([], [])
    assert found["dead_letters_open"] == [("assignment", 0), ("document", 0)]
    assert {name for name in found if found[name] == before[name]} >= {"slots", "nodes_without_end", "nodes_in_line"}


def test_the_janitor_that_leads_counts_and_each_number_is_a_declared_metric(fleet: Fleet) -> None:
    fleet.send()
    events: list[Event] = []
    kit = Kit(
        tree=fleet.server.client(),
        queues=fleet.queues,
        names=fleet.names,
        discoveries={"aws_tags": fleet.discovery},
        history=MemoryHistory(),
        clock=fleet.clock,
        emit=events.append,
        upkeep=Upkeep(),
        by="janitor@a",
    )
    Janitor(kit).turn()
    (counted,) = [event for event in events if event.name == "installation_counted"]
    declared = {metric.name.removeprefix(PREFIX): metric.labels for metric in METRICS if metric.source == "census"}
    assert set(counted.fields) == set(declared)
    for name, rows in counted.fields.items():
        assert isinstance(rows, Sequence)
        assert all(len(row) == len(declared[name]) + 1 for row in rows)
    assert ("dead_letter", "visible", 0) in counted.fields["queue_messages"]  # type: ignore[operator]
