"""`postgres_task` without a PostgreSQL: what follows from what servers say, and what is read out of their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runners.postgres import rules
from runners.postgres.backing_up import who
from runners.postgres.config import PostgresConfig, address_of, shown
from runners.postgres.facts import depth_of, differences
from runners.postgres.programs import ProgramFailed, ProgramMissing, Programs
from runners.postgres.psql import Access, Denied, QueryFailed, Starting, Unreachable, literal, session_name
from runners.postgres.restart import Restart
from runners.postgres.rules import Intent
from runners.postgres.switchover import NotReady, read_shutdown
from runners.postgres.sync_names import parse
from runners.postgres.upkeep import may_maintain
from runners.postgres.view import Conninfo, Server, Standby, View, parse_conninfo
from taskerman import Check, Go, Recovered, Refuse, Skip, Wait
from taskerman.testing.harness import RunnerHarness

HERE, B, C = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)
ALL = (HERE, B, C)
WAY = Conninfo(ALL, "read-write")


def replica(name: str, address: Any, **more: Any) -> Server:
    """In step, and started long ago."""
    fields = {
        "replica": True,
        "receiving": "streaming",
        "received": 1000,
        "replayed": 1000,
        "now": 9e5,
        "cluster_name": name,
    }
    return Server(address, **{**fields, "conninfo": WAY, **more})


def primary(name: str, address: Any, *standbys: str, **more: Any) -> Server:
    """With everybody streaming."""
    fields = {"received": 1000, "replayed": 1000, "now": 9e5, "cluster_name": name, "conninfo": WAY}
    return Server(
        address, **{**fields, "standbys": tuple(Standby(each, "streaming", 1000) for each in standbys), **more}
    )


A_PRIMARY = View(primary("a", HERE, "b", "c"), {"b:2": replica("b", B), "c:3": replica("c", C)})
A_REPLICA = View(replica("a", HERE), {"b:2": primary("b", B, "a", "c"), "c:3": replica("c", C)})
DOWN = View(None, dict(A_REPLICA.peers), own_refuses=True, why="nobody listens")


def own(view: View, **changes: Any) -> View:
    assert view.own is not None
    return replace(view, own=replace(view.own, **changes))


def peer(view: View, name: str, **changes: Any) -> View:
    return replace(view, peers={**view.peers, name: replace(view.peers[name], **changes)})


def without(view: View, name: str, why: str = "no route") -> View:
    return replace(view, peers={n: s for n, s in view.peers.items() if n != name}, silent={name: why})


PLAIN = Intent(max_lag_bytes=100, handover="built_in")

# Every state in which a careful operator would not restart, and what is said of it.
STATES: list[tuple[str, View, Intent, type[Check], str]] = [
    ("a replica, all well", A_REPLICA, PLAIN, Go, ""),
    ("a primary, all well", A_PRIMARY, PLAIN, Go, ""),
    ("a replica that does not stream itself may be helped by it", own(A_REPLICA, receiving=""), PLAIN, Go, ""),
    ("another is silent", without(A_REPLICA, "c:3"), PLAIN, Wait, "c:3 does not answer (no route)"),
    (
        "another is silent, and the task may have done it",
        without(A_REPLICA, "c:3"),
        replace(PLAIN, others_at_once=1),
        Go,
        "",
    ),
    (
        "another is silent, and this is the primary",
        without(A_PRIMARY, "c:3"),
        replace(PLAIN, others_at_once=1),
        Wait,
        "this is the primary",
    ),
    (
        "the primary is silent",
        without(A_REPLICA, "b:2"),
        replace(PLAIN, others_at_once=2),
        Wait,
        "no server that answers is the primary",
    ),
    ("another is far behind", peer(A_REPLICA, "c:3", replayed=800), PLAIN, Wait, "c:3 is 200 bytes behind"),
    ("another is meant to be behind", peer(A_REPLICA, "c:3", replayed=800, delay_ms=60000), PLAIN, Go, ""),
    ("another receives nothing", peer(A_REPLICA, "c:3", receiving=""), PLAIN, Wait, "receives no WAL"),
    (
        "another is not seen",
        peer(A_REPLICA, "b:2", standbys=(Standby("a", "streaming", 0),)),
        PLAIN,
        Wait,
        "c:3 is not seen streaming",
    ),
    (
        "another catches up",
        peer(A_REPLICA, "b:2", standbys=(Standby("a", "streaming", 0), Standby("c", "catchup", 0))),
        PLAIN,
        Wait,
        "not seen",
    ),
    (
        "another is on an old timeline",
        peer(A_REPLICA, "c:3", timeline=2),
        PLAIN,
        Wait,
        "is on timeline 2, the primary on 1",
    ),
    ("another has paused", peer(A_REPLICA, "c:3", paused=True), PLAIN, Wait, "c:3 has paused replay"),
    ("this one has paused", own(A_REPLICA, paused=True), PLAIN, Wait, "somebody has paused replay here"),
    ("a backup reads", own(A_REPLICA, copying=("pg_dump of x",)), PLAIN, Wait, "a backup reads from this server"),
    ("two primaries", peer(A_REPLICA, "c:3", replica=False, timeline=4), PLAIN, Refuse, "there are several primaries"),
    ("another cluster's", peer(A_REPLICA, "c:3", system="2"), PLAIN, Refuse, "of different clusters"),
    (
        "an unknown version",
        own(A_REPLICA, version=190001),
        PLAIN,
        Refuse,
        "version 190001, which this build does not know",
    ),
    ("an old version", peer(A_REPLICA, "b:2", version=120009), PLAIN, Refuse, "version 120009"),
    ("a peer refuses us", replace(A_REPLICA, denied={"d:4": "password"}), PLAIN, Refuse, "d:4 refuses to be asked"),
    ("statistics are hidden", own(A_REPLICA, may_look=False), PLAIN, Refuse, "GRANT pg_monitor"),
    (
        "commits would hang for ever",
        peer(A_REPLICA, "b:2", sync_names="ANY 2 (*)"),
        PLAIN,
        Refuse,
        "commits would hang",
    ),
    (
        "commits hang while another is away",
        peer(without(A_REPLICA, "c:3"), "b:2", sync_names="ANY 1 (a, c)", standbys=(Standby("a", "streaming", 0),)),
        replace(PLAIN, others_at_once=1),
        Wait,
        "commits would hang",
    ),
    ("commits go on with the other", peer(A_REPLICA, "b:2", sync_names="FIRST 1 (a, c)"), PLAIN, Go, ""),
    (
        "commits would hang if both go",
        peer(A_REPLICA, "b:2", sync_names="ANY 1 (*)"),
        replace(PLAIN, others_at_once=1),
        Refuse,
        "restart fewer at once",
    ),
    ("commits wait for others only", peer(A_REPLICA, "b:2", sync_names="c"), PLAIN, Go, ""),
    (
        "synchronous names that nobody can read",
        peer(A_REPLICA, "b:2", sync_names="2 (a"),
        PLAIN,
        Refuse,
        "cannot be read",
    ),
    (
        "a primary, and nothing is configured",
        A_PRIMARY,
        replace(PLAIN, handover="none"),
        Refuse,
        "allow_primary_downtime",
    ),
    ("a primary by word", A_PRIMARY, replace(PLAIN, handover="none", allow_primary_downtime=True), Go, ""),
    ("a primary alone", View(A_PRIMARY.own), PLAIN, Refuse, "has no replica"),
    ("a primary alone by word", View(A_PRIMARY.own), replace(PLAIN, allow_primary_downtime=True), Go, ""),
    (
        "replicas were not restarted",
        A_PRIMARY,
        replace(PLAIN, others_first=2, since_s=60),
        Wait,
        "0 of 2 replicas were restarted",
    ),
    (
        "one replica was",
        peer(A_PRIMARY, "b:2", started=9e5 - 30),
        replace(PLAIN, others_first=2, since_s=60),
        Wait,
        "1 of 2",
    ),
    (
        "all were",
        peer(peer(A_PRIMARY, "b:2", started=9e5 - 30), "c:3", started=9e5 - 64),
        replace(PLAIN, others_first=2, since_s=60),
        Go,
        "",
    ),
    (
        "as many as the task has were",
        peer(A_PRIMARY, "b:2", started=9e5 - 30),
        replace(PLAIN, others_first=1, since_s=60),
        Go,
        "",
    ),
    (
        "a task larger than the cluster",
        peer(peer(A_PRIMARY, "b:2", started=9e5), "c:3", started=9e5),
        replace(PLAIN, others_first=9, since_s=60),
        Go,
        "",
    ),
    (
        "logical slots",
        own(A_PRIMARY, logical=("cdc",)),
        PLAIN,
        Refuse,
        "logical replication slots, which would stay behind: cdc",
    ),
    ("logical slots are the command's", own(A_PRIMARY, logical=("cdc",)), replace(PLAIN, handover="command"), Go, ""),
    (
        "one would not find the new primary",
        peer(A_PRIMARY, "c:3", conninfo=Conninfo((HERE,), "any")),
        PLAIN,
        Refuse,
        "c:3 would not find a new primary",
    ),
    (
        "one knows not all",
        peer(A_PRIMARY, "c:3", conninfo=Conninfo((HERE,), "read-write")),
        PLAIN,
        Refuse,
        "c:3 would not find",
    ),
    ("this one would not find it", own(A_PRIMARY, conninfo=Conninfo()), PLAIN, Refuse, "this server would not find"),
    (
        "one stays on its timeline",
        peer(A_PRIMARY, "c:3", latest_timeline=False),
        PLAIN,
        Refuse,
        "recovery_target_timeline",
    ),
    ("one may not be promoted", peer(A_PRIMARY, "b:2", may_promote=False), PLAIN, Refuse, "may not promote b:2"),
    ("a slot is missing at an heir", own(A_PRIMARY, slot="a"), PLAIN, Refuse, "b:2 has no replication slot a"),
    (
        "somebody unknown follows",
        own(A_PRIMARY, standbys=(*(Standby(name, "streaming", 0) for name in "bcx"),)),
        PLAIN,
        Refuse,
        "not among peers, and may not follow a new primary: x",
    ),
    (
        "an heir would wait for nobody",
        peer(A_PRIMARY, "b:2", sync_names="ANY 3 (*)"),
        PLAIN,
        Refuse,
        "b:2 as the primary would wait for replicas",
    ),
    (
        "every heir is delayed",
        peer(peer(A_PRIMARY, "b:2", delay_ms=9), "c:3", delay_ms=9),
        PLAIN,
        Wait,
        "no replica is in step to take over",
    ),
    ("down, and silent", replace(DOWN, own_refuses=False), PLAIN, Wait, "is silent, and may be alive"),
    ("down, nobody knows as what", DOWN, PLAIN, Refuse, "second primary"),
    ("down, a replica", DOWN, replace(PLAIN, starts_as="replica"), Go, ""),
    (
        "down, an old primary",
        DOWN,
        replace(PLAIN, starts_as="primary", own_timeline=1),
        Refuse,
        "a primary of an old timeline",
    ),
    (
        "down, the primary, and nobody took over",
        peer(DOWN, "b:2", replica=True),
        replace(PLAIN, starts_as="primary", own_timeline=1),
        Go,
        "",
    ),
    (
        "down, the primary, and it is older",
        peer(DOWN, "b:2", replica=True, timeline=2),
        replace(PLAIN, starts_as="primary", own_timeline=1),
        Refuse,
        "old timeline",
    ),
    (
        "down, and somebody who may be the primary is silent",
        without(DOWN, "b:2"),
        replace(PLAIN, starts_as="primary", own_timeline=1, others_at_once=1),
        Wait,
        "nobody knows",
    ),
    ("down, alone", View(None, own_refuses=True), PLAIN, Go, ""),
]


@pytest.mark.parametrize(
    ("view", "intent", "kind", "said"), [each[1:] for each in STATES], ids=[each[0] for each in STATES]
)
def test_a_server_is_restarted_only_when_a_careful_person_would(
    view: View, intent: Intent, kind: type[Check], said: str
) -> None:
    answer = rules.may_restart(view, intent)
    assert isinstance(answer, kind), answer
    assert said in getattr(answer, "reason", "")


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (A_PRIMARY, None),
        (A_REPLICA, None),
        (DOWN, "does not answer"),
        (own(A_REPLICA, receiving=""), "receives no WAL"),
        (own(A_REPLICA, timeline=7), "is on timeline 7"),
        (own(A_REPLICA, replayed=1), "behind"),
        (peer(A_REPLICA, "c:3", receiving=""), "its peers are not well with it"),
        (peer(A_REPLICA, "b:2", replica=True), "no server that answers is the primary"),
        (own(A_PRIMARY, standbys=()), "its peers are not well with it"),
        (own(A_PRIMARY, read_only=True), "takes no writes"),
        (View(A_PRIMARY.own, {}, {"b:2": "x", "c:3": "x"}), "too few of its peers"),
        (without(A_PRIMARY, "c:3"), None),
        (peer(A_PRIMARY, "b:2", replica=False), "there are several primaries"),
    ],
)
def test_a_server_is_well_in_the_eyes_of_its_peers_or_not_at_all(view: View, said: str | None) -> None:
    answer = rules.is_well(view, max_lag_bytes=100)
    assert isinstance(answer, Go) is (said is None), answer
    assert (said or "") in getattr(answer, "reason", "")


def test_the_heir_is_in_step_and_of_those_one_that_confirms_commits_then_the_furthest() -> None:
    assert rules.heir(A_PRIMARY, 100) == "c:3"
    assert rules.heir(peer(A_PRIMARY, "b:2", replayed=1001), 100) == "b:2"
    assert rules.heir(own(A_PRIMARY, sync_names="b"), 100) == "b:2"
    assert rules.heir(peer(A_PRIMARY, "c:3", paused=True), 100) == "b:2"
    assert rules.heir(peer(A_PRIMARY, "c:3", read_only=True), 100) == "b:2"
    cascading = own(A_PRIMARY, standbys=(Standby("b", "streaming", 0),))
    cascading = peer(cascading, "b:2", standbys=(Standby("c", "streaming", 0),))
    assert rules.heir(cascading, 100) == "b:2", "who receives through another is no heir"
    assert rules.heir(A_REPLICA, 100) is None


@pytest.mark.parametrize(
    ("view", "on", "nodes", "answer"),
    [
        (A_REPLICA, "replica_if_any", 3, Go),
        (A_PRIMARY, "replica_if_any", 3, Skip),
        (A_PRIMARY, "replica_if_any", 1, Go),
        (View(A_PRIMARY.own), "replica_if_any", 3, Go),
        (View(A_PRIMARY.own), "replica", 3, Refuse),
        (A_PRIMARY, "replica", 1, Skip),
        (A_REPLICA, "primary", 3, Skip),
        (A_PRIMARY, "primary", 3, Go),
        (A_PRIMARY, "anywhere", 3, Go),
        (own(A_REPLICA, receiving=""), "anywhere", 3, Wait),
        (own(A_REPLICA, copying=("pg_basebackup",)), "anywhere", 3, Wait),
        (DOWN, "anywhere", 3, Wait),
        (peer(A_REPLICA, "c:3", system="9"), "anywhere", 3, Refuse),
    ],
)
def test_one_server_is_backed_up_a_replica_where_there_is_one(
    view: View, on: Any, nodes: int, answer: type[Check]
) -> None:
    assert isinstance(who(view, on, nodes=nodes, max_lag_bytes=100), answer)


@pytest.mark.parametrize(
    ("view", "answer"),
    [
        (A_PRIMARY, Go),
        (A_REPLICA, Skip),
        (DOWN, Wait),
        (peer(A_PRIMARY, "b:2", replayed=1), Wait),
        (peer(A_PRIMARY, "b:2", replica=False), Refuse),
    ],
)
def test_upkeep_is_the_primarys_and_leaves_nobody_behind(view: View, answer: type[Check]) -> None:
    assert isinstance(may_maintain(view, 100), answer)


# --- words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needed", "names"),
    [
        ("", 0, ()),
        ("a, b", 1, ("a", "b")),
        ("*", 1, ("*",)),
        ("2 (a, b, c)", 2, ("a", "b", "c")),
        ("FIRST 1 (A)", 1, ("a",)),
        ('any 2 ( "My ""x""", b)', 2, ('my "x"', "b")),
    ],
)
def test_synchronous_names_are_read_as_the_server_does(text: str, needed: int, names: tuple[str, ...]) -> None:
    found = parse(text)
    assert (found.needed, found.names) == (needed, names)


def test_who_confirms_commits_is_counted_by_name_and_a_star_is_everybody() -> None:
    assert parse("ANY 2 (*)").satisfied_by(["walreceiver", "walreceiver"])
    assert not parse("ANY 2 (a, b)").satisfied_by(["a", "c"])
    assert parse("").satisfied_by([])
    with pytest.raises(ValueError, match="cannot be read"):
        parse("FIRST 2 (a b)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Conninfo()),
        ("host=a,b port=1,2 target_session_attrs=read-write", Conninfo((("a", 1), ("b", 2)), "read-write")),
        ("host='a,b' port = 7 application_name='x y'", Conninfo((("a", 7), ("b", 7)), "any", "x y")),
        ("user=r  host=/run/pg", Conninfo((("/run/pg", 5432),))),
        (
            "postgresql://r@a:1,b:2/?target_session_attrs=primary&application_name=n",
            Conninfo((("a", 1), ("b", 2)), "primary", "n"),
        ),
        ("postgres://h", Conninfo((("h", 5432),))),
    ],
)
def test_a_replicas_way_to_its_primary_is_read_in_both_forms(text: str, expected: Conninfo) -> None:
    assert parse_conninfo(text) == expected


def test_a_control_file_is_read_or_refused() -> None:
    text = (
        "Database cluster state:               shut down\n"
        "Latest checkpoint location:           1/A0\n"
        "Latest checkpoint's TimeLineID:       3\n"
    )
    found = read_shutdown(text)
    assert (found.clean, found.checkpoint, found.timeline) == (True, (1 << 32) + 0xA0, 3)
    assert not read_shutdown(text.replace("shut down", "in production")).clean
    assert not read_shutdown(text.replace("shut down", "shut down in recovery")).clean
    with pytest.raises(NotReady, match="something else than expected"):
        read_shutdown("Zustand des Datenbankclusters: heruntergefahren")


def test_strings_of_sql_are_strings_whatever_is_in_them() -> None:
    assert literal("it's") == "'it''s'"
    assert literal("a\\b'") == "E'a\\\\b'''"


def test_sessions_of_an_attempt_have_a_name_that_a_server_keeps() -> None:
    long = "t-" + "x" * 200
    assert len(session_name(long)) < 64 - len("pg_basebackup ")
    assert session_name(long) != session_name(long + "y")


def test_an_address_is_shown_as_it_is_written() -> None:
    for text in ("a:1", "[::1]:5432"):
        assert shown(address_of(text)) == text
    with pytest.raises(ValueError, match="is not host:port"):
        address_of("a")


def test_a_password_is_shown_nowhere() -> None:
    config = PostgresConfig(password="s3cret")
    access = Access(Programs(), "u", "s3cret", "", "d", 1.0)
    assert "s3cret" not in f"{config!r} {config} {access!r}"
    assert access.env(("h", 1))["PGPASSWORD"] == "s3cret"


# --- programs ------------------------------------------------------------------------------------------


def fake(tmp_path: Any, **scripts: str) -> Programs:
    for name, does in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    return Programs(str(tmp_path))


@pytest.mark.parametrize(
    ("exit_code", "words", "error"),
    [
        (2, 'psql: error: connection to server failed: FATAL:  password authentication failed for user "u"', Denied),
        (2, 'FATAL:  database "x" does not exist', Denied),
        (2, "FATAL:  the database system is starting up", Starting),
        (2, "FATAL:  sorry, too many clients already", Starting),
        (2, "connection refused", Unreachable),
        (2, "FATAL:  terminating connection due to administrator command", Unreachable),
        (1, "ERROR:  permission denied for table x", Denied),
        (1, "ERROR:  syntax error", QueryFailed),
        (3, "ERROR:  whatever", QueryFailed),
    ],
)
def test_an_error_says_who_must_do_something(tmp_path: Any, exit_code: int, words: str, error: type[Exception]) -> None:
    programs = fake(tmp_path, psql=f"echo '{words}' >&2; exit {exit_code}", pg_isready="exit 0")
    with pytest.raises(error) as caught:
        Access(programs, "u", "s3cret", "", "d", 1.0).ask(("127.0.0.1", 1), "SELECT 1")
    assert type(caught.value) is error
    assert "s3cret" not in str(caught.value)


def test_a_server_that_starts_is_known_in_any_language(tmp_path: Any) -> None:
    programs = fake(tmp_path, psql="echo 'FATAL:  das Datenbanksystem startet' >&2; exit 2", pg_isready="exit 1")
    with pytest.raises(Starting):
        Access(programs, "u", "", "", "d", 1.0).ask(("127.0.0.1", 1), "SELECT 1")


def test_a_program_that_hangs_is_ended(tmp_path: Any) -> None:
    programs = fake(tmp_path, psql="exec sleep 60")
    with pytest.raises(TimeoutError, match="psql took longer"):
        programs.run("psql", [], timeout_s=0.2)


def test_a_stream_ends_with_the_programs_failure(tmp_path: Any) -> None:
    stream = fake(tmp_path, pg_dump="echo content; echo why >&2; exit 4").streaming("pg_dump", [])
    chunks = stream.chunks()
    assert next(chunks) == b"content\n"
    with pytest.raises(ProgramFailed, match="pg_dump: exit 4; why"):
        next(chunks)
    assert stream.said == "why\n"


def test_a_program_sees_neither_foreign_settings_nor_an_aws_identity(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "TASKERMAN_MARK"):
        monkeypatch.setenv(name, "seen")
    said = fake(tmp_path, psql="env").run("psql", [])
    assert [line for line in said.splitlines() if line.endswith("=seen")] == ["TASKERMAN_MARK=seen"]


def test_a_program_that_is_not_there_is_named_with_the_step_to_take() -> None:
    with pytest.raises(ProgramMissing, match=r"the program pg_dump of PostgreSQL is not in /nowhere.*programs"):
        Programs("/nowhere").path("pg_dump")


def test_a_version_is_read_as_debian_and_others_say_it(tmp_path: Any) -> None:
    for said, version in (("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15), ("x (PostgreSQL) 18beta1", 18)):
        assert fake(tmp_path, psql=f"echo '{said}'").version("psql") == version
    with pytest.raises(ProgramMissing, match="does not say which version"):
        fake(tmp_path, psql="echo hello").version("psql")


# --- facts ---------------------------------------------------------------------------------------------


def test_what_differs_is_said_table_by_table() -> None:
    noted: Mapping[str, Any] = {
        "tables": {"a": {"rows": 1, "hash": "5"}, "b": {"rows": 2, "hash": "6"}, "c": {"rows": 0, "hash": "0"}},
        "kinds": {"r": 3},
        "functions": 1,
        "objects": {"rows": 2, "hash": "7"},
    }
    assert differences(noted, noted) == []
    assert depth_of(noted) == "hash"
    assert depth_of({"tables": {"a": {"rows": 1}}}) == "rows"
    assert depth_of({}) == "none"
    found: Mapping[str, Any] = {
        "tables": {"a": {"rows": 2, "hash": "5"}, "b": {"rows": 2, "hash": "8"}, "d": {"rows": 0}},
        "kinds": {"r": 2},
        "functions": 1,
        "objects": {"rows": 1},
    }
    assert differences(noted, found) == [
        "the table a has 2 rows instead of 1",
        "the table b has 2 rows, as noted, with another content",
        "the table c is missing",
        "there is a table d, which was not noted",
        "kinds: {'r': 2} instead of {'r': 3}",
        "the large objects: has 1 rows instead of 2",
    ]


# --- the hooks of a restart, on a cluster that is a value ----------------------------------------------


def restart(monkeypatch: pytest.MonkeyPatch, *views: View, **more: Any) -> RunnerHarness[Restart]:
    """`views`: what is seen, one look after another; the last one stays."""
    left = list(views)

    def seen(*_: object) -> View:
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr("runners.postgres.restart.look", seen)
    monkeypatch.setattr("runners.postgres.restart.RECOVER_WITHIN_S", 0.1)
    return RunnerHarness(Restart, **{"settings": {"restart": ["again"]}, "nodes": ["a"], **more})


def test_a_restart_that_was_not_asked_for_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = restart(monkeypatch, A_REPLICA)
    assert harness.recover() is Recovered.NOT_DONE
    harness.saved.update(started=0.0, asked=False)
    assert harness.recover() is Recovered.NOT_DONE


def test_the_same_start_after_it_was_asked_for_is_not_known_and_another_one_is_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"started": 0.0, "asked": True}
    assert restart(monkeypatch, A_REPLICA, saved=asked).recover() is Recovered.UNKNOWN
    assert restart(monkeypatch, DOWN, saved=asked).recover() is Recovered.UNKNOWN
    assert restart(monkeypatch, DOWN, own(A_REPLICA, started=5.0), saved=asked).recover() is Recovered.DONE


def test_the_start_that_was_before_is_not_well_when_another_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = restart(monkeypatch, A_REPLICA, saved={"started": 0.0, "asked": True, "restarted": True})
    assert harness.post_check() == Wait("the server still runs as it was started before")


def test_it_looks_once_more_before_it_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = restart(monkeypatch, A_REPLICA, own(A_REPLICA, paused=True))
    assert harness.pre_check() == Go()
    with pytest.raises(NotReady, match="may not be restarted any more: somebody has paused"):
        harness.execute_action()
    assert harness.commands == []
    assert harness.recover() is Recovered.NOT_DONE


def test_the_service_manager_is_asked_and_it_is_noted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = restart(monkeypatch, A_REPLICA)
    harness.answer("again", exit=1)
    with pytest.raises(Exception, match="exit 1"):
        harness.execute_action()
    assert harness.commands == [("again",)]
    assert (harness.saved["asked"], harness.saved["restarted"]) == (True, False)


def test_the_age_of_a_task_is_counted_from_its_acceptance(monkeypatch: pytest.MonkeyPatch) -> None:
    view = peer(peer(A_PRIMARY, "b:2", started=9e5 - 100), "c:3", started=9e5 - 100)
    settings = {"handover": "command", "switchover": ["true"]}

    def asked(ago_s: float, **args: Any) -> Check:
        at = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat()
        harness = restart(monkeypatch, view, settings=settings, nodes=["a", "b", "c"], accepted_at=at, args=args)
        return harness.pre_check()

    assert asked(200) == Go()
    assert isinstance(asked(50), Wait)
    assert asked(50, wait_for_replicas=False) == Go()
