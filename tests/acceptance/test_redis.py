"""A rolling restart of a real Redis cluster, end to end, as a person does it: and a witness that is not ours.

Redis, ZooKeeper, router, agents and attempts are processes; the document is a file; the verbs are those of the shell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import OpenRedisHouse
from tests.acceptance.redis_house import RedisHouse
from tests.support.redis_cluster import RedisNode
from tests.support.witnessing import Verdict, WitnessProcess

pytestmark = pytest.mark.timeout(300)

FAILOVER_GAP_S = 10.0
"""A slot cannot be written while its master hands over: milliseconds, and on a busy machine a second or two. Without
a handover it would be the node timeout (2 s) and an election on top, and for ever if both of a shard were down."""


def settled(house: RedisHouse, witness: WitnessProcess) -> Verdict:
    """The verdict when everything is up again and the witness has seen it."""
    house.redis.wait_until_well()
    house.installation.until(lambda: not witness.verdict().down_now, "the witness sees all of them up")
    return witness.verdict()


def test_every_node_is_restarted_once_two_at_a_time_and_the_cluster_goes_on_answering(
    redis_house: OpenRedisHouse, witness: WitnessProcess
) -> None:
    house = redis_house()
    house.start()
    task = house.submit(house.document())
    house.installation.until(lambda: len(house.records.ended(task)) == 6, "six ends", within_s=80)
    verdict = settled(house, witness)

    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    assert verdict.most_down <= 2, verdict
    once = {node.name: 1 for node in house.redis.nodes}
    assert verdict.restarts_by_lines == once
    assert verdict.restarts_by_run_id == once
    assert verdict.writes_total > 500
    assert verdict.longest_write_gap_s < FAILOVER_GAP_S, verdict
    print(f"the longest time in which one slot could not be written: {verdict.longest_write_gap_s:.2f} s")
    assert house.records.slots() == ()

    status = house.installation.must("status", task, "--json").json
    assert status["counts"] == {"succeeded": 6}
    assert house.installation.must("dlq", "list", "--json").out.strip() in ("", "[]")


def test_a_wrong_concurrency_makes_the_witness_cry_out(redis_house: OpenRedisHouse, witness: WitnessProcess) -> None:
    """Four at once, and the runner told to look at nobody: the witness sees what it would have to see."""
    house = redis_house()
    house.installation.start_router()
    for instance, node in house.nodes.items():
        house.start_agent(instance, restart=_restart_that_waits_for_company(node, house.installation.folder, 3))
    careless = house.document(
        lease_args={"concurrency": 4}, action_args={"force": True, "failover": False}, failure_args={"max_failures": 6}
    )
    house.submit(careless)
    house.installation.until(lambda: len(witness.verdict().nodes_down_by_probe) > 2, "more than two down", within_s=80)
    verdict = witness.verdict()
    assert verdict.most_down_by_probe > 2
    assert verdict.most_down_by_lines > 2
    assert verdict.most_down > 2, "what the test above forbids is what happened here"


def test_a_node_that_calls_itself_well_and_is_failed_to_its_peers_is_not_called_well(
    redis_house: OpenRedisHouse, witness: WitnessProcess
) -> None:
    house = redis_house()
    first = next(iter(house.nodes))
    ill = house.nodes[first]
    ill.isolate_next_start()
    house.start()
    short = {"soft_s": 60, "hard_s": 90, "settle_s": 8}
    task = house.submit(house.document(timeout_args=short, lease_args={"concurrency": 1}))
    house.installation.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=80)

    assert ill.call("PING") == "PONG"
    assert ill.info("cluster_info")["cluster_state"] == "ok"
    assert len(house.redis.seen_failed(ill)) == 5
    end = house.records.end(task, first)
    assert end["outcome"] == "unsafe"
    assert "its peers do not see the server well" in end["reason"]
    assert house.records.slots() == (f"{first}~1~unsafe",)
    verdict = witness.verdict()
    assert {name for name, count in verdict.restarts_by_lines.items() if count} == {ill.name}


def test_a_redis_that_does_not_come_back_stops_the_task_until_it_is_repaired_and_redriven(
    redis_house: OpenRedisHouse, witness: WitnessProcess
) -> None:
    """Stopped by itself, slot kept, dead letter readable, explain true, redrive succeeds, the task goes to its end."""
    house = redis_house()
    at = house.installation
    second = list(house.nodes)[1]
    broken = house.nodes[second]
    broken.break_next_start()
    house.start()
    short = {"soft_s": 60, "hard_s": 90, "settle_s": 3}
    task = house.submit(house.document(timeout_args=short, lease_args={"concurrency": 1}))
    at.until(lambda: house.records.state(task) == "halted", "it stops by itself", within_s=80)

    untouched = [instance for instance in house.nodes if instance not in house.records.ended(task)]
    verdict = witness.verdict()
    touched = {name for name, count in verdict.restarts_by_lines.items() if count} | {broken.name}
    assert touched == {house.nodes[instance].name for instance in house.nodes if instance not in untouched}
    assert verdict.most_down == 1
    assert house.records.slots() == (f"{second}~1~unsafe",)
    assert house.redis.node(broken.name).pid is None

    at.until(lambda: at.must("dlq", "list", "--json").json, "a dead letter")
    letter = at.must("dlq", "show", task, "--json").json["letter"]
    assert (letter["destnode"], letter["outcome"], letter["attempts"]) == (second, "unsafe", 1)
    assert "the server does not answer" in letter["reason"]
    assert f"{broken.name} exited with 1" in letter["tail"]
    assert letter["task"]["destnode"] == second
    assert letter["kept"] == [at.cluster]
    assert "the server does not answer" in at.must("dlq", "show", task).out

    explained = at.must("explain", task, "--json").json
    assert explained["state"] == "halted"
    assert [(slot["node"], slot["state"]) for slot in explained["slots"]] == [(second, "unsafe")]
    waiting = {one["node"]: one for one in explained["nodes"]}
    assert waiting[second]["outcome"] == "unsafe"
    for instance in untouched:
        assert waiting[instance]["reason"] is not None, "who may begin now would have begun"
    assert any("dlq redrive" in command for command in explained["next"])
    assert second in at.must("explain", task).out

    broken.repair()
    at.must("dlq", "redrive", task, second, "--why", "its configuration is repaired")
    at.until(lambda: len(house.records.ended(task)) == 6, "six ends", within_s=80)
    verdict = settled(house, witness)
    assert set(house.records.outcomes(task).values()) == {"succeeded"}
    assert house.records.slots() == ()
    assert verdict.most_down == 1
    assert verdict.restarts_by_run_id == {node.name: 1 for node in house.redis.nodes}


def test_the_talks_document_touches_exactly_two_nodes(redis_house: OpenRedisHouse, witness: WitnessProcess) -> None:
    """To the letter but for action and cluster; the two are the first by zone and id."""
    house = redis_house("redis:geo_counter")
    house.start()
    text = """{"action": "redis_task:restart", "version": 1.2, "limit": 2,
 "cluster_name": "redis:geo_counter", "discovery": "aws_tags", "owner": "gsi", "task_id": "abcd-ef123",
 "taskerman_params": {"action_args": {"force": true}, "workqueue_args": {"retry_count": 3}},
 "nodes": [], "destnode": ""}
"""
    file = house.installation.folder / "talk.json"
    file.write_text(text)
    house.installation.lift_first_hold()
    said = house.installation.must("submit", "--file", file, "--wait", "--timeout", "80", "--json")
    first_two = list(house.nodes)[:2]
    last = json.loads(said.out.splitlines()[-1])
    assert [node["node"] for node in last["nodes"]] == first_two
    assert house.records.outcomes("abcd-ef123") == dict.fromkeys(first_two, "succeeded")
    verdict = settled(house, witness)
    assert verdict.restarts_by_lines == {
        node.name: int(instance in first_two) for instance, node in house.nodes.items()
    }
    assert verdict.most_down == 1, "one at a time is the default"


def _restart_that_waits_for_company(node: RedisNode, folder: Path, company: int) -> list[str]:
    """A restart that stays down until `company` of them are, or for ten seconds: a slow machine hides no overlap."""
    script = (
        "import pathlib, subprocess, sys, time\n"
        "folder, name, company, *ask = sys.argv[1:]\n"
        "subprocess.run([*ask, 'stop'], check=True)\n"
        "place = pathlib.Path(folder, 'down'); place.mkdir(exist_ok=True); (place / name).touch()\n"
        "end = time.monotonic() + 10\n"
        "while len(list(place.iterdir())) < int(company) and time.monotonic() < end: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "subprocess.run([*ask, 'start'], check=True)\n"
    )
    *ask, _ = node.restart_command
    return [sys.executable, "-I", "-S", "-c", script, str(folder), node.name, str(company), *ask]
