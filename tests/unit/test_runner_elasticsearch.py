"""`elasticsearch_task`: acts only when a careful operator would, and leaves the allocation on, come what may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runners.elasticsearch.http import Client
from runners.elasticsearch.rollover import Rollover
from taskerman import CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait
from taskerman.errors import ActionArgsInvalid
from taskerman.runner import ActionInterrupted, CommandResult
from taskerman.testing import RunnerHarness, deaths
from tests.recorded.elasticsearch import ENABLE, RecordedElasticsearch
from tests.recorded.elasticsearch_states import LINES, Cluster, decide, harness
from tests.recorded.table import Line


@pytest.fixture
def cluster() -> Iterator[RecordedElasticsearch]:
    made = RecordedElasticsearch().up()
    yield made
    made.down()


def bouncing(cluster: RecordedElasticsearch, run: RunnerHarness[TaskRunner], seen: list[str]) -> None:
    """Its restart command is done by the recorded service manager; `seen`: the allocation meanwhile."""
    scripted = run._run

    def perform(argv: Any, check: bool) -> CommandResult:
        result = scripted(argv, check)
        if argv[0] == "systemctl" and argv[1] in ("restart", "start"):
            seen.append(cluster.allocation)
            version = next((words[1] for words in run.commands if words[0] == "install"), "")
            cluster.restart(cluster.nodes[0], version)
        return result

    run._run = perform  # type: ignore[method-assign]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_in_each_state_what_a_careful_operator_would_say(line: Line[Cluster]) -> None:
    answer = decide(line)
    assert isinstance(answer, line.decision), answer
    assert line.because in getattr(answer, "reason", "")


# --- a restart ---------------------------------------------------------------------------------------------


def steady(run: RunnerHarness[TaskRunner], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    clock = iter(range(1_000_000, 1_000_100))
    monkeypatch.setattr("taskerman.runner.steady.time.time", lambda: float(next(clock)))
    return [run.post_check() for _ in range(3)]


def test_the_allocation_is_off_while_the_node_is_down_and_on_afterwards(
    cluster: RecordedElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = harness(cluster, "restart")
    seen: list[str] = []
    bouncing(cluster, run, seen)
    assert run.pre_check() == Go()
    run.execute_action()
    assert seen == ["primaries"]
    assert cluster.allocation == "all"
    assert cluster.settings == {"persistent": {}, "transient": {}}
    asked = [place for _, place in cluster.asked]
    assert asked.index("/_flush") > asked.index("/_cluster/settings")
    assert run.recover() is Recovered.DONE
    assert steady(run, monkeypatch)[-1] == Go()


@pytest.mark.parametrize("exit_code", [1, None])
def test_a_restart_that_fails_leaves_the_allocation_on(cluster: RecordedElasticsearch, exit_code: int | None) -> None:
    run = harness(cluster, "restart")
    assert run.pre_check() == Go()
    run.answer("systemctl", exit=exit_code)
    with pytest.raises(CommandFailed):
        run.execute_action()
    assert cluster.allocation == "all"


def test_a_restart_that_is_stopped_leaves_the_allocation_on(cluster: RecordedElasticsearch) -> None:
    run = harness(cluster, "restart")
    assert run.pre_check() == Go()
    run.interrupt("systemctl")
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    assert cluster.allocation == "all"


class Killed(BaseException):
    """As SIGKILL: what would be done afterwards is not done."""


@pytest.mark.parametrize("at", ["PUT /_cluster/settings", "POST /_flush", "systemctl"])
@pytest.mark.parametrize("who", ["recover", "abort", "cluster_end"])
def test_whoever_comes_after_a_kill_turns_the_allocation_on(
    cluster: RecordedElasticsearch, at: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of the same attempt, or another node of the task."""
    run = harness(cluster, "restart")
    assert run.pre_check() == Go()
    kill_at(at, run, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("runners.elasticsearch.restart.Restarting._on", lambda self: None)
        with pytest.raises(Killed):
            run.execute_action()
    assert cluster.allocation == "primaries"
    monkeypatch.setattr("runners.elasticsearch.restart.RECOVER_WITHIN_S", 0.0)
    getattr(run.runner(who), who)()
    assert cluster.allocation == "all"


def kill_at(at: str, run: RunnerHarness[TaskRunner], monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after what was asked for there has been done."""

    method, _, place = at.partition(" ")
    ask, scripted = Client.ask, run._run
    armed = [True]

    def asking(self: Client, how: str, path: str, body: Any = None) -> Any:
        said = ask(self, how, path, body)
        if armed and (how, path) == (method, place):
            armed.clear()
            raise Killed
        return said

    def running(argv: Any, check: bool) -> CommandResult:
        result = scripted(argv, check)
        if armed and argv[0] == at:
            armed.clear()
            raise Killed
        return result

    monkeypatch.setattr(Client, "ask", asking)
    run._run = running  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("PUT /_cluster/settings", Recovered.NOT_DONE),
        ("POST /_flush", Recovered.NOT_DONE),
        ("systemctl", Recovered.UNKNOWN),
    ],
)
def test_what_a_kill_left_is_told_by_the_start_that_runs(
    cluster: RecordedElasticsearch, at: str, found: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart that was asked for may still come; when it came, it was done."""
    run = harness(cluster, "restart")
    assert run.pre_check() == Go()
    kill_at(at, run, monkeypatch)
    with pytest.raises(Killed):
        run.execute_action()
    monkeypatch.setattr("runners.elasticsearch.restart.RECOVER_WITHIN_S", 0.0)
    assert run.recover() is found
    if found is Recovered.UNKNOWN:
        assert run.post_check() == Wait("the server still runs as it was started before")
        cluster.restart(cluster.nodes[0])
        assert run.recover() is Recovered.DONE


def test_a_node_that_its_peers_do_not_count_is_not_well(cluster: RecordedElasticsearch) -> None:
    cluster.rejoins = False
    run = harness(cluster, "restart", args={"join_timeout_s": 0.2})
    bouncing(cluster, run, [])
    assert run.pre_check() == Go()
    with pytest.raises(Exception, match="its peers do not see it"):
        run.execute_action()
    assert cluster.allocation == "all"
    answer = run.post_check()
    assert isinstance(answer, Wait)
    assert "does not see this node" in answer.reason


@pytest.mark.parametrize(
    ("health", "why"),
    [
        ({"status": "red"}, "the cluster is red"),
        ({"initializing_shards": 2}, "2 shards are being built or moved"),
        ({"unassigned_shards": 1}, "1 shards have no place; before there were 0"),
    ],
)
def test_afterwards_no_more_may_be_missing_than_before(
    cluster: RecordedElasticsearch, health: dict[str, Any], why: str
) -> None:
    run = harness(cluster, "restart")
    bouncing(cluster, run, [])
    assert run.pre_check() == Go()
    run.execute_action()
    cluster.health.update(health)
    answer = run.post_check()
    assert isinstance(answer, Wait)
    assert why in answer.reason


def test_an_allocation_that_is_off_afterwards_is_not_well(cluster: RecordedElasticsearch) -> None:
    run = harness(cluster, "restart")
    bouncing(cluster, run, [])
    assert run.pre_check() == Go()
    run.execute_action()
    cluster.settings["persistent"][ENABLE] = "none"
    assert run.post_check() == Wait("the allocation of shards is 'none'")


def test_a_server_that_is_down_is_started_and_nothing_is_turned_off(cluster: RecordedElasticsearch) -> None:
    cluster.stop(cluster.nodes[0])
    run = harness(cluster, "restart")
    seen: list[str] = []
    bouncing(cluster, run, seen)
    assert run.pre_check() == Go()
    run.execute_action()
    assert seen == ["all"]


@pytest.mark.parametrize("operation", ["restart", pytest.param("upgrade", marks=pytest.mark.slow)])
def test_killed_at_any_point_it_leaves_the_allocation_on_and_tells_the_truth_about_the_start(operation: str) -> None:
    clusters: list[RecordedElasticsearch] = []

    def fresh() -> RunnerHarness[TaskRunner]:
        clusters.append(RecordedElasticsearch().up())
        run = harness(clusters[-1], operation)
        bouncing(clusters[-1], run, [])
        return run

    try:
        for death in deaths(fresh):
            cluster, saved = clusters[-1], death.harness.saved
            before = saved.get("started_ms", cluster.nodes[0].started_ms)
            played = death.resume()
            done = cluster.nodes[0].started_ms != before
            assert cluster.allocation == "all", death
            if done:
                assert (played.outcome, played.recovered) == ("succeeded", "done"), (death, played)
            elif saved.get("asked"):
                assert (played.outcome, played.recovered) == ("unsafe", "unknown"), (death, played)
            else:
                assert (played.outcome, played.recovered) == ("failed", "not_done"), (death, played)
    finally:
        for cluster in clusters:
            cluster.down()


# --- an upgrade --------------------------------------------------------------------------------------------


def test_an_upgrade_is_believed_by_the_version_that_a_peer_sees(
    cluster: RecordedElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = harness(cluster, "upgrade")
    bouncing(cluster, run, [])
    assert run.pre_check() == Go()
    run.execute_action()
    assert run.commands[1] == ("install", "8.16.0")
    assert run.recover() is Recovered.DONE
    assert steady(run, monkeypatch)[-1] == Go()


def test_an_upgrade_that_changed_nothing_is_for_a_person(
    cluster: RecordedElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = harness(cluster, "upgrade")
    bouncing(cluster, run, [])
    assert run.pre_check() == Go()
    run.execute_action()
    cluster.nodes[0].version = "8.15.3"
    assert run.recover() is Recovered.NOT_DONE
    answer = steady(run, monkeypatch)[-1]
    assert isinstance(answer, Refuse)
    assert "8.15.3" in answer.reason


# --- snapshots and rollovers -------------------------------------------------------------------------------


def test_one_snapshot_is_made_for_a_task_and_the_oldest_go(cluster: RecordedElasticsearch) -> None:
    for n in range(3):
        cluster.snapshots[f"taskerman-{n}"] = {
            "snapshot": f"taskerman-{n}", "state": "SUCCESS", "start_time_in_millis": n - 10
        }  # fmt: skip
    cluster.snapshots["by-hand"] = {"snapshot": "by-hand", "state": "SUCCESS", "start_time_in_millis": 0}
    run = harness(cluster, "snapshot", args={"keep": 2})
    assert run.pre_check() == Go()
    assert run.recover() is Recovered.NOT_DONE
    run.execute_action()
    assert set(cluster.snapshots) == {"taskerman-2", "by-hand", "taskerman-t-harness"}
    assert run.recover() is Recovered.DONE
    assert run.post_check() == Go()


def test_a_snapshot_that_is_not_whole_is_a_failure_and_stays(
    cluster: RecordedElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = harness(cluster, "snapshot")
    assert run.pre_check() == Go()
    states = iter(["IN_PROGRESS", "PARTIAL", "PARTIAL", "PARTIAL"])

    def found(self: Any) -> dict[str, Any]:
        return {"state": next(states), "failures": [{"index": "logs-1", "reason": "no such file"}]}

    monkeypatch.setattr("runners.elasticsearch.snapshot.LOOK_EVERY_S", 0)
    with monkeypatch.context() as patch:
        patch.setattr("runners.elasticsearch.snapshot.Snapshot._found", found)
        with pytest.raises(Exception, match="PARTIAL: logs-1: no such file"):
            run.execute_action()
    assert "taskerman-t-harness" in cluster.snapshots


def test_a_snapshot_that_goes_on_without_its_action_is_stopped(cluster: RecordedElasticsearch) -> None:
    run = harness(cluster, "snapshot")
    assert run.pre_check() == Go()
    run.saved["asked"] = True
    cluster.snapshots["taskerman-t-harness"] = {"snapshot": "taskerman-t-harness", "state": "IN_PROGRESS"}
    assert run.recover() is Recovered.UNKNOWN
    assert isinstance(run.post_check(), Wait)
    run.abort()
    assert cluster.snapshots == {}
    assert run.recover() is Recovered.NOT_DONE


def test_a_rollover_happens_once(cluster: RecordedElasticsearch) -> None:
    run = harness(cluster, "rollover")
    assert run.pre_check() == Go()
    assert run.recover() is Recovered.NOT_DONE
    run.execute_action()
    assert cluster.write_index == "logs-000002"
    assert run.recover() is Recovered.DONE
    run.execute_action()
    assert cluster.write_index == "logs-000002"
    assert run.post_check() == Go()


def test_a_rollover_without_a_condition_is_refused() -> None:

    with pytest.raises(ActionArgsInvalid, match="at least one condition"):
        RunnerHarness(Rollover, args={"alias": "logs"}).pre_check()


@pytest.mark.parametrize("operation", ["snapshot", "rollover"])
def test_killed_at_any_point_what_the_cluster_has_is_what_is_told(operation: str) -> None:
    clusters: list[RecordedElasticsearch] = []

    def fresh() -> RunnerHarness[TaskRunner]:
        clusters.append(RecordedElasticsearch().up())
        return harness(clusters[-1], operation)

    try:
        told = set()
        for death in deaths(fresh):
            cluster = clusters[-1]
            done = "taskerman-t-harness" in cluster.snapshots or cluster.write_index != "logs-000001"
            played = death.resume()
            wanted = ("succeeded", "done") if done else ("failed", "not_done")
            assert (played.outcome, played.recovered) == wanted, (death, played)
            told.add(wanted)
        assert len(told) == 2, "it was killed before as well as after"
    finally:
        for cluster in clusters:
            cluster.down()
