"""What real daemons tell: one id leads through every log, metrics can be read, and a loop that hangs is ended."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskerman.watchdog import EXIT_CODE
from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse
from tests.support.daemons import Daemon

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

ANYWHERE = {"TASKERMAN_METRICS_ADDRESS": "127.0.0.1:0"}


def metrics_of(house: ScriptedHouse, daemon: Daemon) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample that the daemon serves, by name and labels."""
    (served,) = house.installation.until(lambda: daemon.events("metrics_served"), f"{daemon.name} serves metrics")
    with urllib.request.urlopen(f"http://{served['address']}/metrics", timeout=20) as answer:
        return samples(answer.read().decode())


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return found[f"taskerman_{name}", tuple(sorted(labels.items()))]


def test_a_task_can_be_followed_by_its_id_through_router_agent_and_child(scripted_house: OpenScriptedHouse) -> None:
    house = scripted_house(1)
    (node,) = house.nodes
    house.start()
    task = house.send(house.document("followed"))
    house.wait(task, {node: "succeeded"})
    router, agent = (daemon for daemon in house.installation.daemons)
    settled = house.installation.until(lambda: agent.events("assignment_settled"), "it is settled")

    routed = [line for line in router.events() if line.get("task") == task]
    assert [line["event"] for line in routed] == ["cluster_discovered", "task_planned", "task_routed"]

    done = [line for line in agent.events() if line.get("task") == task]
    assert {line["node"] for line in done} == {node}
    names = [line["event"] for line in done]
    for first, then in (("attempt_taken", "pre_check_began"), ("pre_check_began", "attempt_ended")):
        assert names.index(first) < names.index(then), names
    assert settled[0]["outcome"] == "succeeded"
    (attempt,) = {line["attempt"] for line in done if "attempt" in line}
    phases = [line["phase"] for line in done if line["event"] == "phase_entered"]
    assert phases[0] == "pre_check"
    assert phases[-1] == "ended"
    assert all(line["phase"] for line in done if "attempt" in line)

    log = house.installation.folder / node / "state" / "attempts" / attempt / "output.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["task"], line["node"], line["attempt"]) for line in lines} == {(task, node, attempt)}
    assert [line["phase"] for line in lines if line["event"] in ("answers", "begins", "ends")] == [
        "pre_check",
        "execute_action",
        "execute_action",
        "post_check",
    ]


def test_every_daemon_that_stays_serves_what_it_did(scripted_house: OpenScriptedHouse) -> None:
    house = scripted_house(1)
    (node,) = house.nodes
    cluster = house.installation.cluster
    router = house.installation.start_router(**ANYWHERE)
    agent = house.start_agent(node, **ANYWHERE)
    janitor = house.installation.start_janitor(**ANYWHERE)
    house.behave(node, action="until")
    task = house.send(house.document("measured"))
    house.installation.until(lambda: house.did("begin"), "it acts")
    acting = metrics_of(house, agent)
    assert one(acting, "agent_assignments", standing="acting") == 1
    house.let_go(node)
    house.wait(task, {node: "succeeded"})
    house.installation.until(lambda: agent.events("assignment_settled"), "it is settled")

    found = metrics_of(house, agent)
    where = {"action": "scripted_task:restart", "cluster": cluster}
    assert one(found, "attempts_ended_total", **where, outcome="succeeded") == 1
    assert one(found, "attempt_phase_seconds_count", **where, phase="execute_action") == 1
    (began,) = agent.events("pre_check_began")  # who never waited for a place was handed none
    handed = [] if began["handover_s"] is None else [1]
    count = found.get(("taskerman_handover_seconds_count", (("cluster", cluster),)))
    assert ([] if count is None else [count]) == handed
    assert one(found, "zookeeper_requests_total", kind="write") >= 3
    assert one(found, "aws_requests_total", operation="ReceiveMessage") >= 1
    assert one(found, "last_success_timestamp_seconds", role="agent") > 1.6e9
    assert one(found, "loop_lag_seconds", role="agent") < 20
    assert found["process_resident_memory_bytes", ()] > 1e6
    shown = {value for (name, labels) in found for label, value in labels if name.startswith("taskerman_")}
    assert not shown & {node, task}

    found = metrics_of(house, router)
    assert one(found, "tasks_planned_total", **where) == 1
    assert one(found, "cluster_discovered_nodes", cluster=cluster) == 1
    assert one(found, "aws_requests_total", operation="DescribeInstances") == 1

    counted = house.installation.until(lambda: janitor.events("installation_counted"), "the janitor counts")
    assert counted[0]["level"] == "debug"
    found = metrics_of(house, janitor)
    assert one(found, "queue_messages", queue="tasks", transit="visible") >= 0
    assert one(found, "dead_letters_open", origin="assignment") == 0


def test_a_call_from_cron_leaves_its_metrics_in_a_file(scripted_house: OpenScriptedHouse, tmp_path: Path) -> None:
    house = scripted_house(1)
    (node,) = house.nodes
    router = house.installation.start_router()
    resident = house.start_agent(node)
    house.installation.until(lambda: resident.events("agent_started"), "it has written down who it is")
    resident.stop()
    task = house.send(house.document("from-cron"), begin=False)
    house.records.operator.unhold("new-installation", "it may begin")
    house.installation.until(lambda: router.events("task_routed"), "the doorbell rang")
    path = tmp_path / "taskerman.prom"
    done = house.installation.run(
        "agent",
        "--once",
        TASKERMAN_NODE_ID=node,
        TASKERMAN_CLUSTERS=house.installation.cluster,
        TASKERMAN_ACTIONS="scripted_task:*",
        TASKERMAN_STATE_DIR=str(house.installation.folder / node / "state"),
        TASKERMAN_SETTINGS_FILE=str(house.installation.folder / node / "taskerman.toml"),
        TASKERMAN_METRICS_FILE=str(path),
    )
    assert done.code == 0, done
    house.wait(task, {node: "succeeded"})
    found = samples(path.read_text())
    where = {"action": "scripted_task:restart", "cluster": house.installation.cluster}
    assert one(found, "attempts_ended_total", **where, outcome="succeeded") == 1


def test_an_agent_whose_loop_hangs_ends_itself_and_the_next_one_does_its_work(
    scripted_house: OpenScriptedHouse, tmp_path: Path
) -> None:
    """The runner's import hangs in the agent's own loop; its other threads go on."""
    house = scripted_house(1)
    (node,) = house.nodes
    house.installation.start_router()
    env = {"TASKERMAN_ACTIONS": "hanging_task:*", "TASKERMAN_WATCHDOG_S": "2", "TEST_HANG_ONCE": str(tmp_path / "hung")}
    runners = {"hanging_task": {"folder": str(house.folder)}}
    first = house.installation.start_agent(node, runners, **env)
    first.may_end = True
    task = house.send({**house.document("hung"), "action": "hanging_task:restart"}, begin=False)
    house.records.operator.unhold("new-installation", "it may begin")
    house.installation.until(lambda: first.exit_code is not None, "the agent ended itself")
    assert first.exit_code == EXIT_CODE
    (told,) = first.events("loop_hung")
    assert told["lag_s"] >= 1.9
    assert "hanging.py" in first.log()
    house.installation.start_agent(node, runners, **env)
    house.wait(task, {node: "succeeded"})
