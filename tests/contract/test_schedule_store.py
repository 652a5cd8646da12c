"""What every `ScheduleStore` promises: a change and its audit entry are one, nothing is lost between writers, and
whoever reads notices every change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from taskerman.adapters.sql import SqlHistoryReader, SqlScheduleStore
from taskerman.adapters.sql.database import Database
from taskerman.errors import HistoryUnavailable, RefusedByState, ScheduleExists, SchedulesInvalid, ScheduleUnknown
from taskerman.model.audit import AuditEntry
from taskerman.model.schedule import Schedule
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy.declaring import definition_of
from taskerman.ports.history import AuditQuery
from taskerman.ports.schedules import ScheduleStore
from taskerman.testing.clock import ManualClock
from taskerman.testing.schedules import MemoryScheduleStore
from tests.support.postgresql import PostgresqlServer
from tests.support.scheduling import schedule

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=0.3)


@dataclass(frozen=True)
class World:
    """A store. `another()`: one more of the same schedules, which has read nothing yet. `audit()`: every entry, oldest
    first. `spoil(name)`: its definition is one that a newer build wrote. `go_away()`: nothing answers any more."""

    store: ScheduleStore
    clock: ManualClock
    another: Callable[[], ScheduleStore]
    audit: Callable[[], Sequence[AuditEntry]]
    spoil: Callable[[str], None]
    go_away: Callable[[], None]

    def declared(self) -> dict[str, Schedule]:
        """What whoever looks for the first time finds."""
        return {one.schedule.name: one.schedule for one in self.another().read()}

    def places(self) -> dict[str, str]:
        return {one.schedule.name: one.place for one in self.another().read()}


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = ManualClock(NOW)
    if request.param == "memory":
        memory = MemoryScheduleStore(clock.now)
        yield World(memory, clock, memory.another, lambda: memory.audit, memory.spoil, memory.fail)
        return
    with ExitStack() as stack:
        go_away: Callable[[], None]
        if request.param == "sqlite":
            file = tmp_path / "a folder" / "history.db"
            url = f"sqlite:///{file}"

            def go_away() -> None:
                store.close()
                locking = stack.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
                locking.execute("PRAGMA journal_mode=DELETE")
                locking.execute("BEGIN EXCLUSIVE")
        else:
            server: PostgresqlServer = request.getfixturevalue("postgresql")
            url = request.getfixturevalue("postgresql_url")
            name = url.split("@/")[1].split("?")[0]

            def go_away() -> None:
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        def another(patience: timedelta = timedelta(seconds=10)) -> SqlScheduleStore:
            store = SqlScheduleStore(url, upgrades=True, clock=clock.now, patience=patience)
            return stack.enter_context(closing(store))

        def audit() -> Sequence[AuditEntry]:
            with closing(SqlHistoryReader(url)) as reader:
                return list(reversed(reader.audit_entries(AuditQuery())))

        def spoil(name: str) -> None:
            newer = text("UPDATE schedule SET definition = :it WHERE name = :name")
            values = {"it": json.dumps({**definition_of(schedule(name)), "of_tomorrow": 1}), "name": name}
            with closing(Database(url, writes=True)) as database:
                database.transact("spoil it", lambda connection: connection.execute(newer, values))

        store = another(PATIENCE)
        yield World(store, clock, another, audit, spoil, go_away)


def test_where_nobody_declared_anything_nothing_is_declared_and_looking_makes_nothing(
    world: World, tmp_path: Path
) -> None:
    """A scheduler may be started before the first schedule is added, and before there is a database."""
    assert world.store.changed()
    assert list(world.store.read()) == []
    assert not world.store.changed()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ScheduleUnknown, match="nightly"):
        world.store.find("nightly")


def test_what_was_added_is_read_back_whole_with_who_added_it(world: World) -> None:
    given = schedule(
        description="Every night, \u2603.",
        timezone="Europe/Berlin",
        jitter="10m",
        notify=["#storage"],
        task={"taskerman_params": {"action_args": {"force": True, "share": 0.1, "note": None}}},
    )
    world.store.add(given, "ana@desk", "quieter hours")
    (found,) = world.store.read()
    assert found == Declaration(schedule=given, origin=ScheduleOrigin.DATABASE, place="added by ana@desk")
    assert world.another().find("nightly") == found
    assert found.origin is world.store.origin


def test_every_change_is_audited_with_who_and_why(world: World) -> None:
    world.store.add(schedule(), "ana@desk", "quieter hours")
    world.clock.advance(60)
    world.store.edit(schedule(cron="0 3 * * *"), "bob@desk", "backups first")
    world.clock.advance(60)
    world.store.remove("nightly", "cid@desk", "the cluster is gone")
    assert [(one.verb, one.target, one.by, one.why, one.at) for one in world.audit()] == [
        ("schedule add", "nightly", "ana@desk", "quieter hours", NOW),
        ("schedule edit", "nightly", "bob@desk", "backups first", NOW + timedelta(minutes=1)),
        ("schedule remove", "nightly", "cid@desk", "the cluster is gone", NOW + timedelta(minutes=2)),
    ]


def test_an_edit_answers_what_it_was_and_names_who_made_it(world: World) -> None:
    world.store.add(schedule(), "ana@desk", "x")
    world.clock.advance(60)
    assert world.store.edit(schedule(cron="0 3 * * *"), "bob@desk", "y") == schedule()
    assert world.declared() == {"nightly": schedule(cron="0 3 * * *")}
    assert world.places() == {"nightly": "changed by bob@desk"}


def test_a_removed_schedule_is_not_declared_and_its_name_is_free_again(world: World) -> None:
    world.store.add(schedule(), "ana@desk", "x")
    world.clock.advance(60)
    assert world.store.remove("nightly", "bob@desk", "y") == schedule()
    assert world.declared() == {}
    world.clock.advance(60)
    world.store.add(schedule(cron="0 4 * * *"), "cid@desk", "z")
    assert world.declared() == {"nightly": schedule(cron="0 4 * * *")}
    assert world.places() == {"nightly": "added by cid@desk"}


def test_every_change_is_noticed_once_by_everybody(world: World) -> None:
    """Also a removal, of which nothing is left to be seen."""
    reader = world.another()
    reader.read()
    changes: list[Callable[[], object]] = [
        lambda: world.store.add(schedule(), "ana@desk", "x"),
        lambda: world.store.add(schedule("hourly"), "ana@desk", "x"),
        lambda: world.store.edit(schedule(enabled=False), "ana@desk", "x"),
        lambda: world.store.remove("hourly", "ana@desk", "x"),
        lambda: world.store.remove("nightly", "ana@desk", "x"),
    ]
    for change in changes:
        assert not reader.changed()
        change()
        assert reader.changed()
        assert reader.changed(), "asking is not reading"
        reader.read()
    assert not reader.changed()
    assert list(reader.read()) == []


def test_they_are_read_by_name(world: World) -> None:
    for name in ("c", "a", "B"):
        world.store.add(schedule(name), "ana@desk", "x")
    assert [one.schedule.name for one in world.store.read()] == ["B", "a", "c"]


def test_a_name_that_is_taken_is_refused_by_whom_and_since_when(world: World) -> None:
    """And a repeat by hand, of an answer that was lost, is told that it is there just so."""
    world.store.add(schedule(), "ana@desk", "x")
    with pytest.raises(ScheduleExists, match=r"added by ana@desk at 2026-01-31T12:00:00Z, just so\."):
        world.store.add(schedule(), "ana@desk", "x")
    with pytest.raises(ScheduleExists, match=r"added by ana@desk at 2026-01-31T12:00:00Z\."):
        world.store.add(schedule(enabled=False), "bob@desk", "y")
    assert world.declared() == {"nightly": schedule()}
    assert len(world.audit()) == 1


def test_what_is_not_declared_is_neither_edited_nor_removed(world: World) -> None:
    for change in (
        lambda: world.store.edit(schedule(), "ana@desk", "x"),
        lambda: world.store.remove("nightly", "ana@desk", "x"),
        lambda: world.store.find("nightly"),
    ):
        with pytest.raises(ScheduleUnknown, match="Nobody has added a schedule 'nightly'"):
            change()
    world.store.add(schedule(), "ana@desk", "x")
    world.clock.advance(60)
    world.store.remove("nightly", "bob@desk", "y")
    for change in (
        lambda: world.store.edit(schedule(), "ana@desk", "x"),
        lambda: world.store.remove("nightly", "ana@desk", "x"),
        lambda: world.store.find("nightly"),
    ):
        with pytest.raises(ScheduleUnknown, match="bob@desk removed it at 2026-01-31T12:01:00Z"):
            change()
    assert [one.verb for one in world.audit()] == ["schedule add", "schedule remove"]


def test_of_two_who_change_what_they_saw_the_second_looks_again(world: World) -> None:
    """Else a change of the time would take back a change of the cluster."""
    world.store.add(schedule(), "ana@desk", "x")
    world.store.edit(schedule(cron="0 3 * * *"), "bob@desk", "y", instead_of=schedule())
    with pytest.raises(RefusedByState, match=r"changed meanwhile.*bob@desk"):
        world.another().edit(schedule(jitter="5m"), "cid@desk", "z", instead_of=schedule())
    assert world.declared() == {"nightly": schedule(cron="0 3 * * *")}
    assert len(world.audit()) == 2


def test_of_many_who_add_the_same_name_at_once_one_has_it(world: World) -> None:
    """And whoever reads meanwhile misses nothing."""
    stores = [world.another() for _ in range(4)]
    reader = world.another()
    reader.read()

    def add(store: ScheduleStore, who: int) -> int:
        won = 0
        for n in range(5):
            try:
                store.add(schedule(f"s-{n}", description=f"of {who}"), f"p{who}@desk", "x")
                won += 1
            except ScheduleExists:
                pass
            store.add(schedule(f"own-{who}-{n}"), f"p{who}@desk", "x")
        return won

    seen: dict[str, Schedule] = {}
    with ThreadPoolExecutor(4) as pool:
        adding = [pool.submit(add, store, who) for who, store in enumerate(stores)]
        while not all(one.done() for one in adding) or reader.changed():
            if reader.changed():
                seen = {one.schedule.name: one.schedule for one in reader.read()}
        assert sum(one.result(60) for one in adding) == 5
    assert seen == world.declared()
    assert len(seen) == len(world.audit()) == 25


def test_a_definition_that_cannot_be_read_is_a_fault_with_its_name_and_can_be_mended(world: World) -> None:
    """A newer build wrote it. The others are not in force without it, and can be changed and removed."""
    world.store.add(schedule(), "ana@desk", "x")
    world.store.add(schedule("hourly"), "ana@desk", "x")
    world.spoil("nightly")
    reader = world.another()
    with pytest.raises(SchedulesInvalid) as caught:
        reader.read()
    (fault,) = caught.value.faults
    assert fault.startswith("nightly in ")
    assert "of_tomorrow: unknown field" in fault
    assert not reader.changed(), "what is wrong stays wrong until somebody changes it"
    with pytest.raises(SchedulesInvalid, match="of_tomorrow"):
        world.store.find("nightly")
    assert world.store.find("hourly").schedule == schedule("hourly")
    assert world.store.edit(schedule(enabled=False), "bob@desk", "mended") is None
    assert reader.changed()
    assert [one.schedule for one in reader.read()] == [schedule("hourly"), schedule(enabled=False)]
    world.spoil("hourly")
    assert world.store.remove("hourly", "bob@desk", "mended") is None
    assert world.declared() == {"nightly": schedule(enabled=False)}


def test_a_store_that_is_away_says_so_and_has_changed_nothing(world: World) -> None:
    world.store.add(schedule(), "ana@desk", "x")
    world.store.read()
    world.go_away()
    for use in (
        world.store.changed,
        world.store.read,
        lambda: world.store.find("nightly"),
        lambda: world.store.add(schedule("hourly"), "ana@desk", "x"),
        lambda: world.store.edit(schedule(enabled=False), "ana@desk", "x"),
        lambda: world.store.remove("nightly", "ana@desk", "x"),
    ):
        with pytest.raises(HistoryUnavailable):
            use()
