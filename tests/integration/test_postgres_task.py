"""`postgres_task:restart` on a real primary with two replicas, hook by hook: what it sees, waits for, refuses and
does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runners.postgres.restart import Restart
from runners.postgres.switchover import NotReady, Shutdown, Switchover
from taskerman import CommandFailed, Go, Recovered, Refuse, Wait
from tests.integration.postgres_harness import OnTheMachine, believe_sooner, killed, settled, task
from tests.support.stores.member import Member
from tests.support.stores.postgres import PostgresStore, running_postgres
from tests.support.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

SWITCHOVER = "runners.postgres.switchover:Switchover"


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresStore]:
    with running_postgres() as store:
        yield store


@pytest.fixture
def store(running: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> PostgresStore:
    """Well, whatever a test before did."""
    believe_sooner(monkeypatch)
    for member in running.members:
        member.must("repair")
        member.must("start")
    running.wait_until_well()
    running.forget_events()
    return running


def restart(store: PostgresStore, member: Member, **more: Any) -> OnTheMachine[Restart]:
    return task(Restart, store, member, **more)


def name_of(store: PostgresStore, member: Member) -> str:
    return f"127.0.0.1:{store.port(member)}"


def named(store: PostgresStore, name: object) -> Member:
    return next(member for member in store.members if name_of(store, member) == name)


def test_a_replica_is_restarted_and_called_well_when_the_primary_sees_it_stream(store: PostgresStore) -> None:
    member = store.replicas()[0]
    harness = restart(store, member)
    before = store.ask(member, "SELECT extract(epoch FROM pg_postmaster_start_time())::float8")
    assert harness.pre_check() == Go()
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    settled(harness)
    assert harness.saved["started"] == pytest.approx(float(before), abs=1e-3)
    assert store.restarts() == [member.name]
    assert harness.recover() is Recovered.DONE


def test_a_primary_waits_until_the_task_has_restarted_its_other_nodes(store: PostgresStore) -> None:
    nodes = [member.name for member in store.members]
    just_accepted = restart(store, store.primary(), nodes=nodes, ago_s=-3600)
    answer = just_accepted.pre_check()
    assert isinstance(answer, Wait)
    assert answer.of == "node"
    assert "0 of 2 replicas were restarted since the task was accepted" in answer.reason
    assert restart(store, store.primary(), nodes=nodes, ago_s=3600).pre_check() == Go()
    alone = restart(store, store.primary(), nodes=nodes[:1], ago_s=-3600)
    assert alone.pre_check() == Go(), "a task of one node waits for nobody"


def test_a_primary_hands_over_and_comes_back_as_a_replica_with_everything_that_was_committed(
    store: PostgresStore,
) -> None:
    old = store.primary()
    store.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    store.execute("TRUNCATE kept")
    store.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    harness = restart(store, old)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    store.wait_until_well()
    assert store.primary() is not old
    assert harness.saved["heir"] == name_of(store, store.primary())
    for member in store.members:
        assert store.ask(member, "SELECT count(*) FROM kept") == 1000
    assert store.restarts() == [old.name], "the heir is promoted, not restarted"
    assert harness.recover() is Recovered.DONE


@pytest.mark.parametrize(
    ("where", "after", "moves"),
    [
        pytest.param(f"{SWITCHOVER}._stopped", False, False, id="when the old primary is down"),
        pytest.param(f"{SWITCHOVER}.fence", True, False, id="when it is fenced"),
        pytest.param(f"{SWITCHOVER}._promote", False, True, id="when the heir may have been asked"),
        pytest.param(f"{SWITCHOVER}._promote", True, True, id="when the heir is the primary"),
        pytest.param(f"{SWITCHOVER}._start", True, True, id="when all is done"),
    ],
)
def test_a_handover_that_is_killed_is_brought_to_one_of_its_two_ends(
    store: PostgresStore, where: str, after: bool, moves: bool
) -> None:
    old = store.primary()
    harness = restart(store, old)
    killed(harness, where, after=after)
    assert harness.recover() is Recovered.DONE, "it was stopped and started, whichever way"
    settled(harness)
    store.wait_until_well()
    assert (store.primary() is not old) is moves
    harness.abort()
    store.wait_until_well()


def test_a_handover_that_is_killed_before_anything_was_stopped_leaves_all_as_it_was(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.postgres.restart.RECOVER_WITHIN_S", 0.2)
    old = store.primary()
    harness = restart(store, old)
    killed(harness, "runners.postgres.psql:Access.tell")
    harness.abort()
    assert store.primary() is old
    assert store.restarts() == []
    assert harness.recover() is not Recovered.DONE


def test_an_old_primary_stays_fenced_while_it_is_not_known_whether_a_silent_peer_took_over(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one case in which nobody is the primary: two would be worse."""
    monkeypatch.setattr("runners.postgres.restart.RECOVER_WITHIN_S", 0.2)
    old = store.primary()
    harness = restart(store, old)
    killed(harness, f"{SWITCHOVER}.fence", after=True)
    silent = store.replicas()[0]
    silent.must("stop")
    harness.abort()
    assert old.pid is None
    assert (old.folder / "data" / "standby.signal").exists()
    assert harness.recover() is Recovered.UNKNOWN
    assert isinstance(harness.post_check(), Wait)
    silent.must("start")
    harness.abort()
    store.wait_until_well()
    assert store.primary() is old


def test_a_heir_that_does_not_get_into_step_is_not_promoted_and_the_old_primary_goes_on(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the last checkpoint were further than the heir has got: what one that lost WAL would show."""
    old = store.primary()
    harness = restart(store, old, handover_timeout_s=1.0)
    real = Switchover._stopped

    def stopped_further_on(self: Switchover) -> Shutdown:
        found = real(self)
        return Shutdown(found.clean, found.checkpoint + 1_000_000, found.timeline)

    monkeypatch.setattr(Switchover, "_stopped", stopped_further_on)
    with pytest.raises(NotReady, match=r"has not replayed the last checkpoint.*started as the primary again"):
        harness.execute_action()
    store.wait_until_well()
    assert store.primary() is old
    settled(harness)


def test_an_old_primary_stays_fenced_when_its_heir_became_the_primary_and_fell_silent(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody promoted it between our stop and our word. Once it was seen so, silence is no proof that it is none."""
    old = store.primary()
    harness = restart(store, old)
    real = Switchover._back

    def promoted_by_somebody(self: Switchover, heir: str, stopped: Any) -> None:
        store.ask(named(store, heir), "SELECT pg_promote()")
        wait_in_step(self, heir, stopped)

    def and_silent(self: Switchover, **how: Any) -> str:
        named(store, self.ctx.saved["heir"]).must("stop")
        return real(self, **how)

    wait_in_step = Switchover._wait_in_step
    monkeypatch.setattr(Switchover, "_wait_in_step", promoted_by_somebody)
    monkeypatch.setattr(Switchover, "_back", and_silent)
    with pytest.raises(NotReady, match=r"became the primary without us.*stays down and fenced"):
        harness.execute_action()
    assert old.pid is None
    assert (old.folder / "data" / "standby.signal").exists()
    named(store, harness.saved["heir"]).must("start")
    harness.abort()
    store.wait_until_well()
    assert store.primary() is not old


def test_an_old_primary_that_somebody_starts_before_it_is_fenced_hands_nothing_over(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes writes, and a promoted heir would be a second primary. Nor is it left to become a replica later."""
    old = store.primary()
    harness = restart(store, old, handover_timeout_s=2.0)
    real = Switchover.fence

    def started_by_somebody(self: Switchover) -> None:
        old.must("start")
        real(self)

    monkeypatch.setattr(Switchover, "fence", started_by_somebody)
    with pytest.raises(NotReady, match=r"still runs.*the server runs on"):
        harness.execute_action()
    assert store.primary() is old, "and nobody else"
    assert not (old.folder / "data" / "standby.signal").exists()
    settled(harness)


def test_a_primary_that_was_not_shut_down_cleanly_hands_nothing_over(store: PostgresStore) -> None:
    """Its stop command kills it: it may not have sent everything, so it is started again as what it was."""
    old = store.primary()
    harness = restart(store, old, settings={"stop": old.command_line("kill")}, handover_timeout_s=1.0)
    with pytest.raises(NotReady, match=r"still runs|did not shut down cleanly"):
        harness.execute_action()
    store.wait_until_well()
    assert store.primary() is old


def test_an_old_primary_that_does_not_come_back_leaves_the_new_one_serving(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.postgres.restart.RECOVER_WITHIN_S", 0.2)
    old = store.primary()
    old.must("break")
    harness = restart(store, old)
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert store.primary() is not old
    store.execute("CREATE TABLE IF NOT EXISTS after_it (n int)")
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "does not answer" in answer.reason
    assert harness.recover() is Recovered.UNKNOWN


# --- what it waits for and refuses -----------------------------------------------------------------------


def test_it_waits_while_more_servers_are_down_than_the_task_may_have_taken_down(store: PostgresStore) -> None:
    one, other = store.replicas()
    other.must("stop")
    answer = restart(store, one).pre_check()
    assert isinstance(answer, Wait)
    assert answer.of == "cluster"
    assert f"{name_of(store, other)} does not answer" in answer.reason
    assert restart(store, one, at_once=2).pre_check() == Go()
    primary = restart(store, store.primary(), at_once=2).pre_check()
    assert isinstance(primary, Wait), "before a primary goes down, everybody else is well"


def _is_set(store: PostgresStore, names: str) -> bool:
    return bool(store.ask(store.primary(), "SHOW synchronous_standby_names") == names)


def test_commits_go_on_or_a_synchronous_replica_stays_up(store: PostgresStore) -> None:
    replica = store.replicas()[0]
    try:
        for names, kind in (("ANY 2 (*)", Refuse), ("ANY 1 (*)", Go), (f'"{replica.name}"', Refuse)):
            store.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            store.execute("SELECT pg_reload_conf()")
            until(partial(_is_set, store, names), "taken")
            answer = restart(store, replica).pre_check()
            assert isinstance(answer, kind), f"{names}: {answer}"
        store.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        store.execute("SELECT pg_reload_conf()")
        both = restart(store, replica, at_once=2)
        until(lambda: isinstance(both.pre_check(), Refuse), "two at once would leave none")
    finally:
        store.execute("ALTER SYSTEM RESET synchronous_standby_names")
        store.execute("SELECT pg_reload_conf()")


def test_paused_replay_is_somebodys_purpose(store: PostgresStore) -> None:
    one, other = store.replicas()
    try:
        store.ask(one, "SELECT pg_wal_replay_pause()")
        until(lambda: store.ask(one, "SELECT pg_get_wal_replay_pause_state()") == "paused", "paused")
        own = restart(store, one).pre_check()
        assert isinstance(own, Wait)
        assert "paused replay here" in own.reason
        for member in (other, store.primary()):
            answer = restart(store, member).pre_check()
            assert isinstance(answer, Wait)
            assert "has paused replay" in answer.reason
    finally:
        store.ask(one, "SELECT pg_wal_replay_resume()")


def test_a_backup_that_reads_from_the_server_is_waited_for(store: PostgresStore) -> None:
    member = store.replicas()[0]
    with store.connect(member, application_name="pg_dump"):
        answer = restart(store, member).pre_check()
    assert isinstance(answer, Wait)
    assert "a backup reads from this server: pg_dump" in answer.reason
    until(lambda: restart(store, member).pre_check() == Go(), "it is over")


def test_without_a_configured_handover_a_primary_goes_down_only_by_word(store: PostgresStore) -> None:
    old = store.primary()
    answer = restart(store, old, settings={"handover": "none"}).pre_check()
    assert isinstance(answer, Refuse)
    assert "allow_primary_downtime" in answer.reason
    harness = restart(store, old, settings={"handover": "none"}, allow_primary_downtime=True)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert store.primary() is old
    assert store.restarts() == [old.name]
    assert harness.recover() is Recovered.DONE


def test_a_configured_command_hands_over_and_then_the_server_is_restarted_as_a_replica(
    store: PostgresStore, tmp_path: Path
) -> None:
    """What Patroni would do, in ten lines of a script."""
    old, heir = store.primary(), store.replicas()[0]
    script = tmp_path / "switchover.py"
    script.write_text(
        "import subprocess, pathlib, psycopg\n"
        f"subprocess.run({old.command_line('stop')!r}, check=True)\n"
        f"pathlib.Path({str(old.folder / 'data' / 'standby.signal')!r}).touch()\n"
        f"with psycopg.connect({_dsn(store, heir)!r}, autocommit=True) as c:\n"
        "    c.execute('SELECT pg_promote()')\n"
        f"subprocess.run({old.command_line('start')!r}, check=True)\n"
    )
    settings: Mapping[str, Any] = {"handover": "command", "switchover": [sys.executable, str(script)]}
    harness = restart(store, old, settings=settings)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert store.primary() is heir
    assert store.restarts() == [old.name, old.name]
    assert harness.recover() is Recovered.DONE


def _dsn(store: PostgresStore, member: Member) -> str:
    with store.connect(member) as connection:
        return connection.info.dsn + " password='s3cret/of the\\'test'"


def test_a_command_that_hands_nothing_over_restarts_nothing(store: PostgresStore) -> None:
    old = store.primary()
    harness = restart(store, old, settings={"handover": "command", "switchover": ["true"]}, handover_timeout_s=0.5)
    with pytest.raises(NotReady, match="still the primary"):
        harness.execute_action()
    assert store.restarts() == []
    assert harness.recover() is Recovered.NOT_DONE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"password": ""}, "no password supplied"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"user": "nobody"}, "password authentication failed"),
        ({"programs": "/nonexistent"}, "the program psql of PostgreSQL is not in /nonexistent"),
        ({"run_as": "no-such-user"}, "there is no user no-such-user"),
        ({"data": "/tmp"}, "the data folder /tmp"),
        ({"peers": ["no-port"]}, "'no-port' is not host:port"),
        ({"handover": "command"}, "needs switchover"),
        ({"handover": "built_in", "data": ""}, "needs data"),
        ({"colour": "red"}, "colour: unknown key"),
    ],
)
def test_what_is_wrong_with_a_node_is_named_before_anything_happens(
    store: PostgresStore, settings: Mapping[str, Any], said: str
) -> None:
    harness = restart(store, store.primary(), settings=settings)
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert said in answer.reason
    assert "s3cret" not in answer.reason
    assert not any("s3cret" in str(line) for line in harness.logged)
    assert store.restarts() == []


def test_another_servers_data_folder_is_not_fenced(store: PostgresStore) -> None:
    other = store.replicas()[0]
    answer = restart(store, store.primary(), settings={"data": str(other.folder / "data")}).pre_check()
    assert isinstance(answer, Refuse)
    assert "is another server's" in answer.reason


def test_a_replica_that_would_not_find_a_new_primary_is_named(store: PostgresStore) -> None:
    replica = store.replicas()[0]
    way = store.ask(replica, "SHOW primary_conninfo")
    try:
        lone = way.replace("target_session_attrs=read-write", "")
        with store.connect(replica) as connection:
            connection.execute("SELECT set_config('x.y', %s, false)", (lone,))
        quoted = lone.replace("'", "''")
        store.ask(replica, f"ALTER SYSTEM SET primary_conninfo = '{quoted}'")
        store.ask(replica, "SELECT pg_reload_conf()")
        harness = restart(store, store.primary())
        until(lambda: isinstance(harness.pre_check(), Refuse), "seen")
        answer = harness.pre_check()
        assert isinstance(answer, Refuse)
        assert f"{name_of(store, replica)} would not find a new primary by itself" in answer.reason
    finally:
        store.ask(replica, "ALTER SYSTEM RESET primary_conninfo")
        store.ask(replica, "SELECT pg_reload_conf()")


def test_a_dead_replica_may_be_started(store: PostgresStore) -> None:
    """A redrive after repair finds the server down: to start it is the point."""
    member = store.replicas()[0]
    member.must("stop")
    harness = restart(store, member)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_a_dead_server_of_which_nobody_knows_what_it_would_be_is_left_alone(store: PostgresStore) -> None:
    member = store.replicas()[0]
    member.must("stop")
    answer = restart(store, member, settings={"data": "", "handover": "none"}).pre_check()
    assert isinstance(answer, Refuse)
    assert "second primary" in answer.reason


def test_a_dead_primary_is_not_started_beside_another(store: PostgresStore) -> None:
    old, heir = store.primary(), store.replicas()[0]
    old.must("stop")
    assert restart(store, old).pre_check() == Go(), "nobody else is the primary, and it is the newest"
    store.ask(heir, "SELECT pg_promote()")
    try:
        answer = restart(store, old).pre_check()
        assert isinstance(answer, Refuse)
        assert "a primary of an old timeline" in answer.reason
    finally:
        (old.folder / "data" / "standby.signal").touch()
