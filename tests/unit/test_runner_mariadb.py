"""`mariadb_task` without a MariaDB: its client's answers are a script, and a table of states says what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.mariadb import backup, restart
from runners.mariadb.backup import Backup
from runners.mariadb.client import Address, Client, Denied, ServerError, Unreachable
from runners.mariadb.restart import Restart
from runners.mariadb.rules import Limits, bootstraps, is_well, may_back_up, may_restart, may_start, paused
from runners.mariadb.view import Server, View, server_from
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait
from taskerman.runner import ActionInterrupted
from taskerman.testing.harness import RunnerHarness

PEERS = ("10.0.0.2:3306", "10.0.0.3:3306")
OWN = ("mariadb", "--protocol=socket", "--socket=/s")
JOINS = "mariadbd would have been started with the following arguments:\n--wsrep_cluster_address=gcomm://a,b,c --port=1"


def peer(address: str) -> tuple[str, ...]:
    host, _, port = address.partition(":")
    return ("mariadb", "--protocol=tcp", f"--host={host}", f"--port={port}")


def status(index: int, /, **other: object) -> dict[str, object]:
    """What a well member says. `index`: which of the three."""
    return {
        "wsrep_gcomm_uuid": f"member-{index}",
        "wsrep_local_index": index,
        "wsrep_incoming_addresses": f"10.0.0.1:3306,{','.join(PEERS)}",
        "wsrep_cluster_status": "Primary",
        "wsrep_cluster_state_uuid": "c-1",
        "wsrep_local_state_uuid": "c-1",
        "wsrep_cluster_conf_id": 7,
        "wsrep_cluster_size": 3,
        "wsrep_cluster_weight": 3,
        "wsrep_local_state_comment": "Synced",
        "wsrep_ready": "ON",
        "wsrep_connected": "ON",
        "wsrep_local_recv_queue": 0,
        "wsrep_flow_control_paused_ns": 0,
        "wsrep_last_committed": 1000,
        "wsrep_local_cached_downto": 1,
        "wsrep_received_bytes": 1000,
        "Uptime": 5000,
        "version": "10.11.18-MariaDB",
        "wsrep_on": "ON",
        "wsrep_desync": "OFF",
        "wsrep_node_name": f"maria-{index}",
        "wsrep_provider_options": "gcache.size = 128M; pc.weight = 1; ",
        "pid_file": "/nonexistent/pid",
    } | other


def rows(said: Mapping[str, object], *statements: str) -> str:
    """As the client prints them."""
    lines = [f"{name}\t{value}" for name, value in said.items()]
    lines += ["1\tsystem user\t\tNULL\tSleep\t11\twsrep aborter idle\tNULL\t0.000"]
    lines += [f"9\tapp\tlocalhost\tshop\tQuery\t3\t\t{statement}\t0.000" for statement in statements]
    return "\n".join(lines) + "\n"


class Cluster(RunnerHarness[Any]):
    """Three members that are well, as the first one's runner is answered."""

    def __init__(self, runner: type[TaskRunner] = Restart, **given: Any) -> None:
        settings = {"socket": "/s", "peers": list(PEERS)} | given.pop("settings", {})
        super().__init__(runner, settings=settings, **given)
        self.answer("mariadbd", output=JOINS)
        for index in range(3):
            self.says(index)

    def says(self, index: int, *statements: str, times: int | None = None, **other: Any) -> Cluster:
        where = OWN if index == 0 else peer(PEERS[index - 1])
        self.answer(*where, output=rows(status(index, **other), *statements), times=times)
        return self

    def fails(self, index: int, text: str) -> Cluster:
        where = OWN if index == 0 else peer(PEERS[index - 1])
        self.answer(*where, exit=1, output=f"--------------\nSHOW\n--------------\n\n{text}\n")
        return self


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "APART_S", 0.0)
    monkeypatch.setattr(backup, "APART_S", 0.0)
    monkeypatch.setattr(restart, "RECOVER_WITHIN_S", 0.0)


# --- a table of states and decisions ---------------------------------------------------------------------

NO_SOCKET = "ERROR 2002 (HY000): Can't connect to local server through socket '/s' (2)"
SILENT = "ERROR 2002 (HY000): Can't connect to server on '10.0.0.2' (110)"
Arrange = Callable[[Cluster], object]

BEFORE: dict[str, tuple[Arrange, type[Check], str]] = {
    "all are well": (lambda c: None, Go, ""),
    "it is in no Primary component": (lambda c: c.says(0, wsrep_cluster_status="non-Primary"), Refuse, "no Primary"),
    "it is no member of a Galera cluster": (lambda c: c.says(0, wsrep_on="OFF"), Refuse, "wsrep_on is OFF"),
    "it sends its data": (lambda c: c.says(0, wsrep_local_state_comment="Donor/Desynced"), Wait, "is Donor/Desynced"),
    "it is joining": (lambda c: c.says(0, wsrep_local_state_comment="Joined"), Wait, "is Joined"),
    "it is desynced": (lambda c: c.says(0, wsrep_desync="ON"), Wait, "wsrep_desync is ON"),
    "it is not ready": (lambda c: c.says(0, wsrep_ready="OFF"), Wait, "wsrep_ready"),
    "its password is wrong": (lambda c: c.fails(0, "ERROR 1045 (28000): Access denied"), Refuse, "Access denied"),
    "it has no connection left": (
        lambda c: c.fails(0, "ERROR 1040 (HY000): Too many connections"),
        Wait,
        "something listens there: Too many connections",
    ),
    "it is silent": (lambda c: c.answer(*OWN, exit=None), Wait, "something listens there"),
    "it is down": (lambda c: c.fails(0, NO_SOCKET), Go, ""),
    "it is down, and a member sends data": (
        lambda c: (c.fails(0, NO_SOCKET), c.says(2, wsrep_local_state_comment="Donor/Desynced")),
        Wait,
        "10.0.0.3:3306 is Donor/Desynced",
    ),
    "it is down, and another is away": (
        lambda c: (c.fails(0, NO_SOCKET), c.fails(1, SILENT), c.says(2, wsrep_cluster_size=1)),
        Wait,
        "1 of 3 members are away",
    ),
    "it is down, and nobody answers": (
        lambda c: (c.fails(0, NO_SOCKET), c.fails(1, SILENT), c.fails(2, SILENT)),
        Refuse,
        "no other member can be asked",
    ),
    "it is down, and nobody is Primary": (
        lambda c: (c.fails(0, NO_SOCKET), *(c.says(n, wsrep_cluster_status="non-Primary") for n in (1, 2))),
        Refuse,
        "galera_new_cluster",
    ),
    "it is down, and the others are two clusters": (
        lambda c: (c.fails(0, NO_SOCKET), c.says(1, wsrep_cluster_state_uuid="c-2", wsrep_local_state_uuid="c-2")),
        Refuse,
        "of different clusters",
    ),
    "a peer is silent": (lambda c: c.fails(1, SILENT), Wait, "10.0.0.2:3306 does not answer"),
    "a peer is joining": (lambda c: c.says(1, wsrep_local_state_comment="Joining"), Wait, "is Joining"),
    "a peer is desynced": (lambda c: c.says(1, wsrep_desync="ON"), Wait, "wsrep_desync ON"),
    "a peer is cut off": (lambda c: c.says(2, wsrep_cluster_status="non-Primary"), Wait, "is in no Primary component"),
    "a peer is behind": (lambda c: c.says(2, wsrep_local_recv_queue=101), Wait, "has 101 write-sets to apply"),
    "a peer replicates nothing": (lambda c: c.says(1, wsrep_on="OFF"), Wait, "wsrep_on is OFF"),
    "a peer is of another cluster": (
        lambda c: c.says(1, wsrep_cluster_state_uuid="c-2", wsrep_local_state_uuid="c-2"),
        Refuse,
        "of different clusters",
    ),
    "a peer sees another view": (lambda c: c.says(1, wsrep_cluster_conf_id=8), Wait, "do not agree"),
    "two halves count on from the same view": (
        lambda c: c.says(1, wsrep_cluster_size=2, wsrep_incoming_addresses=",".join(PEERS), wsrep_local_index=0),
        Wait,
        "do not agree",
    ),
    "an arbitrator is away": (
        lambda c: c._settings.update(members=4),
        Wait,
        "1 of 4 members are not in the component",
    ),
    "flow control holds up writes": (
        lambda c: (c.says(0, wsrep_flow_control_paused_ns=10**9), c.says(0, times=1)),
        Wait,
        "flow control",
    ),
    "a schema is changed at a peer": (
        lambda c: c.says(2, "ALTER TABLE a\\n ADD b INT"),
        Wait,
        "10.0.0.3:3306 ALTER TABLE a",
    ),
    "who asks does not see what runs": (
        lambda c: c.answer(*OWN, output="\n".join(f"{k}\t{v}" for k, v in status(0).items())),
        Refuse,
        "GRANT PROCESS",
    ),
    "nobody kept what it has not got yet": (
        lambda c: [c.says(n, wsrep_local_cached_downto=1002) for n in (1, 2)],
        Wait,
        "has nothing before 1002",
    ),
    "its own vote is needed": (
        lambda c: c.says(0, wsrep_cluster_weight=4, wsrep_provider_options="pc.weight = 2"),
        Refuse,
        "2 of 4 votes",
    ),
    "its next start begins a cluster": (
        lambda c: c.answer("mariadbd", output="x:\n--wsrep_cluster_address=gcomm://"),
        Refuse,
        "names no other member",
    ),
    "its next start is not known": (lambda c: c.answer("mariadbd", exit=None), Refuse, "correct print_defaults"),
    "its settings are broken": (lambda c: c.answer("mariadbd", exit=1, output="bad option"), Refuse, "bad option"),
    "the client is not installed": (
        lambda c: setattr(c, "_run", _not_installed),
        Refuse,
        "Debian: mariadb-client",
    ),
}


def _not_installed(argv: Any, check: bool) -> Any:
    raise CommandFailed(argv, None, "", "cannot be started: No such file or directory: mariadb")


@pytest.mark.parametrize("state", BEFORE)
def test_a_restart_begins_exactly_where_a_careful_person_would(state: str) -> None:
    arrange, kind, part = BEFORE[state]
    harness = Cluster()
    arrange(harness)
    answer = harness.pre_check()
    assert isinstance(answer, kind), answer
    assert part in getattr(answer, "reason", ""), answer
    assert harness.saved == {}, "it looks, and changes nothing"


AFTER: dict[str, tuple[Arrange, type[Check], str]] = {
    "all are well": (lambda c: c.says(0, wsrep_gcomm_uuid="new"), Wait, "well for"),
    "it still runs as before": (lambda c: None, Wait, "as it was started before"),
    "it is down": (lambda c: c.fails(0, NO_SOCKET), Wait, "does not answer"),
    "it copies data": (lambda c: _new(c, wsrep_local_state_comment="Joining"), Wait, "is Joining"),
    "it is alone": (lambda c: _new(c, wsrep_cluster_status="non-Primary"), Wait, "in no Primary component"),
    "it is not ready": (lambda c: _new(c, wsrep_ready="OFF"), Wait, "is not ready"),
    "it catches up": (lambda c: _new(c, wsrep_local_recv_queue=500), Wait, "500 write-sets"),
    "it was left desynced": (lambda c: _new(c, wsrep_desync="ON"), Wait, "wsrep_desync is ON"),
    "its peers do not count it": (lambda c: _new(c, wsrep_cluster_conf_id=9), Wait, "do not see the same members"),
    "its peers are cut off": (
        lambda c: (_new(c), *(c.says(n, wsrep_cluster_status="non-Primary") for n in (1, 2))),
        Wait,
        "only 0 of 2 peers",
    ),
    "it began a cluster of its own": (
        lambda c: _new(c, wsrep_cluster_state_uuid="c-2", wsrep_local_state_uuid="c-2"),
        Refuse,
        "in another cluster than its peers",
    ),
    "its password was changed": (lambda c: c.fails(0, "ERROR 1045 (28000): Access denied"), Wait, "Access denied"),
}


def _new(cluster: Cluster, **other: Any) -> Cluster:
    return cluster.says(0, wsrep_gcomm_uuid="new", **other)


@pytest.mark.parametrize("state", AFTER)
def test_a_server_is_called_well_when_its_peers_count_it_in(state: str) -> None:
    arrange, kind, part = AFTER[state]
    harness = Cluster()
    harness.execute_action()
    arrange(harness)
    answer = harness.post_check()
    assert isinstance(answer, kind), answer
    assert part in getattr(answer, "reason", ""), answer


def test_once_well_is_not_believed() -> None:
    harness = Cluster()
    harness.execute_action()
    _new(harness)
    assert [type(harness.post_check()) for _ in range(3)] == [Wait, Wait, Wait], "three times, but not for two seconds"
    harness.saved["steady"] = {"times": 2, "since": 1.0}
    assert harness.post_check() == Go()


# --- the action, its crashes -----------------------------------------------------------------------------


class _Crash(Exception):
    pass


def test_a_restart_that_is_cut_at_any_point_is_told_truthfully() -> None:
    """Before the service manager was asked: not done. After: done when another start runs, else nobody knows."""
    restarted, point, seen = False, 0, []
    while True:
        point += 1
        harness = Cluster()
        restarted = _cut(harness, point)
        if harness.saved.get("restarted"):
            break
        answer = harness.recover()
        asked = bool(harness.saved.get("asked"))
        wanted = Recovered.NOT_DONE if not asked else Recovered.DONE if restarted else Recovered.UNKNOWN
        assert answer is wanted, (point, harness.saved)
        seen.append(answer)
    assert set(seen) == set(Recovered)


def _cut(harness: Cluster, point: int) -> bool:
    """Run the action until its `point`th point; whether the server was restarted by then."""
    left, happened = point, False
    run = harness._run

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise _Crash

    def ran(argv: Any, check: bool) -> Any:
        nonlocal happened
        passed()
        answer = run(argv, check)
        if argv[0] == "systemctl":
            happened = True
            harness.says(0, wsrep_gcomm_uuid="new")
        passed()
        return answer

    class Saving(Restart):
        def __init__(self, ctx: Any) -> None:
            keep = ctx._on_save

            def saving(values: Any) -> None:
                keep(values)
                passed()

            ctx._on_save = saving
            super().__init__(ctx)

    harness._runner, harness._run = Saving, ran  # type: ignore[method-assign]
    with suppress(_Crash):
        harness.execute_action()
    harness._runner, harness._run = Restart, run  # type: ignore[method-assign]
    return happened


def test_a_server_that_was_down_counts_as_restarted_once_it_answers() -> None:
    harness = Cluster()
    harness.fails(0, NO_SOCKET)
    harness.execute_action()
    assert harness.saved["start"] is None
    assert harness.recover() is Recovered.UNKNOWN
    harness.says(0)
    assert harness.recover() is Recovered.DONE


def test_where_the_process_is_known_a_new_membership_is_no_restart(tmp_path: Path) -> None:
    """Somebody made the server join again, without a restart."""
    harness = Cluster()
    pid = tmp_path / "pid"
    pid.write_text("1\n")
    harness.says(0, pid_file=str(pid))
    harness.execute_action()
    harness.says(0, pid_file=str(pid), wsrep_gcomm_uuid="joined-again")
    assert harness.recover() is Recovered.UNKNOWN
    pid.write_text("self\n")
    harness.says(0, pid_file=str(pid), wsrep_gcomm_uuid="joined-again")
    assert harness.recover() is Recovered.DONE, "by the membership, where the process is not known any more"


def test_what_the_service_manager_says_fails_the_action_and_an_interrupt_leaves_a_known_state() -> None:
    harness = Cluster()
    harness.answer("systemctl", exit=1, output="Unit mariadb.service not found.")
    with pytest.raises(CommandFailed, match="not found"):
        harness.execute_action()
    harness = Cluster()
    harness.interrupt("systemctl")
    with pytest.raises(ActionInterrupted):
        harness.execute_action()
    assert harness.recover() is Recovered.UNKNOWN


# --- rules on numbers ------------------------------------------------------------------------------------


def drawn(count: int, **own: Any) -> View:
    """A view of so many members, all well."""
    every = [
        Server(
            Address(f"h{n}", 1), id=f"m{n}", size=count, cluster="c", component="c:1", all_weight=count, committed=10
        )
        for n in range(count)
    ]
    return View(replace(every[0], **own), answers={str(each.address): each for each in every[1:]})


@pytest.mark.parametrize(
    ("members", "at_once", "acts"),
    [
        (2, 1, False),
        (3, 1, True),
        (3, 2, False),
        (4, 1, True),
        (4, 2, False),
        (5, 2, True),
        (5, 3, False),
        (7, 3, True),
    ],
)
def test_so_many_at_once_that_a_majority_is_left_whatever_happens(members: int, at_once: int, acts: bool) -> None:
    limits = Limits(expected=members, others_at_once=at_once - 1)
    answer = may_restart(drawn(members), drawn(members), limits)
    assert isinstance(answer, Go if acts else Refuse), answer
    assert may_restart(drawn(members), drawn(members), replace(limits, majority=False)) == Go()


def test_heavy_votes_of_others_that_may_be_away_are_counted() -> None:
    view = drawn(5, all_weight=7)
    heavy = {name: replace(server, weight=3 if name == "h1:1" else 1) for name, server in view.answers.items()}
    answer = may_restart(view, replace(view, answers=heavy), Limits(expected=5, others_at_once=1))
    assert isinstance(answer, Refuse)
    assert "3 of 7 votes" in answer.reason


def _writing(view: View, at: float, committed: int, **donor: Any) -> View:
    every = {name: replace(server, at=at, committed=committed, **donor) for name, server in view.answers.items()}
    assert view.own is not None
    return replace(view, own=replace(view.own, at=at, committed=committed), answers=every)


@pytest.mark.parametrize(
    ("passed_bytes", "outage_s", "acts"), [(99, 300.0, True), (100, 300.0, False), (100, 19.0, True), (100, None, True)]
)
def test_a_donor_hands_on_for_as_long_as_its_cache_lasts(passed_bytes: int, outage_s: float | None, acts: bool) -> None:
    """200 writes kept, ten a second: twenty seconds. A cache that was never full has dropped nothing."""
    donor = {"cached_from": 801, "cache_bytes": 100, "passed_bytes": passed_bytes}
    before, now = _writing(drawn(3), 0.0, 995, **donor), _writing(drawn(3), 0.5, 1000, **donor)
    answer = may_restart(before, now, Limits(expected=3, outage_s=outage_s))
    assert isinstance(answer, Go if acts else Wait), answer
    if isinstance(answer, Wait):
        assert "keeps 20 s of writes" in answer.reason


def test_only_who_is_in_step_and_known_from_before_counts_as_a_donor() -> None:
    view = drawn(3)
    limits = Limits(expected=3, others_at_once=2, majority=False)
    joining = {name: replace(server, state="Joining") for name, server in view.answers.items()}
    answer = may_restart(view, replace(view, answers=joining), limits)
    assert isinstance(answer, Wait)
    assert "none is in step" in answer.reason
    donor = {"cached_from": 1, "cache_bytes": 100, "passed_bytes": 200}
    now = _writing(drawn(3), 0.5, 1000, **donor)
    assert may_restart(replace(now, answers={}), now, replace(limits, outage_s=300.0)) == Go(), "no pace is known"


def test_a_backup_waits_where_a_restart_does_and_asks_for_no_majority() -> None:
    limits = Limits(expected=2)
    assert may_back_up(drawn(2), drawn(2), limits) == Go()
    for own in (None, replace(drawn(2).own or Server(Address()), desynced=True)):
        assert isinstance(may_back_up(drawn(2), replace(drawn(2), own=own), limits), Wait)
    assert isinstance(may_back_up(drawn(2), drawn(2, schema_changes=("ALTER TABLE a",)), limits), Wait)
    other = {name: replace(server, desynced=True) for name, server in drawn(2).answers.items()}
    assert isinstance(may_back_up(drawn(2), replace(drawn(2), answers=other), limits), Wait)


def test_flow_control_is_told_of_the_time_between_both_looks_only() -> None:
    old = Server(Address("h", 1), id="m", paused_ns=10**12, at=100.0)
    assert paused(old, replace(old, at=101.0)) == 0.0
    assert paused(old, replace(old, at=102.0, paused_ns=10**12 + 10**9)) == 0.5
    assert paused(old, replace(old, at=102.0, paused_ns=5, id="another")) == 0.0, "it has begun anew meanwhile"


def test_a_member_that_is_merely_silent_is_not_started() -> None:
    view = replace(drawn(3), own=None, own_why="timed out")
    assert isinstance(may_start(view, Limits(expected=3)), Wait)
    assert may_start(replace(view, own_refuses=True), Limits(expected=3)) == Go()


def test_more_than_half_of_all_must_be_seen_in_the_component() -> None:
    view = drawn(5)
    names = list(view.answers)
    for away, well in ((1, True), (2, True), (3, False), (4, False)):
        silent = dict.fromkeys(names[:away], "timed out")
        left = {name: server for name, server in view.answers.items() if name not in silent}
        answer = is_well(replace(view, answers=left, silent=silent), Limits(expected=5))
        assert isinstance(answer, Go) is well, (away, answer)
    alone = replace(drawn(2), answers={}, silent={"h1:1": "timed out"})
    assert isinstance(is_well(alone, Limits(expected=2)), Wait), "half is not more than half"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--wsrep_cluster_address=gcomm://a,b --port=1", ""),
        ("--wsrep-cluster-address=gcomm://a:4567?pc.wait_prim=no", ""),
        ("--wsrep_cluster_address=gcomm://a --wsrep_cluster_address=gcomm://", "names no other"),
        ("--wsrep_cluster_address=gcomm://?pc.wait_prim=no", "names no other"),
        ("--port=3306", "names no other"),
        ("--wsrep_cluster_address=gcomm://a --wsrep-new-cluster", "wsrep_new_cluster"),
        ("--wsrep_cluster_address=gcomm://a --wsrep_new_cluster=ON", "wsrep_new_cluster"),
        ("--wsrep_cluster_address=gcomm://a --wsrep_new_cluster=OFF", ""),
    ],
)
def test_a_start_that_begins_a_cluster_is_known_by_its_options(options: str, why: str) -> None:
    found = bootstraps(options)
    assert (why in found) if why else found == ""


# --- the client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "error", "refused"),
    [
        ("ERROR 1045 (28000): Access denied for user 'x'@'y' (using password: YES)", Denied, None),
        ("ERROR 1227 (42000) at line 1: Access denied; you need SUPER", Denied, None),
        ("ERROR 1040 (HY000): Too many connections", ServerError, None),
        ("ERROR 1047 (08S01): WSREP has not yet prepared node for application use", ServerError, None),
        ("ERROR 2013 (HY000): Lost connection to server during query", Unreachable, False),
        (NO_SOCKET, Unreachable, True),
        ("Segmentation fault", Unreachable, False),
    ],
)
def test_who_must_act_is_told_from_the_clients_words(said: str, error: type[Exception], refused: bool | None) -> None:
    harness = Cluster()
    harness.fails(0, said)
    with pytest.raises(error) as caught:
        Client(None, 1).ask(harness.runner().ctx, Address(socket="/s"), "SELECT 1")
    assert type(caught.value) is error
    assert getattr(caught.value, "refused", None) is refused


def test_cells_are_read_as_they_were_stored() -> None:
    harness = Cluster()
    harness.answer(*OWN, output="a\\tb\tc\\nd\te\\\\n\\0\n")
    assert Client(None, 1).ask(harness.runner().ctx, Address(socket="/s"), "SELECT 1") == [("a\tb", "c\nd", "e\\n\0")]


def test_an_address_of_another_form_and_a_configuration_without_peers_are_refused() -> None:
    for wrong, part in ((["10.0.0.2"], "is not host:port"), ([], "at least 1"), (["h:99999"], "is not host:port")):
        answer = Cluster(settings={"peers": wrong}).pre_check()
        assert isinstance(answer, Refuse)
        assert part in answer.reason
    answer = Cluster(Backup, settings={"backups": "/var/backups"}).pre_check()
    assert isinstance(answer, Refuse)
    assert "s3://bucket/prefix" in answer.reason


def test_what_a_server_does_not_say_is_not_taken_for_good() -> None:
    server = server_from(Address(socket="/s"), [("version", "11.4")], 0.0)
    assert (server.galera, server.primary, server.ready, server.state) == (False, False, False, "unknown")


def test_members_that_are_not_configured_are_asked_too() -> None:
    harness = Cluster()
    more = f"10.0.0.1:3306,{','.join(PEERS)},10.0.0.4:3306,"
    for index in range(3):
        harness.says(index, wsrep_incoming_addresses=more, wsrep_cluster_size=5, wsrep_cluster_weight=5)
    harness.answer(*peer("10.0.0.4:3306"), exit=1, output=SILENT)
    answer = harness.pre_check()
    assert isinstance(answer, Wait)
    assert "10.0.0.4:3306 does not answer" in answer.reason
