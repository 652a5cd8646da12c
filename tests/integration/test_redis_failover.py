"""`redis_task:failover` on a real Redis Cluster: a master hands over and stays up, and what recover says is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runners.redis import failover
from runners.redis.failover import Failover
from runners.redis.resp import Connection
from taskerman import Go, Recovered, Skip, Wait
from tests.support.load import Load
from tests.support.redis_cluster import RedisCluster, RedisNode
from tests.support.stores.dying import Dying
from tests.support.stores.redis import RedisStore
from tests.support.waiting import until


def task(cluster: RedisCluster, node: RedisNode, **args: Any) -> Dying:
    return Dying(
        Failover,
        settings=RedisStore(cluster).settings(node),
        args=args,
        node=node.name,
        nodes=[each.name for each in cluster.nodes],
    )


def settled(harness: Dying) -> None:
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)


def test_a_master_hands_over_under_load_and_its_server_is_never_down(redis_cluster: RedisCluster) -> None:
    master, heir = redis_cluster.node("redis-0"), redis_cluster.node("redis-3")
    assert task(redis_cluster, heir).pre_check() == Skip("the server is a replica: it has nothing to hand over")
    harness = task(redis_cluster, master)
    before = master.info("server")["run_id"]
    with Load(RedisStore(redis_cluster).client) as load:
        assert harness.pre_check() == Go()
        harness.execute_action()
        settled(harness)
    print(f"\nredis, failover: {load.seen}")
    assert load.seen.failed == 0, load.seen
    assert load.seen.longest_gap_s < 2.0, "an election after a death takes longer than the node timeout, 2 s"
    assert harness.saved["heir"] == heir.id
    assert heir in redis_cluster.masters()
    assert master not in redis_cluster.masters()
    assert master.info("server")["run_id"] == before
    assert harness.recover() is Recovered.DONE
    assert isinstance(task(redis_cluster, master).pre_check(), Skip), "again: nothing to do"


def test_no_master_hands_over_while_another_server_is_away_or_its_replica_is(redis_cluster: RedisCluster) -> None:
    redis_cluster.node("redis-4").stop()
    for master in ("redis-0", "redis-1"):
        answer = task(redis_cluster, redis_cluster.node(master)).pre_check()
        assert isinstance(answer, Wait)
        assert answer.of == "cluster"
        assert "does not answer" in answer.reason
    down = redis_cluster.node("redis-2")
    down.stop()
    assert isinstance(task(redis_cluster, down).pre_check(), Wait)


def test_killed_at_any_point_recover_says_whether_the_roles_changed(
    redis_cluster: RedisCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the replica was asked: not done, and it stays so. After: done, as soon as it has taken over."""
    monkeypatch.setattr(failover, "FORGOTTEN_AFTER_S", 1.0)
    pairs = {"redis-0": "redis-3", "redis-1": "redis-4", "redis-2": "redis-5"}
    call = Connection.call
    seen: list[Recovered] = []
    for point in range(1, 20):
        master, _ = next((m, r) for m, r in pairs.items() if redis_cluster.node(m) in redis_cluster.masters())
        harness = task(redis_cluster, redis_cluster.node(master))

        def calling(connection: Connection, *words: str | int, at: Dying = harness) -> Any:
            answer = call(connection, *words)
            if words[:2] == ("CLUSTER", "FAILOVER"):
                at.point("asked the replica")
            return answer

        monkeypatch.setattr(Connection, "call", calling)
        died = harness.killed_at(point, tmp_path / "diary")
        monkeypatch.setattr(Connection, "call", call)
        if not died:
            break
        where = harness.passed[-1]
        answer = harness.recover()
        seen.append(answer)
        own = redis_cluster.node(master)
        assert answer is (Recovered.DONE if own not in redis_cluster.masters() else Recovered.NOT_DONE), where
        settled(harness)
    assert seen == [Recovered.NOT_DONE, Recovered.NOT_DONE, Recovered.DONE, Recovered.DONE]
