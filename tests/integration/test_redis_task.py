"""`redis_task:restart` on a real Redis Cluster, hook by hook: what it sees, what it waits for, what it refuses."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runners.redis.handover import NotReady
from runners.redis.resp import Connection
from runners.redis.restart import Restart
from runners.redis.view import claim_name
from taskerman import CommandFailed, CommandResult, Go, Recovered, Refuse, Wait
from taskerman.testing.harness import RunnerHarness
from tests.support.redis_cluster import RedisCluster, RedisNode
from tests.support.waiting import until


class OnTheMachine(RunnerHarness[Restart]):
    """The harness, but commands are run."""

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(argv)
        self.commands.append(words)
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if check and done.returncode:
            raise CommandFailed(words, done.returncode, done.stdout)
        return CommandResult(words, done.returncode, done.stdout)


def task(cluster: RedisCluster, node: RedisNode, *, at_once: int = 1, **args: Any) -> OnTheMachine:
    """The runner on `node`. `args`: of the action."""
    settings: Mapping[str, Any] = {
        "host": node.host,
        "port": node.port,
        "restart": list(node.restart_command),
        "peers": [f"{peer.host}:{peer.port}" for peer in cluster.nodes if peer is not node],
    }
    return OnTheMachine(
        Restart,
        settings=settings,
        args=args,
        cap=at_once,
        node=node.name,
        nodes=[each.name for each in cluster.nodes],
    )


def settled(harness: OnTheMachine) -> None:
    """post_check says Go in time."""
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)


def test_a_replica_is_restarted_and_called_well_when_its_peers_have_heard_of_the_new_start(
    redis_cluster: RedisCluster,
) -> None:
    node = redis_cluster.node("redis-3")
    harness = task(redis_cluster, node)
    before = node.info("server")["run_id"]
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.saved["run_id"] == before != node.info("server")["run_id"]
    assert harness.commands == [node.restart_command]
    assert harness.recover() is Recovered.DONE


def test_a_master_hands_its_slots_over_before_it_goes_down(redis_cluster: RedisCluster) -> None:
    node, heir = redis_cluster.node("redis-0"), redis_cluster.node("redis-3")
    harness = task(redis_cluster, node)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert heir in redis_cluster.masters()
    assert node not in redis_cluster.masters()
    assert harness.saved["heir"] == heir.id


def test_without_failover_a_master_goes_down_as_one(redis_cluster: RedisCluster) -> None:
    node = redis_cluster.node("redis-0")
    harness = task(redis_cluster, node, failover=False)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert "heir" not in harness.saved


def test_it_waits_while_more_nodes_are_down_than_the_task_may_have_taken_down(redis_cluster: RedisCluster) -> None:
    down = redis_cluster.node("redis-4")
    down.stop()
    alone = task(redis_cluster, redis_cluster.node("redis-3"))
    answer = alone.pre_check()
    assert isinstance(answer, Wait)
    assert answer.of == "cluster"
    assert f"{down.host}:{down.port} does not answer" in answer.reason
    assert task(redis_cluster, redis_cluster.node("redis-3"), at_once=2).pre_check() == Go()
    assert task(redis_cluster, redis_cluster.node("redis-3"), force=True).pre_check() == Go()


def test_two_at_once_are_never_of_one_shard(redis_cluster: RedisCluster) -> None:
    redis_cluster.node("redis-3").stop()
    master = task(redis_cluster, redis_cluster.node("redis-0"), at_once=2)
    answer = master.pre_check()
    assert isinstance(answer, Wait)
    assert answer.of == "node"
    with pytest.raises(NotReady, match="the shard cannot do without this server"):
        task(redis_cluster, redis_cluster.node("redis-0"), at_once=2, failover_timeout_s=0.3).execute_action()
    assert redis_cluster.node("redis-0").pid is not None


@pytest.mark.parametrize("failover", [True, False])
def test_of_two_that_passed_their_checks_in_the_same_moment_one_waits_for_the_other(
    redis_cluster: RedisCluster, failover: bool
) -> None:
    """Both of a shard, at once, many times: the shard is never without a server."""
    pair = [redis_cluster.node("redis-0"), redis_cluster.node("redis-3")]
    errors: list[BaseException] = []

    def act(node: RedisNode) -> None:
        try:
            task(redis_cluster, node, at_once=2, failover=failover).execute_action()
        except BaseException as error:
            errors.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=act, args=(node,)) for node in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        redis_cluster.wait_until_well()
    lines = [line for line in redis_cluster.events.read_text().splitlines() if "redis-0" in line or "redis-3" in line]
    now_down: set[str] = set()
    for line in lines:
        name = "redis-0" if "redis-0" in line else "redis-3"
        now_down = now_down | {name} if '"down"' in line else now_down - {name}
        assert len(now_down) < 2, lines


def test_somebody_elses_claim_in_the_shard_is_waited_for(redis_cluster: RedisCluster) -> None:
    master, replica = redis_cluster.node("redis-1"), redis_cluster.node("redis-4")
    with Connection(master.host, master.port) as claim:
        claim.call("CLIENT", "SETNAME", claim_name(replica.id))
        answer = task(redis_cluster, master, at_once=2).pre_check()
        assert isinstance(answer, Wait)
        assert "is being restarted" in answer.reason
        assert task(redis_cluster, redis_cluster.node("redis-0"), at_once=2).pre_check() == Go(), "another shard"
    assert task(redis_cluster, master).pre_check() == Go()


def test_a_server_that_says_it_is_well_and_is_failed_to_its_peers_is_not_called_well(
    redis_cluster: RedisCluster,
) -> None:
    node = redis_cluster.node("redis-4")
    node.isolate_next_start()
    harness = task(redis_cluster, node)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert node.info("cluster_info")["cluster_state"] == "ok"
    assert node.info("replication")["master_link_status"] == "up"
    peers = {peer.name for peer in redis_cluster.nodes} - {node.name}
    marked, answer = False, harness.post_check()
    while not marked:
        marked = redis_cluster.seen_failed(node) == peers
        answer = harness.post_check()
        assert isinstance(answer, Wait), "not once, also before its peers have marked it failed"
    assert isinstance(answer, Wait)
    assert "its peers do not see the server well" in answer.reason
    assert "marks it failed" in answer.reason


def test_a_master_without_a_replica_is_refused_unless_failover_is_waived(redis_cluster: RedisCluster) -> None:
    replica = redis_cluster.node("redis-3")
    replica.stop()
    for node in redis_cluster.nodes:
        if node is not replica:
            node.call("CLUSTER", "FORGET", replica.id)
    master = redis_cluster.node("redis-0")
    answer = task(redis_cluster, master).pre_check()
    assert isinstance(answer, Refuse)
    assert "has no replica" in answer.reason
    assert task(redis_cluster, master, failover=False).pre_check() == Go()
    assert master.call("SET", "hello", "x") == "OK"
    master.call("CONFIG", "SET", "save", "")
    answer = task(redis_cluster, master, failover=False).pre_check()
    assert isinstance(answer, Refuse)
    assert "keeps nothing on disk" in answer.reason


def test_a_dead_server_may_be_restarted_when_its_peers_say_so(redis_cluster: RedisCluster) -> None:
    """A redrive after repair finds the server down: to start it is the point."""
    node = redis_cluster.node("redis-5")
    node.stop()
    harness = task(redis_cluster, node)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_slots_on_the_move_are_waited_for(redis_cluster: RedisCluster) -> None:
    source, target = redis_cluster.node("redis-0"), redis_cluster.node("redis-1")
    target.call("CLUSTER", "SETSLOT", 0, "IMPORTING", source.id)
    source.call("CLUSTER", "SETSLOT", 0, "MIGRATING", target.id)
    answer = task(redis_cluster, redis_cluster.node("redis-5")).pre_check()
    assert answer == Wait("slots are being migrated", of="cluster")


def test_an_action_that_failed_before_the_restart_is_known_not_to_have_happened(redis_cluster: RedisCluster) -> None:
    harness = task(redis_cluster, redis_cluster.node("redis-3"))
    assert harness.recover() is Recovered.NOT_DONE
    harness.saved.update(run_id="x", asked=False)
    assert harness.recover() is Recovered.NOT_DONE


def test_a_restart_that_was_asked_for_and_has_not_come_is_not_known(
    redis_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same start, after the service manager was asked: it may still be on its way."""
    monkeypatch.setattr("runners.redis.restart.RECOVER_WITHIN_S", 0.2)
    node = redis_cluster.node("redis-3")
    harness = task(redis_cluster, node)
    harness.saved.update(run_id=node.info("server")["run_id"], asked=True)
    assert harness.recover() is Recovered.UNKNOWN
    node.restart()
    assert harness.recover() is Recovered.DONE
