"""The Redis cluster and the witness that acceptance tests stand on: a witness that never cries out proves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.redis_cluster import RedisCluster, RedisNode
from tests.support.witness import SLOTS
from tests.support.witnessing import Verdict, WitnessProcess

ROOT = Path(__file__).parents[2]


def wait_for(what: str, condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(0.02)


def verdict_when(witness: WitnessProcess, what: str, seen: Callable[[Verdict], object]) -> Verdict:
    wait_for(f"the witness sees {what}", lambda: seen(witness.verdict()))
    return witness.verdict()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])


def pid_of(node: RedisNode) -> int:
    assert node.pid is not None
    return node.pid


@pytest.fixture
def freeze() -> Iterator[Callable[[int], None]]:
    """Stops a process as it stands (SIGSTOP); it goes on at the end of the test."""
    frozen: list[int] = []

    def stop(pid: int) -> None:
        frozen.append(pid)
        os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


class TestTheCluster:
    def test_it_has_three_masters_each_with_a_replica_in_another_zone(self, redis_cluster: RedisCluster) -> None:
        masters = redis_cluster.masters()
        assert [node.name for node in masters] == ["redis-0", "redis-1", "redis-2"]
        by_port = {str(node.port): node for node in redis_cluster.nodes}
        replicas = [node for node in redis_cluster.nodes if node not in masters]
        followed = {node: by_port[node.info("replication")["master_port"]] for node in replicas}
        assert set(followed.values()) == set(masters)
        assert all(replica.zone != master.zone for replica, master in followed.items())

    def test_the_restart_command_comes_back_when_the_node_answers_and_its_data_is_there(
        self, redis_cluster: RedisCluster
    ) -> None:
        node = redis_cluster.node("redis-2")
        before = pid_of(node)
        assert node.call("SET", "foo", "kept") == "OK"
        done = subprocess.run(node.restart_command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert node.call("PING") == "PONG"
        assert pid_of(node) != before
        redis_cluster.wait_until_well()
        assert node.call("GET", "foo") == "kept"

    def test_a_restarted_server_is_no_descendant_of_whoever_asked(self, redis_cluster: RedisCluster) -> None:
        node = redis_cluster.node("redis-4")
        supervisor = parent_of(pid_of(node))
        asker = subprocess.Popen(node.restart_command, stdout=subprocess.DEVNULL, start_new_session=True)
        with asker:
            assert asker.wait(20) == 0
        assert parent_of(pid_of(node)) == supervisor
        assert os.getsid(pid_of(node)) != asker.pid

    def test_whoever_asked_may_die_and_the_restart_goes_on(self, redis_cluster: RedisCluster) -> None:
        """As with systemd: the asker's death takes back nothing."""
        node = redis_cluster.node("redis-3")
        before = pid_of(node)
        os.kill(before, signal.SIGSTOP)  # so that the stop takes long enough to kill the asker within it
        with subprocess.Popen(node.restart_command, stdout=subprocess.DEVNULL) as asker:
            wait_for("the stop is written", lambda: '"down"' in redis_cluster.events.read_text())
            asker.kill()
        os.kill(before, signal.SIGCONT)
        wait_for("the node is up again", lambda: node.pid not in (None, before))
        redis_cluster.wait_until_well()

    def test_a_broken_node_does_not_come_back_until_it_is_repaired(self, redis_cluster: RedisCluster) -> None:
        node = redis_cluster.node("redis-5")
        node.break_next_start()
        for _ in range(2):
            done = subprocess.run(node.restart_command, check=False, capture_output=True, text=True)
            assert done.returncode == 1
            assert "redis-5 exited with 1" in done.stdout
            assert node.pid is None
        node.repair()
        assert node.pid is None, "repair starts nothing"
        node.restart()
        redis_cluster.wait_until_well()

    def test_an_isolated_node_looks_well_to_itself_and_failed_to_its_peers(self, redis_cluster: RedisCluster) -> None:
        node = redis_cluster.node("redis-4")
        node.isolate_next_start()
        node.restart()
        peers = {peer.name for peer in redis_cluster.nodes} - {node.name}
        wait_for("every peer marks it failed", lambda: redis_cluster.seen_failed(node) == peers)
        assert node.call("PING") == "PONG"
        assert node.info("cluster_info")["cluster_state"] == "ok"
        assert node.info("replication")["master_link_status"] == "up"
        node.stop()
        node.repair()
        node.start()
        redis_cluster.wait_until_well()

    def test_a_killed_server_stays_down_until_somebody_asks(self, redis_cluster: RedisCluster) -> None:
        node = redis_cluster.node("redis-3")
        os.kill(pid_of(node), signal.SIGKILL)
        wait_for("its death is written", lambda: '"down"' in redis_cluster.events.read_text())
        assert node.pid is None
        node.start()
        redis_cluster.wait_until_well()

    def test_nothing_is_left_when_the_test_process_is_killed(self) -> None:
        script = (
            "from tests.support.redis_cluster import forming_cluster\n"
            "from tests.support.witnessing import watching\n"
            "with forming_cluster() as cluster, watching(cluster) as witness:\n"
            "    print(witness._process.pid, *(node.pid for node in cluster.nodes), cluster.events, flush=True)\n"
            "    input()\n"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as test_process:
            assert test_process.stdout is not None
            *words, events = test_process.stdout.readline().split()
            pids = [int(word) for word in words]
            pids += [parent_of(pid) for pid in pids[1:]]
            assert len(pids) == 13
            assert all(map(alive, pids))
            test_process.kill()
        wait_for("witness, servers and supervisors are gone", lambda: not any(map(alive, pids)))
        for leftover in sorted(Path(events).parent.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        Path(events).parent.rmdir()

    def test_a_killed_supervisor_takes_its_server_with_it(self, redis_cluster: RedisCluster) -> None:
        server = pid_of(redis_cluster.node("redis-5"))
        os.kill(parent_of(server), signal.SIGKILL)
        wait_for("the server is gone", lambda: not alive(server))


class TestTheWitness:
    def test_it_has_nothing_to_say_of_a_cluster_that_is_well(
        self, redis_cluster: RedisCluster, witness: WitnessProcess
    ) -> None:
        verdict = verdict_when(witness, "many writes", lambda v: v.writes_total > 1000)
        assert verdict.most_down == 0
        assert verdict.writes_failed == 0
        assert set(verdict.restarts_by_lines.values()) == set(verdict.restarts_by_run_id.values()) == {0}

    def test_it_cries_out_when_three_are_down_at_once(
        self, redis_cluster: RedisCluster, witness: WitnessProcess
    ) -> None:
        ill = ["redis-3", "redis-4", "redis-5"]
        for name in ill:
            redis_cluster.node(name).stop()
        verdict = verdict_when(witness, "three down", lambda v: len(v.down_now) == 3)
        assert (verdict.most_down_by_probe, verdict.nodes_down_by_probe) == (3, ill)
        assert (verdict.most_down_by_lines, verdict.nodes_down_by_lines) == (3, ill)
        for name in ill:
            redis_cluster.node(name).start()
        redis_cluster.wait_until_well()
        verdict = verdict_when(witness, "all up", lambda v: not v.down_now)
        assert verdict.most_down_by_probe == verdict.most_down_by_lines == 3, "what was seen once is not forgotten"

    def test_one_by_one_is_one(self, redis_cluster: RedisCluster, witness: WitnessProcess) -> None:
        for node in redis_cluster.nodes:
            node.restart()
            redis_cluster.wait_until_well()
            verdict_when(witness, "all up", lambda v: not v.down_now)
        verdict = verdict_when(witness, "every new server", lambda v: all(v.restarts_by_run_id.values()))
        once = {node.name: 1 for node in redis_cluster.nodes}
        assert verdict.most_down == 1
        assert verdict.restarts_by_lines == once
        assert verdict.restarts_by_run_id == once

    def test_a_node_that_is_restarted_twice_is_counted_twice(
        self, redis_cluster: RedisCluster, witness: WitnessProcess
    ) -> None:
        node = redis_cluster.node("redis-5")
        node.restart()
        verdict_when(witness, "a new server", lambda v: v.restarts_by_run_id["redis-5"] == 1)
        node.restart()
        verdict_when(witness, "another one", lambda v: v.restarts_by_run_id["redis-5"] == 2)
        verdict = witness.verdict()
        assert verdict.restarts_by_lines["redis-5"] == 2
        assert sum(verdict.restarts_by_lines.values()) == sum(verdict.restarts_by_run_id.values()) == 2

    def test_it_sees_a_frozen_server_that_nobody_stopped(
        self, redis_cluster: RedisCluster, witness: WitnessProcess, freeze: Callable[[int], None]
    ) -> None:
        """No supervisor writes a line about that: the probes are worth having."""
        freeze(pid_of(redis_cluster.node("redis-4")))
        verdict = verdict_when(witness, "one down", lambda v: v.down_now == ["redis-4"])
        assert (verdict.most_down_by_probe, verdict.most_down_by_lines) == (1, 0)

    def test_a_killed_server_is_down_by_the_lines_too(
        self, redis_cluster: RedisCluster, witness: WitnessProcess
    ) -> None:
        os.kill(pid_of(redis_cluster.node("redis-3")), signal.SIGKILL)
        verdict = verdict_when(witness, "one down", lambda v: v.down_now and v.most_down_by_lines)
        assert verdict.nodes_down_by_probe == verdict.nodes_down_by_lines == ["redis-3"]

    def test_it_measures_how_long_a_slot_could_not_be_written(
        self, redis_cluster: RedisCluster, witness: WitnessProcess
    ) -> None:
        """A master goes; its replica follows it after the node timeout; only its third of the slots had a gap."""
        redis_cluster.node("redis-0").stop()
        wait_for("redis-3 is a master", lambda: redis_cluster.node("redis-3") in redis_cluster.masters())
        verdict = verdict_when(witness, "failed writes", lambda v: v.writes_failed)
        assert verdict.longest_write_gap_s > 1.0
        assert verdict.longest_write_gap_slot < SLOTS // 3 + 1
        healed = verdict_when(witness, "no new failure", lambda v: v.until - v.failed_writes[-1][0] > 1.0)
        assert healed.writes_total > verdict.writes_total
        assert healed.longest_write_gap_s > 1.0, "a gap that is over is not forgotten"
        assert healed.most_down == 1
