"""`etcd_task` on a real cluster of three, hook by hook: what it sees, what it waits for, what it leaves."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runners.backups import Backups
from runners.etcd import defragment as defragmenting
from runners.etcd import restart as restarting
from runners.etcd.defragment import Defragment
from runners.etcd.gateway import Access, Gateway
from runners.etcd.restart import NotReady, Restart
from runners.etcd.snapshot import Snapshot
from runners.objects import ObjectStore
from runners.turns import CLOCKS_S
from taskerman import CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.testing.zookeeper_server import free_port
from tests.support.aws import LocalCloud, unique
from tests.support.on_the_machine import OnTheMachine, act_until_killed
from tests.support.stores.etcd import EtcdStore, call, running_etcd, text
from tests.support.stores.member import Member
from tests.support.waiting import until

CLUSTER = "etcd:locks"
MIB = 1024 * 1024
QUOTA = 24 * MIB


@pytest.fixture(scope="module")
def running() -> Iterator[EtcdStore]:
    """One cluster for all tests of this module, with a quota that can be reached."""
    with running_etcd(quota_bytes=QUOTA) as store:
        yield store


@pytest.fixture
def store(running: EtcdStore) -> EtcdStore:
    """The cluster, well again whatever the test before did to it."""
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
    name = unique("etcd")
    with local_cloud.client("s3") as s3:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return f"s3://{name}/locks"


def task(runner: type, store: EtcdStore, member: Member, *, begun: str = "", **options: Any) -> Any:
    """The runner on the node of `member`. `settings`: beside those of the store."""
    settings = {**store.settings(member), **options.pop("settings", {})}
    nodes = [each.name for each in store.members]
    return OnTheMachine(
        runner, settings=settings, node=member.name, nodes=nodes, cluster=CLUSTER, accepted_at=begun, **options
    )


def followers(store: EtcdStore) -> list[Member]:
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


def some_time_ago(store: EtcdStore) -> str:
    """A task is planned now, and what tests before have restarted was restarted before it, for any clock."""
    until(lambda: all(_started(store, member) < time.time() - 2 * CLOCKS_S for member in store.members), "time passes")
    return now()


def _started(store: EtcdStore, member: Member) -> float:
    started = Gateway(store.urls[member.name], Access()).metrics().started_at
    assert started is not None
    return started


# --- restart ---------------------------------------------------------------------------------------------


def test_a_follower_is_restarted_and_called_well_when_its_peers_agree(store: EtcdStore) -> None:
    member = followers(store)[0]
    before, leader = member.pid, store.leader()
    harness = task(Restart, store, member)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert isinstance(harness.post_check(), Wait), "one good answer is luck"
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)
    assert member.pid not in (None, before)
    assert harness.recover() is Recovered.DONE
    assert store.leader() is leader


def test_the_leader_goes_last_and_hands_over_before(store: EtcdStore) -> None:
    leader, others = store.leader(), followers(store)
    begun = some_time_ago(store)
    answer = task(Restart, store, leader, begun=begun).pre_check()
    assert answer == Wait("the leader goes last: 0 of 2 others have been restarted since the task began")
    for member in others:
        member.must("restart")
        store.wait_until_well()
    harness = task(Restart, store, leader, begun=begun)
    until(lambda: harness.pre_check() == Go(), f"its turn; it said {harness.pre_check()}")
    term = store.status(others[0])["raftTerm"]
    harness.execute_action()
    settled(harness)
    assert store.leader() in others
    assert "handed over" in [line.message for line in harness.logged]
    assert int(store.status(others[0])["raftTerm"]) == int(term) + 1, "it was moved, once, and none was elected"


def test_it_waits_while_a_member_is_down_whoever_is_asked(store: EtcdStore) -> None:
    down, other = followers(store)
    down.must("stop")
    for member in (other, store.leader()):
        answer = task(Restart, store, member).pre_check()
        assert answer == Wait(f"{down.name} does not answer (nobody listens there)", of="cluster")
        with pytest.raises(NotReady, match="the cluster has changed"):
            task(Restart, store, member).execute_action()
        assert isinstance(task(Defragment, store, member, args={"at_least_bytes": 0}).pre_check(), Wait)
    assert other.pid is not None


def test_a_dead_member_may_be_started_and_its_start_is_known(store: EtcdStore) -> None:
    """A redrive after a repair finds the server down."""
    member = followers(store)[0]
    member.must("kill")
    harness = task(Restart, store, member)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_a_wrong_endpoint_does_not_restart_a_healthy_member(store: EtcdStore) -> None:
    member = followers(store)[0]
    answer = task(Restart, store, member, settings={"endpoint": f"http://127.0.0.1:{free_port()}"}).pre_check()
    assert isinstance(answer, Refuse)
    assert "correct endpoint" in answer.reason


def test_two_at_once_are_refused(store: EtcdStore) -> None:
    answer = task(Restart, store, followers(store)[0], cap=2).pre_check()
    assert isinstance(answer, Refuse)
    assert "one at a time" in answer.reason


def test_a_frozen_member_is_not_called_well(store: EtcdStore) -> None:
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


def test_a_member_that_does_not_come_back_is_not_called_well(store: EtcdStore) -> None:
    member = followers(store)[0]
    member.must("break")
    harness = task(Restart, store, member)
    assert harness.pre_check() == Go()
    with pytest.raises(CommandFailed, match="exited with 1"):
        harness.execute_action()
    assert harness.post_check() == Wait("the server does not answer (nobody listens there)")


@pytest.mark.parametrize(
    ("step", "truth"),
    [
        ("command", Recovered.UNKNOWN),
        ("commanded", Recovered.DONE),
        ("save 2", Recovered.DONE),
    ],
)
def test_killed_at_any_step_it_knows_whether_the_restart_happened(
    store: EtcdStore, step: str, truth: Recovered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the command: that it was not asked cannot be told from its being on its way."""
    monkeypatch.setattr(restarting, "RECOVER_WITHIN_S", 0.5)
    member = followers(store)[0]
    before = member.pid
    harness = task(Restart, store, member)
    assert harness.recover() is Recovered.NOT_DONE
    act_until_killed(harness, "runners.etcd.restart:Restart", step, tmp_path)
    assert (member.pid != before) == (truth is Recovered.DONE)
    assert harness.recover() is truth
    settled(harness)


def test_killed_after_it_handed_over_nothing_was_restarted(store: EtcdStore, tmp_path: Path) -> None:
    leader = store.leader()
    before = leader.pid
    harness = task(Restart, store, leader)
    act_until_killed(harness, "runners.etcd.restart:Restart", "log handed over", tmp_path)
    assert leader.pid == before
    assert harness.recover() is Recovered.NOT_DONE
    assert store.leader() is not leader


def test_with_authentication_on_a_user_is_needed_and_is_enough(store: EtcdStore, bucket: str, tmp_path: Path) -> None:
    """And its password stands in no message, and in no argument list."""
    url, own = store.urls[followers(store)[0].name], {"username": "root", "password": "a-secret"}
    call(url, "/v3/auth/user/add", name="root", password="a-secret")
    call(url, "/v3/auth/role/add", name="root")
    call(url, "/v3/auth/user/grant", user="root", role="root")
    call(url, "/v3/auth/enable")
    try:
        member = followers(store)[0]
        for wrong in ({}, {"username": "root", "password": "a-guess"}):
            answer = task(Restart, store, member, settings=wrong).pre_check()
            assert isinstance(answer, Refuse)
            assert "does not let us ask" in answer.reason
            assert "a-guess" not in answer.reason
        assert task(Restart, store, member, settings=own).pre_check() == Go()
        harness = task(Snapshot, store, member, settings={"backups": bucket, "scratch": str(tmp_path), **own})
        harness.execute_action()
        assert harness.recover() is Recovered.DONE
        assert "a-secret" not in str(harness.commands) + str(harness.logged) + str(harness.saved)
    finally:
        token = call(url, "/v3/auth/authenticate", name="root", password="a-secret")["token"]
        call(url, "/v3/auth/disable", token=token)


# --- defragment ------------------------------------------------------------------------------------------


def fill(store: EtcdStore, mebibytes: int) -> None:
    """So much, and then nothing of it: only history, which is compacted, on every member."""
    url = store.urls[store.leader().name]
    value = text("x" * (MIB // 2))
    revision = "0"
    for number in range(mebibytes * 2):
        revision = call(url, "/v3/kv/put", key=text(f"big-{number % 2}"), value=value)["header"]["revision"]
    call(url, "/v3/kv/compaction", revision=revision, physical=True)
    until(lambda: compacted(store, url, mebibytes * MIB // 2), "all are compacted")


def compacted(store: EtcdStore, url: str, least: int) -> bool:
    """What compaction freed is seen after some more commits."""
    call(url, "/v3/kv/put", key=text("tick"), value="")
    return all(free(store, member) > least for member in store.members)


def free(store: EtcdStore, member: Member) -> int:
    said = store.status(member)
    return int(said["dbSize"]) - int(said["dbSizeInUse"])


def size(store: EtcdStore, member: Member) -> int:
    return int(store.status(member)["dbSize"])


def test_a_defragmented_member_has_given_back_what_was_free_and_the_leader_handed_over(store: EtcdStore) -> None:
    fill(store, 8)
    leader, others, begun = store.leader(), followers(store), now()
    least: dict[str, Any] = {"args": {"at_least_bytes": 4 * MIB}, "begun": begun}
    answer = task(Defragment, store, leader, **least).pre_check()
    assert answer == Wait("the leader goes last: 2 others have not been defragmented yet")
    for member in [*others, leader]:
        harness = task(Defragment, store, member, **least)
        assert harness.pre_check() == Go()
        before = size(store, member)
        harness.execute_action()
        settled(harness)
        assert size(store, member) < before - 4 * MIB
        assert harness.recover() is Recovered.DONE
        assert isinstance(task(Defragment, store, member, **least).pre_check(), Skip)
    assert store.leader() is not leader


@pytest.mark.parametrize(("step", "truth"), [("save 1", Recovered.NOT_DONE), ("log defragmented", Recovered.DONE)])
def test_killed_it_knows_by_the_servers_own_count_whether_it_was_defragmented(
    store: EtcdStore, step: str, truth: Recovered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defragmenting, "RECOVER_WITHIN_S", 1.0)
    harness = task(Defragment, store, followers(store)[0])
    assert harness.recover() is Recovered.NOT_DONE
    act_until_killed(harness, "runners.etcd.defragment:Defragment", step, tmp_path)
    assert harness.recover() is truth


def test_an_alarm_for_space_is_disarmed_when_every_member_has_some_again(store: EtcdStore) -> None:
    """Until then nothing is restarted. And writes go on afterwards."""
    url = store.urls[store.leader().name]
    value = text("x" * MIB)
    revision = ""
    with suppress(OSError):
        for _ in range(60):
            revision = call(url, "/v3/kv/put", key=text("big"), value=value)["header"]["revision"]
    until(lambda: call(url, "/v3/maintenance/alarm", action="GET").get("alarms"), "the alarm is raised")
    call(url, "/v3/kv/compaction", revision=revision, physical=True)
    refused = task(Restart, store, followers(store)[0]).pre_check()
    assert isinstance(refused, Refuse)
    assert "the alarm NOSPACE" in refused.reason
    stayed = 0
    for member in [*followers(store), store.leader()]:
        harness = task(Defragment, store, member, args={"at_least_bytes": MIB, "disarm": True}, begun=now())
        assert harness.pre_check() == Go()
        harness.execute_action()
        settled(harness)
        sizes = [int(call(each, "/v3/maintenance/status")["dbSize"]) for each in store.urls.values()]
        left = call(url, "/v3/maintenance/alarm", action="GET").get("alarms", [])
        assert bool(left) == (max(sizes) >= 0.9 * QUOTA), "it stays until the last one has space, and no longer"
        stayed += bool(left)
    assert 1 <= stayed <= 2
    call(url, "/v3/kv/put", key=text("small"), value=text("again"))


# --- snapshot --------------------------------------------------------------------------------------------


def everything(url: str) -> dict[str, str]:
    """All keys with their values, in their wire form."""
    answer = call(url, "/v3/kv/range", key=base64.b64encode(b"\0").decode(), range_end=base64.b64encode(b"\0").decode())
    return {each["key"]: each.get("value", "") for each in answer["kvs"]}


@contextmanager
def restored(bucket: str, folder: Path) -> Iterator[str]:
    """The address of a fresh server that has nothing but the newest snapshot."""
    backups = Backups(ObjectStore(bucket), CLUSTER)
    backup = backups.newest()
    assert backup is not None
    file, place = folder / "found.db", folder / "data"
    file.write_bytes(b"".join(backups.read(backup, "snapshot.db")))
    subprocess.run(
        ["etcdctl", "snapshot", "restore", str(file), "--data-dir", str(place)],
        check=True,
        capture_output=True,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    argv = ["etcd", "--data-dir", str(place), "--listen-client-urls", url, "--advertise-client-urls", url]
    with subprocess.Popen(
        [*argv, "--listen-peer-urls", peer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            until(lambda: _serves(url), "it serves")
            yield url
        finally:
            server.kill()


def _serves(url: str) -> bool:
    try:
        return bool(call(url, "/v3/maintenance/status").get("leader"))
    except OSError:
        return False


def test_a_snapshot_restored_into_a_fresh_server_has_the_same_data(
    store: EtcdStore, bucket: str, tmp_path: Path
) -> None:
    member = followers(store)[0]
    url = store.urls[member.name]
    for number in range(200):
        call(url, "/v3/kv/put", key=text(f"key-{number}"), value=text(f"value {number}"))
    store.wait_until_well()
    own = {"backups": bucket, "scratch": str(tmp_path)}
    harness = task(Snapshot, store, member, settings=own, begun=now())
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE
    assert list(tmp_path.iterdir()) == [], "the scratch file is gone"
    (made,) = Backups(ObjectStore(bucket), CLUSTER).whole()
    assert made.facts["revision"] == int(store.status(member)["header"]["revision"])
    with restored(bucket, tmp_path) as fresh:
        assert everything(fresh) == everything(url)


def test_one_task_makes_one_snapshot_and_a_leader_leaves_it_to_others(
    store: EtcdStore, bucket: str, tmp_path: Path
) -> None:
    begun, own = now(), {"backups": bucket, "scratch": str(tmp_path)}
    leader, (first, second) = store.leader(), followers(store)
    assert isinstance(task(Snapshot, store, leader, settings=own, begun=begun).pre_check(), Wait)
    harness = task(Snapshot, store, first, settings=own, begun=begun)
    assert harness.pre_check() == Go()
    harness.execute_action()
    for member in (first, second, leader):
        assert isinstance(task(Snapshot, store, member, settings=own, begun=begun).pre_check(), Skip)
    assert len(Backups(ObjectStore(bucket), CLUSTER).whole()) == 1


def test_a_snapshot_that_was_killed_half_way_is_none_and_leaves_no_file(
    store: EtcdStore, bucket: str, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    harness = task(Snapshot, store, followers(store)[0], settings={"backups": bucket, "scratch": str(scratch)})
    act_until_killed(harness, "runners.etcd.snapshot:Snapshot", "command", tmp_path)
    assert len(list(scratch.iterdir())) == 1
    assert harness.recover() is Recovered.NOT_DONE
    assert Backups(ObjectStore(bucket), CLUSTER).whole() == []
    harness.abort()
    harness.abort()
    assert list(scratch.iterdir()) == []
    act_until_killed(harness, "runners.etcd.snapshot:Snapshot", "log saved a snapshot", tmp_path)
    assert harness.recover() is Recovered.DONE


def test_what_a_snapshot_needs_is_missed_before_anything_is_done(store: EtcdStore, bucket: str, tmp_path: Path) -> None:
    def refused(**settings: Any) -> str:
        own = {"backups": bucket, "scratch": str(tmp_path), **settings}
        answer = task(Snapshot, store, followers(store)[0], settings=own).pre_check()
        assert isinstance(answer, Refuse)
        return answer.reason

    assert "there-is-no-such-bucket is not there" in refused(backups="s3://there-is-no-such-bucket/x")
    assert "no address of objects" in refused(backups="/somewhere")
    assert "does not say where snapshots go" in refused(backups="")
    assert "no-such-program is not on this machine" in refused(snapshot_status=["no-such-program"])
    assert "cannot be used" in refused(scratch=str(tmp_path / "nowhere"))
    assert "the TLS files cannot be used" in refused(ca_file=str(tmp_path / "none"))
