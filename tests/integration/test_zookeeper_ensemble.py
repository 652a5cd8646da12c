"""The tree on three servers of which some die or freeze: sessions outlive servers, and every wait ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.errors import AnswerUnknown, CoordinationUnavailable
from taskerman.ports.tree import Committed, Create, Link, Set
from taskerman.testing.zookeeper_server import ZookeeperEnsemble, ZookeeperServer, mode_of
from tests.support.tree_ground import Bell
from tests.support.waiting import until
from tests.support.zookeeper import OpenTree

ROOT = Path(__file__).parents[2]


def member_of(tree: ZookeeperTree, ensemble: ZookeeperEnsemble) -> ZookeeperServer:
    """The member that a client is connected to."""
    assert tree._connection is not None
    port = tree._connection.client._connection._socket.getpeername()[1]  # type: ignore[attr-defined]
    return next(member for member in ensemble.members if member.port == port)


def test_the_death_of_the_leader_is_a_pause(zookeeper_ensemble: ZookeeperEnsemble, open_tree: OpenTree) -> None:
    """Session, ephemerals and data stay; whoever watched is woken and can read."""
    tree = open_tree(zookeeper_ensemble.hosts)
    session, bell = tree.session, Bell()
    tree.commit([Create("/kept", b"x"), Create("/e", ephemeral=True)])
    tree.get("/kept", bell)
    leader = zookeeper_ensemble.leader
    assert leader is not None
    leader.kill()
    written = until(lambda: wrote(tree), "a write goes through again")
    assert isinstance(written, Committed)
    assert tree.session == session
    assert tree.get("/e") is not None
    bell.wait()


def wrote(tree: ZookeeperTree) -> Committed | None:
    try:
        answer = tree.commit([Set("/kept", b"y", None)])
    except AnswerUnknown:
        return None
    assert isinstance(answer, Committed)
    return answer


def test_without_a_quorum_every_call_ends_and_with_it_all_goes_on(
    zookeeper_ensemble: ZookeeperEnsemble, open_tree: OpenTree
) -> None:
    tree = open_tree(zookeeper_ensemble.hosts, answer_timeout=timedelta(milliseconds=500))
    tree.commit([Create("/kept", b"x")])
    for member in zookeeper_ensemble.members[:2]:
        member.kill()
    # Not at once: the member that is left answers reads until it notices that the others are gone.
    until(lambda: unanswered(tree), "a read gets no answer, and ends")
    with pytest.raises(AnswerUnknown):
        tree.commit([Set("/kept", b"y", 0)])
    with pytest.raises(CoordinationUnavailable, match="quorum"):
        open_tree(zookeeper_ensemble.hosts, open_timeout=timedelta(milliseconds=500))
    for member in zookeeper_ensemble.members[:2]:
        member.start()
    until(lambda: tree.link is Link.UP, "the client is back", within_s=30)
    until(lambda: wrote(tree), "a write goes through again")


def unanswered(tree: ZookeeperTree) -> bool:
    try:
        tree.get("/kept")
    except CoordinationUnavailable:
        return True
    return False


def test_a_frozen_server_is_left_by_a_client_that_goes_on_asking(
    zookeeper_ensemble: ZookeeperEnsemble, open_tree: OpenTree
) -> None:
    tree = open_tree(zookeeper_ensemble.hosts, answer_timeout=timedelta(milliseconds=300))
    tree.commit([Create("/kept", b"x")])
    frozen = member_of(tree, zookeeper_ensemble)
    frozen.freeze()
    try:
        until(lambda: wrote(tree), "a write goes through another server", within_s=30)
        assert member_of(tree, zookeeper_ensemble) is not frozen
    finally:
        frozen.thaw()


PROCESS = """
import sys
from datetime import timedelta
from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.errors import AnswerUnknown
from taskerman.ports.tree import Create

tree = ZookeeperTree(sys.argv[1], root=sys.argv[2], session_timeout=timedelta(seconds=1))
tree.open()
tree.commit([Create("/first", ephemeral=True)])
print(tree.session, flush=True)
sys.stdin.readline()
try:
    print(tree.commit([Create("/second", ephemeral=True)]), flush=True)
except AnswerUnknown:
    print("unknown", flush=True)
sys.stdin.readline()
tree.close()
"""


def test_a_process_frozen_past_its_session_writes_nothing_in_its_old_name(
    zookeeper: ZookeeperServer, zookeeper_root: str, open_tree: OpenTree
) -> None:
    """It wakes up believing that it is connected; others have seen its ephemerals vanish."""
    tree = open_tree()
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, zookeeper.hosts, zookeeper_root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            old = int(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            until(lambda: tree.get("/first") is None, "the session has ended")
            process.stdin.write("go on\n")
            process.stdin.flush()
            process.send_signal(signal.SIGCONT)
            said = process.stdout.readline()
            second = tree.get("/second")
            assert said.strip() == "unknown" or second is not None
            assert second is None or second.stat.owner != old
        finally:
            process.kill()


def test_a_server_that_was_killed_comes_back_with_its_data(zookeeper_ensemble: ZookeeperEnsemble) -> None:
    member = zookeeper_ensemble.members[0]
    tree = ZookeeperTree(member.hosts, session_timeout=timedelta(seconds=4))
    tree.open()
    try:
        tree.commit([Create("/kept", b"x")])
        for other in zookeeper_ensemble.members:
            other.kill()
        for other in zookeeper_ensemble.members:
            other.launch()
        until(lambda: mode_of(member.port), "the member serves again")
        until(lambda: tree.link is Link.UP, "the client is back", within_s=30)
        record = tree.get("/kept")
        assert record is not None
        assert record.data == b"x"
    finally:
        tree.close()


SERVER = """
import sys, time
from taskerman.testing.zookeeper_server import ZookeeperServer
server = ZookeeperServer(classpath=sys.argv[1])
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def test_a_throwaway_server_does_not_outlive_whoever_started_it(zookeeper: ZookeeperServer, tmp_path: Path) -> None:
    """Not even one that is killed without a chance to clean up."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, zookeeper.classpath],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        os.kill(pid, 0)
        process.kill()
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "it dies")
