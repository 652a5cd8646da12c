"""`cassandra_task` against recorded answers of `nodetool`: every state, every crash, and in which order it acts."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.cassandra import restart as restart_module
from runners.cassandra.answers import (
    NotUnderstood,
    Row,
    parse_cluster,
    parse_compactions,
    parse_gossip,
    parse_info,
    parse_net,
    parse_sessions,
    parse_snapshots,
    parse_status,
)
from runners.cassandra.cleanup import NotClean
from runners.cassandra.config import Config
from runners.cassandra.repair import RepairFailed
from runners.cassandra.restart import NotReady
from runners.cassandra.ring import TokenRange, parse_ring, pieces
from runners.cassandra.rules import unavailable
from runners.cassandra.view import Disk, Unreadable, look
from runners.cassandra.view import _disk as disk_of
from taskerman import ActionInterrupted, Check, CommandFailed, Go, Recovered, Refuse, Wait
from taskerman.testing import Death, Failure, deaths, failures
from tests.recorded.cassandra import ME, RecordedCassandra
from tests.recorded.cassandra_states import LINES, RESTART_COMMAND, decide, recorded
from tests.recorded.killing import Killed, Killing
from tests.recorded.table import Line

BEGAN = RecordedCassandra().me.generation


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves, and a disk with room."""
    now = [1000.0]
    ticks = itertools.count(1_800_000_000.0, 6.0)
    monkeypatch.setattr("time.time", lambda: next(ticks))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr("runners.cassandra.view._disk", lambda _: Disk(10**11, 60.0))
    return now


def world(found: Death | Failure) -> RecordedCassandra:
    """What is recorded for that one."""
    assert isinstance(found.harness, Killing)
    recorded_for_it = found.harness.world
    assert isinstance(recorded_for_it, RecordedCassandra)
    return recorded_for_it


@pytest.fixture
def cluster() -> RecordedCassandra:
    return RecordedCassandra()


def changing(harness: Killing[Any]) -> list[str]:
    """The words that changed something, in order."""
    words = ("disable", "enable", "drain", "restart-", "cleanup", "snapshot", "clear", "stop", "repair")
    return [next(w for w in line if w.startswith(words)) for line in harness.commands if harness._changes(line)]


def settled(harness: Killing[Any]) -> Check:
    """What post_check says in the end."""
    answers = [harness.post_check() for _ in range(4)]
    return answers[-1]


# --- states ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_in_each_state_it_says_what_a_careful_operator_would(line: Line[RecordedCassandra]) -> None:
    answer = decide(line)
    assert isinstance(answer, line.decision), answer
    assert line.because in getattr(answer, "reason", "")


def busy() -> dict[str, tuple[Any, str]]:
    """Each kind of answer of a node at which everything happens at once, and who reads it."""
    cluster = RecordedCassandra()
    me = cluster.me
    me.streams, me.active, me.pending = ("Repair", "Bootstrap"), ("Validation", "Secondary index build"), 3
    me.sessions, me.snapshots = {"a": ME, "b": "10.0.0.2"}, {"one", "two"}
    cluster.drop("10.0.0.5")
    return {
        "status": (parse_status, cluster.status(me)),
        "describecluster": (parse_cluster, cluster.describecluster(me)),
        "info": (parse_info, cluster.info(me)),
        "netstats": (parse_net, cluster.netstats(me)),
        "compactionstats": (parse_compactions, cluster.compactionstats(me)),
        "gossipinfo": (parse_gossip, cluster.gossipinfo(me)),
        "repair_admin": (parse_sessions, cluster.sessions(me)),
        "listsnapshots": (parse_snapshots, cluster.listsnapshots(me)),
        "describering": (parse_ring, cluster.describering("shop")),
    }


@pytest.mark.parametrize("command", busy())
@pytest.mark.parametrize("junk", ["WARN  03:00:00 JMX is slow", "\x1b[31m-- StackTrace --", "???"])
def test_a_line_that_is_not_known_is_not_passed_over_wherever_it_stands(command: str, junk: str) -> None:
    """But in the statistics of messages, of which only the end is looked at."""
    parse, text = busy()[command]
    assert parse(text)
    lines = text.splitlines(keepends=True)
    last = lines.index("Read Repair Statistics:\n") if command == "netstats" else len(lines) - 1
    for place in range(last + 1):
        with pytest.raises(NotUnderstood) as raised:
            parse("".join([*lines[:place], junk + "\n", *lines[place:]]))
        assert f"nodetool {command}" in str(raised.value)
        assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("command", busy())
def test_an_answer_that_breaks_off_after_a_line_is_no_answer(command: str) -> None:
    """But after those after which it might have been whole: for these, peers are compared with each other."""
    parse, text = busy()[command]
    might = {"describecluster": "Keyspaces:\n", "info": "Token ", "gossipinfo": "/10.0.0.1\n", "repair_admin": "id "}
    lines = text.splitlines(keepends=True)
    while not lines[-1].strip() and command != "status":
        lines.pop()
    for place in range(len(lines)):
        begun = "".join(lines[:place])
        if command == "compactionstats" and begun.endswith("\n\n"):
            continue  # nothing runs
        if command not in might or might[command] not in begun:
            with pytest.raises(NotUnderstood):
                parse(begun)


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("status", "10.0.0.2 ", "10.0.0.3 "),
        ("status", "Datacenter: dc1\n", ""),
        ("status", "UN  10.0.0.2", "UNKNOWN  10.0.0.2"),
        ("describecluster", "{dc1=3}", "{dc1=3/1}"),
        ("describecluster", "SimpleStrategy", "SimplerStrategy"),
        ("describecluster", "#Nodes: 6", "#Nodes: six"),
        ("info", "Gossip active          : true", "Gossip active          : on"),
        ("info", "Generation No          : ", "Generation No          : x"),
        ("info", "ID                     : ", "ID                     : x"),
        ("netstats", "Mode: NORMAL", "Mode: normal"),
        ("netstats", "Gossip messages", "Gossip"),
        ("compactionstats", "pending tasks: 3", "pending tasks: -"),
        ("compactionstats", "Active compaction remaining time :   0h02m05s\n", ""),
        ("gossipinfo", "  generation:1790000000\n", ""),
        ("gossipinfo", "/10.0.0.1\n", ""),
        ("repair_admin", " | REPAIRING", ""),
        ("listsnapshots", "Total TrueDiskSpaceUsed: 0 bytes", "Total: 0"),
        ("listsnapshots", "Snapshot name", "Name"),
        ("describering", "Schema Version:", "Schema:"),
        ("describering", "endpoints:[10.0.0.1, ", "endpoints:["),
        ("describering", "rack:rack1)", "rack1)"),
    ],
)
def test_an_answer_that_is_a_little_otherwise_is_no_answer(command: str, old: str, new: str) -> None:
    parse, text = busy()[command]
    assert old in text
    with pytest.raises(NotUnderstood):
        parse(text.replace(old, new, 1))


def test_an_answer_that_breaks_off_within_a_line_is_no_answer(cluster: RecordedCassandra) -> None:
    """A token, an address or a number that lost its end is another one."""
    for command in ("status", "info", "describecluster", "netstats", "compactionstats", "repair_admin"):
        cluster.says[(ME, command)] = lambda text: text.rstrip("\n")[:-1]
        answer = recorded("restart", cluster).pre_check()
        assert isinstance(answer, Refuse)
        assert f"nodetool {command} says is not understood (it ends within a line" in answer.reason
        del cluster.says[(ME, command)]


def test_no_answer_that_lost_its_end_is_read_as_whole(cluster: RecordedCassandra) -> None:
    """However many of its last lines are missing."""
    whole = cluster.status(cluster.me)
    lines = whole.splitlines(keepends=True)
    for kept in range(len(lines)):
        with pytest.raises(NotUnderstood):
            parse_status("".join(lines[:kept]))


def test_a_node_with_one_token_is_read_as_well() -> None:
    text = (
        "Datacenter: dc1\n===============\nStatus=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n"
        "--  Address   Load       Owns (effective)  Host ID                               Token                 Rack\n"
        "UN  10.0.0.1  75.69 KiB  100.0%            2207c2a9-f598-3971-986b-2926e09e239d  -9223372036854775808  r1\n\n"
        "Note: Non-system keyspaces don't have the same replication settings\n"
    )
    assert parse_status(text) == {
        ME: Row(ME, True, "N", "dc1", "r1", "2207c2a9-f598-3971-986b-2926e09e239d", 75.69 * 1024, 100.0)
    }


def test_several_at_once_are_not_judged_without_the_ring(cluster: RecordedCassandra) -> None:
    """Who keeps what was not asked, so nobody knows who is left."""
    harness = recorded("restart", cluster)
    view = look(harness.runner().ctx, harness.runner().config)
    assert unavailable(view, 1, ["system_traces"]) == []
    assert "shop" in unavailable(view, 2, ["system_traces"])


@pytest.mark.parametrize(
    ("endpoints", "lost"),
    [
        (("10.0.0.1", "10.0.0.2", "10.0.0.3"), False),
        (("10.0.0.1", "10.0.0.4", "10.0.0.3"), True),
        (("10.0.0.4", "10.0.0.9", "10.0.0.3"), False),
        (("10.0.0.4", "10.0.0.5"), False),
        (("10.0.0.1", "10.0.0.9", "10.0.0.3"), True),
        (("10.0.0.1", "10.0.0.2"), True),
        (("10.0.0.1", "10.0.0.4", "10.0.0.2", "10.0.0.3", "10.0.0.5"), False),
    ],
)
def test_of_each_range_that_it_keeps_a_quorum_stays_whichever_of_its_rack_go_with_it(
    cluster: RecordedCassandra, endpoints: tuple[str, ...], lost: bool
) -> None:
    """10.0.0.4 is of this node's rack, and of 10.0.0.9 nobody knows; ranges of others are not its business."""
    harness = recorded("restart", cluster)
    view = look(harness.runner().ctx, harness.runner().config)
    ring = [TokenRange(0, 0, endpoints, dict.fromkeys(endpoints, "dc1"))]
    view = replace(view, rings=dict.fromkeys(view.cluster.copies, ring))
    assert ("shop" in unavailable(view, 2, ())) == lost


def test_keyspaces_that_are_replicated_alike_have_one_ring_and_it_is_asked_for_once(
    cluster: RecordedCassandra,
) -> None:
    for number in range(40):
        cluster.keyspaces[f"shop_{number}"] = "NetworkTopologyStrategy {dc1=3}"
    harness = recorded("repair", cluster)
    assert harness.pre_check() == Go()
    assert len([words for words in harness.commands if "describering" in words]) == 3
    assert len(harness.runner()._pieces()) == 41 * 2


# --- configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"address": ""}, "address"),
        ({"adress": "10.0.0.1"}, "adress: unknown key"),
        ({"ask_peer": ["nodetool"]}, "ask_peer has no {peer}"),
        ({"peers": [ME]}, "no witness of its own"),
        ({"backup_to": "file:///tmp"}, "no address of objects"),
        ({"nodetool": []}, "nodetool"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anything_is_asked(
    cluster: RecordedCassandra, settings: dict[str, Any], said: str
) -> None:
    harness = recorded("restart", cluster, settings=settings)
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert said in answer.reason
    assert harness.commands == []


def test_a_restart_command_that_is_not_there_is_refused(cluster: RecordedCassandra) -> None:
    answer = recorded("restart", cluster, settings={"restart": ["/nonexistent/systemctl"]}).pre_check()
    assert isinstance(answer, Refuse)
    assert "/nonexistent/systemctl is not on this machine" in answer.reason


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="gone"):
        disk_of(Config(address=ME, data_folders=(str(tmp_path / "gone"),), hints_folder=str(tmp_path)))


def test_hints_are_weighed_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "a-1-2.hints").write_bytes(b"x" * 300)
    (tmp_path / "a-1-2.crc32").write_bytes(b"x" * 4)
    disk = disk_of(Config(address=ME, data_folders=(str(tmp_path),), hints_folder=str(tmp_path)))
    assert disk.hints_bytes == 300
    assert 0 <= disk.free_percent <= 100
    assert disk.free_bytes <= shutil.disk_usage(tmp_path).total


# --- restart ---------------------------------------------------------------------------------------------


def test_clients_go_first_then_peers_then_it_drains_then_it_is_restarted(cluster: RecordedCassandra) -> None:
    harness = recorded("restart", cluster)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert changing(harness) == ["disablebinary", "disablegossip", "drain", "restart-cassandra"]
    assert settled(harness) == Go()
    assert harness.recover() is Recovered.DONE


def test_it_looks_once_more_before_it_acts(cluster: RecordedCassandra) -> None:
    harness = recorded("restart", cluster)
    assert harness.pre_check() == Go()
    cluster.drop("10.0.0.5")
    with pytest.raises(NotReady, match=r"down: 10\.0\.0\.5"):
        harness.execute_action()
    assert changing(harness) == []
    assert harness.recover() is Recovered.NOT_DONE


def test_a_node_that_does_not_drain_in_time_is_restarted_all_the_same(cluster: RecordedCassandra) -> None:
    cluster.hangs.add("drain")
    harness = recorded("restart", cluster)
    harness.execute_action()
    assert changing(harness)[-1] == "restart-cassandra"


def test_a_node_that_cannot_be_closed_is_opened_again(cluster: RecordedCassandra) -> None:
    cluster.says[(ME, "disablegossip")] = (1, "error: null\n")
    harness = recorded("restart", cluster)
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert (cluster.me.native, cluster.me.gossip, cluster.me.mode) == (True, True, "NORMAL")
    assert harness.recover() is Recovered.NOT_DONE


def test_a_node_that_is_down_is_started_without_draining(cluster: RecordedCassandra) -> None:
    cluster.drop(ME)
    harness = recorded("restart", cluster)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert changing(harness) == ["restart-cassandra"]
    assert harness.recover() is Recovered.DONE, "its peers knew the generation that ended"


def test_a_restart_that_is_refused_leaves_nobody_waiting_for_a_new_start(cluster: RecordedCassandra) -> None:
    """The node is drained all the same, and says so."""
    harness = recorded("restart", cluster)
    answered = harness._answer
    harness._answer = lambda words: (1, "Access denied\n") if words == RESTART_COMMAND else answered(words)
    with pytest.raises(CommandFailed, match="Access denied"):
        harness.execute_action()
    assert harness.post_check() == Wait("the server is DRAINED")
    cluster.restart = lambda: None  # type: ignore[method-assign]
    cluster.me.mode, cluster.me.gossip, cluster.me.native = "NORMAL", True, True
    assert settled(harness) == Go(), "somebody helped"


def test_a_node_that_goes_silent_after_the_last_look_is_not_restarted_undrained(cluster: RecordedCassandra) -> None:
    harness = recorded("restart", cluster)
    cluster.hangs.add("disablebinary")
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert RESTART_COMMAND not in harness.commands


def test_an_old_start_is_not_called_well_after_a_restart_that_did_nothing(cluster: RecordedCassandra) -> None:
    harness = recorded("restart", cluster)
    cluster.restart = lambda: None  # type: ignore[method-assign]
    cluster.hangs.add("drain")
    harness.execute_action()
    cluster.me.gossip = cluster.me.native = True
    assert harness.post_check() == Wait("the server still runs as it was started before")
    assert harness.recover() is Recovered.UNKNOWN


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_a_restart_is_killed_it_says_truthfully_what_happened(
    cluster: RecordedCassandra, number: int, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what follows leaves the node in service, restarted once, or asks a person."""
    monkeypatch.setattr(restart_module, "RECOVER_WITHIN_S", 0.0)
    harness = recorded("restart", cluster)
    began = cluster.me.generation
    harness.kill_at = (number, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    asked_before = harness.saved.get("stage")
    harness.abort()
    said = harness.recover()
    truth = cluster.me.generation > began
    assert (said is Recovered.DONE) == truth
    if said is Recovered.NOT_DONE:
        assert (cluster.me.native, cluster.me.gossip, cluster.me.mode) == (True, True, "NORMAL")
        harness.execute_action()
    elif said is Recovered.UNKNOWN:
        assert asked_before == "asked"
        assert isinstance(harness.post_check(), Wait), "a person is asked"
        return
    assert settled(harness) == Go()
    assert cluster.me.generation == began + 86_400, "restarted once"


def short() -> Killing[Any]:
    """A restart of which one knows soon."""
    return recorded("restart", RecordedCassandra(), params={"timeout_args": {"settle_s": 60}})


@pytest.mark.parametrize("noticed", [False, True])
def test_at_whatever_point_its_process_dies_a_restart_ends_truthfully(noticed: bool) -> None:
    """`noticed`: the keeper lives, and calls abort; else a new agent finds nothing but what was saved."""
    ends: set[str] = set()
    for death in deaths(short):
        cluster = world(death)
        played = death.resume(noticed=noticed)
        restarted = (cluster.me.generation - BEGAN) // 86_400
        in_service = (cluster.me.native, cluster.me.gossip, cluster.me.mode) == (True, True, "NORMAL")
        ends.add(played.outcome)
        assert restarted <= 1, death
        assert in_service or played.outcome == "unsafe", (death, played)
        assert restarted or played.outcome != "succeeded", (death, played)
        assert (played.recovered == "done") <= bool(restarted), (death, played)
        if played.outcome == "unsafe":
            assert death.harness.saved["stage"] == "asked", (death, played)
            assert restarted == 0, "it may have been asked for, and a person is asked"
    assert ends == ({"failed"} if noticed else {"succeeded", "unsafe"})


def test_whichever_command_fails_the_node_is_in_service_or_a_person_is_asked() -> None:
    for failure in failures(short):
        if failure.hook != "execute_action":
            continue  # those change nothing
        me = world(failure).me
        played = failure.run()
        in_service = (me.native, me.gossip, me.mode) == (True, True, "NORMAL")
        assert in_service or played.outcome == "unsafe", (failure, played)
        assert played.outcome != "succeeded" or me.generation > BEGAN, (failure, played)


@pytest.mark.parametrize("word", ["disablebinary", "disablegossip", "drain"])
def test_whoever_stops_it_gets_a_node_in_service(cluster: RecordedCassandra, word: str) -> None:
    """A node that was closed is opened; one that was draining is restarted, because nothing else opens it."""
    harness = recorded("restart", cluster)
    run = harness._run

    def interrupted(argv: Any, check: bool) -> Any:
        result = run(argv, check)
        if word in argv:
            raise ActionInterrupted
        return result

    harness._run = interrupted  # type: ignore[method-assign]
    with pytest.raises(ActionInterrupted):
        harness.execute_action()
    assert (cluster.me.native, cluster.me.gossip, cluster.me.mode) == (True, True, "NORMAL")
    assert (RESTART_COMMAND in harness.commands) == (word == "drain")


# --- the ring --------------------------------------------------------------------------------------------


def test_all_nodes_together_repair_each_range_once(cluster: RecordedCassandra) -> None:
    rings = {"shop": parse_ring(cluster.describering("shop"))}
    all_of_them = [piece for address in cluster.nodes for piece in pieces(rings, address, 1)]
    assert sorted((piece.start, piece.end) for piece in all_of_them) == [(one.start, one.end) for one in rings["shop"]]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("start", "end"), [(0, 1000), (-50, 50), (2**63 - 10, -(2**63) + 90), (5, 5), (0, 3), (2**63 - 1, -(2**63) + 1)]
)
def test_the_pieces_of_a_range_are_the_range(start: int, end: int, parts: int) -> None:
    """They follow each other without a gap, and none begins or ends at the lowest token, which means something else."""
    one = TokenRange(start, end, (ME, "10.0.0.2"), {})
    cut = pieces({"shop": [one]}, ME, parts)
    assert (cut[0].start, cut[-1].end) == (start, end)
    assert all(before.end == after.start for before, after in itertools.pairwise(cut))
    assert -(2**63) not in {piece.start for piece in cut[1:]}
    assert sum((piece.end - piece.start) % 2**64 or 2**64 for piece in cut) == one.width
    assert len(cut) <= parts


# --- repair ----------------------------------------------------------------------------------------------


def test_it_repairs_its_primary_ranges_and_nothing_else(cluster: RecordedCassandra) -> None:
    harness = recorded("repair", cluster)
    assert harness.pre_check() == Go()
    harness.execute_action()
    ring = parse_ring(cluster.describering("shop"))
    assert cluster.repaired == [("shop", one.start, one.end) for one in ring if one.endpoints[0] == ME]
    assert len(cluster.repaired) == 2
    assert harness.recover() is Recovered.DONE
    assert settled(harness) == Go()


def test_tables_and_pieces_are_passed_on(cluster: RecordedCassandra) -> None:
    args = {"keyspaces": ["shop"], "tables": ["orders"], "pieces_of_a_range": 3, "order": "sequential"}
    harness = recorded("repair", cluster, args=args)
    harness.execute_action()
    repairs = [line for line in harness.commands if line[1] == "repair"]
    assert len(repairs) == 6
    assert all(line[2:4] == ("--full", "-seq") and line[-3:] == ("--", "shop", "orders") for line in repairs)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_repair_that_was_killed_goes_on_with_the_piece_that_it_was_in(
    cluster: RecordedCassandra, number: int, when: str
) -> None:
    harness = recorded("repair", cluster, args={"pieces_of_a_range": 2})
    harness.kill_at = (number, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    harness.abort()
    assert harness.recover() is Recovered.NOT_DONE
    before = len(cluster.repaired)
    harness.execute_action()
    assert len(set(cluster.repaired)) == 4
    assert len(cluster.repaired) - before == 4 - (number - 1), "those before are not repaired again"
    assert harness.recover() is Recovered.DONE


def test_when_the_ring_has_changed_meanwhile_it_begins_anew(cluster: RecordedCassandra) -> None:
    harness = recorded("repair", cluster)
    harness.kill_at = (2, "before")
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    tokens = cluster.me.tokens
    cluster.me.tokens = (tokens[0] + 5, tokens[1])
    harness.execute_action()
    assert len(cluster.repaired) == 3


def test_a_piece_that_fails_is_tried_again_and_then_named(cluster: RecordedCassandra) -> None:
    failure = "error: Repair job has failed with the error message: Some repair failed\n"
    cluster.repair_answers = [(2, failure)]
    recorded("repair", cluster).execute_action()
    assert len(cluster.repaired) == 2
    cluster.repair_answers = [(2, failure)] * 3
    first = parse_ring(cluster.describering("shop"))
    mine = next(one for one in first if one.endpoints[0] == ME)
    with pytest.raises(RepairFailed) as raised:
        recorded("repair", cluster).execute_action()
    assert f"shop ({mine.start}, {mine.end}] could not be repaired in 3 attempts" in str(raised.value)


def test_a_repair_that_does_not_say_that_it_completed_has_not(cluster: RecordedCassandra) -> None:
    cluster.repair_answers = [(0, "[2026-11-28 03:00:09,456] Some repair failed\n")] * 3
    with pytest.raises(RepairFailed, match="without saying that it completed"):
        recorded("repair", cluster).execute_action()


@pytest.mark.parametrize(
    ("ill", "said"),
    [
        ({"up": False}, "is down"),
        ({"active": ("Validation",)}, "takes part in a repair"),
        ({"sessions": {"s": "10.0.0.6"}}, r"10\.0\.0\.6 coordinates"),
        ({"state": "L"}, "joins, leaves or moves"),
    ],
)
def test_a_piece_waits_for_its_replicas_and_then_fails_unbegun(
    cluster: RecordedCassandra, ill: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """Also one that became so after the repair began; and it goes on when that passes."""
    replica = next(one for one in parse_ring(cluster.describering("shop")) if one.endpoints[0] == ME).endpoints[1]
    harness = recorded("repair", cluster)
    todo = harness.runner()._pieces()
    well = {name: getattr(cluster.nodes[replica], name) for name in ill}
    for name, value in ill.items():
        setattr(cluster.nodes[replica], name, value)
    with pytest.raises(RepairFailed, match=rf"was not begun: .*{said}"):
        harness.runner()._repair(todo[0])
    assert cluster.repaired == []

    def passes(seconds: float) -> None:
        clock[0] += seconds
        for name, value in well.items():
            setattr(cluster.nodes[replica], name, value)

    monkeypatch.setattr("time.sleep", passes)
    harness.runner()._repair(todo[0])
    assert len(cluster.repaired) == 1


def test_it_pauses_while_compactions_wait(cluster: RecordedCassandra) -> None:
    harness = recorded("repair", cluster)
    todo = harness.runner()._pieces()
    cluster.me.pending = 51
    with pytest.raises(RepairFailed, match="51 compactions wait here"):
        harness.runner()._repair(todo[0])


def test_stopping_a_repair_stops_what_it_began_and_nobody_elses(cluster: RecordedCassandra) -> None:
    harness = recorded("repair", cluster, saved={"now": "shop (1, 2]"})
    cluster.me.active = ("Validation", "Compaction")
    cluster.me.sessions = {"mine": ME, "another": "10.0.0.3"}
    harness.abort()
    assert list(cluster.me.active) == ["Compaction"]
    assert list(cluster.me.sessions) == ["another"]


def test_before_it_began_there_is_nothing_to_stop(cluster: RecordedCassandra) -> None:
    cluster.me.active = ("Validation",)
    recorded("repair", cluster).abort()
    assert cluster.me.active == ("Validation",)


def test_what_is_saved_of_a_repair_does_not_grow_with_it(cluster: RecordedCassandra) -> None:
    harness = recorded("repair", cluster, args={"pieces_of_a_range": 500})
    harness.execute_action()
    assert len(cluster.repaired) == 1000
    assert len(str(harness.saved)) < 500


# --- cleanup ---------------------------------------------------------------------------------------------


def test_each_keyspace_is_cleaned_up_once_also_across_a_kill(cluster: RecordedCassandra) -> None:
    cluster.keyspaces["carts"] = "NetworkTopologyStrategy {dc1=3}"
    harness = recorded("cleanup", cluster)
    harness.kill_at = (2, "before")
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    assert cluster.cleaned == ["carts", "shop"]
    assert harness.recover() is Recovered.DONE
    assert settled(harness) == Go()


def test_a_cleanup_ends_when_the_ring_moves_between_two_keyspaces(cluster: RecordedCassandra) -> None:
    cluster.keyspaces["carts"] = "NetworkTopologyStrategy {dc1=3}"
    harness = recorded("cleanup", cluster)
    cleaned = cluster.cleaned
    run = harness._run

    def joining(argv: Any, check: bool) -> Any:
        if cleaned:
            cluster.nodes["10.0.0.6"].state = "J"
        return run(argv, check)

    harness._run = joining  # type: ignore[method-assign]
    with pytest.raises(NotClean, match=r"10\.0\.0\.6 joins"):
        harness.execute_action()
    assert cleaned == ["carts"]


def test_a_cleanup_that_was_cut_short_is_no_success(cluster: RecordedCassandra) -> None:
    cluster.says[(ME, "cleanup")] = "Aborted cleaning up at least one table in keyspace shop, check server logs\n"
    with pytest.raises(NotClean, match="Aborted"):
        recorded("cleanup", cluster).execute_action()


def test_stopping_a_cleanup_stops_it_in_the_server(cluster: RecordedCassandra) -> None:
    harness = recorded("cleanup", cluster, saved={"of": ["shop"], "next": 0})
    cluster.me.active = ("Cleanup", "Compaction")
    harness.abort()
    assert list(cluster.me.active) == ["Compaction"]


# --- the check that acts on nothing ----------------------------------------------------------------------


def test_the_check_names_every_reason_and_changes_nothing(cluster: RecordedCassandra) -> None:
    cluster.me.streams = ("Rebuild",)
    cluster.me.load = "1.00 GiB"
    harness = recorded("rebuild_check", cluster, args={"tokens": 16})
    with pytest.raises(Exception, match="still streams") as raised:
        harness.execute_action()
    assert "2 tokens, not 16" in str(raised.value)
    assert "was not rebuilt" in str(raised.value)
    assert changing(harness) == []
    assert harness.post_check() == Go(), "its place is free"


def test_a_node_that_keeps_no_range_of_a_keyspace_is_not_fit(cluster: RecordedCassandra) -> None:
    ring = cluster.describering("shop").replace(f"{ME},", "10.0.0.9,").replace(f"{ME}]", "10.0.0.9]")
    cluster.says[(ME, "describering")] = ring
    with pytest.raises(Exception, match="keeps no range of shop, which has 3 copies in dc1"):
        recorded("rebuild_check", cluster).execute_action()
