"""`postgres_task`'s vacuum and reindexing on a real primary with a replica: what they do, leave alone, and clean up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from runners.postgres.psql import QueryFailed, session_name
from runners.postgres.reindex import ReindexConcurrently
from runners.postgres.vacuum import Vacuum
from taskerman import Go, Recovered, Refuse, Skip, Wait
from tests.integration.postgres_harness import OnTheMachine, believe_sooner, settled, task
from tests.support.stores.postgres import PostgresStore, running_postgres
from tests.support.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresStore]:
    with running_postgres(2) as store:
        yield store


@pytest.fixture
def store(running: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> PostgresStore:
    """With a table of 3,000 rows, a third of them dead, and another in which nobody died."""
    believe_sooner(monkeypatch)
    running.execute("DROP TABLE IF EXISTS used, unused")
    running.execute("CREATE TABLE used AS SELECT g AS id, md5(g::text) AS word FROM generate_series(1, 3000) AS g")
    running.execute("CREATE TABLE unused AS SELECT 1 AS id")
    running.execute("CREATE INDEX by_word ON used (word)")
    running.execute("DELETE FROM used WHERE id % 3 = 0")
    until(lambda: _dead(running) == 1000, "counted")
    running.wait_until_well()
    return running


def _dead(store: PostgresStore) -> int:
    return int(store.ask(store.members[0], "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'used'"))


def _vacuumed(store: PostgresStore) -> list[str]:
    sql = "SELECT coalesce(json_agg(relname ORDER BY 1), '[]') FROM pg_stat_user_tables WHERE vacuum_count > 0"
    return list(store.ask(store.members[0], sql))


def on_primary(store: PostgresStore, runner: type[Any], **more: Any) -> OnTheMachine[Any]:
    return task(runner, store, store.members[0], **{"databases": ["postgres"], **more})


def _waits(harness: OnTheMachine[Any]) -> bool:
    return isinstance(harness.pre_check(), Wait)


class Acting:
    """The action in a thread, as its process would; `stop` is what its end by a timeout leaves to `abort`."""

    def __init__(self, harness: OnTheMachine[Any]) -> None:
        self.error: BaseException | None = None
        self._harness = harness
        self._thread = threading.Thread(target=self._act, daemon=True)
        self._thread.start()

    def _act(self) -> None:
        try:
            self._harness.execute_action()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_the_tables_that_need_it_are_vacuumed_and_no_other(store: PostgresStore) -> None:
    assert isinstance(task(Vacuum, store, store.members[1]).pre_check(), Skip), "a replica"
    harness = on_primary(store, Vacuum)
    assert harness.pre_check() == Go()
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    settled(harness)
    assert _vacuumed(store) == ["used"]
    assert harness.recover() is Recovered.DONE
    harness.saved["ended"] = False
    assert harness.recover() is Recovered.DONE, "by the server's own notes"
    again = on_primary(store, Vacuum)
    again.execute_action()
    assert again.logged[-1].fields == {"tables": 0}


def test_a_vacuum_that_is_stopped_ends_at_the_server_too(store: PostgresStore) -> None:
    """A server goes on with a statement whose client has died: abort ends it, and nothing is half done."""
    harness = on_primary(store, Vacuum, cost_limit=1, cost_delay_ms=100)
    acting = Acting(harness)
    mine = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{session_name('t-harness.pg-0.1')}'"
    until(lambda: store.ask(store.members[0], "SELECT count(*) FROM pg_stat_progress_vacuum") == 1, "it is at it")
    other = on_primary(store, Vacuum)
    other.execute_action()
    assert _vacuumed(store) == [], "another vacuum works on it, and it is left to that"
    harness.abort()
    acting.end()
    assert acting.error is not None
    assert store.ask(store.members[0], mine) == 0
    assert harness.recover() is Recovered.NOT_DONE
    assert _vacuumed(store) == []


def test_an_old_transaction_is_waited_for_and_named(store: PostgresStore) -> None:
    with store.connect(store.members[0]) as connection, connection.transaction():
        connection.execute("SELECT count(*) FROM used")
        pid = connection.info.backend_pid
        for runner in (Vacuum, ReindexConcurrently):
            harness = on_primary(store, runner, max_transaction_age_s=1)
            until(partial(_waits, harness), "old enough")
            answer = harness.pre_check()
            assert isinstance(answer, Wait)
            assert f"pid {pid} of ada in postgres" in answer.reason
            assert on_primary(store, Vacuum).pre_check() == Go(), "an hour is the usual patience"


def test_a_replica_that_does_not_follow_is_waited_for(store: PostgresStore) -> None:
    store.members[1].must("stop")
    try:
        answer = on_primary(store, Vacuum).pre_check()
        assert isinstance(answer, Wait)
        assert answer.of == "cluster"
        assert "does not answer" in answer.reason
    finally:
        store.members[1].must("start")


def test_a_named_index_is_rebuilt_in_another_file(store: PostgresStore) -> None:
    file = "SELECT pg_relation_filenode('by_word')"
    before = store.ask(store.members[0], file)
    harness = on_primary(store, ReindexConcurrently, indexes=["public.by_word"])
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert store.ask(store.members[0], file) != before
    assert harness.recover() is Recovered.DONE
    answer = on_primary(store, ReindexConcurrently, indexes=["public.nope"]).pre_check()
    assert isinstance(answer, Refuse)
    assert "there is no index public.nope" in answer.reason
    assert isinstance(on_primary(store, ReindexConcurrently).pre_check(), Skip)


@pytest.mark.parametrize("found_by", ["abort", "the next attempt", "recover"])
def test_a_half_built_index_is_dropped_whoever_left_it(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, found_by: str
) -> None:
    """Rebuilding waits for a transaction that still reads; it is ended there, as a crash would."""
    at = store.members[0]
    before = store.ask(at, "SELECT pg_relation_filenode('by_word')")
    harness = on_primary(store, ReindexConcurrently, indexes=["public.by_word"], lock_timeout_s=60)
    with store.connect(at) as connection, connection.transaction():
        connection.execute("LOCK TABLE used IN ROW EXCLUSIVE MODE")
        acting = Acting(harness)
        until(lambda: store.ask(at, INVALID) == 1, "half built")
        if found_by != "abort":  # killed: whoever would clean up after a failure is dead, too
            monkeypatch.setattr(ReindexConcurrently, "_drop_leftovers", lambda _: None)
            harness.runner().access().end_sessions(harness.runner().config.own)
            acting.end()
            monkeypatch.undo()
    if found_by == "abort":
        harness.abort()
        acting.end()
    else:
        assert store.ask(at, INVALID) == 1
    if found_by == "the next attempt":
        other = on_primary(store, ReindexConcurrently)
        assert other.pre_check() == Go()
        other.execute_action()
    elif found_by == "recover":
        assert harness.recover() is Recovered.NOT_DONE
        assert store.ask(at, "SELECT pg_relation_filenode('by_word')") == before
    assert store.ask(at, INVALID) == 0


def test_an_invalid_index_is_rebuilt_unless_somebody_builds_it_now(store: PostgresStore) -> None:
    at = store.members[0]
    store.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_word'::regclass")
    harness = on_primary(store, ReindexConcurrently)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert store.ask(at, INVALID) == 0
    with store.connect(at) as connection, connection.transaction():
        connection.execute("LOCK TABLE used IN ROW EXCLUSIVE MODE")
        builder = threading.Thread(
            target=store.execute, args=("CREATE INDEX CONCURRENTLY by_id ON used (id)",), daemon=True
        )
        builder.start()
        until(lambda: store.ask(at, INVALID) == 1, "it is being built")
        assert isinstance(on_primary(store, ReindexConcurrently).pre_check(), Skip)
    builder.join(30)
    assert store.ask(at, INVALID) == 0


def test_an_index_that_cannot_be_rebuilt_is_named_and_leaves_nothing(store: PostgresStore) -> None:
    at = store.members[0]
    store.execute("INSERT INTO used VALUES (1, 'twice'), (1, 'twice')")
    store.execute("CREATE INDEX only_once ON used (id)")
    store.execute("UPDATE pg_index SET indisunique = true, indisvalid = false WHERE indexrelid = 'only_once'::regclass")
    harness = on_primary(store, ReindexConcurrently)
    with pytest.raises(QueryFailed, match="could not create unique index"):
        harness.execute_action()
    assert store.ask(at, "SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'") == 0
