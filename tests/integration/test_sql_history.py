"""The history on real databases: its schema, its migrations, what it does with what a database refuses, and secrets."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from taskerman.adapters.sql import SqlHistory, SqlHistoryReader, look, schema, upgrade
from taskerman.adapters.sql.database import Database
from taskerman.adapters.sql.migration import configuration, migrate
from taskerman.adapters.sql.schema import STEPS, standing
from taskerman.adapters.sql.tables import VERSION_TABLE, metadata
from taskerman.errors import HistorySchema, HistoryUnavailable, NotFound, NotPermitted, TaskermanError, UsageError
from taskerman.model.audit import AuditEntry
from taskerman.ports.history import AuditQuery, TaskQuery
from tests.support.postgresql import PASSWORD, PostgresqlServer

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHORT = timedelta(seconds=0.5)


@pytest.fixture(params=["sqlite", "postgresql"])
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


def entry(name: str = "e1", why: str = "look") -> AuditEntry:
    return AuditEntry(id=name, at=NOW, by="ann", verb="hold", target="*", why=why)


def record(url: str, *entries: AuditEntry, upgrades: bool = True) -> None:
    with closing(SqlHistory(url, upgrades=upgrades, patience=SHORT)) as history:
        history.record_audit(entries)


def read(url: str) -> list[AuditEntry]:
    with closing(SqlHistoryReader(url, patience=SHORT)) as reader:
        return list(reader.audit_entries(AuditQuery()))


# --- the schema ------------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: Database) -> None:
    """A column without a migration would be found by the first janitor in production."""
    database.transact("migrate", migrate)

    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        return compare_metadata(context, metadata)

    assert database.transact("compare", differences) == []


def test_the_steps_that_the_code_knows_are_those_that_are_shipped() -> None:
    shipped = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]
    assert tuple(reversed(shipped)) == STEPS


def test_upgrading_again_changes_nothing(url: str) -> None:
    first = upgrade(url)
    record(url, entry())
    assert upgrade(url) == first
    assert read(url) == [entry()]


def test_a_migration_that_fails_in_the_middle_leaves_nothing_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in SQLite, whose driver would commit each table by itself."""

    def half(connection: Connection) -> None:
        migrate(connection)
        raise sqlite3.OperationalError("the power fails")

    with pytest.raises(HistoryUnavailable, match="the power fails"):
        database.transact("migrate", half)
    assert database.transact("look", standing).there is None
    assert database.transact("migrate", migrate).fits


def test_two_processes_that_upgrade_at_once_both_succeed(url: str) -> None:
    code = "import sys; from taskerman.adapters.sql import upgrade; print(upgrade(sys.argv[1]))"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert read(url) == []


def test_two_threads_that_upgrade_at_once_both_succeed(url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert len({done.result(60) for done in [pool.submit(upgrade, url) for _ in range(3)]}) == 1


def test_the_schema_of_a_newer_build_is_refused_and_left_alone(url: str, database: Database) -> None:
    upgrade(url)
    database.transact(
        "grow", lambda connection: connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num='9999'"))
    )
    with pytest.raises(HistorySchema, match="made by a newer build"):
        record(url, entry())
    with pytest.raises(HistorySchema, match="made by a newer build"):
        read(url)
    with pytest.raises(HistorySchema, match="made by a newer build"):
        upgrade(url)


def test_an_older_schema_is_upgraded_only_by_who_may(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of tomorrow, that knows a further step, meets the schema of today."""
    upgrade(url)
    record(url, entry())
    monkeypatch.setattr(schema, "STEPS", (*STEPS, "9998"))
    for use in (lambda: record(url, entry("e2"), upgrades=False), lambda: read(url)):
        with pytest.raises(
            HistorySchema, match=r"has schema [0-9]+, and this build needs 9998.*taskerman history upgrade"
        ):
            use()


def test_a_janitor_that_may_not_upgrade_waits_for_a_person(url: str) -> None:
    with pytest.raises(HistorySchema, match="taskerman history upgrade"):
        record(url, entry(), upgrades=False)
    upgrade(url)
    record(url, entry(), upgrades=False)


def test_a_history_in_which_nothing_was_ever_recorded_is_no_history(url: str, tmp_path: Path) -> None:
    """And looking for one makes none."""
    with pytest.raises(NotFound, match="no history"):
        read(url)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_was_away_at_first_is_used_when_it_is_back(
    postgresql: PostgresqlServer, postgresql_url: str
) -> None:
    name = postgresql_url.split("@/")[1].split("?", maxsplit=1)[0]
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with closing(SqlHistory(postgresql_url, upgrades=True, patience=SHORT)) as history:
        with pytest.raises(HistoryUnavailable):
            history.record_audit([entry()])
        postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        history.record_audit([entry()])
        postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        history.record_audit([entry("e2")])
        assert len(read(postgresql_url)) == 2


def test_tables_that_somebody_dropped_are_made_again(url: str, database: Database) -> None:
    left = ("task", "assignment", "refusal", "schedule", "command")
    with closing(SqlHistory(url, upgrades=True, patience=SHORT)) as history:
        history.record_audit([entry()])
        database.transact("drop", lambda connection: connection.execute(text("DROP TABLE audit")))
        with pytest.raises(HistoryUnavailable):
            history.record_audit([entry()])
        database.transact("drop", lambda connection: connection.execute(text(f"DROP TABLE {VERSION_TABLE}")))
        database.transact("drop", lambda connection: [connection.execute(text(f"DROP TABLE {name}")) for name in left])
        history.record_audit([entry()])
    assert read(url) == [entry()]


# --- what is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\x00b", "a\u2400b"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("\U0001f600 'quoted' \\ %s :name\r\n\t", "\U0001f600 'quoted' \\ %s :name\r\n\t"),
    ],
)
def test_what_a_database_refuses_is_stored_as_near_as_it_can_be(url: str, given: str, kept: str) -> None:
    """A record that could never be stored would never be put away."""
    record(url, entry().model_copy(update={"why": given}))
    assert read(url)[0].why == kept


def test_a_time_is_the_same_time_whatever_the_zone_of_who_reads_it(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    exact = NOW + timedelta(microseconds=123456)
    record(url, entry().model_copy(update={"at": exact}))
    assert read(url)[0].at == exact


def test_what_was_acknowledged_is_there_for_whoever_opens_it_next(url: str) -> None:
    record(url, entry())
    assert read(url) == [entry()]


def test_a_file_is_not_for_everybody_to_read(tmp_path: Path) -> None:
    """It has what actions printed."""
    record(f"sqlite:///{tmp_path / 'new' / 'history.db'}", entry())
    assert (tmp_path / "new" / "history.db").stat().st_mode & 0o007 == 0
    assert (tmp_path / "new").stat().st_mode & 0o007 == 0


def test_a_path_may_have_every_character(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a b%c' / 'history.db'}"
    record(url, entry())
    assert read(url) == [entry()]
    assert (tmp_path / "a b%c" / "history.db").exists()


def test_reading_changes_nothing_and_waits_for_nobody(tmp_path: Path) -> None:
    """A writer in the middle of a transaction does not keep a person from looking."""
    file = tmp_path / "history.db"
    record(f"sqlite:///{file}", entry())
    with closing(sqlite3.connect(file, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        assert read(f"sqlite:///{file}") == [entry()]


# --- who may not, and secrets ----------------------------------------------------------------------------


def test_a_wrong_password_is_a_matter_of_rights_and_is_never_shown(postgresql: PostgresqlServer) -> None:
    wrong = postgresql.url("postgres", password="Wr0ng%2Fpass%40word")
    for use in (lambda: record(wrong, entry()), lambda: read(wrong)):
        with pytest.raises(NotPermitted) as caught:
            use()
        assert "authentication failed" in caught.value.what
        assert_hidden(caught.value, "Wr0ng/pass@word", "Wr0ng%2Fpass%40word")


def test_a_right_that_is_missing_is_a_matter_of_rights(postgresql: PostgresqlServer, postgresql_url: str) -> None:
    upgrade(postgresql_url)
    name = postgresql_url.split("@/")[1].split("?", maxsplit=1)[0]
    postgresql.execute("DROP ROLE IF EXISTS reader")
    postgresql.execute("CREATE ROLE reader LOGIN PASSWORD 'quiet-please'")
    postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    theirs = postgresql_url.replace(postgresql_url.split("//")[1].split("@", maxsplit=1)[0], "reader:quiet-please")
    with pytest.raises(NotPermitted) as caught:
        record(theirs, entry())
    assert "permission denied" in caught.value.what
    assert_hidden(caught.value, "quiet-please")
    assert read(theirs) == [], "reading is permitted"
    seen = look(theirs)
    assert seen.standing.fits
    assert "permission denied" in seen.denied
    assert "quiet-please" not in seen.denied


def test_a_server_that_is_not_there_cannot_be_reached_and_no_password_is_shown() -> None:
    nowhere = "postgresql://ada:hush%40hush@127.0.0.1:1/history"
    for use in (lambda: record(nowhere, entry()), lambda: read(nowhere), lambda: upgrade(nowhere, patience=SHORT)):
        with pytest.raises(HistoryUnavailable) as caught:
            use()
        assert caught.value.exit_code == 5
        assert_hidden(caught.value, "hush@hush", "hush%40hush")


def test_a_database_that_does_not_exist_says_so(postgresql: PostgresqlServer) -> None:
    with pytest.raises(HistoryUnavailable, match=r'database "nosuch" does not exist'):
        read(postgresql.url("nosuch"))


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    file.write_text("Dear diary, today I was not a database." * 40)
    for use in (lambda: record(f"sqlite:///{file}", entry()), lambda: read(f"sqlite:///{file}")):
        with pytest.raises(HistoryUnavailable, match="not a database"):
            use()
    assert file.read_text().startswith("Dear diary")


@pytest.mark.parametrize(
    "url", ["mysql://u:hush@h/d", "sqlite://", "sqlite:///relative.db", "oracle", "postgresql://u:hush@[::1/d"]
)
def test_another_kind_of_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        SqlHistoryReader(url)
    assert_hidden(caught.value, "hush")
    assert "sqlite:////absolute/path" in caught.value.next_step


def test_options_of_the_address_reach_the_driver(postgresql_url: str) -> None:
    with closing(Database(f"{postgresql_url}&application_name=mine", writes=False)) as database:
        assert database.transact("look", lambda c: c.scalar(text("SHOW application_name"))) == "mine"


def assert_hidden(error: TaskermanError, *secrets: str) -> None:
    """No secret in what is said, nor in the chain of causes that a log would print."""
    said: list[BaseException] = [error]
    while (
        cause := said[-1].__cause__ or (None if said[-1].__suppress_context__ else said[-1].__context__)
    ) is not None:
        said.append(cause)
    for each in said:
        for secret in (*secrets, PASSWORD):
            assert secret not in f"{each} {each!r}"


def test_queries_on_an_empty_history_are_empty(url: str) -> None:
    upgrade(url)
    with closing(SqlHistoryReader(url)) as reader:
        assert list(reader.ended_tasks(TaskQuery())) == []


# --- looking at it, for doctor ---------------------------------------------------------------------------


def test_looking_says_which_schema_is_there_and_makes_no_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'folder' / 'history.db'}"
    seen = look(url)
    assert (seen.standing.there, seen.standing.behind) == (None, True)
    assert not (tmp_path / "folder").exists()
    upgrade(url)
    seen = look(url)
    assert (seen.standing.fits, seen.denied) == (True, "")
    before = (tmp_path / "folder" / "history.db").read_bytes()
    look(url)
    assert (tmp_path / "folder" / "history.db").read_bytes() == before


def test_looking_at_a_database_says_the_same_and_writes_nothing(url: str) -> None:
    assert look(url, patience=SHORT).standing.there is None
    record(url, entry())
    seen = look(url, patience=SHORT)
    assert (seen.standing.fits, seen.denied) == (True, "")
    assert read(url) == [entry()]
