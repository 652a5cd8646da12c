"""`kafka_task` against recorded answers of Kafka's admin tools: every state, every crash, and what it does."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from runners.kafka import restart as restart_module
from runners.kafka.answers import (
    NotUnderstood,
    parse_brokers,
    parse_quorum,
    parse_reassignments,
    parse_settings,
    parse_topics,
)
from runners.kafka.config_reload import NotTaken
from runners.kafka.preferred_leader_election import NotElected
from runners.kafka.restart import NotReady
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.errors import ActionArgsInvalid
from tests.recorded.kafka import ME, RecordedKafka
from tests.recorded.kafka_states import ACCEPTED, LINES, RESTART_COMMAND, decide, recorded
from tests.recorded.killing import Killed, Killing
from tests.recorded.table import Line

THREADS = {"set": {"log.cleaner.threads": "4"}}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves."""
    now = [1000.0]
    ticks = itertools.count(1_800_000_000.0, 6.0)
    monkeypatch.setattr("time.time", lambda: next(ticks))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


@pytest.fixture
def cluster() -> RecordedKafka:
    return RecordedKafka()


def settled(harness: Killing[Any]) -> Check:
    """What post_check says in the end."""
    answers = [harness.post_check() for _ in range(4)]
    return answers[-1]


def changed(harness: Killing[Any]) -> list[tuple[str, ...]]:
    """The commands that changed something."""
    return [words for words in harness.commands if harness._changes(words)]


# --- states ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_in_each_state_it_says_what_a_careful_operator_would(line: Line[RecordedKafka]) -> None:
    answer = decide(line)
    assert isinstance(answer, line.decision), answer
    assert line.because in getattr(answer, "reason", "")


@pytest.mark.parametrize("version", [3, 4])
def test_no_answer_that_lost_its_end_is_read_as_whole(cluster: RecordedKafka, version: int) -> None:
    """However many of its last lines are missing; only whole topics are the list of topics' business."""
    cluster.version = version
    topics = cluster.topics().splitlines(keepends=True)
    ends_with_a_topic = topics.index(next(line for line in topics if line.startswith("Topic: orders")))
    for kept in range(len(topics)):
        if kept != ends_with_a_topic:
            with pytest.raises(NotUnderstood):
                parse_topics("".join(topics[:kept]))
    brokers = cluster.api_versions().splitlines(keepends=True)
    for kept in range(len(brokers)):
        if kept == 0 or brokers[kept - 1] != ")\n":
            with pytest.raises(NotUnderstood):
                parse_brokers("".join(brokers[:kept]))
    replication = cluster.replication().splitlines(keepends=True)
    for kept in range(4):
        with pytest.raises(NotUnderstood):
            parse_quorum(cluster.status(), "".join(replication[:kept]))


def kinds() -> dict[str, tuple[Any, str]]:
    """Each kind of answer, and who reads it."""
    cluster = RecordedKafka()
    cluster.parts[0].adding = [4]
    cluster.mute = {3}
    cluster.settings["num.io.threads"] = ("16", "8", False)
    return {
        "broker-api-versions": (parse_brokers, cluster.api_versions()),
        "topics": (parse_topics, cluster.topics()),
        "reassign-partitions": (parse_reassignments, cluster.reassignments()),
        "status": (lambda text: parse_quorum(text, cluster.replication()), cluster.status()),
        "replication": (lambda text: parse_quorum(cluster.status(), text), cluster.replication()),
        "configs": (lambda text: parse_settings(text, ME), cluster.describe_settings()),
    }


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("junk", ["WARN something is slow", "\x1b[31mException in thread main", "OpenJDK: ???"])
def test_a_line_that_is_not_known_is_not_passed_over_wherever_it_stands(kind: str, junk: str) -> None:
    parse, text = kinds()[kind]
    assert parse(text)
    lines = text.splitlines(keepends=True)
    for place in range(len(lines) + 1):
        with pytest.raises(NotUnderstood) as raised:
            parse("".join([*lines[:place], junk + "\n", *lines[place:]]))
        assert "\x1b" not in str(raised.value)


def twice(text: str, mark: str) -> str:
    """The line that has `mark`, twice."""
    return "".join(line * (2 if mark in line else 1) for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("broker-api-versions", lambda text: twice(text, "(id: 3 ")),
        ("broker-api-versions", lambda text: text.replace("(\n\tProduce", "(\n(id", 1)),
        ("topics", lambda text: twice(text, "Topic: logs\tPartition: 2")),
        ("topics", lambda text: text.replace("Partition: 2", "Partition: 1")),
        ("topics", lambda text: text.replace("\tTopic: logs\tPartition: 0", "\tTopic: orders\tPartition: 9")),
        ("topics", lambda text: text.replace("Replicas: 1,2,3", "Replicas: ", 1)),
        ("topics", lambda text: text.replace("PartitionCount: 3", "PartitionCount: 2")),
        ("topics", lambda text: text.replace("PartitionCount: 3", "PartitionCount: 4")),
        ("topics", lambda text: text.replace("Leader: ", "Leader: -", 1).replace("Leader: -", "Leader: a", 1)),
        ("reassign-partitions", lambda text: text.splitlines(keepends=True)[0]),
        ("status", lambda text: text.replace("LeaderId:               102", "LeaderId:               101")),
        ("status", lambda text: text.replace('{"id": 103', '{"id": 104')),
        ("status", lambda text: twice(text, "LeaderEpoch")),
        ("status", lambda text: text.replace("HighWatermark", "LowWatermark")),
        ("replication", lambda text: text.replace("Follower", "Leader  ", 1)),
        ("replication", lambda text: twice(text, "103   ")),
        ("replication", lambda text: text.replace("Follower", "Observer", 1)),
        ("replication", lambda text: text.replace("\t0  \t", "\t?  \t", 1)),
        ("configs", lambda text: text.splitlines(keepends=True)[0]),
        ("configs", lambda text: text.replace("sensitive=false", "sensitive=perhaps", 1)),
    ],
)
def test_an_answer_that_contradicts_itself_is_no_answer(kind: str, change: Any) -> None:
    parse, text = kinds()[kind]
    changed_text = change(text)
    assert changed_text != text
    with pytest.raises(NotUnderstood):
        parse(changed_text)


def test_an_answer_that_breaks_off_within_a_line_is_no_answer(cluster: RecordedKafka) -> None:
    for tool in ("kafka-broker-api-versions", "kafka-topics", "kafka-reassign-partitions", "kafka-metadata-quorum"):
        cluster.says[tool] = lambda text: text.rstrip("\n")[:-3]
        answer = recorded("restart", cluster).pre_check()
        assert isinstance(answer, Refuse)
        assert f"{tool} says is not understood (it ends within a line" in answer.reason
        del cluster.says[tool]


def test_a_dynamic_value_is_told_from_the_files_and_the_defaults() -> None:
    text = (
        "All configs for broker 1 are:\n"
        "  a.b=x, y sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:a.b=x, y, STATIC_BROKER_CONFIG:a.b=z}\n"
        "  c= sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:c=}\n"
        "  d=1 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:d=1, DEFAULT_CONFIG:d=2}\n"
        "  e=null sensitive=true synonyms={}\n"
    )
    found = parse_settings(text, 1)
    assert {name: one.dynamic for name, one in found.items()} == {"a.b": "x, y", "c": "", "d": None, "e": None}
    assert found["e"].sensitive


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"node_id": -1}, "node_id"),
        ({"bootstrap": []}, "bootstrap"),
        ({"bootstrap": ["kafka-2.example"]}, "is not host:port"),
        ({"peer_started": ["ssh", "x"]}, "peer_started has no {host}"),
        ({"nodeid": 1}, "nodeid: unknown key"),
        ({"restart": ["/nonexistent/systemctl"]}, "/nonexistent/systemctl is not on this machine"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anything_is_asked(
    cluster: RecordedKafka, settings: dict[str, Any], said: str
) -> None:
    harness = recorded("restart", cluster, settings=settings)
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert said in answer.reason
    assert harness.commands == []


def test_tools_that_are_not_there_are_named(cluster: RecordedKafka) -> None:
    harness = recorded("restart", cluster)
    answered = harness._answer

    def missing(words: tuple[str, ...]) -> tuple[int | None, str]:
        if words[0].startswith("/opt/kafka"):
            return None, f"cannot be started: No such file or directory: {words[0]}"
        return answered(words)

    harness._answer = missing
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "/opt/kafka/bin/kafka-metadata-quorum.sh cannot be started" in answer.reason
    assert "correct tools and suffix" in answer.reason


# --- restart ---------------------------------------------------------------------------------------------


def test_it_is_restarted_by_the_service_manager_and_well_when_it_is_in_step(cluster: RecordedKafka) -> None:
    harness = recorded("restart", cluster)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert changed(harness) == [RESTART_COMMAND]
    assert settled(harness) == Go()
    assert harness.recover() is Recovered.DONE


def test_it_looks_once_more_before_it_acts(cluster: RecordedKafka) -> None:
    harness = recorded("restart", cluster)
    assert harness.pre_check() == Go()
    cluster.drop(3)
    with pytest.raises(NotReady, match="not registered: broker 3"):
        harness.execute_action()
    assert changed(harness) == []
    assert harness.recover() is Recovered.NOT_DONE


def test_the_start_before_is_not_called_well(cluster: RecordedKafka) -> None:
    cluster.restart = lambda: None  # type: ignore[method-assign]
    harness = recorded("restart", cluster)
    harness.execute_action()
    assert harness.post_check() == Wait("the server does not run as a new start yet")
    assert harness.recover() is Recovered.UNKNOWN


def test_a_restart_that_is_refused_leaves_nobody_waiting_for_a_new_start(cluster: RecordedKafka) -> None:
    harness = recorded("restart", cluster)
    answered = harness._answer
    harness._answer = lambda words: (1, "Access denied\n") if words == RESTART_COMMAND else answered(words)
    with pytest.raises(CommandFailed, match="Access denied"):
        harness.execute_action()
    assert settled(harness) == Go(), "it runs as before"
    assert harness.recover() is Recovered.NOT_DONE


def test_a_service_that_does_not_run_is_no_new_start(cluster: RecordedKafka) -> None:
    """systemd says MainPID=0 between the stop and the start."""
    cluster.restart = lambda: setattr(cluster, "running", False)  # type: ignore[method-assign]
    harness = recorded("restart", cluster)
    harness.execute_action()
    assert harness.recover() is Recovered.UNKNOWN
    assert isinstance(harness.post_check(), Wait)


def test_after_a_reboot_the_same_mark_is_another_start(cluster: RecordedKafka) -> None:
    """The mark counts from the boot."""
    cluster.restart = lambda: None  # type: ignore[method-assign]
    harness = recorded("restart", cluster)
    harness.execute_action()
    harness.boot_id = "boot-2"
    assert harness.recover() is Recovered.DONE


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_a_restart_is_killed_it_says_truthfully_what_happened(
    cluster: RecordedKafka, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart_module, "RECOVER_WITHIN_S", 0.0)
    harness = recorded("restart", cluster)
    harness.kill_at = (1, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    harness.abort()
    assert harness.recover() is (Recovered.DONE if cluster.start == 2 else Recovered.UNKNOWN)
    assert isinstance(settled(harness), Go if cluster.start == 2 else Wait)


def test_before_it_was_asked_for_nothing_happened(cluster: RecordedKafka) -> None:
    harness = recorded("restart", cluster)
    save = harness.runner().ctx.save
    save(started="MainPID=1", boot="boot-1", asked=False)
    assert harness.recover() is Recovered.NOT_DONE


@pytest.mark.parametrize(("after_s", "goes"), [(0, False), (1199, False), (1200, True)])
def test_the_controllers_courtesy_ends(after_s: int, goes: bool) -> None:
    """600 seconds for each of the two others, since the task was accepted; not since it was first asked."""
    line = next(one for one in LINES if one.state == "this node is the active controller, and the others have not gone")
    assert isinstance(decide(line, now=ACCEPTED + timedelta(seconds=after_s)), Go) == goes


def test_a_controller_alone_in_its_task_waits_for_nobody(cluster: RecordedKafka) -> None:
    cluster.__init__(combined=True)  # type: ignore[misc]
    cluster.controller = ME
    harness = recorded(
        "restart",
        cluster,
        settings={"role": "combined"},
        nodes=("node-1",),
        accepted_at="2999-01-01T00:00:00Z",
    )
    assert harness.pre_check() == Go()


def test_security_is_passed_to_each_tool_under_the_name_that_it_knows(cluster: RecordedKafka) -> None:
    for one in [one for one in cluster.parts if one.replicas[0] == ME]:
        one.leader = one.replicas[1]
    harness = recorded("preferred_leader_election", cluster, settings={"command_config": "/etc/kafka/admin"})
    harness.execute_action()
    for words in harness.commands:
        option = "--admin.config" if "leader-election" in words[0] else "--command-config"
        assert words[words.index(option) + 1] == "/etc/kafka/admin", words
        assert words.index(option) < 5, "before a subcommand"


# --- settings --------------------------------------------------------------------------------------------


def test_settings_are_set_and_removed_in_one_request_and_seen(cluster: RecordedKafka) -> None:
    cluster.settings["num.io.threads"] = ("16", "8", False)
    args = {**THREADS, "remove": ["num.io.threads"]}
    harness = recorded("config_reload", cluster, args=args)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert len(changed(harness)) == 1
    assert cluster.settings["log.cleaner.threads"][0] == "4"
    assert cluster.settings["num.io.threads"][0] is None
    assert settled(harness) == Go()
    assert harness.recover() is Recovered.DONE
    assert isinstance(harness.pre_check(), Skip), "doing it twice does nothing"


def test_a_value_with_commas_is_one_value(cluster: RecordedKafka) -> None:
    harness = recorded("config_reload", cluster, args={"set": {"num.io.threads": "a,b"}})
    harness.execute_action()
    assert cluster.settings["num.io.threads"][0] == "a,b"
    assert settled(harness) == Go()


def test_what_needs_a_restart_is_refused_by_name_and_nothing_has_changed(cluster: RecordedKafka) -> None:
    args = {"set": {"log.cleaner.threads": "4", "log.dirs": "/data"}}
    harness = recorded("config_reload", cluster, args=args)
    with pytest.raises(NotTaken, match=r"Cannot update these configs dynamically: Set\(log\.dirs\).*restart"):
        harness.execute_action()
    assert cluster.settings["log.cleaner.threads"][0] is None
    assert harness.recover() is Recovered.NOT_DONE
    assert settled(harness) == Go(), "the broker is as it was"


def test_what_was_confirmed_and_is_not_so_is_not_well(cluster: RecordedKafka) -> None:
    cluster.loses_settings = True
    harness = recorded("config_reload", cluster, args=THREADS)
    harness.execute_action()
    assert settled(harness) == Wait("not as it was set: log.cleaner.threads is None, not 4")


def test_what_the_tool_does_not_confirm_has_failed(cluster: RecordedKafka) -> None:
    harness = recorded("config_reload", cluster, args=THREADS)
    answered = harness._answer
    harness._answer = lambda words: (0, "\n") if "--alter" in words else answered(words)
    with pytest.raises(NotTaken, match="did not confirm"):
        harness.execute_action()


@pytest.mark.parametrize(("when", "said"), [("before", Recovered.NOT_DONE), ("after", Recovered.DONE)])
def test_wherever_a_change_is_killed_the_values_say_what_happened(
    cluster: RecordedKafka, when: str, said: Recovered
) -> None:
    harness = recorded("config_reload", cluster, args=THREADS)
    harness.kill_at = (1, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    assert harness.recover() is said


def test_a_value_that_somebody_else_set_meanwhile_is_not_ours(cluster: RecordedKafka) -> None:
    harness = recorded("config_reload", cluster, args=THREADS)
    harness.kill_at = (1, "before")
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    cluster.settings["log.cleaner.threads"] = ("7", "1", False)
    assert harness.recover() is Recovered.UNKNOWN


@pytest.mark.parametrize(
    "args",
    [{}, {"set": {"a": "[b]"}}, {"set": {"a": "b\nc"}}, {"set": {"a,b": "c"}}, {"set": {"a": "b"}, "remove": ["a"]}],
)
def test_arguments_that_cannot_be_said_are_refused(cluster: RecordedKafka, args: dict[str, Any]) -> None:
    with pytest.raises(ActionArgsInvalid):
        recorded("config_reload", cluster, args=args).runner()


# --- elections -------------------------------------------------------------------------------------------


@pytest.fixture
def lost(cluster: RecordedKafka) -> RecordedKafka:
    """Others lead what this broker should; and another broker has lost one too."""
    for one in [one for one in cluster.parts if one.replicas[0] == ME]:
        one.leader = one.replicas[1]
    cluster.parts[0].leader = cluster.parts[0].replicas[2]
    other = next(one for one in cluster.parts if one.replicas[0] == 2)
    other.leader = other.replicas[1]
    return cluster


def test_this_broker_is_given_back_what_it_should_lead_and_no_other_is(lost: RecordedKafka) -> None:
    harness = recorded("preferred_leader_election", lost)
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert sorted(lost.elected) == [("logs", 0), ("orders", 0), ("orders", 3)]
    assert settled(harness) == Go()
    assert harness.recover() is Recovered.DONE
    assert isinstance(harness.pre_check(), Skip)


@pytest.mark.parametrize(("when", "said"), [("before", Recovered.NOT_DONE), ("after", Recovered.DONE)])
def test_wherever_an_election_is_killed_the_leaders_say_what_happened(
    lost: RecordedKafka, when: str, said: Recovered
) -> None:
    harness = recorded("preferred_leader_election", lost)
    harness.kill_at = (1, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    assert harness.recover() is said


def test_leaders_are_not_moved_when_a_replica_fell_behind_meanwhile(lost: RecordedKafka) -> None:
    harness = recorded("preferred_leader_election", lost)
    assert harness.pre_check() == Go()
    lost.parts[5].isr = lost.parts[5].isr[:2]
    with pytest.raises(NotElected, match="under-replicated"):
        harness.execute_action()
    assert lost.elected == []


def test_an_election_that_fails_fails_the_action(lost: RecordedKafka) -> None:
    lost.says["kafka-leader-election"] = (1, "Error completing leader election (PREFERRED) for partition: orders-0\n")
    with pytest.raises(CommandFailed, match="Error completing leader election"):
        recorded("preferred_leader_election", lost).execute_action()
