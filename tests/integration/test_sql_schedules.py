"""Schedules in real databases: answers that are lost, schemas that are older or newer, tables that are gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from taskerman.adapters.sql import SqlHistoryReader, SqlScheduleStore, look, upgrade
from taskerman.adapters.sql.database import Database
from taskerman.adapters.sql.migration import configuration
from taskerman.adapters.sql.tables import VERSION_TABLE
from taskerman.errors import HistorySchema, HistoryUnavailable, NotPermitted, SchedulesInvalid
from taskerman.model.audit import AuditEntry
from taskerman.ports.history import AuditQuery
from tests.support.postgresql import PostgresqlServer
from tests.support.scheduling import schedule

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHORT = timedelta(seconds=0.5)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address at which nothing has been made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url, writes=True, patience=SHORT)) as opened:
        yield opened


@pytest.fixture
def store(url: str) -> Iterator[SqlScheduleStore]:
    with closing(SqlScheduleStore(url, upgrades=True, patience=timedelta(seconds=5))) as opened:
        yield opened


def execute(database: Database, *statements: str) -> None:
    database.transact("do as told", lambda connection: [connection.execute(text(one)) for one in statements])


def entries(url: str) -> list[AuditEntry]:
    with closing(SqlHistoryReader(url)) as reader:
        return list(reader.audit_entries(AuditQuery()))


def first_step(database: Database) -> None:
    """The tables as the build before this one made them."""

    def make(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    database.transact("make the tables of yesterday", make)


def test_a_change_whose_answer_was_lost_is_made_once(
    url: str, store: SqlScheduleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call asks again by itself, and neither refuses its own change nor makes it twice."""
    store.add(schedule("hourly"), "ana@desk", "x")
    lost: list[str] = []
    once = Database._once

    def committed_and_lost(database: Database, work: Callable[[Connection], object]) -> object:
        answer = once(database, work)
        if database is store._writer._database and len(lost) < len(entries(url)):
            lost.append("COMMIT")
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("server closed the connection"))
        return answer

    lost.append("the first one")
    monkeypatch.setattr(Database, "_once", committed_and_lost)
    store.add(schedule(), "ana@desk", "x")
    assert store.edit(schedule(enabled=False), "ana@desk", "y", instead_of=schedule()) == schedule()
    assert [one.schedule for one in store.read()] == [schedule("hourly"), schedule(enabled=False)]
    assert store.remove("nightly", "ana@desk", "z") == schedule(enabled=False)
    assert [one.schedule for one in store.read()] == [schedule("hourly")]
    assert len(lost) == 4
    verbs = ["schedule add", "schedule add", "schedule edit", "schedule remove"]
    assert sorted(one.verb for one in entries(url)) == verbs


def test_tables_without_schedules_are_read_as_nothing_and_upgraded_by_the_first_change(
    url: str, database: Database, store: SqlScheduleStore
) -> None:
    """What the build before this one recorded is still there."""
    first_step(database)
    entry = AuditEntry(id="e1", at=NOW, by="ann", verb="hold", target="*", why="look")
    execute(
        database,
        "INSERT INTO audit (id, at, by, verb, target, why) "
        "VALUES ('e1', '2026-01-31 12:00:00+00', 'ann', 'hold', '*', 'look')"
        if "postgresql" in url
        else "INSERT INTO audit VALUES ('e1', '2026-01-31 12:00:00.000000', 'ann', 'hold', '*', 'look')",
    )
    assert store.changed()
    assert list(store.read()) == []
    assert not store.changed()
    store.add(schedule(), "ana@desk", "x")
    assert store.changed()
    assert [one.schedule.name for one in store.read()] == ["nightly"]
    assert entry in entries(url)


def test_whoever_may_not_upgrade_changes_nothing_and_is_told_who_must(url: str, database: Database) -> None:
    first_step(database)
    with closing(SqlScheduleStore(url, upgrades=False, patience=SHORT)) as store:
        with pytest.raises(HistorySchema, match="taskerman history upgrade"):
            store.add(schedule(), "ana@desk", "x")
        assert list(store.read()) == []
        upgrade(url)
        store.add(schedule(), "ana@desk", "x")
        assert len(store.read()) == 1


def test_the_schema_of_a_newer_build_is_not_taken_for_an_empty_one(
    url: str, database: Database, store: SqlScheduleStore
) -> None:
    """Else an old scheduler would give up every schedule of the new build."""
    store.add(schedule(), "ana@desk", "x")
    store.read()
    execute(database, f"UPDATE {VERSION_TABLE} SET version_num='9999'")
    for use in (store.changed, store.read, lambda: store.find("nightly")):
        with pytest.raises(HistorySchema, match="made by a newer build"):
            use()


@pytest.mark.parametrize("loss", [["DELETE FROM schedule"], ["DROP TABLE schedule", f"DROP TABLE {VERSION_TABLE}"]])
def test_a_database_that_is_being_restored_is_not_taken_for_an_empty_one(
    url: str, database: Database, store: SqlScheduleStore, loss: list[str]
) -> None:
    """Between the emptying and the filling every schedule would be given up, and begin anew afterwards."""
    store.add(schedule(), "ana@desk", "x")
    store.read()
    execute(database, *loss)
    for use in (store.changed, store.read):
        with pytest.raises(HistoryUnavailable, match="gone"):
            use()


def test_a_file_that_is_moved_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with closing(SqlScheduleStore(f"sqlite:///{tmp_path / 'history.db'}", upgrades=True, patience=SHORT)) as store:
        store.add(schedule(), "ana@desk", "x")
        store.read()
        store.close()
        (tmp_path / "history.db").rename(tmp_path / "elsewhere")
        with pytest.raises(HistoryUnavailable, match="gone"):
            store.changed()
        assert not (tmp_path / "history.db").exists(), "looking makes none"


def test_a_folder_that_may_not_be_entered_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A superuser may enter every folder, so the system's answer is given here."""

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    with closing(SqlScheduleStore(f"sqlite:///{tmp_path / 'history.db'}", upgrades=True, patience=SHORT)) as store:
        monkeypatch.setattr(Path, "exists", denied)
        for use in (store.changed, store.read, lambda: store.find("nightly")):
            with pytest.raises(NotPermitted, match="Permission denied"):
                use()


def test_a_restored_database_that_reached_the_same_revision_is_noticed(
    database: Database, store: SqlScheduleStore
) -> None:
    store.add(schedule(), "ana@desk", "x")
    store.read()
    assert not store.changed()
    execute(database, "UPDATE schedule SET changed_at = '2020-01-01 00:00:00.000000'")
    assert store.changed()


def test_a_definition_that_is_no_json_any_more_is_a_fault_of_that_schedule_alone(tmp_path: Path) -> None:
    """PostgreSQL would refuse to store it; a file is edited by hand."""
    url = f"sqlite:///{tmp_path / 'history.db'}"
    with closing(SqlScheduleStore(url, upgrades=True)) as store, closing(Database(url, writes=True)) as database:
        for name in ("nightly", "hourly"):
            store.add(schedule(name), "ana@desk", "x")
        execute(database, "UPDATE schedule SET definition = 'cron at night' WHERE name = 'nightly'")
        with pytest.raises(SchedulesInvalid) as caught:
            store.read()
        (fault,) = caught.value.faults
        assert fault.startswith("nightly in ")
        assert "not JSON" in fault
        assert store.find("hourly").schedule == schedule("hourly")
        execute(database, """UPDATE schedule SET definition = '{"name": "x"}' WHERE name = 'nightly'""")
        with pytest.raises(SchedulesInvalid, match="required, and missing"):
            store.find("nightly")


def test_a_definition_under_another_name_is_a_fault(database: Database, store: SqlScheduleStore) -> None:
    """Its tasks would have the ids of another schedule."""
    store.add(schedule(), "ana@desk", "x")
    execute(database, "UPDATE schedule SET name = 'other'")
    with pytest.raises(SchedulesInvalid, match=r"other in .*name: it says 'nightly'"):
        store.read()


def test_the_password_of_the_database_is_in_no_place(postgresql_url: str) -> None:
    with closing(SqlScheduleStore(postgresql_url, upgrades=True)) as store:
        assert "s3cret" not in store.place
        store.add(schedule(), "ana@desk", "x")
        assert "s3cret" not in "".join(one.place for one in store.read())


def test_doctor_looks_whether_schedules_may_be_written(postgresql: PostgresqlServer, postgresql_url: str) -> None:
    upgrade(postgresql_url)
    name = postgresql_url.split("@/")[1].split("?", maxsplit=1)[0]
    postgresql.execute("DROP ROLE IF EXISTS janitor")
    postgresql.execute("CREATE ROLE janitor LOGIN PASSWORD 'quiet-please'")
    postgresql.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO janitor", name)
    theirs = postgresql_url.replace(postgresql_url.split("//")[1].split("@", maxsplit=1)[0], "janitor:quiet-please")
    assert look(theirs).denied == ""
    with closing(SqlScheduleStore(theirs, upgrades=False)) as store:
        store.add(schedule(), "ana@desk", "x")
    postgresql.execute("REVOKE INSERT, UPDATE ON schedule FROM janitor", name)
    assert "permission denied for table schedule" in look(theirs).denied
