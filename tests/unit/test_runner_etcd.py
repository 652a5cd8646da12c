"""`etcd_task` without an etcd: its rules on views drawn up by hand, its gateway on a socket of ours."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runners.etcd import rules
from runners.etcd.defragment import Defragment
from runners.etcd.gateway import Access, EtcdError, Gateway, Metrics, NotEtcd, Refused
from runners.etcd.restart import NotReady, Restart, hand_over
from runners.etcd.snapshot import BadSnapshot, Snapshot, save
from runners.etcd.view import Alarm, Answer, Known, Server, Silent, View, look
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.errors import ActionArgsInvalid
from taskerman.testing.harness import RunnerHarness

MIB = 1024 * 1024
LAG = 100

# --- states and decisions --------------------------------------------------------------------------------


def server(name: str, **changes: Any) -> Server:
    said = Server(
        id=name, cluster="c1", version="3.5.9", leader="b", index=5000, applied=5000, size=90 * MIB, used=80 * MIB
    )
    return replace(said, **changes)


DEAD, HANGING = Silent("nobody listens there", refused=True), Silent("timed out")
FORBIDDEN = Silent("authentication failed", forbidden=True)
A, B, C = server("a"), server("b"), server("c")
MEMBERS = {name: Known(name, f"etcd-{name}", (f"http://{name}:2379",)) for name in "abc"}


def of(own: Answer, *others: Answer, me: str = "a", **changes: Any) -> View:
    names = [name for name in "abcde" if name != me][: len(others)]
    members = {name: Known(name, f"etcd-{name}", (f"http://{name}:2379",)) for name in [me, *names]}
    return replace(View(own, me, dict(zip(names, others, strict=True)), members), **changes)


def learner(view: View, name: str) -> View:
    return replace(view, members={**view.members, name: replace(view.members[name], learner=True)})


def unstarted(view: View, name: str) -> View:
    return replace(view, members={**view.members, name: Known(name, "")})


STATES: dict[str, tuple[View, type[Check], str]] = {
    "a follower, all well": (of(A, B, C), Go, ""),
    "the leader, all well": (of(B, A, C, me="b"), Go, ""),
    "a member is dead": (of(A, B, DEAD), Wait, "etcd-c does not answer (nobody listens there)"),
    "a member hangs": (of(A, B, HANGING), Wait, "etcd-c does not answer (timed out)"),
    "a member sees no leader": (of(A, B, replace(C, leader="")), Wait, "etcd-c sees no leader"),
    "they follow two": (of(A, B, replace(C, leader="c")), Wait, "and not all do"),
    "a member is of another cluster": (of(A, B, replace(C, cluster="c2")), Wait, "of the cluster c2"),
    "a member is far behind": (of(A, B, replace(C, index=4899)), Wait, "etcd-c is 101 entries behind"),
    "a member applies late": (of(A, B, replace(C, applied=4899)), Wait, "101 entries to apply"),
    "a member has no reads confirmed": (
        of(A, B, replace(C, healthy=False, why="request timed out")),
        Wait,
        "cannot have a read confirmed (request timed out)",
    ),
    "a member reports an error": (of(A, B, replace(C, errors=("etcdserver: no leader",))), Wait, "reports etcdserver"),
    "it is behind itself": (of(replace(A, index=4000), B, C), Wait, "etcd-a is 1,000 entries behind"),
    "a learner joins": (learner(of(A, B, C), "c"), Wait, "etcd-c is joining"),
    "a member has never started": (unstarted(of(A, B, DEAD), "c"), Wait, "is joining"),
    "no space": (of(A, B, C, alarms=(Alarm("NOSPACE", "c"),)), Refuse, "the alarm NOSPACE of etcd-c"),
    "corrupt": (of(A, B, C, alarms=(Alarm("CORRUPT", "c"),)), Refuse, "the alarm CORRUPT of etcd-c"),
    "a single member": (of(server("b"), me="b"), Refuse, "has no quorum without this server"),
    "two members": (of(A, B), Refuse, "a cluster of 2 has no quorum"),
    "an older version": (of(replace(A, version="3.3.25"), B, C), Refuse, "3.3.25; this runner knows 3.4 to 3.6"),
    "a newer version": (of(replace(A, version="3.7.0"), B, C), Refuse, "3.7.0; this runner knows"),
    "no version": (of(replace(A, version=""), B, C), Refuse, "unknown; this runner knows"),
    "no list of members": (of(A, members={}), Wait, "does not name the members"),
    "it is dead": (of(DEAD, B, C), Go, ""),
    "it is dead, and so is another": (of(DEAD, B, DEAD), Go, ""),
    "it is dead, and nobody answers": (of(DEAD, members={}), Refuse, "neither the server nor any of the endpoints"),
    "it is dead, and not known by its endpoint": (of(DEAD, B, C, me=""), Refuse, "set name to the member's name"),
    "it answers elsewhere": (of(DEAD, B, C, elsewhere=True), Refuse, "correct endpoint"),
    "it hangs": (of(HANGING, B, C), Wait, "something listens there"),
    "it does not let us ask": (of(FORBIDDEN, B, C), Refuse, "Correct username and password"),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_decision(state: str) -> None:
    view, kind, words = STATES[state]
    answer = rules.may_restart(view, LAG, cap=1, outage=False)
    assert isinstance(answer, kind)
    assert words in getattr(answer, "reason", "")


def test_what_concerns_all_stops_the_whole_cluster_and_what_concerns_one_only_it() -> None:
    ill = rules.may_restart(of(A, B, DEAD), LAG, cap=1, outage=False)
    own = rules.may_restart(of(replace(A, index=4000), B, C), LAG, cap=1, outage=False)
    assert isinstance(ill, Wait)
    assert isinstance(own, Wait)
    assert (ill.of, own.of) == ("cluster", "node")


def test_two_at_once_are_refused_and_an_outage_may_be_accepted() -> None:
    assert isinstance(rules.may_restart(of(A, B, C), LAG, cap=2, outage=False), Refuse)
    assert isinstance(rules.may_act(of(A, B, C), LAG, cap=2), Refuse)
    assert rules.may_restart(of(server("b"), me="b"), LAG, cap=1, outage=True) == Go()


def test_leadership_goes_to_a_voter_that_is_well_and_rather_to_one_that_was_restarted() -> None:
    view = of(B, A, replace(C, index=5001), me="b")
    assert rules.heir(view, LAG, None) == "c"
    restarted = replace(A, metrics=Metrics(started_at=200.0))
    assert rules.heir(of(B, restarted, replace(C, index=5001), me="b"), LAG, 100.0) == "a"
    assert rules.heir(of(B, restarted, C, me="b"), LAG, 300.0) == "c"
    assert rules.heir(of(B, DEAD, replace(C, index=4000), me="b"), LAG, None) is None
    assert rules.heir(learner(of(B, DEAD, C, me="b"), "c"), LAG, None) is None


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (of(DEAD, B, C), "does not answer"),
        (of(replace(A, leader=""), B, C), "the server sees no leader"),
        (of(replace(A, index=4000), B, C), "1,000 entries behind"),
        (of(replace(A, healthy=False, why="x"), B, C), "cannot have a read confirmed"),
        (of(A, DEAD, C), "the leader could not be asked"),
        (of(A, B, replace(C, leader="c")), "and not all do"),
    ],
)
def test_what_is_not_well_is_waited_for_with_its_reason(view: View, words: str) -> None:
    answer = rules.is_well(view, LAG)
    assert isinstance(answer, Wait)
    assert words in answer.reason


def test_what_is_well_is_called_so_though_another_is_down() -> None:
    assert rules.is_well(of(A, B, C), LAG) == Go()
    assert rules.is_well(of(A, B, DEAD), LAG) == Go()


# --- the gateway -----------------------------------------------------------------------------------------


@contextmanager
def answering(answers: Mapping[str, Any]) -> Iterator[str]:
    """A server on loopback; by path, the code and the body. What is not there is 404 in plain text."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            code, body = answers.get(self.path, (404, b"Not Found\n"))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()


STATUS = {
    "header": {"cluster_id": "c1", "member_id": "18446744073709551615", "revision": "4"},
    "version": "3.4.23",
    "leader": "18446744073709551615",
    "raftIndex": "9007199254740993",
    "raftAppliedIndex": "9007199254740993",
    "dbSize": "20480",
    "dbSizeInUse": "16384",
}
METRICS = (
    b"process_start_time_seconds 1.7e+09\netcd_disk_backend_defrag_duration_seconds_count 3\n"
    b"etcd_disk_defrag_inflight 1\netcd_server_quota_backend_bytes 2.147483648e+09\n"
)
GOOD = {
    "/v3/maintenance/status": (200, STATUS),
    "/v3/kv/range": (200, {}),
    "/metrics": (200, METRICS),
    "/v3/maintenance/alarm": (200, {"alarms": [{"memberID": "7", "alarm": "NOSPACE"}]}),
    "/v3/cluster/member/list": (200, {"members": [{"ID": "18446744073709551615", "name": "etcd-a"}]}),
}


def test_a_member_is_read_with_numbers_of_64_bits() -> None:
    with answering(GOOD) as url:
        view = look(url, Access())
    own = view.own
    assert isinstance(own, Server)
    assert (own.id, own.index, own.size, own.used) == ("18446744073709551615", 9007199254740993, 20480, 16384)
    assert own.metrics == Metrics(1.7e9, 3, True, 2**31)
    assert view.leads
    assert view.alarms == (Alarm("NOSPACE", "7"),)


@pytest.mark.parametrize(
    ("answers", "healthy", "forbidden"),
    [
        ({"/v3/kv/range": (503, {"code": 14, "message": "etcdserver: request timed out"})}, False, None),
        ({"/v3/kv/range": (403, {"code": 7, "error": "etcdserver: permission denied"})}, True, None),
        ({"/v3/kv/range": (400, {"code": 3, "message": "etcdserver: user name is empty"})}, None, True),
        ({"/v3/maintenance/status": (401, {"code": 16, "message": "etcdserver: invalid auth token"})}, None, True),
        ({"/v3/maintenance/status": (404, b"Not Found\n")}, None, False),
        ({"/v3/maintenance/status": (200, b"<html>")}, None, False),
        ({"/v3/maintenance/status": (200, [1])}, None, False),
        ({"/v3/maintenance/status": (200, {"leader": "1"})}, None, False),
        ({"/metrics": (404, b"")}, True, None),
    ],
)
def test_what_a_server_does_not_answer_is_told_apart(
    answers: Mapping[str, Any], healthy: bool | None, forbidden: bool | None
) -> None:
    with answering({**GOOD, **answers}) as url:
        own = look(url, Access()).own
    assert (own.healthy if isinstance(own, Server) else None) == healthy
    assert (own.forbidden if isinstance(own, Silent) else None) == forbidden


def test_errors_of_either_generation_of_the_gateway_are_read() -> None:
    old = {"error": "etcdserver: bad leader transferee", "message": "etcdserver: bad leader transferee", "code": 9}
    new = {"code": 9, "message": "etcdserver: bad leader transferee", "details": []}
    for said in (old, new):
        with answering({"/v3/maintenance/transfer-leadership": (400, said)}) as url:
            with pytest.raises(EtcdError, match=r"^bad leader transferee$") as raised:
                Gateway(url, Access()).call("maintenance/transfer-leadership", targetID="1")
            assert raised.value.code == 9


def test_a_closed_port_is_told_from_a_wrong_server() -> None:
    with answering({}) as url:
        pass
    with pytest.raises(Refused):
        Gateway(url, Access()).call("maintenance/status")
    with answering({}) as url, pytest.raises(NotEtcd, match="HTTP 404"):
        Gateway(url, Access()).call("maintenance/status")


def chunks(content: bytes, size: int) -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(
        json.dumps({"result": {"blob": base64.b64encode(each).decode()}}).encode() + b"\n" for each in pieces
    )


def test_a_snapshot_is_whole_when_the_checksum_behind_it_is_its_own(tmp_path: Path) -> None:
    database = b"bolt" * 5000
    whole = database + hashlib.sha256(database).digest()
    for size in (7, 31, 4096, 10**6):
        with answering({"/v3/maintenance/snapshot": (200, chunks(whole, size))}) as url:
            stored = save(tmp_path / f"{size}.db", Gateway(url, Access()).snapshot(within_s=5))
        assert stored == (len(whole), hashlib.sha256(whole).hexdigest())
        assert (tmp_path / f"{size}.db").read_bytes() == whole
        assert (tmp_path / f"{size}.db").stat().st_mode & 0o777 == 0o600
    for bad in (whole[:-1], database, whole[:100] + b"x" + whole[101:], b"", b"x" * 32):
        file = tmp_path / "bad.db"
        with pytest.raises(BadSnapshot):
            save(file, [bad])
        file.unlink()


def test_an_error_in_the_midst_of_a_snapshot_is_an_error(tmp_path: Path) -> None:
    body = chunks(b"x" * 100, 50) + json.dumps({"error": {"grpc_code": 14, "message": "closing"}}).encode() + b"\n"
    with answering({"/v3/maintenance/snapshot": (200, body)}) as url, pytest.raises(EtcdError, match="closing"):
        save(tmp_path / "file", Gateway(url, Access()).snapshot(within_s=5))


def test_a_scratch_file_is_never_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "there").write_text("precious")
    for name in ("link", "there"):
        with pytest.raises(FileExistsError):
            save(tmp_path / name, [b"x"])
    assert not (tmp_path / "target").exists()
    assert (tmp_path / "there").read_text() == "precious"


# --- hooks without a server ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"endpoint": "127.0.0.1:2379"}, {"endpoints": ["ftp://x"]}, {"restart": []}, {"pears": []}]
)
def test_a_wrong_configuration_is_refused_and_named(settings: dict[str, Any]) -> None:
    answer = RunnerHarness(Restart, settings=settings).pre_check()
    assert isinstance(answer, Refuse)
    assert next(iter(settings)) in answer.reason


@pytest.mark.parametrize(
    ("runner", "args"), [(Restart, {"outages": True}), (Defragment, {"at_least_bytes": -1}), (Snapshot, {"keep": 0})]
)
def test_unknown_and_unsafe_arguments_are_refused(runner: Any, args: dict[str, Any]) -> None:
    with pytest.raises(ActionArgsInvalid):
        RunnerHarness(runner, args=args).pre_check()


@pytest.mark.parametrize("runner", [Restart, Defragment])
def test_nothing_happened_before_it_was_asked_for_and_abort_may_be_called_twice(runner: Any) -> None:
    harness = RunnerHarness(runner)
    assert harness.recover() is Recovered.NOT_DONE
    harness.abort()
    harness.abort()
    assert harness.commands == []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[View]:
    """What the runners' next looks see, in order; the last one for ever."""
    views: list[View] = []
    monkeypatch.setattr("runners.etcd.node.look", lambda *_, **__: views.pop(0) if len(views) > 1 else views[0])
    monkeypatch.setattr("runners.etcd.node.start_of", lambda port, boot: None)
    monkeypatch.setattr("runners.etcd.restart.RECOVER_WITHIN_S", 0.0)
    monkeypatch.setattr("runners.etcd.defragment.RECOVER_WITHIN_S", 0.0)
    return views


def test_without_the_kernels_word_a_start_is_known_by_the_servers_own(seen: list[View]) -> None:
    at = [replace(A, metrics=Metrics(started_at=second)) for second in (100.0, 200.0)]
    harness = RunnerHarness(Restart)
    seen += [of(at[0], B, C)]
    harness.execute_action()
    assert harness.commands == [("systemctl", "restart", "etcd")]
    assert harness.post_check() == Wait("the server still runs as it was started before")
    assert harness.recover() is Recovered.UNKNOWN
    seen[:] = [of(at[1], B, C)]
    assert harness.recover() is Recovered.DONE
    seen[:] = [of(A, B, C)]
    assert harness.recover() is Recovered.UNKNOWN, "it does not say"


def test_a_restart_that_cannot_be_asked_for_has_failed(seen: list[View]) -> None:
    harness = RunnerHarness(Restart, settings={"restart": ["systemctl", "restart", "no-such-unit"]})
    harness.answer("systemctl", exit=5, output="Unit no-such-unit.service not found.")
    seen += [of(A, B, C)]
    with pytest.raises(CommandFailed, match="no-such-unit"):
        harness.execute_action()
    assert harness.saved["restarted"] is False


@pytest.mark.parametrize(
    ("saved", "known"),
    [
        ({"start": None, "was_up": True}, Recovered.UNKNOWN),
        ({"start": None, "was_up": False}, Recovered.DONE),
        ({"start": "started at 200.00", "was_up": True}, Recovered.UNKNOWN),
    ],
)
def test_who_was_up_and_whose_start_was_not_known_may_be_the_same_as_before(
    saved: dict[str, Any], known: Recovered, seen: list[View]
) -> None:
    seen += [of(replace(A, metrics=Metrics(started_at=200.0)), B, C)]
    assert RunnerHarness(Restart, saved={**saved, "asked": True}).recover() is known


def test_what_became_ill_while_leadership_was_moved_is_seen(seen: list[View], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leadership has moved, and the server stays up."""
    monkeypatch.setattr("runners.etcd.restart.hand_over", lambda *_: "a")
    harness = RunnerHarness(Restart)
    seen += [of(B, A, C, me="b"), of(B, A, DEAD, me="b")]
    with pytest.raises(NotReady, match="etcd-c does not answer"):
        harness.execute_action()
    assert harness.commands == []


def test_nobody_fit_to_lead_means_that_nothing_is_restarted(seen: list[View]) -> None:
    harness = RunnerHarness(Restart)
    seen += [of(B, A, C, me="b"), of(B, DEAD, DEAD, me="b")]
    with pytest.raises(NotReady):
        harness.execute_action()
    assert harness.commands == []
    runner = harness.runner()
    with pytest.raises(NotReady, match="no other member is fit to lead"):
        hand_over(runner._cluster(), of(B, DEAD, replace(C, index=1), me="b"), LAG, None, 1.0)


FREE: dict[str, Any] = {"size": 200 * MIB, "used": 80 * MIB}


@pytest.mark.parametrize(
    ("view", "args", "kind", "words"),
    [
        (of(replace(A, **FREE), B, C), {}, Go, ""),
        (of(A, B, C), {}, Skip, "that is little"),
        (of(replace(A, **FREE), B, DEAD), {}, Wait, "does not answer"),
        (of(replace(A, **FREE), B, C, alarms=(Alarm("CORRUPT", "c"),)), {}, Refuse, "the alarm CORRUPT"),
        (of(replace(A, **FREE), B, C, alarms=(Alarm("NOSPACE", "c"),)), {}, Go, ""),
        (of(replace(A, metrics=Metrics(quota_bytes=91 * MIB)), B, C, alarms=(Alarm("NOSPACE", "a"),)), {}, Go, ""),
        (of(replace(A, metrics=Metrics(quota_bytes=500 * MIB)), B, C, alarms=(Alarm("NOSPACE", "b"),)), {}, Skip, ""),
        (of(server("b", **FREE), me="b"), {}, Refuse, "outage: true"),
        (of(server("b", **FREE), me="b"), {"outage": True}, Go, ""),
    ],
)
def test_when_it_defragments(view: View, args: dict[str, Any], kind: type[Check], words: str, seen: list[View]) -> None:
    seen += [view]
    answer = RunnerHarness(Defragment, args=args).pre_check()
    assert isinstance(answer, kind)
    assert words in getattr(answer, "reason", "")


def test_a_full_disk_is_told_before_a_defragmentation(seen: list[View], tmp_path: Path) -> None:
    seen += [of(replace(A, size=2**62, used=2**61), B, C)]
    answer = RunnerHarness(Defragment, settings={"data_dir": str(tmp_path)}).pre_check()
    assert isinstance(answer, Refuse)
    assert "bytes free" in answer.reason
    seen[:] = [of(replace(A, size=200 * MIB, used=MIB), B, C)]
    answer = RunnerHarness(Defragment, settings={"data_dir": str(tmp_path / "nowhere")}).pre_check()
    assert isinstance(answer, Refuse)
    assert "cannot be looked at" in answer.reason


NOTED: dict[str, Any] = {"asked": True, "start": "started at 100.00", "times": 3, "size": 200 * MIB, "used": 80 * MIB}


@pytest.mark.parametrize(
    ("own", "known"),
    [
        (server("a", size=80 * MIB, metrics=Metrics(100.0, 4, False)), Recovered.DONE),
        (server("a", size=200 * MIB, metrics=Metrics(100.0, 4, False)), Recovered.DONE),
        (server("a", size=200 * MIB, metrics=Metrics(100.0, 3, False)), Recovered.NOT_DONE),
        (server("a", size=200 * MIB, metrics=Metrics(100.0, 3, True)), Recovered.UNKNOWN),
        (server("a", size=81 * MIB, metrics=Metrics(900.0, 0, False)), Recovered.DONE),
        (server("a", size=200 * MIB, metrics=Metrics(900.0, 0, False)), Recovered.NOT_DONE),
        (server("a", size=80 * MIB), Recovered.UNKNOWN),
        (HANGING, Recovered.UNKNOWN),
    ],
)
def test_whether_it_was_defragmented_is_known_by_the_servers_count(
    own: Answer, known: Recovered, seen: list[View]
) -> None:
    """And after another start, which begins to count anew, by its size."""
    seen += [of(own, B, C)]
    assert RunnerHarness(Defragment, saved=NOTED).recover() is known
