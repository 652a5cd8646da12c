"""`redis_task:backup` on a real Redis Cluster: each shard's snapshot is restored elsewhere, and has the same keys."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from runners.backups import Backup as Stored
from runners.backups import Backups
from runners.objects import ObjectStore
from runners.piped import Failed
from runners.redis import saving
from runners.redis.backup import Backup
from runners.redis.resp import Connection, ErrorReply
from taskerman import Go, Recovered, Refuse, Skip, Wait
from tests.support.aws import LocalCloud, unique
from tests.support.redis_cluster import RedisCluster, RedisNode
from tests.support.services import redis_server
from tests.support.stores.dying import Dying
from tests.support.stores.redis import RedisStore
from tests.support.waiting import until

SHARDS = {"redis-0": "slots-0-5460", "redis-1": "slots-5461-10921", "redis-2": "slots-10922-16383"}
REPLICAS = {"redis-0": "redis-3", "redis-1": "redis-4", "redis-2": "redis-5"}


@pytest.fixture
def bucket(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> str:
    name = unique("backups")
    with local_cloud.client("s3") as client:
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    for key, value in local_cloud.environment().items():
        monkeypatch.setenv(key, value)
    return f"s3://{name}/redis"


def task(cluster: RedisCluster, node: RedisNode, bucket: str, **args: Any) -> Dying:
    return Dying(
        Backup,
        settings={**RedisStore(cluster).settings(node), "backups": bucket},
        args=args,
        node=node.name,
        cluster="redis:test",
        nodes=[each.name for each in cluster.nodes],
    )


def fill(cluster: RedisCluster, count: int = 300) -> dict[str, dict[str, str]]:
    """Keys with values of every length, by the name of the master that has them; back when their replicas do too."""
    written: dict[str, dict[str, str]] = {node.name: {} for node in cluster.masters()}
    for number in range(count):
        key, value = f"key-{number}", f"{number}-" * (number % 50)
        for node in cluster.masters():
            try:
                node.call("SET", key, value)
            except RuntimeError:
                continue  # it is another one's
            written[node.name][key] = value
            break
    assert sum(map(len, written.values())) == count
    for node in cluster.masters():
        assert node.call("WAIT", 1, 5000) == 1
    return written


def settled(harness: Dying) -> None:
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)


def backups(bucket: str, shard: str) -> Backups:
    return Backups(ObjectStore(bucket), f"redis:test/{shard}")


def newest(bucket: str, shard: str) -> Stored:
    found = backups(bucket, shard).newest()
    assert found is not None
    return found


@contextmanager
def restored(snapshot: bytes, folder: Path) -> Iterator[Connection]:
    """A fresh server on this snapshot."""
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(snapshot)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            connection = until(lambda: _connected(port), "it answers")
            assert connection is not None
            yield connection
        finally:
            process.kill()


def _connected(port: int) -> Connection | None:
    try:
        connection = Connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        connection.call("GET", "nothing")
    except (OSError, ErrorReply):
        connection.close()
        return None
    return connection


def content(snapshot: bytes, folder: Path) -> dict[str, str]:
    with restored(snapshot, folder) as connection, closing(connection):
        names = connection.call("KEYS", "*")
        assert isinstance(names, tuple)
        return {str(name): str(connection.call("GET", str(name))) for name in names}


def test_every_shard_is_backed_up_by_its_replica_once_and_has_the_same_keys_elsewhere(
    redis_cluster: RedisCluster, bucket: str, tmp_path: Path
) -> None:
    written = fill(redis_cluster)
    for node in redis_cluster.nodes:
        harness = task(redis_cluster, node, bucket)
        answer = harness.pre_check()
        if node.name in SHARDS:
            assert isinstance(answer, Skip)
            assert "its replica" in answer.reason
            continue
        assert answer == Go()
        harness.execute_action()
        assert harness.recover() is Recovered.DONE
        settled(harness)
    for master, shard in SHARDS.items():
        made = newest(bucket, shard)
        assert (made.facts["node"], made.facts["way"]) == (REPLICAS[master], "file")
        snapshot = b"".join(backups(bucket, shard).read(made, "dump.rdb"))
        assert content(snapshot, tmp_path / master) == written[master]
    again = task(redis_cluster, redis_cluster.node("redis-0"), bucket, from_master=True).pre_check()
    assert isinstance(again, Skip)
    assert "redis-3 has made this task's backup of the shard" in again.reason


def test_a_server_that_keeps_nothing_on_disk_is_asked_as_by_a_replica_and_nothing_is_left_there(
    redis_cluster: RedisCluster, bucket: str, tmp_path: Path
) -> None:
    """A snapshot that is left there would come back to life with its next start."""
    written = fill(redis_cluster)
    node = redis_cluster.node("redis-4")
    node.call("CONFIG", "SET", "save", "")
    (node.folder / "dump.rdb").unlink(missing_ok=True)
    for other in redis_cluster.nodes:
        other.call("ACL", "SETUSER", "keeper", "on", ">secret word", "~*", "&*", "+@all")
    harness = task(redis_cluster, node, bucket)
    harness._settings |= {"username": "keeper", "password": "secret word"}
    harness.execute_action()
    made = newest(bucket, SHARDS["redis-1"])
    assert made.facts["way"] == "stream"
    snapshot = b"".join(backups(bucket, SHARDS["redis-1"]).read(made, "dump.rdb"))
    assert content(snapshot, tmp_path / "restored") == written["redis-1"]
    assert not (node.folder / "dump.rdb").exists()
    assert "secret word" not in str(harness.commands) + str(harness.logged)


def test_killed_at_any_point_it_leaves_no_half_backup_and_recover_tells_the_truth(
    redis_cluster: RedisCluster, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(redis_cluster, 30)
    harness = task(redis_cluster, redis_cluster.node("redis-5"), bucket)
    put = ObjectStore.put

    def putting(store: ObjectStore, key: str, chunks: Any) -> Any:
        def passing() -> Iterator[bytes]:
            for chunk in chunks:
                harness.point(f"a piece of {key.rpartition('/')[2]}")
                yield chunk

        made = put(store, key, passing())
        harness.point(f"wrote {key.rpartition('/')[2]}")
        return made

    monkeypatch.setattr(ObjectStore, "put", putting)
    seen: dict[str, Recovered] = {}
    point = 0
    while harness.killed_at(point := point + 1, tmp_path / "diary"):
        whole = backups(bucket, SHARDS["redis-2"]).whole()
        answer = harness.recover()
        assert answer is (Recovered.DONE if whole else Recovered.NOT_DONE), harness.passed
        seen[harness.passed[-1]] = answer
        for made in whole:
            ObjectStore(bucket).delete([f"redis.test/{SHARDS['redis-2']}/{made.name.rpartition('/')[2]}/manifest"])
    assert seen["wrote dump.rdb"] is Recovered.NOT_DONE
    assert seen["wrote manifest"] is Recovered.DONE


def test_what_is_missing_is_told_before_anything_is_done(
    redis_cluster: RedisCluster, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = redis_cluster.node("redis-3")
    dump = node.folder / "dump.rdb"
    dump.unlink(missing_ok=True)

    def refused(harness: Dying) -> str:
        answer = harness.pre_check()
        assert isinstance(answer, Refuse), answer
        assert harness.saved == {}
        assert not dump.exists()
        return answer.reason

    assert "is not there" in refused(task(redis_cluster, node, unique("s3://no-such-bucket")))
    assert "does not say where backups go" in refused(task(redis_cluster, node, ""))
    with monkeypatch.context() as patched:
        patched.setattr(saving, "_available_bytes", lambda: 1000)
        assert "the machine has 1,000 left" in refused(task(redis_cluster, node, bucket))
        assert task(redis_cluster, node, bucket, copied=0.0).pre_check() == Go()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 0, 10))
        assert "10 are free" in refused(task(redis_cluster, node, bucket))

    dump.mkdir()  # what the server writes cannot take its place
    harness = task(redis_cluster, node, bucket)
    try:
        with pytest.raises(Failed, match="could not write its snapshot"):
            harness.execute_action()
        assert harness.recover() is Recovered.NOT_DONE
        assert backups(bucket, SHARDS["redis-0"]).whole() == []
    finally:
        dump.rmdir()


def test_a_replica_that_is_out_of_step_leaves_the_backup_to_its_master(
    redis_cluster: RedisCluster, bucket: str
) -> None:
    master, replica = redis_cluster.node("redis-0"), redis_cluster.node("redis-3")
    replica.stop()
    until(lambda: not redis_cluster.well(), "it is missed")
    assert isinstance(task(redis_cluster, replica, bucket).pre_check(), Wait)
    assert task(redis_cluster, master, bucket).pre_check() == Go()
