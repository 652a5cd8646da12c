"""`redis_task:restart` without a Redis: the protocol on a socket of the test's own, and its rules on drawn-up views."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from runners.redis.resp import Connection, ErrorReply, NotResp
from runners.redis.restart import Restart
from runners.redis.rules import heir, is_well, may_restart, may_restart_alone, unwell
from runners.redis.view import Server, View, parse_lines
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Wait
from taskerman.errors import ActionArgsInvalid, RunnerMisconfigured
from taskerman.testing import RunnerHarness, deaths

# --- the protocol ----------------------------------------------------------------------------------------

Serve = Callable[[bytes], Connection]


@pytest.fixture
def served() -> Iterator[Serve]:
    """Connects to a server that answers whatever it is asked with the given bytes, and then says nothing."""
    listeners: list[socket.socket] = []
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []
    connections: list[Connection] = []

    def start(answer: bytes, close: bool = False) -> Connection:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answering() -> None:
            wire, _ = listener.accept()
            accepted.append(wire)
            wire.recv(4096)
            wire.sendall(answer)
            if close:
                wire.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=answering)
        thread.start()
        threads.append(thread)
        connection = Connection(*listener.getsockname(), timeout_s=0.3)
        connections.append(connection)
        return connection

    yield start
    for connection in connections:
        connection.close()
    for thread in threads:
        thread.join(5)
    for wire in accepted + listeners:
        wire.close()


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b"+OK\r\n", "OK"),
        (b":-12\r\n", -12),
        (b"$5\r\na\r\nbc\r\n", "a\r\nbc"),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*3\r\n$1\r\na\r\n:1\r\n*0\r\n", ("a", 1, ())),
    ],
)
def test_replies_are_read_as_the_protocol_says(served: Serve, raw: bytes, reply: object) -> None:
    assert served(raw).call("ANYTHING") == reply


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$5\r\nabcdefg\r\n",
        b"$x\r\n",
        b":\r\n",
        b"$-2\r\n",
        b"$99999999999\r\n",
        b"*99999999\r\n",
        b"*1\r\n" * 20,
        b"*1\r\n-ERR within\r\n",
        b"x" * 200_000,
    ],
)
def test_what_is_not_redis_is_an_error_and_never_a_guess(served: Serve, raw: bytes) -> None:
    with pytest.raises(NotResp):
        served(raw).call("PING")


def test_a_servers_error_is_told_apart_by_its_first_word(served: Serve) -> None:
    with pytest.raises(ErrorReply, match="NOAUTH Authentication required") as raised:
        served(b"-NOAUTH Authentication required.\r\n").call("PING")
    assert raised.value.kind == "NOAUTH"


def test_a_reply_that_does_not_come_is_not_waited_for_for_ever(served: Serve) -> None:
    with pytest.raises(TimeoutError):
        served(b"$10\r\nabc").call("PING")


def test_text_is_not_anything_else(served: Serve) -> None:
    with pytest.raises(NotResp, match="not with text"):
        served(b":1\r\n").text("INFO")


# --- views, drawn up --------------------------------------------------------------------------------------

A, B, C, D, E, F = (letter * 40 for letter in "abcdef")
MASTERS = {A: "0-5460", B: "5461-10922", C: "10923-16383"}
REPLICAS = {D: A, E: B, F: C}
PORTS = {name: 7000 + place for place, name in enumerate([A, B, C, D, E, F])}
NOW_MS = 1_700_000_000_000
LAG = 1000


def nodes_of(observer: str, **changes: str) -> str:
    """CLUSTER NODES as `observer` would print it. `changes`: by the node's letter, its line from the flags on."""
    lines = []
    for name, port in PORTS.items():
        myself = "myself," if name == observer else ""
        role = f"{myself}master -" if name in MASTERS else f"{myself}slave {REPLICAS[name]}"
        rest = changes.get(name[0], f"{role} 0 {NOW_MS - 100} 1 connected {MASTERS.get(name, '')}")
        lines.append(f"{name} 10.0.0.{port - 6999}:{port}@{port + 10000} {rest}")
    return "\n".join(lines) + "\n"


def server(name: str, *, nodes: str = "", **changes: object) -> Server:
    healthy = Server(
        address=(f"10.0.0.{PORTS[name] - 6999}", PORTS[name]),
        run_id=f"run-{name[0]}",
        uptime_s=3600,
        clock_ms=NOW_MS,
        replica=name in REPLICAS,
        offset=5000,
        id=name,
        lines=parse_lines(nodes or nodes_of(name)),
    )
    return replace(healthy, **changes)  # type: ignore[arg-type]


def view(me: str = A, without: str = "", own: Server | None = None, **servers: Any) -> View:
    """A cluster that is well, as seen from `me`. `servers`: others by letter; `without`: letters that are silent."""
    mine = own or server(me)
    answers = {name: servers.get(name[0], server(name)) for name in PORTS if name != me and name[0] not in without}
    others = {name: line for name, line in mine.lines.items() if name != me}
    return View(me, mine, others=others, answers=answers, silent={n: "refused" for n in others if n[0] in without})


def asked(seen: View, *, failover: bool = True, at_once: int = 1) -> Check:
    return may_restart(seen, failover=failover, max_lag_bytes=LAG, others_at_once=at_once - 1)


def test_lines_are_read_whole() -> None:
    text = (
        f"{A} 10.0.0.1:7000@17000,host-a.example master - 0 1700 3 connected 0-5460 7000 [8-<-{B}]\n"
        f"{B} [fd00::1]:7001@17001 myself,slave,fail? {A} 5 0 3 disconnected\n"
        f"{C} :0@0 slave,noaddr {A} 5 0 3 disconnected\n"
    )
    lines = parse_lines(text)
    assert (lines[A].address, lines[A].slots, lines[A].moving, lines[A].connected) == (
        ("10.0.0.1", 7000),
        5462,
        True,
        True,
    )
    assert (lines[B].address, lines[B].master, lines[B].suspected, lines[B].failed) == (
        ("fd00::1", 7001),
        A,
        True,
        False,
    )
    assert lines[C].failed


@pytest.mark.parametrize("me", [A, D])
def test_a_node_of_a_cluster_that_is_well_may_go(me: str) -> None:
    assert asked(view(me)) == Go()


def test_a_peer_that_sees_the_cluster_down_holds_everybody() -> None:
    answer = asked(view(b=server(B, state="fail")), at_once=6)
    assert answer == Wait("cluster_state is not ok as seen by 10.0.0.2:7001", of="cluster")


def test_servers_that_disagree_on_a_role_are_in_a_failover() -> None:
    swapped = nodes_of(E, b=f"slave {E} 0 0 1 connected", e="myself,master - 0 0 2 connected 5461-10922")
    answer = asked(view(e=server(E, nodes=swapped, replica=False)), at_once=6)
    assert isinstance(answer, Wait)
    assert answer.of == "cluster"
    assert "failover is under way" in answer.reason


@pytest.mark.parametrize(
    ("ill", "why"),
    [
        ({"without": "f"}, "does not answer (refused)"),
        ({"f": server(F, linked=False)}, "has no link to its master"),
        ({"f": server(F, syncing=True)}, "is still copying"),
        ({"f": server(F, offset=5000 - LAG - 1)}, "is 1001 bytes behind its master"),
        ({"f": server(F, loading=True)}, "is loading its data"),
        ({"b": server(B, nodes=nodes_of(B, f=f"slave,fail {C} 0 0 1 disconnected"))}, "is marked failed by a peer"),
    ],
)
def test_more_unwell_nodes_than_the_task_may_take_down_hold_it(ill: dict[str, Any], why: str) -> None:
    seen = view(A, **ill)
    assert list(unwell(seen, LAG)) == [F]
    answer = asked(seen)
    assert isinstance(answer, Wait)
    assert answer.of == "cluster"
    assert why in answer.reason
    assert asked(seen, at_once=2) == Go(), "of another shard, and the task's own doing"


def test_one_suspicion_is_not_enough_and_two_are() -> None:
    suspicion = {name: server(name, nodes=nodes_of(name, f=f"slave,fail? {C} 1 0 1 connected")) for name in (B, D)}
    assert asked(view(b=suspicion[B])) == Go()
    assert isinstance(asked(view(b=suspicion[B], d=suspicion[D])), Wait)


def test_an_unwell_node_of_its_own_shard_is_waited_for_whatever_the_task_allows() -> None:
    answer = asked(view(A, without="d"), at_once=6)
    assert isinstance(answer, Wait)
    assert answer.of == "node"
    assert isinstance(asked(view(D, without="a"), at_once=6), Wait)


def test_the_heir_is_the_replica_that_is_furthest() -> None:
    nodes = nodes_of(A, e=f"slave {A} 0 {NOW_MS} 1 connected")
    seen = view(A, own=server(A, nodes=nodes), d=server(D, offset=4900), e=server(E, nodes=nodes_of(E), offset=4950))
    assert heir(seen, LAG) == E
    assert heir(view(A, without="d"), LAG) is None


def test_a_master_without_a_replica_is_refused_because_waiting_would_not_help() -> None:
    seen = view(A)
    alone = {name: line for name, line in seen.others.items() if name != D}
    lines = {name: line for name, line in server(A).lines.items() if name != D}
    assert seen.own is not None
    seen = replace(seen, own=replace(seen.own, lines=lines), others=alone, answers={})
    seen = replace(seen, answers={name: replace(server(name), lines=lines) for name in alone})
    answer = asked(seen)
    assert isinstance(answer, Refuse)
    assert "has no replica" in answer.reason
    assert asked(seen, failover=False) == Go()


def test_without_failover_a_majority_of_masters_must_be_left_to_elect() -> None:
    assert asked(view(A), failover=False) == Go()
    answer = asked(view(A, without="b"), failover=False, at_once=2)
    assert isinstance(answer, Wait)
    assert "only 1 of 3 would be left to elect" in answer.reason
    assert asked(view(A, without="b"), failover=True, at_once=2) == Go()


def test_a_claim_on_a_server_of_the_shard_is_waited_for() -> None:
    assert isinstance(asked(view(A, d=server(D, claims=frozenset({D}))), at_once=6), Wait)
    assert isinstance(asked(view(D, a=server(A, claims=frozenset({A}))), at_once=6), Wait)
    assert asked(view(A, b=server(B, claims=frozenset({E}))), at_once=6) == Go(), "another shard"
    assert asked(view(A, own=server(A, claims=frozenset({A})))) == Go(), "its own"


def test_a_dead_server_may_be_started_and_a_silent_one_may_not_be_killed() -> None:
    seen = view(A)
    assert asked(replace(seen, own=None, own_refuses=True)) == Go()
    silent = asked(replace(seen, own=None))
    assert isinstance(silent, Wait)
    failed = nodes_of(B, a="master,fail - 0 0 1 disconnected 0-5460")
    assert asked(replace(view(A, b=server(B, nodes=failed)), own=None)) == Go()
    assert isinstance(asked(View("", None, own_refuses=True)), Refuse)


def test_a_master_outside_a_cluster_goes_only_with_a_persons_word() -> None:
    alone = Server(("h", 1), "r", clustered=False)
    assert isinstance(may_restart_alone(alone, failover=True), Refuse)
    assert may_restart_alone(alone, failover=False) == Go()
    assert may_restart_alone(replace(alone, replica=True), failover=True) == Go()
    assert isinstance(may_restart_alone(replace(alone, moving_roles=True), failover=False), Wait)


# --- well again -------------------------------------------------------------------------------------------


def just_started(*, nodes: str = "", **changes: object) -> Server:
    return server(D, nodes=nodes, uptime_s=5, **changes)


def well(seen: View) -> Check:
    return is_well(seen, max_lag_bytes=LAG)


def test_it_is_well_when_everybody_has_heard_from_it_since_it_started() -> None:
    assert well(view(D, own=just_started())) == Go()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"slave {A} 0 {NOW_MS - 6000} 1 connected", "has not heard from it since it started"),
        (f"slave {A} 9 {NOW_MS - 100} 1 disconnected", "has not heard from it since it started"),
        (f"slave,fail? {A} 9 {NOW_MS - 100} 1 connected", "marks it failed"),
        (f"slave,fail {A} 9 {NOW_MS - 100} 1 connected", "marks it failed"),
    ],
)
def test_one_peer_that_does_not_see_it_well_is_enough_to_wait(line: str, why: str) -> None:
    answer = well(view(D, own=just_started(), b=server(B, nodes=nodes_of(B, d=line))))
    assert answer == Wait(f"its peers do not see the server well: 10.0.0.2:7001 {why}")


def test_a_peer_that_sees_the_cluster_down_is_waited_for() -> None:
    answer = well(view(D, own=just_started(), b=server(B, state="fail")))
    assert answer == Wait("its peers do not see the server well: 10.0.0.2:7001 sees cluster_state:fail")


def test_the_clocks_of_two_machines_are_never_compared() -> None:
    """A peer whose clock is an hour off says the same with its own times."""
    off = 3_600_000
    line = f"slave {A} 0 {NOW_MS - off - 100} 1 connected"
    behind = server(B, nodes=nodes_of(B, d=line), clock_ms=NOW_MS - off)
    assert well(view(D, own=just_started(), b=behind)) == Go()


def test_a_peer_that_is_failed_itself_is_no_witness() -> None:
    failed = {name: server(name, nodes=nodes_of(name, f=f"slave,fail {C} 0 0 1 disconnected")) for name in (A, B, C, E)}
    outcast = server(F, nodes=nodes_of(F, d=f"slave,fail {A} 0 0 1 disconnected"))
    others: dict[str, Any] = {name[0]: one for name, one in failed.items()}
    own = just_started(nodes=nodes_of(D, f=f"slave,fail {C} 0 0 1 disconnected"))
    assert well(view(D, own=own, f=outcast, **others)) == Go()


def test_most_peers_must_be_there_to_say_so() -> None:
    assert isinstance(well(view(D, own=just_started(), without="abc")), Wait)
    assert well(view(D, own=just_started(), without="bc")) == Go()


@pytest.mark.parametrize(
    "own",
    [
        just_started(state="fail"),
        just_started(loading=True),
        just_started(linked=False),
        just_started(syncing=True),
        just_started(offset=0),
    ],
)
def test_its_own_word_counts_as_well(own: Server) -> None:
    assert isinstance(well(view(D, own=own)), Wait)


def test_a_server_that_does_not_answer_is_waited_for() -> None:
    assert well(replace(view(D), own=None)) == Wait("the server does not answer")


# --- the runner -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_service_manager_is_asked_in_the_words_of_the_configuration() -> None:
    harness = RunnerHarness(Restart, settings={"port": free_port()})
    harness.execute_action()
    assert harness.commands == [("systemctl", "restart", "redis-server")]
    harness = RunnerHarness(Restart, settings={"port": free_port(), "restart": ["service", "redis", "restart"]})
    harness.execute_action()
    assert harness.commands == [("service", "redis", "restart")]


def test_a_restart_that_failed_fails_the_action_and_may_have_happened() -> None:
    harness = RunnerHarness(Restart, settings={"port": free_port()})
    harness.answer("systemctl", exit=1, output="Job for redis-server.service failed")
    with pytest.raises(CommandFailed, match=r"Job for redis-server\.service failed"):
        harness.execute_action()
    assert harness.saved["asked"] is True
    assert harness.saved["restarted"] is False


def test_nothing_happened_before_the_restart_was_asked_for() -> None:
    assert RunnerHarness(Restart, saved={"run_id": "r", "asked": False}).recover() is Recovered.NOT_DONE


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"restart": "systemctl restart redis"}, "restart: "),
        ({"restart": []}, "restart: "),
        ({"port": "http"}, "port: "),
        ({"peers": ["10.0.0.1"]}, "peers.0: '10.0.0.1' is not host:port"),
        ({"peers": "10.0.0.1:1"}, "peers: "),
        ({"announced": "here"}, "announced: 'here' is not host:port"),
        ({"timeout": 2}, "timeout: unknown key"),
    ],
)
def test_a_wrong_configuration_is_refused_and_named(settings: dict, words: str) -> None:
    answer = RunnerHarness(Restart, settings=settings).pre_check()
    assert isinstance(answer, Refuse)
    assert words in answer.reason


def test_a_check_after_the_action_names_what_was_configured_wrongly_in_between() -> None:
    with pytest.raises(RunnerMisconfigured, match="timeout: unknown key"):
        RunnerHarness(Restart, settings={"timeout": 2}).post_check()


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(ActionArgsInvalid, match="failovr: unknown argument"):
        RunnerHarness(Restart, args={"failovr": True}).pre_check()


def test_abort_may_be_called_when_there_is_nothing_to_stop_and_twice() -> None:
    harness = RunnerHarness(Restart)
    harness.abort()
    harness.abort()
    assert harness.commands == []


# --- the whole attempt, of a replica -----------------------------------------------------------------------


class Shard:
    """The cluster that is well, in which D, a replica, may be restarted. `claims`: what was said at its servers."""

    def __init__(self) -> None:
        self.run_id = "run-d"
        self.claims: list[str] = []

    def view(self, *_: object, **__: object) -> View:
        return view(D, own=server(D, run_id=self.run_id))

    def restart(self, words: tuple[str, ...]) -> None:
        self.run_id = "run-2"


class Connected:
    """A connection to a server of it."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def __enter__(self) -> Connected:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def call(self, *words: str) -> str:
        self._shard.claims.append(" ".join(words))
        return "OK"


@pytest.fixture
def a_replica(monkeypatch: pytest.MonkeyPatch) -> Callable[[], RunnerHarness[Restart]]:
    """Makes a node of a fresh one."""

    def make() -> RunnerHarness[Restart]:
        shard = Shard()
        monkeypatch.setattr("runners.redis.handover.look", shard.view)
        monkeypatch.setattr("runners.redis.view.Access.open", lambda access, address: Connected(shard))
        harness = RunnerHarness(Restart)
        harness.answer("systemctl", "restart", by=shard.restart)
        harness.shard = shard  # type: ignore[attr-defined]
        return harness

    return make


def test_a_replica_is_restarted_under_its_claim(a_replica: Callable[[], RunnerHarness[Restart]]) -> None:
    harness = a_replica()
    assert harness.run().outcome == "succeeded"
    assert harness.shard.claims == [f"CLIENT SETNAME taskerman-restart:{D}"] * 2, "at itself and at its master"  # type: ignore[attr-defined]


def test_whatever_kills_it_recover_believes_only_the_start(a_replica: Callable[[], RunnerHarness[Restart]]) -> None:
    seen = []
    for death in deaths(a_replica):
        restarted = death.harness.shard.run_id != "run-d"  # type: ignore[attr-defined]
        asked = death.harness.saved.get("asked")
        played = death.resume()
        right = ("succeeded", "done") if restarted else ("lost", "unknown") if asked else ("failed", "not_done")
        assert (played.outcome, played.recovered) == right, death
        seen.append(played.recovered)
    assert set(seen) == {"done", "unknown", "not_done"}
