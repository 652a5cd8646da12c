"""`zookeeper_task` on a real ensemble of three, hook by hook: what it sees, what it waits for, what it leaves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from runners.backups import Backups
from runners.objects import ObjectStore
from runners.turns import CLOCKS_S
from runners.zookeeper import restart as restarting
from runners.zookeeper.backup import SnapshotBackup
from runners.zookeeper.files import read_data
from runners.zookeeper.purge import Purge
from runners.zookeeper.restart import NotReady, Restart
from runners.zookeeper.wire import Door
from taskerman import CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.testing.zookeeper_server import ZookeeperServer, free_port, mode_of
from tests.support.aws import LocalCloud, unique
from tests.support.on_the_machine import OnTheMachine, act_until_killed
from tests.support.services import zookeeper_classpath
from tests.support.stores.member import Member
from tests.support.stores.zookeeper import ZookeeperStore, running_zookeeper
from tests.support.waiting import until

CLUSTER = "zookeeper:coordination"
TARGET = "runners.zookeeper.restart:Restart"


@pytest.fixture(scope="module")
def running() -> Iterator[ZookeeperStore]:
    """One ensemble for all tests of this module, with a snapshot every so often."""
    with running_zookeeper(snap_count=40) as store:
        yield store


@pytest.fixture
def store(running: ZookeeperStore) -> ZookeeperStore:
    """The ensemble, well again whatever the test before did to it."""
    for member in running.members:
        member.must("repair")
        member.must("start")
    running.wait_until_well()
    return running


@pytest.fixture
def bucket(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty one."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    name = unique("zk")
    with local_cloud.client("s3") as s3:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return f"s3://{name}/coordination"


def task(runner: type, store: ZookeeperStore, member: Member, *, begun: str = "", **options: Any) -> Any:
    """The runner on the node of `member`. `settings`: beside those of the store."""
    settings = {**store.settings(member), **options.pop("settings", {})}
    nodes = [each.name for each in store.members]
    return OnTheMachine(
        runner, settings=settings, node=member.name, nodes=nodes, cluster=CLUSTER, accepted_at=begun, **options
    )


def followers(store: ZookeeperStore) -> list[Member]:
    leader = store.leader()
    return [member for member in store.members if member is not leader]


def settled(harness: OnTheMachine) -> None:
    """post_check finds it well in time, be it once."""

    def well() -> bool:
        answer = harness.post_check()
        return isinstance(answer, Go) or (isinstance(answer, Wait) and answer.reason.startswith("well for"))

    until(well, f"well; it said {harness.post_check()}", within_s=30)


def now() -> str:
    """A task is planned now."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f+00:00}"


# --- restart ---------------------------------------------------------------------------------------------


def test_a_follower_is_restarted_and_called_well_when_its_leader_counts_it(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    before = member.pid
    harness = task(Restart, store, member)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert isinstance(harness.post_check(), Wait), "one good answer is luck"
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)
    assert member.pid not in (None, before)
    assert harness.recover() is Recovered.DONE


def test_its_fellows_are_known_by_conf_alone(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    harness = task(Restart, store, member, settings={"peers": []})
    assert harness.pre_check() == Go()
    assert sorted(harness.saved["others"]) == sorted(store.settings(member)["peers"])


def test_the_leader_goes_when_the_others_have_been_restarted_since_the_task_began(store: ZookeeperStore) -> None:
    leader, others = store.leader(), followers(store)
    ports = store.ports.values()
    door = Door()
    until(
        lambda: all(int(door.monitor(("127.0.0.1", port))["uptime"]) > 2000 * CLOCKS_S for port in ports),
        "what was restarted before was so before the task, for any clock",
    )
    begun = now()
    answer = task(Restart, store, leader, begun=begun).pre_check()
    assert answer == Wait("the leader goes last: 0 of 2 others have been restarted since the task began")
    others[0].must("restart")
    store.wait_until_well()
    until(lambda: "1 of 2" in str(task(Restart, store, leader, begun=begun).pre_check()), "one of them is seen")
    others[1].must("restart")
    store.wait_until_well()
    harness = task(Restart, store, leader, begun=begun)
    until(lambda: harness.pre_check() == Go(), f"its turn; it said {harness.pre_check()}")
    harness.execute_action()
    settled(harness)
    assert store.leader() is not leader


def test_a_leader_does_not_wait_for_ever_nor_for_nodes_that_are_not_planned(store: ZookeeperStore) -> None:
    leader = store.leader()
    impatient = task(Restart, store, leader, begun="2020-01-01T00:00:00+00:00")
    assert impatient.pre_check() == Go(), "nothing has moved on for years"
    alone = OnTheMachine(Restart, settings=store.settings(leader), nodes=[leader.name], accepted_at=now())
    assert alone.pre_check() == Go()


def test_it_waits_while_a_member_is_down_whoever_is_asked(store: ZookeeperStore) -> None:
    down, other = followers(store)
    down.must("stop")
    until(lambda: mode_of(store.ports[down.name]) is None, "it is down")
    for member in (other, store.leader()):
        answer = task(Restart, store, member).pre_check()
        assert isinstance(answer, Wait)
        assert answer.of == "cluster"
        assert f"127.0.0.1:{store.ports[down.name]} does not answer" in answer.reason
        with pytest.raises(NotReady, match="the ensemble has changed"):
            task(Restart, store, member).execute_action()
    assert other.pid is not None


def test_a_dead_member_may_be_started_and_its_start_is_known(store: ZookeeperStore) -> None:
    """A redrive after a repair finds the server down."""
    member = followers(store)[0]
    member.must("kill")
    harness = task(Restart, store, member)
    until(lambda: harness.pre_check() == Go(), f"it may; it said {harness.pre_check()}")
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_a_wrong_port_does_not_restart_a_healthy_member(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    answer = task(Restart, store, member, settings={"port": free_port()}).pre_check()
    assert isinstance(answer, Refuse)
    assert "correct host and port" in answer.reason


def test_two_at_once_and_an_incomplete_list_are_refused(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    answer = task(Restart, store, member, cap=2).pre_check()
    assert isinstance(answer, Refuse)
    assert "one at a time" in answer.reason
    few = task(Restart, store, member, settings={"peers": store.settings(member)["peers"][:1]}).pre_check()
    assert isinstance(few, Refuse)
    assert "name all others in peers" in few.reason


def test_a_frozen_member_is_not_called_well(store: ZookeeperStore) -> None:
    """Its port is open, and nobody answers."""
    member = followers(store)[0]
    pid = member.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        harness = task(Restart, store, member, settings={"timeout_s": 0.3})
        assert isinstance(harness.pre_check(), Wait)
        assert isinstance(harness.post_check(), Wait)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_member_that_does_not_come_back_is_not_called_well(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    member.must("break")
    harness = task(Restart, store, member)
    assert harness.pre_check() == Go()
    with pytest.raises(CommandFailed, match="exited with 1"):
        harness.execute_action()
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "does not serve" in answer.reason


@pytest.mark.parametrize(
    ("step", "truth"),
    [
        ("command", Recovered.UNKNOWN),
        ("commanded", Recovered.DONE),
        ("save 2", Recovered.DONE),
    ],
)
def test_killed_at_any_step_it_knows_whether_the_restart_happened(
    store: ZookeeperStore, step: str, truth: Recovered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the command: that it was not asked cannot be told from its being on its way. Then the attempt resumes."""
    monkeypatch.setattr(restarting, "RECOVER_WITHIN_S", 0.5)
    member = followers(store)[0]
    before = member.pid
    harness = task(Restart, store, member)
    assert harness.recover() is Recovered.NOT_DONE
    act_until_killed(harness, TARGET, step, tmp_path)
    assert (member.pid != before) == (truth is Recovered.DONE)
    assert harness.recover() is truth
    settled(harness)


# --- backup ----------------------------------------------------------------------------------------------


def fill(store: ZookeeperStore, count: int = 130) -> dict[str, bytes]:
    """So many nodes, by path."""
    client = store.kazoo()
    root = client.create(f"/{unique('data')}", b"root")
    written = {f"{root}/{number:04}": f"value {number}".encode() * 20 for number in range(count)}
    for path, value in written.items():
        client.create(path, value)
    return {root: b"root", **written}


def tree(client: KazooClient) -> dict[str, bytes]:
    """All that is in it, but for what ZooKeeper keeps for itself."""
    found: dict[str, bytes] = {}

    def walk(path: str) -> None:
        value, stat = client.get(path)
        if not stat.ephemeralOwner:
            found[path] = value
        for name in client.get_children(path):
            if f"{path}{name}" != "/zookeeper":
                walk(f"{path.rstrip('/')}/{name}")

    walk("/")
    return found


@contextmanager
def alone_with(files: dict[str, bytes]) -> Iterator[KazooClient]:
    """A client of a fresh server that has nothing but these files, and no fellows to fetch anything from."""
    server = ZookeeperServer(classpath=zookeeper_classpath())
    client = KazooClient(hosts=server.hosts)
    try:
        for name, content in files.items():
            (server.data / name).parent.mkdir(exist_ok=True)
            (server.data / name).write_bytes(content)
        server.start()
        client.start(timeout=20)
        yield client
    finally:
        client.stop()
        client.close()
        server.close()


def newest(bucket: str) -> dict[str, bytes]:
    """The files of the newest backup, each found to be what was written."""
    backups = Backups(ObjectStore(bucket), CLUSTER)
    backup = backups.newest()
    assert backup is not None
    return {part.key: b"".join(backups.read(backup, part.key)) for part in backup.parts}


def test_a_backup_restored_into_a_fresh_server_has_the_same_data(store: ZookeeperStore, bucket: str) -> None:
    written = fill(store)
    member = followers(store)[0]
    harness = task(SnapshotBackup, store, member, settings={"backups": bucket}, begun=now())
    until(lambda: harness.pre_check() == Go(), f"it may; it said {harness.pre_check()}")
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE
    backups = Backups(ObjectStore(bucket), CLUSTER)
    (made,) = backups.whole()
    assert {part.key.partition(".")[0] for part in made.parts} == {"version-2/snapshot", "version-2/log"}
    assert made.size < 1024 * 1024, "a log is cut where it is not written yet"
    expected = tree(store.kazoo())
    with alone_with(newest(bucket)) as client:
        assert tree(client) == expected
    assert written.items() <= expected.items()


def test_one_task_makes_one_backup_and_a_leader_leaves_it_to_others(store: ZookeeperStore, bucket: str) -> None:
    begun, own = now(), {"backups": bucket}
    leader, (first, second) = store.leader(), followers(store)
    waiting = task(SnapshotBackup, store, leader, settings=own, begun=begun).pre_check()
    assert waiting == Wait("a follower makes the backup; the leader has enough to do")
    harness = task(SnapshotBackup, store, first, settings=own, begun=begun)
    until(lambda: harness.pre_check() == Go(), f"it may; it said {harness.pre_check()}")
    harness.execute_action()
    for member in (first, second, leader):
        answer = task(SnapshotBackup, store, member, settings=own, begun=begun).pre_check()
        assert isinstance(answer, Skip)
    assert len(Backups(ObjectStore(bucket), CLUSTER).whole()) == 1


def test_a_backup_while_transactions_go_on_is_of_one_moment(store: ZookeeperStore, bucket: str) -> None:
    """A counter and its shadow are written together: a restored tree never has them apart, and has all that the member
    had which was backed up; that one may be a little behind the others."""
    client = store.kazoo()
    source = followers(store)[0]
    reader = store.kazoo(source)
    root = client.create(f"/{unique('pair')}", b"")
    for name in ("a", "b"):
        client.create(f"{root}/{name}", b"0")
    over, last = threading.Event(), [0]

    def write() -> None:
        while not over.is_set():
            last[0] += 1
            transaction = client.transaction()
            for name in ("a", "b"):
                transaction.set_data(f"{root}/{name}", str(last[0]).encode())
            transaction.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: last[0] > 50, "it writes")
        harness = task(SnapshotBackup, store, source, settings={"backups": bucket})
        before = int(reader.get(f"{root}/a")[0])
        harness.execute_action()
    finally:
        over.set()
        thread.join(20)
    with alone_with(newest(bucket)) as found:
        first, second = (found.get(f"{root}/{name}")[0] for name in ("a", "b"))
        assert first == second
        assert before <= int(first) <= last[0]


def test_a_backup_that_was_killed_half_way_is_none_and_the_next_attempt_makes_one(
    store: ZookeeperStore, bucket: str, tmp_path: Path
) -> None:
    harness = task(SnapshotBackup, store, followers(store)[0], settings={"backups": bucket})
    act_until_killed(harness, "runners.zookeeper.backup:SnapshotBackup", "log chose", tmp_path)
    assert harness.recover() is Recovered.NOT_DONE
    assert Backups(ObjectStore(bucket), CLUSTER).whole() == []
    act_until_killed(harness, "runners.zookeeper.backup:SnapshotBackup", "log backed up", tmp_path)
    assert harness.recover() is Recovered.DONE


def test_a_bucket_that_is_not_there_is_said_before_anything_is_done(store: ZookeeperStore, bucket: str) -> None:
    own = {"backups": "s3://there-is-no-such-bucket/x"}
    answer = task(SnapshotBackup, store, followers(store)[0], settings=own).pre_check()
    assert isinstance(answer, Refuse)
    assert "there-is-no-such-bucket is not there" in answer.reason


# --- purge -----------------------------------------------------------------------------------------------


def test_a_purge_leaves_three_snapshots_and_a_server_that_starts_with_all_its_data(
    store: ZookeeperStore,
) -> None:
    """Read from a copy of its files, by a server that has no fellows to fetch anything from."""
    fill(store, 260)
    member = followers(store)[0]
    folder = store.folder / member.name / "version-2"
    harness = task(Purge, store, member)
    until(lambda: harness.pre_check() == Go(), f"there is much; it said {harness.pre_check()}")
    before = read_data(folder, folder)
    dry = task(Purge, store, member, args={"dry_run": True})
    dry.execute_action()
    assert any(line.message == "would remove" for line in dry.logged)
    assert set(read_data(folder, folder).snapshots) >= set(before.snapshots)
    harness.execute_action()
    settled(harness)
    after = read_data(folder, folder)
    assert len(after.snapshots) == 3
    assert len(after.logs) < len(before.logs)
    assert harness.recover() is Recovered.DONE
    assert isinstance(task(Purge, store, member).pre_check(), Skip)
    expected = tree(store.kazoo())
    member.must("stop")
    left = {f"version-2/{each.name}": each.read_bytes() for each in folder.iterdir()}
    with alone_with(left) as client:
        assert tree(client) == expected
    member.must("start")


def test_a_purge_that_was_killed_goes_on(store: ZookeeperStore, tmp_path: Path) -> None:
    fill(store, 200)
    harness = task(Purge, store, followers(store)[1])
    until(lambda: harness.pre_check() == Go(), f"there is much; it said {harness.pre_check()}")
    act_until_killed(harness, "runners.zookeeper.purge:Purge", "log removes", tmp_path)
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    assert harness.recover() is Recovered.DONE


def test_a_stranger_in_the_folder_stops_a_purge(store: ZookeeperStore) -> None:
    member = followers(store)[0]
    stranger = store.folder / member.name / "version-2" / "snapshot.5b.old"
    stranger.write_text("")
    try:
        answer = task(Purge, store, member).pre_check()
        assert isinstance(answer, Refuse)
        assert "is no file of ZooKeeper" in answer.reason
    finally:
        stranger.unlink()
