"""What every `History` promises: what it said yes to is there, however often it is told, and by whomever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from taskerman.adapters.sql import SqlHistory, SqlHistoryReader
from taskerman.coordination.commands import Wish
from taskerman.errors import HistoryUnavailable
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandEnd, CommandHow, CommandRecord
from taskerman.model.history import PastAssignment, PastTask, TaskHistory
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.model.task import TaskControl, TaskState
from taskerman.ports.history import AuditQuery, CommandQuery, History, HistoryReader, RefusalQuery, TaskQuery
from taskerman.testing.clock import ManualClock
from taskerman.testing.history import MemoryHistory
from tests.support.commands import record_of
from tests.support.postgresql import PostgresqlServer
from tests.support.protocol_tasks import TaskShape, plan_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENCE = timedelta(seconds=0.3)


@dataclass(frozen=True)
class World:
    """A history. `another()`: one more writer of the same past. `go_away()`: nothing answers any more."""

    history: History
    reader: HistoryReader
    another: Callable[[], History]
    go_away: Callable[[], None]

    def tasks(self, **query: object) -> Sequence[PastTask]:
        return self.reader.ended_tasks(TaskQuery(**query))  # type: ignore[arg-type]

    def ends(self) -> dict[str, End]:
        """Every end of t-1, by its key."""
        return {one.end.attempt: one.end for each in self.tasks(task="t-1") for one in each.ends}

    def audit(self, **query: object) -> list[str]:
        """The ids of the entries that fit."""
        return [entry.id for entry in self.reader.audit_entries(AuditQuery(**query))]  # type: ignore[arg-type]

    def refusals(self, **query: object) -> Sequence[Refusal]:
        return self.reader.refused_documents(RefusalQuery(**query))  # type: ignore[arg-type]


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.real)],
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "memory":
        memory = MemoryHistory()
        yield World(memory, memory, lambda: memory, memory.fail)
        return
    with ExitStack() as stack:
        go_away: Callable[[], None]
        if request.param == "sqlite":
            file = tmp_path / "a folder" / "history.db"
            url = f"sqlite:///{file}"

            def go_away() -> None:
                locking = stack.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
                locking.execute("BEGIN EXCLUSIVE")
        else:
            server: PostgresqlServer = request.getfixturevalue("postgresql")
            url = request.getfixturevalue("postgresql_url")
            name = url.split("@/")[1].split("?")[0]

            def go_away() -> None:
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        def another() -> History:
            return stack.enter_context(closing(SqlHistory(url, upgrades=True, patience=timedelta(seconds=10))))

        history = SqlHistory(url, upgrades=True, patience=PATIENCE)
        reader = SqlHistoryReader(url, patience=PATIENCE)
        yield World(stack.enter_context(closing(history)), stack.enter_context(closing(reader)), another, go_away)


def plan(name: str = "t-1", *, owner: str = "gsi", at: datetime = NOW) -> Plan:
    return plan_of(name, TaskShape(nodes=("n0", "n1"), owner=owner), ManualClock(at))


def past(
    node: str,
    takes: int,
    outcome: Outcome,
    letter: DeadLetterState = DeadLetterState.NONE,
    *,
    of: str = "t-1",
    at: datetime = NOW,
    tail: str = "",
) -> PastAssignment:
    end = End(
        outcome=outcome,
        attempt=f"{of}.{node}.{takes}",
        attempts=takes,
        reason="because",
        code="E-X",
        tail=tail,
        kept=("demo:web",) if outcome is Outcome.UNSAFE else (),
        at=at,
        dead_letter=letter,
    )
    return PastAssignment(node=node, end=end)


def task(*assignments: PastAssignment, of: Plan | None = None) -> TaskHistory:
    return TaskHistory(plan=of or plan(), control=TaskControl(why="a test"), assignments=assignments)


def refusal(
    sent_at: datetime, letter: Literal["owed", "sent", "discarded"] = "owed", sha256: str = "ab" * 32
) -> Refusal:
    return Refusal(
        sha256=sha256,
        code="E-DOC-JSON",
        reason="not JSON",
        at=sent_at,
        sent_at=sent_at,
        queue="q",
        body="{",
        body_bytes=1,
        body_truncated=False,
        dead_letter=letter,
    )


def entry(name: str, target: str = "*", *, at: datetime = NOW, by: str = "ann", verb: str = "hold") -> AuditEntry:
    return AuditEntry(id=name, at=at, by=by, verb=verb, target=target, why="look")


# --- recording -------------------------------------------------------------------------------------------


def test_what_was_recorded_is_read_back_whole(world: World) -> None:
    made = plan()
    ended = TaskHistory(
        plan=made,
        control=TaskControl(state=TaskState.HALTED, why="the budget is used up"),
        assignments=(
            past("n0", 1, Outcome.UNSAFE, DeadLetterState.SENT, at=NOW + HOUR, tail="the last line\n"),
            past("n1", 4, Outcome.SKIPPED),
        ),
    )
    world.history.record_task(ended)
    (found,) = world.tasks(task="t-1")
    assert found.document == made.doc
    assert (found.planned_at, found.not_after) == (made.accepted.at, made.accepted.not_after)
    assert (found.cluster_name, found.owner, found.action) == ("demo:web", "gsi", "demo_task:restart")
    assert (found.state, found.why, found.cap, found.nodes) == (TaskState.HALTED, "the budget is used up", 1, 2)
    assert found.ended_at == NOW + HOUR
    assert found.counts == {Outcome.SKIPPED: 1, Outcome.UNSAFE: 1}
    assert [(one.node, one.rank, one.end) for one in found.ends] == [
        (each.node, rank, each.end) for rank, each in enumerate(ended.assignments)
    ]


def test_a_task_that_is_recorded_twice_is_there_once(world: World) -> None:
    ended = task(past("n0", 1, Outcome.SUCCEEDED), past("n1", 1, Outcome.SKIPPED))
    world.history.record_task(ended)
    world.history.record_task(ended)
    (found,) = world.tasks()
    assert (found.task_id, found.why) == ("t-1", "a test")
    assert {key: end.outcome for key, end in world.ends().items()} == {
        "t-1.n0.1": Outcome.SUCCEEDED,
        "t-1.n1.1": Outcome.SKIPPED,
    }


def test_an_end_that_was_redriven_stays_beside_the_one_that_came_after_it(world: World) -> None:
    world.history.record_task(task(past("n0", 1, Outcome.FAILED, DeadLetterState.SENT)))
    world.history.record_task(task(past("n0", 2, Outcome.SUCCEEDED, at=NOW + HOUR)))
    assert {key: end.outcome for key, end in world.ends().items()} == {
        "t-1.n0.1": Outcome.FAILED,
        "t-1.n0.2": Outcome.SUCCEEDED,
    }
    (found,) = world.tasks()
    assert found.counts == {Outcome.SUCCEEDED: 1}, "a node counts once, as it ended last"
    assert found.ended_at == NOW + HOUR


def test_a_copy_that_comes_late_takes_nothing_back(world: World) -> None:
    """The slower of two janitors records what it read before the redrive."""
    world.history.record_task(task(past("n0", 2, Outcome.SUCCEEDED, at=NOW + HOUR)))
    world.another().record_task(task(past("n0", 1, Outcome.FAILED, DeadLetterState.SENT)))
    (found,) = world.tasks()
    assert (found.counts, found.ended_at) == ({Outcome.SUCCEEDED: 1}, NOW + HOUR)


def test_a_task_that_is_recorded_again_while_its_ends_are_being_deleted_keeps_them(world: World) -> None:
    """A janitor that died in the middle of putting a task away: the next one finds some of the ends, or none."""
    ends = past("n0", 1, Outcome.SUCCEEDED, at=NOW + HOUR), past("n1", 1, Outcome.SKIPPED)
    world.history.record_task(task(*ends))
    (before,) = world.tasks(task="t-1")
    world.history.record_task(task(ends[1]))
    world.history.record_task(task())
    assert list(world.tasks(task="t-1")) == [before]


@pytest.mark.parametrize("settled", [DeadLetterState.DISCARDED, DeadLetterState.REDRIVEN])
def test_a_dead_letter_goes_on_and_never_back(world: World, settled: DeadLetterState) -> None:
    seen = []
    for given in (DeadLetterState.OWED, DeadLetterState.SENT, DeadLetterState.OWED, settled, DeadLetterState.SENT):
        world.history.record_task(task(past("n0", 1, Outcome.FAILED, given)))
        seen += [end.dead_letter for end in world.ends().values()]
    assert seen == [DeadLetterState.OWED, DeadLetterState.SENT, DeadLetterState.SENT, settled, settled]


def test_an_id_that_is_given_again_later_is_another_task(world: World) -> None:
    again = plan(at=NOW + 24 * HOUR)
    world.history.record_task(task(past("n0", 1, Outcome.FAILED)))
    world.history.record_task(task(past("n0", 7, Outcome.SUCCEEDED, at=NOW + 24 * HOUR), of=again))
    assert [(one.planned_at, one.counts) for one in world.tasks(task="t-1")] == [
        (NOW + 24 * HOUR, {Outcome.SUCCEEDED: 1}),
        (NOW, {Outcome.FAILED: 1}),
    ]


def test_an_audit_entry_is_kept_once_and_none_is_kept_without_the_others(world: World) -> None:
    entries = [entry(f"e{n}") for n in range(3)]
    world.history.record_audit(entries[:2])
    world.history.record_audit(entries)
    world.history.record_audit([])
    assert list(world.reader.audit_entries(AuditQuery())) == entries


def test_the_same_document_refused_twice_is_two_refusals_and_each_is_kept_once(world: World) -> None:
    first, second = refusal(NOW), refusal(NOW + 24 * HOUR)
    world.history.record_refusals([first])
    world.history.record_refusals([first.model_copy(update={"dead_letter": "sent"}), second])
    world.history.record_refusals([first])
    assert list(world.refusals()) == [second, first.model_copy(update={"dead_letter": "sent"})]


def command(holder: str = "web-1-x22222222", scope: str = "backup", at: datetime = NOW) -> CommandRecord:
    one = record_of(Wish(holder, holder.rpartition("-x")[0], scope, 2, "nightly"))
    end = CommandEnd(
        at=at, how=CommandHow.ENDED, exit=-1 % 256, max_rss_bytes=2**40, tail="ü\nlast", why="it was asked"
    )
    return one.model_copy(update={"end": end, "argv": ("sh", "-c", "é \ufffd 'x'")})


def test_a_command_is_kept_once_as_it_ended_first(world: World) -> None:
    world.history.record_commands([command(), command("web-2-x22222222")])
    world.another().record_commands([command(at=NOW + HOUR), command("web-3-x22222222")])
    found = world.reader.ended_commands(CommandQuery())
    assert found == [command(), command("web-2-x22222222"), command("web-3-x22222222")]
    lost = record_of(Wish("web-4-x22222222", "web-4", "backup", 1)).model_copy(
        update={"end": CommandEnd(at=NOW, how=CommandHow.LOST)}
    )
    world.history.record_commands([lost])
    assert world.reader.ended_commands(CommandQuery(host="web-4")) == [lost]


def test_commands_are_found_by_where_and_when_the_newest_first(world: World) -> None:
    world.history.record_commands(
        [
            command("a-x22222222"),
            command("a-x33333333", "wire", NOW + HOUR),
            command("b-x22222222", at=NOW + 2 * HOUR),
        ]
    )

    def found(**query: object) -> list[str]:
        return [one.holder for one in world.reader.ended_commands(CommandQuery(**query))]  # type: ignore[arg-type]

    assert found() == ["b-x22222222", "a-x33333333", "a-x22222222"]
    assert found(scope="backup") == ["b-x22222222", "a-x22222222"]
    assert found(host="a") == ["a-x33333333", "a-x22222222"]
    assert found(since=NOW + HOUR) == ["b-x22222222", "a-x33333333"]
    assert found(most=1) == ["b-x22222222"]


def test_two_who_record_the_same_at_once_both_succeed(world: World) -> None:
    """Two janitors, for a moment: the same task, audit and refusals, from both ends."""
    tasks = [
        task(*(past(f"n{n}", 1, Outcome.SUCCEEDED, of=f"t-{k}") for n in range(2)), of=plan(f"t-{k}")) for k in range(8)
    ]
    entries = [entry(f"e{n:02}") for n in range(40)]
    refusals = [refusal(NOW, sha256=f"{n:064}") for n in range(20)]

    def record(history: History, step: int) -> None:
        for each in tasks[::step]:
            history.record_task(each)
            history.record_audit(entries[::step])
            history.record_refusals(refusals[::step])

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(record, world.another(), step) for step in (1, -1)]:
            done.result(60)
    assert sorted(one.task_id for one in world.tasks()) == [f"t-{k}" for k in range(8)]
    assert all(one.counts == {Outcome.SUCCEEDED: 2} for one in world.tasks())
    assert sorted(world.audit()) == [one.id for one in entries]
    assert len(world.refusals()) == 20


def test_a_history_that_is_away_says_so_and_has_promised_nothing(world: World) -> None:
    world.history.record_audit([entry("e0")])
    world.go_away()
    with pytest.raises(HistoryUnavailable):
        world.history.record_task(task(past("n0", 1, Outcome.SUCCEEDED)))
    with pytest.raises(HistoryUnavailable):
        world.history.record_audit([entry("e")])
    with pytest.raises(HistoryUnavailable):
        world.history.record_refusals([refusal(NOW)])


# --- reading ---------------------------------------------------------------------------------------------


@pytest.fixture
def week(world: World) -> World:
    """Three tasks of three days, by two owners; n0 failed in the first, was redriven, and is gone in the third."""
    for day, (owner, n0) in enumerate((("gsi", Outcome.FAILED), ("dba", Outcome.SUCCEEDED), ("gsi", Outcome.GONE))):
        name, at = f"t-{day + 1}", NOW + day * 24 * HOUR
        letter = DeadLetterState.SENT if n0.owes_dead_letter else DeadLetterState.NONE
        ends = (past("n0", 1, n0, letter, of=name, at=at), past("n1", 1, Outcome.SUCCEEDED, of=name, at=at))
        world.history.record_task(task(*ends, of=plan(name, owner=owner, at=at)))
    redriven = past("n0", 2, Outcome.SUCCEEDED, at=NOW + HOUR)
    world.history.record_task(task(redriven, past("n1", 1, Outcome.SUCCEEDED)))
    return world


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["t-3", "t-2", "t-1"]),
        ({"most": 2}, ["t-3", "t-2"]),
        ({"owner": "gsi"}, ["t-3", "t-1"]),
        ({"cluster": "demo:web", "owner": "dba"}, ["t-2"]),
        ({"cluster": "demo:other"}, []),
        ({"action": "demo_task:restart", "since": NOW + 20 * HOUR}, ["t-3", "t-2"]),
        ({"action": "demo_task:other"}, []),
        ({"task": "t-2"}, ["t-2"]),
        ({"task": "t-404"}, []),
        ({"node": "n0"}, ["t-3", "t-2", "t-1"]),
        ({"node": "n9"}, []),
        ({"outcome": Outcome.FAILED}, ["t-1"]),
        ({"node": "n1", "outcome": Outcome.FAILED}, []),
        ({"letters": True}, ["t-3", "t-1"]),
    ],
    ids=str,
)
def test_the_newest_tasks_that_fit_come_first(week: World, query: dict[str, object], found: list[str]) -> None:
    assert [one.task_id for one in week.tasks(**query)] == found


def test_ends_come_when_they_are_asked_for_and_only_those_that_fit(week: World) -> None:
    assert all(one.ends == () and one.document is None for one in week.tasks(owner="gsi"))
    (first,) = week.tasks(outcome=Outcome.FAILED)
    assert [one.end.attempt for one in first.ends] == ["t-1.n0.1"]
    assert first.counts == {Outcome.SUCCEEDED: 2}, "the counts are of the whole task"
    (whole,) = week.tasks(task="t-1")
    assert [one.end.attempt for one in whole.ends] == ["t-1.n0.1", "t-1.n0.2", "t-1.n1.1"]
    of_n0 = [one.end.outcome for each in week.tasks(node="n0") for one in each.ends]
    assert of_n0 == [Outcome.GONE, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["e4", "e3", "e2", "e1"]),
        ({"most": 1}, ["e4"]),
        ({"verb": "redrive"}, ["e3", "e2"]),
        ({"by": "bob"}, ["e4"]),
        ({"since": NOW + 3 * HOUR}, ["e4", "e3"]),
        ({"target": "t-1"}, ["e2", "e1"]),
        ({"target": "t-1/n0"}, ["e2"]),
        ({"target": "t"}, []),
        ({"target": "t_1"}, []),
    ],
    ids=str,
)
def test_audit_entries_are_found_by_what_they_are_about(
    world: World, query: dict[str, object], found: list[str]
) -> None:
    world.history.record_audit(
        [
            entry("e1", "t-1", at=NOW + HOUR, verb="cancel"),
            entry("e2", "t-1/n0", at=NOW + 2 * HOUR, verb="redrive"),
            entry("e3", "t-10/n0", at=NOW + 3 * HOUR, verb="redrive"),
            entry("e4", "*", at=NOW + 4 * HOUR, by="bob"),
        ]
    )
    assert world.audit(**query) == found


def test_refused_documents_are_found_by_what_they_would_have_been(world: World) -> None:
    mine = refusal(NOW, sha256="01" * 32).model_copy(update={"task_id": "t-9", "cluster_name": "demo:web"})
    other = refusal(NOW + HOUR)
    world.history.record_refusals([mine, other])
    assert list(world.refusals(task="t-9")) == [mine]
    assert list(world.refusals(cluster="demo:web")) == [mine]
    assert list(world.refusals(since=NOW + HOUR)) == [other]
    assert list(world.refusals(most=1)) == [other]
