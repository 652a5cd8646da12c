"""`zookeeper_task` without a ZooKeeper: its rules on views drawn up by hand, its files, its words on our own socket."""

from __future__ import annotations

import io
import json
import socketserver
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runners.zookeeper.backup import NothingWhole, SnapshotBackup, choose
from runners.zookeeper.files import (
    BrokenFile,
    LogReader,
    UnknownLayout,
    complete,
    follows,
    logs_from,
    read_data,
    whole,
)
from runners.zookeeper.purge import Purge, superfluous
from runners.zookeeper.restart import Restart
from runners.zookeeper.rules import Bounds, is_well, may_restart
from runners.zookeeper.view import Answer, Idle, Member, Silent, View, look, read_layout
from runners.zookeeper.wire import Door, NotServing, NotZookeeper, Unlisted
from taskerman import Check, Go, Recovered, Refuse, Wait
from taskerman.errors import ActionArgsInvalid
from taskerman.testing.harness import RunnerHarness

# --- states and decisions --------------------------------------------------------------------------------

BOUNDS = Bounds(lag=100, outstanding=50)
ZXID = (7 << 32) + 5000
LEADER = Member("leader", ZXID, 0, (3, 8, 0), 900.0, "leading - broadcast", 3, 2)
FOLLOWER = Member("follower", ZXID, 0, (3, 8, 0), 900.0, "following - broadcast", 3)
OBSERVER = replace(FOLLOWER, mode="observer", peer_state="observing - broadcast")
SYNCING = replace(FOLLOWER, peer_state="following - synchronization")
DEAD, HANGING, IDLE = (
    Silent("nobody listens there", refused=True),
    Silent("timed out"),
    Idle("b runs and does not serve"),
)


def of(own: Answer, *others: Answer) -> View:
    return View(own, {f"10.0.0.{number}:2181": answer for number, answer in enumerate(others, start=2)})


STATES: dict[str, tuple[View, Check | type[Check], str]] = {
    "a follower, all well": (of(FOLLOWER, LEADER, FOLLOWER), Go, ""),
    "the leader, all well": (of(LEADER, FOLLOWER, FOLLOWER), Go, ""),
    "a member is dead": (of(FOLLOWER, LEADER, DEAD), Wait, "10.0.0.3:2181 does not answer (nobody listens there)"),
    "a member hangs": (of(FOLLOWER, LEADER, HANGING), Wait, "does not answer (timed out)"),
    "a member serves nobody": (of(FOLLOWER, LEADER, IDLE), Wait, "runs and does not serve"),
    "a member synchronizes": (of(FOLLOWER, LEADER, SYNCING), Wait, "following - synchronization"),
    "the leader misses a follower": (of(FOLLOWER, replace(LEADER, synced=1), FOLLOWER), Wait, "counts 1 of 2"),
    "nobody leads": (of(FOLLOWER, FOLLOWER, FOLLOWER), Wait, "no member leads"),
    "two lead": (of(FOLLOWER, LEADER, LEADER), Wait, "2 members say that they lead"),
    "a member is far behind": (
        of(FOLLOWER, LEADER, replace(FOLLOWER, zxid=ZXID - 101)),
        Wait,
        "101 transactions behind",
    ),
    "a member is of an old epoch": (of(FOLLOWER, LEADER, replace(FOLLOWER, zxid=6 << 32)), Wait, "is in epoch 6"),
    "it is of an old epoch itself": (of(replace(FOLLOWER, zxid=6 << 32), LEADER, FOLLOWER), Wait, "is in epoch 6"),
    "it is of a later epoch than its leader": (of(replace(FOLLOWER, zxid=9 << 32), LEADER, FOLLOWER), Wait, "epoch 9"),
    "it is far before its leader": (
        of(replace(FOLLOWER, zxid=ZXID + 101), LEADER, FOLLOWER),
        Wait,
        "of this ensemble?",
    ),
    "nothing was done since the election": (of(FOLLOWER, replace(LEADER, zxid=8 << 32), FOLLOWER), Go, ""),
    "requests wait in it": (of(replace(FOLLOWER, outstanding=51), LEADER, FOLLOWER), Wait, "51 requests waiting"),
    "requests wait in another": (of(FOLLOWER, replace(LEADER, outstanding=51), FOLLOWER), Wait, "51 requests waiting"),
    "they do not agree on the size": (
        of(FOLLOWER, LEADER, replace(FOLLOWER, voters=5)),
        Wait,
        "do not agree on how many",
    ),
    "a member is not known here": (of(FOLLOWER, LEADER), Refuse, "name all others in peers"),
    "an observer instead of a voter": (of(FOLLOWER, LEADER, OBSERVER), Wait, "2 of 3 voters serve"),
    "an observer is dead": (of(FOLLOWER, LEADER, FOLLOWER, DEAD), Go, ""),
    "an observer, all well": (of(OBSERVER, LEADER, FOLLOWER, FOLLOWER), Go, ""),
    "one is dead of five": (
        of(*(replace(each, voters=5) for each in (FOLLOWER, replace(LEADER, synced=3), FOLLOWER, FOLLOWER)), DEAD),
        Wait,
        "does not answer",
    ),
    "it is cut off": (of(Member("read-only", ZXID), LEADER, FOLLOWER), Wait, "reads only"),
    "it stands alone": (of(replace(FOLLOWER, mode="standalone", voters=0)), Refuse, "outage: true"),
    "an ensemble of two": (
        of(replace(FOLLOWER, voters=2), replace(LEADER, voters=2, synced=1)),
        Refuse,
        "has no quorum without this server",
    ),
    "an unknown version": (
        of(replace(FOLLOWER, version=(3, 4, 14)), LEADER, FOLLOWER),
        Refuse,
        "3.4.14; this runner knows",
    ),
    "a newer version": (of(replace(FOLLOWER, version=(4, 0, 0)), LEADER, FOLLOWER), Refuse, "4.0.0; this runner knows"),
    "it is dead": (of(DEAD, replace(LEADER, synced=1), FOLLOWER), Go, ""),
    "it is dead, and nobody leads": (of(DEAD, IDLE, DEAD), Go, ""),
    "all are dead": (of(DEAD, DEAD, DEAD), Refuse, "neither the server nor any other member answers"),
    "it is dead, and no other is known": (of(DEAD), Refuse, "Name them in peers"),
    "it hangs": (of(HANGING, replace(LEADER, synced=1), FOLLOWER), Wait, "something listens there"),
    "nobody listens, and the leader has all": (of(DEAD, LEADER, FOLLOWER), Refuse, "correct host and port"),
    "a dead observer": (of(DEAD, LEADER, FOLLOWER, FOLLOWER), Go, ""),
    "it serves nobody": (of(IDLE, LEADER, FOLLOWER), Wait, "stuck: true"),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_decision(state: str) -> None:
    view, kind, words = STATES[state]
    answer = may_restart(view, BOUNDS, cap=1, outage=False, stuck=False)
    assert isinstance(answer, kind)  # type: ignore[arg-type]
    assert words in getattr(answer, "reason", "")


def test_what_concerns_all_stops_the_whole_cluster_and_what_concerns_one_only_it() -> None:
    ill = may_restart(of(FOLLOWER, LEADER, DEAD), BOUNDS, cap=1, outage=False, stuck=False)
    busy = may_restart(
        of(replace(FOLLOWER, outstanding=51), LEADER, FOLLOWER), BOUNDS, cap=1, outage=False, stuck=False
    )
    assert isinstance(ill, Wait)
    assert isinstance(busy, Wait)
    assert (ill.of, busy.of) == ("cluster", "node")


def test_voters_go_one_at_a_time_and_observers_need_not() -> None:
    answer = may_restart(of(FOLLOWER, LEADER, FOLLOWER), BOUNDS, cap=2, outage=False, stuck=False)
    assert isinstance(answer, Refuse)
    assert may_restart(of(OBSERVER, LEADER, FOLLOWER, FOLLOWER), BOUNDS, cap=2, outage=False, stuck=False) == Go()


def test_an_outage_may_be_accepted_and_a_stuck_server_shaken() -> None:
    alone = of(replace(FOLLOWER, mode="standalone", voters=0))
    assert may_restart(alone, BOUNDS, cap=1, outage=True, stuck=False) == Go()
    assert may_restart(of(IDLE, replace(LEADER, synced=1), FOLLOWER), BOUNDS, cap=1, outage=False, stuck=True) == Go()
    answer = may_restart(of(IDLE, IDLE, IDLE), BOUNDS, cap=1, outage=False, stuck=True)
    assert answer == Wait("no member leads", of="cluster")


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (of(DEAD, LEADER, FOLLOWER), "does not serve: nobody listens there"),
        (of(IDLE, LEADER, FOLLOWER), "does not serve"),
        (of(SYNCING, LEADER, FOLLOWER), "following - synchronization"),
        (of(replace(FOLLOWER, zxid=ZXID - 101), LEADER, FOLLOWER), "101 transactions behind"),
        (of(FOLLOWER, replace(LEADER, synced=1), FOLLOWER), "counts 1 followers as in step, of 2"),
        (of(FOLLOWER, FOLLOWER, FOLLOWER), "no member leads"),
        (of(FOLLOWER, DEAD, FOLLOWER), "no member leads"),
        (of(replace(FOLLOWER, mode="standalone"), LEADER, FOLLOWER), "serves alone, outside of its ensemble"),
        (of(replace(LEADER, synced=0), DEAD, DEAD), "without a majority"),
        (of(Member("read-only", ZXID), LEADER, FOLLOWER), "is read-only"),
    ],
)
def test_what_is_not_well_is_waited_for_with_its_reason(view: View, words: str) -> None:
    answer = is_well(view, BOUNDS)
    assert isinstance(answer, Wait)
    assert words in answer.reason


def test_what_is_well_is_called_so_though_another_is_down() -> None:
    assert is_well(of(FOLLOWER, LEADER, FOLLOWER), BOUNDS) == Go()
    assert is_well(of(LEADER, FOLLOWER, FOLLOWER), BOUNDS) == Go()
    assert is_well(of(FOLLOWER, replace(LEADER, synced=1), DEAD), BOUNDS) == Go()
    assert is_well(of(replace(FOLLOWER, mode="standalone")), BOUNDS) == Go()


# --- what servers say ------------------------------------------------------------------------------------

SRVR = "Zookeeper version: 3.8.0-x, built on 2024\nOutstanding: 4\nZxid: 0x700001388\nMode: follower\nNode count: 25\n"
MNTR = (
    "zk_version\t3.8.0-x, built on 2024\nzk_server_state\tfollower\nzk_peer_state\tfollowing - broadcast\n"
    "zk_outstanding_requests\t4\nzk_uptime\t90000\nzk_quorum_size\t3\n"
)
CONF = (
    "clientPort=2181\ndataDir=/data/version-2\ndataLogDir=/logs/version-2\nserverId=1\nmembership: \n"
    "server.1=zk1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk2:2888:3888:participant;0.0.0.0:2182\n"
    "server.3=10.0.0.3:2888:3888:participant;10.0.0.33:2183\nserver.4=zk4:2888:3888\nversion=0"
)


@contextmanager
def speaking(words: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """A server on loopback that answers these four-letter words, and says of others that they are not whitelisted."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            word = self.request.recv(4).decode()
            unlisted = f"{word} is not executed because it is not in the whitelist.\n"
            self.request.sendall(words.get(word, unlisted).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def administering(answers: Mapping[str, Any]) -> Iterator[int]:
    """An AdminServer on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path.rpartition("/")[2], {"error": "unknown"})).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_member_is_read_of_two_words() -> None:
    with speaking({"srvr": SRVR, "mntr": MNTR}) as own:
        view = look(own, [], Door())
    assert view.own == Member("follower", 0x700001388, 4, (3, 8, 0), 90.0, "following - broadcast", 3)


def test_where_mntr_is_not_whitelisted_the_admin_server_is_asked() -> None:
    said = {
        "version": "3.8.0-x",
        "peer_state": "following - broadcast",
        "quorum_size": 3,
        "uptime": 90000,
        "error": None,
    }
    with speaking({"srvr": SRVR}) as own, administering({"monitor": said}) as port:
        view = look(own, [], Door(admin_port=port))
    assert view.own == Member("follower", 0x700001388, 0, (3, 8, 0), 90.0, "following - broadcast", 3)


def test_a_missing_word_is_named_with_the_setting_and_nothing_is_done() -> None:
    with speaking({"srvr": SRVR}) as own:
        answer = RunnerHarness(Restart, settings={"port": own[1], "peers": ["127.0.0.1:1"]}).pre_check()
        assert isinstance(answer, Refuse)
        assert "does not answer mntr: add it to 4lw.commands.whitelist" in answer.reason
        answer = RunnerHarness(Restart, settings={"port": own[1]}).pre_check()
        assert isinstance(answer, Refuse)
        assert "does not answer conf" in answer.reason
        assert "name all other members in peers" in answer.reason


@pytest.mark.parametrize(
    ("said", "error"),
    [("This ZooKeeper instance is not currently serving requests\n", NotServing), ("", NotZookeeper)],
)
def test_who_serves_nobody_and_who_says_nothing_are_told_apart(said: str, error: type[Exception]) -> None:
    with speaking({"srvr": said}) as own, pytest.raises(error):
        Door().say(own, "srvr")


@pytest.mark.parametrize("said", ["HTTP/1.1 400 Bad Request\r\n", "Mode: follower\n", "Mode: follower\nZxid: many\n"])
def test_what_is_not_zookeeper_is_silent_and_never_a_guess(said: str) -> None:
    with speaking({"srvr": said, "mntr": MNTR}) as own:
        assert isinstance(look(own, [], Door()).own, Silent)


def test_fellows_are_read_of_conf_with_the_addresses_of_their_clients() -> None:
    with speaking({"conf": CONF}) as own:
        layout = read_layout(own, Door())
    assert layout.others == (("zk2", 2182), ("10.0.0.33", 2183), ("zk4", own[1]))
    assert (layout.data, layout.log, layout.weighted) == ("/data/version-2", "/logs/version-2", False)


def test_an_ensemble_with_weights_is_refused() -> None:
    with speaking({"conf": CONF.replace("version=0", "weight.1=2\nversion=0")}) as own:
        answer = RunnerHarness(Restart, settings={"port": own[1]}).pre_check()
    assert isinstance(answer, Refuse)
    assert "groups or weights" in answer.reason


def test_unlisted_names_the_server() -> None:
    with speaking({}) as own, pytest.raises(Unlisted, match=f"127.0.0.1:{own[1]} does not answer conf"):
        Door().say(own, "conf")


# --- hooks without a server ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"peers": ["zk2"]}, {"port": "2181"}, {"restart": []}, {"pears": []}])
def test_a_wrong_configuration_is_refused_and_named(settings: dict[str, Any]) -> None:
    answer = RunnerHarness(Restart, settings=settings).pre_check()
    assert isinstance(answer, Refuse)
    assert next(iter(settings)) in answer.reason


@pytest.mark.parametrize(
    ("runner", "args"), [(Restart, {"outages": True}), (Purge, {"keep": 2}), (SnapshotBackup, {"keep": 0})]
)
def test_unknown_and_unsafe_arguments_are_refused(runner: Any, args: dict[str, Any]) -> None:
    with pytest.raises(ActionArgsInvalid):
        RunnerHarness(runner, args=args).pre_check()


def test_nothing_happened_before_it_was_asked_for_and_abort_may_be_called_twice() -> None:
    harness = RunnerHarness(Restart)
    assert harness.recover() is Recovered.NOT_DONE
    harness.abort()
    harness.abort()
    assert harness.commands == []


@pytest.mark.parametrize(
    ("saved", "start", "known"),
    [
        ({"start": "b/1/1", "was_up": True}, "b/2/9", Recovered.DONE),
        ({"start": "b/1/1", "was_up": True}, "b/1/1", Recovered.UNKNOWN),
        ({"start": "b/1/1", "was_up": True}, None, Recovered.UNKNOWN),
        ({"start": None, "was_up": False}, "b/2/9", Recovered.DONE),
        ({"start": None, "was_up": False}, None, Recovered.UNKNOWN),
        ({"start": None, "was_up": True}, "b/2/9", Recovered.UNKNOWN),
    ],
)
def test_a_restart_happened_when_another_start_is_seen_and_what_ran_before_was_known(
    saved: dict[str, Any], start: str | None, known: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was up and whose start the machine did not tell may be the same as before."""
    monkeypatch.setattr("runners.zookeeper.restart.RECOVER_WITHIN_S", 0.0)
    monkeypatch.setattr("runners.zookeeper.node.start_of", lambda port, boot: start)
    assert RunnerHarness(Restart, saved={**saved, "asked_at": 1.0}).recover() is known


def test_without_a_place_for_backups_it_is_refused() -> None:
    answer = RunnerHarness(SnapshotBackup).pre_check()
    assert isinstance(answer, Refuse)
    assert "set backups to s3://bucket/prefix" in answer.reason


# --- files -----------------------------------------------------------------------------------------------


def snapshot(zxid: int, content: bytes = b"tree") -> bytes:
    body = b"ZKSN" + struct.pack(">iqq", 2, -1, zxid) + content
    return body + struct.pack(">q", zlib.adler32(body)) + b"\x00\x00\x00\x01/"


def record(zxid: int, payload: bytes = b"create") -> bytes:
    entry = struct.pack(">qiqqi", 9, 1, zxid, 0, 1) + payload
    return struct.pack(">qi", zlib.adler32(entry), len(entry)) + entry + b"B"


def log(*zxids: int, ahead: int = 1000) -> bytes:
    return b"ZKLG" + struct.pack(">iq", 2, 0) + b"".join(map(record, zxids)) + bytes(ahead)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five snapshots and the logs between them, as a server leaves them; 2^32 + n is n here and below."""
    place = tmp_path / "version-2"
    place.mkdir()
    for zxid in (0, 10, 20, 30, 40):
        (place / f"snapshot.{zxid:x}").write_bytes(snapshot(zxid))
    for first, last in ((1, 12), (13, 21), (22, 33), (34, 45)):
        (place / f"log.{first:x}").write_bytes(log(*range(first, last + 1)))
    (place / "currentEpoch").write_text("1")
    (place / "acceptedEpoch.tmp").write_text("1")
    (place / "snapshot.2d.tmp").write_text("half")
    return place


def read(path: Path, reader: LogReader) -> bytes:
    with path.open("rb") as file:
        return b"".join(reader.read(path, file))


def test_a_snapshot_is_whole_by_its_own_checksum_and_by_nothing_else(tmp_path: Path) -> None:
    import gzip  # noqa: PLC0415

    good = snapshot(5, b"x" * 3_000_000)
    for name, content in {"snapshot.5": good, "snapshot.5.gz": gzip.compress(good)}.items():
        (tmp_path / name).write_bytes(content)
        assert b"".join(whole(tmp_path / name)) == content
    for bad in (good[:-1], good[:20], b"", good[:100] + b"y" + good[101:], b"NOPE" + good[4:], good + b"\x00"):
        for name, content in {"snapshot.6": bad, "snapshot.6.gz": gzip.compress(bad), "snapshot.7.gz": bad}.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(BrokenFile):
                b"".join(whole(tmp_path / name))


def test_a_log_is_read_as_far_as_it_is_written_and_no_further_than_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "log.1"
    for ahead in (0, 5, 1000):
        path.write_bytes(log(1, 2, 3, ahead=ahead))
        reader = LogReader(0, 100)
        assert read(path, reader) == log(1, 2, 3, ahead=0)
        assert reader.last == 3
    reader = LogReader(1, 2)
    assert read(path, reader) == log(1, 2, ahead=0)
    assert reader.last == 2


def test_a_record_in_the_making_ends_a_log_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.1"
    torn = log(1, 2, ahead=0) + record(3)[:-10]
    for content in (torn, torn + bytes(1000)):
        path.write_bytes(content)
        reader = LogReader(0, 100)
        read(path, reader)
        assert reader.last == 2
    damaged = bytearray(log(1, 2, 3))
    damaged[16 + 12 + 14] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BrokenFile, match="the record after 0x0 is damaged"):
        read(path, LogReader(0, 100))
    path.write_bytes(log(1, 2, 4))
    with pytest.raises(BrokenFile, match="between 0x2 and 0x4 transactions are missing"):
        read(path, LogReader(0, 100))
    path.write_bytes(b"ZKSN" + log(1)[4:])
    with pytest.raises(BrokenFile, match="does not begin as a log does"):
        read(path, LogReader(0, 100))


def test_transactions_follow_each_other_within_an_epoch_and_over_one() -> None:
    assert follows(5, 6)
    assert not follows(5, 7)
    assert follows((1 << 32) + 5, (2 << 32) + 1)
    assert follows((1 << 32) + 5, (4 << 32) + 1)
    assert not follows((1 << 32) + 5, (2 << 32) + 2)
    assert not follows(5, 5)


def test_a_chain_is_complete_when_it_has_all_that_was_applied() -> None:
    assert complete(45, 40, 45)
    assert not complete(44, 40, 45)
    assert complete(40, 40, 40)
    assert complete(45, 40, 2 << 32), "nothing was done yet since the election"


def test_a_backup_takes_the_newest_whole_snapshot_and_the_logs_that_reach_back_to_it(folder: Path) -> None:
    chosen = choose(read_data(folder, folder), 44)
    assert (chosen.snapshot.zxid, [each.zxid for each in chosen.logs]) == (40, [34])
    assert chosen.reached() == 44
    parts = {name: b"".join(content) for name, content in chosen.pieces()}
    assert parts["log.22"] == log(*range(34, 45), ahead=0), "cut where the server was when it was asked"
    (folder / "snapshot.28").write_bytes(snapshot(40)[:-1])
    chosen = choose(read_data(folder, folder), 44)
    assert (chosen.snapshot.zxid, [each.zxid for each in chosen.logs]) == (30, [22, 34])
    assert choose(read_data(folder, folder), 29).snapshot.zxid == 20, "one of later than was asked about does not count"
    for each in folder.glob("snapshot.?*"):
        each.write_bytes(b"")
    with pytest.raises(NothingWhole, match="no snapshot is whole"):
        choose(read_data(folder, folder), 44)


def test_a_snapshot_that_was_finished_after_the_member_was_asked_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun before, so its name does not tell, and holds some of what came after the log is cut."""
    late = folder / "snapshot.2a"

    class Fellows:
        def look(self) -> View:
            late.write_bytes(snapshot(42, b"a tree with 45 in it"))
            return View(Member("follower", 44))

    stored: dict[str, bytes] = {}
    unfinished = SimpleNamespace(
        add=lambda part, chunks: stored.update({part: b"".join(chunks)}), finish=lambda **facts: facts
    )
    monkeypatch.setattr(SnapshotBackup, "_ensemble", lambda _: Fellows())
    late.write_bytes(snapshot(42)[:-1])
    backup = RunnerHarness(SnapshotBackup, settings={"backups": "s3://b/p"}).runner()
    facts: Any = backup._copy(SimpleNamespace(begin=lambda *_: unfinished), folder, folder)  # type: ignore[arg-type]
    assert (facts["snapshot"], facts["upto"]) == ("0x28", "0x2c")
    assert set(stored) == {"version-2/snapshot.28", "version-2/log.22"}


def test_a_purge_leaves_what_the_kept_snapshots_need(folder: Path) -> None:
    gone = {each.path.name for each in superfluous(read_data(folder, folder), 3)}
    assert gone == {"snapshot.0", "snapshot.a", "log.1"}
    (folder / "snapshot.0").write_bytes(b"")
    assert superfluous(read_data(folder, folder), 5) == (), "there are only four that are whole"


def test_a_purge_counts_whole_snapshots_only(folder: Path) -> None:
    (folder / "snapshot.28").write_bytes(snapshot(40)[:-1])
    gone = {each.path.name for each in superfluous(read_data(folder, folder), 3)}
    assert gone == {"snapshot.0"}, "10 is needed now, and with it the first log"


def test_a_purge_does_nothing_where_a_log_is_missing(folder: Path) -> None:
    (folder / "log.16").unlink()
    with pytest.raises(BrokenFile, match="transactions are missing"):
        superfluous(read_data(folder, folder), 3)


@pytest.mark.parametrize(
    "stranger", ["snapshot.5.bak", "log.zz", "notes.txt", "snapshot.5.snappy", "log.5.gz", "SNAPSHOT.5", "snapshot."]
)
def test_a_stranger_among_the_files_stops_everything(folder: Path, stranger: str) -> None:
    (folder / stranger).write_bytes(b"")
    with pytest.raises(UnknownLayout, match="version-2/"):
        read_data(folder, folder)


def test_a_link_another_folder_and_logs_in_the_wrong_one_stop_everything(folder: Path, tmp_path: Path) -> None:
    (folder / "snapshot.99").symlink_to(folder / "snapshot.a")
    with pytest.raises(UnknownLayout):
        read_data(folder, folder)
    (folder / "snapshot.99").unlink()
    for place in (tmp_path, tmp_path / "nowhere" / "version-2"):
        with pytest.raises(UnknownLayout):
            read_data(place, place)
    apart = tmp_path / "logs" / "version-2"
    apart.mkdir(parents=True)
    with pytest.raises(UnknownLayout, match="in the wrong one"):
        read_data(folder, apart)
    for each in folder.glob("log.*"):
        each.rename(apart / each.name)
    assert len(read_data(folder, apart).logs) == 4


def test_logs_reach_back_to_a_snapshot_or_begin_with_the_first(folder: Path) -> None:
    logs = read_data(folder, folder).logs
    assert [each.zxid for each in logs_from(logs, 20)] == [13, 22, 34]
    assert [each.zxid for each in logs_from(logs, 0)] == [1, 13, 22, 34]
    assert read(logs[0].path, LogReader(0, 0)) == log(ahead=0)
    assert list(LogReader(0, 9).read(logs[0].path, io.BytesIO(b""))) == [], "made a moment ago"
