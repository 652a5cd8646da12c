"""Each state of a Kafka cluster in which a runner is asked, and what a careful operator would say: the data of
tests/unit/test_runner_kafka.py, and of docs/reference/states-kafka.md (`make docs`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from runners.kafka.config_reload import ConfigReload
from runners.kafka.preferred_leader_election import PreferredLeaderElection
from runners.kafka.restart import Restart
from taskerman import Check, Go, Refuse, Skip, TaskRunner, Wait
from tests.recorded.kafka import ME, NOW, UNREACHED, Part, RecordedKafka
from tests.recorded.killing import Answer, Killing
from tests.recorded.table import Line, markdown

__all__ = ["LINES", "RESTART_COMMAND", "decide", "page", "recorded"]

RESTART_COMMAND = ("/usr/bin/env", "restart-kafka")
STARTED = ("systemctl", "show", "--property=MainPID,ActiveEnterTimestampMonotonic", "kafka")
SETTINGS = {
    "node_id": ME,
    "bootstrap": ["kafka-2.example:9092", "kafka-3.example:9092"],
    "restart": list(RESTART_COMMAND),
}
RUNNERS: dict[str, type[TaskRunner]] = {
    "restart": Restart,
    "config_reload": ConfigReload,
    "preferred_leader_election": PreferredLeaderElection,
}
ACCEPTED = datetime.fromtimestamp(NOW / 1000, UTC)


def recorded(operation: str, cluster: RecordedKafka, **kept: Any) -> Killing[Any]:
    """The runner of an operation on this node of `cluster`."""

    def answer(words: tuple[str, ...]) -> Answer:
        if words == RESTART_COMMAND:
            cluster.restart()
            return 0, ""
        if words == STARTED:
            pid = 4000 + cluster.start if cluster.running else 0
            return 0, f"MainPID={pid}\nActiveEnterTimestampMonotonic={cluster.start}000000\n"
        if words[0] == "ssh":
            started = cluster.peer_starts.get(words[1])
            return (255, "ssh: no route to host\n") if started is None else (0, f"{started}\n")
        assert words[0].startswith("/opt/kafka/bin/"), words
        if any(hanging in words[0] for hanging in cluster.hangs):
            return None, "took longer than 60 s and was ended"
        return cluster.answer(words)

    def changes(words: tuple[str, ...]) -> bool:
        return words == RESTART_COMMAND or "--alter" in words or "--election-type" in words

    settings = {**SETTINGS, **kept.pop("settings", {})}
    harness = Killing(RUNNERS[operation], answer, changes, settings=settings, **kept)
    harness.world = cluster
    return harness


def decide(line: Line[RecordedKafka], *, now: datetime = ACCEPTED + timedelta(minutes=5)) -> Check:
    """What the runner answers in that state, five minutes after its task was accepted."""
    cluster = RecordedKafka()
    line.arrange(cluster)
    args = line.args or ({"set": {"log.cleaner.threads": "4"}} if line.operation == "config_reload" else {})
    settings = dict(line.settings)
    if cluster.zookeeper:
        settings["zookeeper"] = "zk:2181"
    if any(one < 10 for one in cluster.voters) and "role" not in settings:
        settings["role"] = "combined"
    saved: dict[str, Any] = {}
    if line.phase == "post_check":
        saved = {"asked": True, "confirmed": True, "before": {"log.cleaner.threads": None}, "started": "old"}
    harness = recorded(
        line.operation,
        cluster,
        args=args,
        settings=settings,
        cap=line.cap,
        saved=saved,
        accepted_at=ACCEPTED.isoformat(),
    )

    def believed(ctx: object, answer: Check, **kept: object) -> Check:
        return answer

    with (
        patch("runners.kafka.restart.steadily", believed),
        patch("runners.kafka.config_reload.steadily", believed),
        patch("runners.kafka.preferred_leader_election.steadily", believed),
        patch("runners.kafka.restart.datetime", wraps=datetime) as clock,
    ):
        clock.now.side_effect = lambda _: now
        return harness.post_check() if line.phase == "post_check" else harness.pre_check()


# --- ways to change a cluster that is well ---------------------------------------------------------------

Arrange = Callable[[RecordedKafka], None]


def be(**changes: object) -> Arrange:
    """The cluster is otherwise."""

    def arrange(cluster: RecordedKafka) -> None:
        for name, value in changes.items():
            setattr(cluster, name, value)

    return arrange


def part(place: int, **changes: object) -> Arrange:
    """A partition is otherwise: 0 to 5 are of orders, 6 to 8 of logs."""

    def arrange(cluster: RecordedKafka) -> None:
        for name, value in changes.items():
            setattr(cluster.parts[place], name, value)

    return arrange


def down(*nodes: int) -> Arrange:
    """Brokers are down."""

    def arrange(cluster: RecordedKafka) -> None:
        for node in nodes:
            cluster.drop(node)

    return arrange


def says(tool: str, text: str | tuple[int, str] | Callable[[str], str]) -> Arrange:
    """A tool answers otherwise."""
    return lambda cluster: cluster.says.update({tool: text})


def all_of(*changes: Arrange) -> Arrange:
    """Several."""

    def arrange(cluster: RecordedKafka) -> None:
        for change in changes:
            change(cluster)

    return arrange


def as_is(cluster: RecordedKafka) -> None:
    """All is well."""


def combined(cluster: RecordedKafka) -> None:
    """Three nodes that are both; 2 is the active controller."""
    cluster.__init__(combined=True)  # type: ignore[misc]


def leading(cluster: RecordedKafka) -> None:
    """The same, and this node is the active controller."""
    combined(cluster)
    cluster.controller = ME


def in_zookeeper_mode(cluster: RecordedKafka) -> None:
    cluster.zookeeper, cluster.version, cluster.controller = True, 3, 2


def lead_elsewhere(count: int) -> Arrange:
    """Others lead so many of the partitions that this broker should lead."""

    def arrange(cluster: RecordedKafka) -> None:
        mine = [one for one in cluster.parts if one.replicas[0] == ME]
        for one in mine[:count]:
            one.leader = one.replicas[1]

    return arrange


def before(text: str) -> Callable[[str], str]:
    return lambda answer: text + answer


def half(answer: str) -> str:
    return answer[: len(answer) // 2]


def without_last_line(answer: str) -> str:
    return "".join(answer.splitlines(keepends=True)[:-1])


def without_logs(answer: str) -> str:
    return "".join(line for line in answer.splitlines(keepends=True) if "Topic: logs" not in line)


JAVA = "Picked up JAVA_TOOL_OPTIONS: -Djava.net.preferIPv4Stack=true\n"
UNSUPPORTED = (
    1,
    "org.apache.kafka.common.errors.UnsupportedVersionException: The node does not support DESCRIBE_QUORUM\n",
)
REFUSED = (1, "Error while executing topic command : Not authorized to access topics: [Authorization failed.]\n"
              "org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized\n")  # fmt: skip
FOREIGN = "Thema: orders\tAnzahl: 6\n"
READ = (
    "kafka-broker-api-versions",
    "kafka-topics",
    "kafka-reassign-partitions",
    "kafka-metadata-quorum",
    "kafka-metadata-quorum --replication",
)

_UNREADABLE: list[tuple[str, str, Any]] = [
    *((f"a warning of Java stands before `{tool}`", tool, before(JAVA)) for tool in READ),
    *((f"nothing for `{tool}`", tool, "") for tool in READ),
    *((f"half of `{tool}`", tool, half) for tool in READ),
    ("`kafka-topics` without its last line", "kafka-topics", without_last_line),
    ("`kafka-broker-api-versions` without its last line", "kafka-broker-api-versions", without_last_line),
    ("`kafka-metadata-quorum --replication` without a voter", "kafka-metadata-quorum --replication",
     lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("103"))),
    ("`kafka-topics` in another language", "kafka-topics", FOREIGN),
    ("garbage for `kafka-reassign-partitions`", "kafka-reassign-partitions", "\x00\ufffd\n"),
    ("a column more in `kafka-metadata-quorum --replication`", "kafka-metadata-quorum --replication",
     lambda text: text.replace("Status", "Zone\tStatus")),
]  # fmt: skip


def _about_restart() -> list[Line[RecordedKafka]]:
    def line(state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any) -> Line[RecordedKafka]:
        return Line("restart", state, arrange, decision, because, **kept)

    three = "fewer replicas in step"
    zookeeper = {"settings": {"zookeeper": "zk:2181"}}
    return [
        line("all is in step (KRaft, controllers apart)", as_is, Go),
        line("all is in step (KRaft, Kafka 3)", be(version=3), Go),
        line("all is in step (ZooKeeper mode)", in_zookeeper_mode, Go),
        line("all is in step, and this node is a follower of the controllers too", combined, Go),
        line("a partition is under-replicated", part(2, isr=[3, 1]), Wait, "1 partitions are under-replicated"),
        line("one that this broker does not keep is too", part(7, isr=[2]), Wait, "under-replicated: logs-1"),
        line("another broker is down", down(3), Wait, "not registered: broker 3"),
        line("two others are down", down(2, 3), Wait, "not registered: broker 2, 3"),
        line("a partition has no leader", part(1, leader=None), Wait, "without a leader: orders-1"),
        line("fewer in step than a write needs", part(0, isr=[2]), Wait, three),
        line("partitions are being reassigned", part(0, adding=[3]), Wait, "being reassigned: orders-0"),
        line("another broker is fenced", be(fenced={2}), Wait, "broker 2 is fenced"),
        line("another broker is registered, and does not answer", be(mute={3}), Wait, "broker 3 does not answer"),
        line("`min.insync.replicas` is as many as there are replicas", part(0, min_isr=3), Refuse, "too few replicas"),
        line("a topic has one replica, on this broker",
             lambda c: c.parts.append(_single()), Refuse, "too few replicas are left of single-0"),
        line("... which the task accepts", lambda c: c.parts.append(_single()), Go,
             args={"accept_unavailable": ["single"]}),
        line("a topic has one replica, elsewhere", lambda c: c.parts.append(_single(2)), Go),
        line("this broker is down, and all else is in step", down(ME), Go),
        line("this broker is down, and another too", down(ME, 3), Wait, "not registered: broker 3"),
        line("two at once", as_is, Refuse, "one at a time", cap=2),
        line("a controller is behind, of which one is this node", all_of(combined, be(lag={3: (9000, 300)})), Wait,
             "only 1 of 3 would be in step"),
        line("a controller does not fetch, of which one is this node", all_of(combined, be(lag={3: (0, 90_000)})), Wait,
             "only 1 of 3 would be in step"),
        line("a controller never fetched, of which one is this node", all_of(combined, be(lag={3: (0, NOW + 1)})), Wait,
             "only 1 of 3 would be in step"),
        line("there is one controller, and it is this node", all_of(combined, be(voters=[ME], controller=ME)), Refuse,
             "none may be missing"),
        line("there are two controllers, one of them this node", all_of(combined, be(voters=[ME, 2])), Refuse,
             "none may be missing"),
        line("a controller apart is behind", be(lag={103: (9000, 300)}), Go),
        line("this node is the active controller, and the others have not gone", leading, Wait, "goes last"),
        line("... and they have", all_of(leading, be(peer_starts={"kafka-2.example": NOW / 1000 + 60,
             "kafka-3.example": NOW / 1000 + 120})), Go, settings={"peer_started": ["ssh", "{host}", "started"]}),
        line("... and one of them has not", all_of(leading, be(peer_starts={"kafka-2.example": NOW / 1000 + 60,
             "kafka-3.example": NOW / 1000 - 9000})), Wait, "goes last: broker 3 was not restarted yet",
             settings={"peer_started": ["ssh", "{host}", "started"]}),
        line("... and patience is over", leading, Go, args={"controller_waits_s": 60}),
        line("this broker is the controller (ZooKeeper mode)", all_of(in_zookeeper_mode, be(controller=ME)), Wait,
             "goes last"),
        line("the controller is a broker that is not there (ZooKeeper mode)",
             all_of(in_zookeeper_mode, be(controller=9)), Wait, "broker 9 is the controller"),
        line("garbage for `zookeeper-shell`", all_of(in_zookeeper_mode, says("zookeeper-shell", "KeeperErrorCode\n")),
             Refuse, "not understood"),
        line("ZooKeeper mode, and it is not configured", says("kafka-metadata-quorum", UNSUPPORTED), Refuse,
             "set zookeeper"),
        line("`role` says broker, and it votes", combined, Refuse, "votes", settings={"role": "broker"}),
        line("`role` says combined, and it does not vote", as_is, Refuse, "does not vote",
             settings={"role": "combined"}),
        line("`role` says controller, and it is a broker", combined, Refuse, "is a broker",
             settings={"role": "controller"}),
        line("a controller apart", as_is, Go, settings={"role": "controller", "node_id": 101}),
        line("the active controller apart", be(controller=101), Wait, "goes last",
             settings={"role": "controller", "node_id": 101}),
        line("a controller apart, and partitions are under-replicated", part(2, isr=[3, 1]), Wait, "under-replicated",
             settings={"role": "controller", "node_id": 101}),
        line("nobody knows such a broker", as_is, Refuse, "nobody knows a broker 9", settings={"node_id": 9}),
        line("`bootstrap` names this broker", as_is, Refuse, "names this broker itself",
             settings={"bootstrap": ["kafka-1.example:9092"]}),
        line("nobody answers", be(away=True), Wait, "Timed out waiting"),
        line("a tool hangs", be(hangs={"kafka-topics"}), Wait, "took longer"),
        line("the tools' user may not ask", says("kafka-topics", REFUSED), Refuse, "is refused"),
        line("the client could not reach one of `bootstrap`", all_of(*(
            says(tool, before(UNREACHED)) for tool in (*READ, "kafka-topics --list"))), Go),
        line("a topic is made just now", says("kafka-topics --list", "logs\nnew\norders\n"), Wait, "differ: new"),
        line("`kafka-topics` lost a topic", says("kafka-topics", without_logs), Wait, "differ: logs"),
        line("this broker's service does not run, and it is registered", be(running=False), Go),
        *(line(state, says(tool, text), Refuse, "not understood") for state, tool, text in _UNREADABLE),
        line("ZooKeeper mode, and partitions are under-replicated", all_of(in_zookeeper_mode, part(2, isr=[3, 1])),
             Wait, "under-replicated", **zookeeper),
    ]  # fmt: skip


def _single(node: int = ME) -> Part:
    return Part("single", 0, [node], min_isr=None)


def _about_the_end_of_a_restart() -> list[Line[RecordedKafka]]:
    def line(state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any) -> Line[RecordedKafka]:
        return Line("restart", state, arrange, decision, because, phase="post_check", **kept)

    return [
        line("it is registered and in step with everything", as_is, Go),
        line("it is not registered yet", down(ME), Wait, "does not run as a new start"),
        line(
            "its service runs, and it is not registered yet", all_of(down(ME), be(running=True)), Wait, "not registered"
        ),
        line("it is fenced", be(fenced={ME}), Wait, "still fenced"),
        line("it is registered, and does not answer", be(mute={ME}), Wait, "does not answer"),
        line("it is not in step with a partition", part(0, isr=[2, 3]), Wait, "not in step yet with 1 of 8"),
        line("another broker is not in step", part(0, isr=[1, 2]), Wait, "under-replicated: orders-0"),
        line("a partition has no leader", part(0, leader=None), Wait, "without a leader"),
        line("it is behind as a controller", all_of(combined, be(lag={ME: (9000, 200)})), Wait, "as a controller"),
        line("it should vote, and does not", as_is, Wait, "does not vote", settings={"role": "combined"}),
        line("nobody answers", be(away=True), Wait, "Timed out"),
        *(line(state, says(tool, text), Wait, "not understood") for state, tool, text in _UNREADABLE),
    ]


def _about_settings() -> list[Line[RecordedKafka]]:
    def line(state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any) -> Line[RecordedKafka]:
        return Line("config_reload", state, arrange, decision, because, **kept)

    def so_already(cluster: RecordedKafka) -> None:
        cluster.settings["log.cleaner.threads"] = ("4", "1", False)

    return [
        line("the broker has another value", as_is, Go),
        line("the broker has it already", so_already, Skip, "already"),
        line("the broker does not know the setting", as_is, Refuse, "does not know log.cleaner.treads",
             args={"set": {"log.cleaner.treads": "4"}}),
        line("the setting is secret", as_is, Refuse, "is secret", args={"set": {"ssl.keystore.password": "x"}}),
        line("what is to be removed is not there", as_is, Skip, "already", args={"remove": ["num.io.threads"]}),
        line("the broker is not registered", down(ME), Wait, "not registered"),
        line("the broker is fenced", be(fenced={ME}), Wait, "not registered, or"),
        line("nobody answers", be(away=True), Wait, "Timed out"),
        line("a warning of Java stands before `kafka-configs`", says("kafka-configs", before(JAVA)), Refuse,
             "not understood"),
        line("half of `kafka-configs`", says("kafka-configs", half), Refuse, "not understood"),
        line("nothing for `kafka-configs`", says("kafka-configs", ""), Refuse, "not understood"),
        line("another broker's settings", says("kafka-configs", lambda text: text.replace("broker 1", "broker 2")),
             Refuse, "not understood"),
        line("the broker has the value", so_already, Go, phase="post_check"),
        line("it was confirmed, and the broker has the old value", as_is, Wait, "is None, not 4", phase="post_check"),
        line("half of `kafka-configs`", says("kafka-configs", half), Wait, "not understood", phase="post_check"),
    ]  # fmt: skip


def _about_elections() -> list[Line[RecordedKafka]]:
    def line(state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any) -> Line[RecordedKafka]:
        return Line("preferred_leader_election", state, arrange, decision, because, **kept)

    two = lead_elsewhere(2)
    return [
        line("others lead two of its three partitions", two, Go),
        line("it leads all that it should", as_is, Skip, "lead 0 of the 3"),
        line("others lead fewer than the task acts on", lead_elsewhere(1), Skip, "33 %", args={"above_percent": 50}),
        line("a partition is under-replicated", all_of(two, part(1, isr=[2, 3])), Wait, "under-replicated"),
        line("another broker is down", all_of(two, down(3)), Wait, "not registered: broker 3"),
        line("this broker is down", down(ME), Wait, "not registered: broker 1"),
        line("partitions are being reassigned", all_of(two, part(0, adding=[3])), Wait, "being reassigned"),
        line("another broker is fenced", all_of(two, be(fenced={3})), Wait, "fenced"),
        line("a controller apart", as_is, Skip, "leads no partition", settings={"role": "controller", "node_id": 101}),
        *(line(state, all_of(two, says(tool, text)), Refuse, "not understood") for state, tool, text in _UNREADABLE),
        line("every replica is in step", as_is, Go, phase="post_check"),
        line("a partition is under-replicated", part(1, isr=[2, 3]), Wait, "under-replicated", phase="post_check"),
        line("half of `kafka-topics`", says("kafka-topics", half), Wait, "not understood", phase="post_check"),
    ]


LINES = [*_about_restart(), *_about_the_end_of_a_restart(), *_about_settings(), *_about_elections()]

_HEAD = """# States of a Kafka cluster, and what is decided

<!-- Made of tests/recorded/kafka_states.py by `make docs`. Do not edit. -->

What `kafka_task` answers in each recorded state. **No real Kafka was asked**: what its admin tools print was written
down by hand from their sources, for three brokers of which 1 is this node, and three controllers. Where nothing else is
said they are of Kafka 4, in KRaft mode, and the controllers stand apart. Every line is a test. After an action, what
cannot be known is waited for, and the node ends unsafe when it stays so.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return _HEAD + markdown(LINES, decide)
