"""What Kafka's admin tools print, as values; and nothing else: a line that is not known is not passed over.

Each parser raises `NotUnderstood` for another format, another language, a warning before the answer, half an answer or
none. Only the client's own word that it could not reach one of the brokers that it was told is let pass: while a broker
is down that is how it should be, and the others have answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "Broker",
    "NotUnderstood",
    "Partition",
    "Quorum",
    "Setting",
    "parse_brokers",
    "parse_controller",
    "parse_names",
    "parse_quorum",
    "parse_reassignments",
    "parse_settings",
    "parse_topics",
    "printable",
]

_UNREACHED = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] WARN \[[A-Za-z]*AdminClient clientId=\S+\] "
    r"(?:Connection to node -?\d+ \(\S+\) could not be established\.|Bootstrap broker \S+ \(.*\) disconnected).*"
)


def printable(text: str, most: int = 160) -> str:
    """The beginning of it, in one line that is safe on a terminal: what was not understood may be anything."""
    shown = (mark if mark.isprintable() or mark.isspace() else "\N{REPLACEMENT CHARACTER}" for mark in text[:most])
    return " ".join("".join(shown).split())


class NotUnderstood(Exception):
    """An answer that is not of the form that the tools of Kafka 3 and 4 give."""

    def __init__(self, tool: str, what: str) -> None:
        super().__init__(
            f"what {tool} says is not understood ({printable(what)}); this runner knows the tools of Kafka 3 and "
            "4, and nothing printed beside their answers"
        )


@dataclass(frozen=True, slots=True)
class Broker:
    """One that is registered. `trouble`: why it does not answer itself, "" when it does."""

    id: int
    address: str
    rack: str = ""
    fenced: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. `leader`: None when there is none. `replicas`: the preferred leader first. `min_isr`: how many
    must be in step for a write that wants all."""

    topic: str
    number: int
    leader: int | None
    replicas: tuple[int, ...]
    isr: frozenset[int]
    min_isr: int

    @property
    def behind(self) -> frozenset[int]:
        """The replicas that are not in step."""
        return frozenset(self.replicas) - self.isr

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


@dataclass(frozen=True, slots=True)
class Quorum:
    """The controllers of KRaft. `lag`: of each voter in records, and in milliseconds since it last fetched (None: not
    known)."""

    leader: int
    voters: frozenset[int]
    lag: Mapping[int, tuple[int, int | None]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a broker. `dynamic`: what was set for this broker by an admin tool, None when nothing was."""

    value: str
    sensitive: bool
    dynamic: str | None


def parse_brokers(text: str) -> dict[int, Broker]:
    """`kafka-broker-api-versions`, by id."""
    found: dict[int, Broker] = {}
    inside = False
    for line in _lines(text):
        head = re.fullmatch(r"(\S+:\d+) \(id: (\d+) rack: (\S+?)(?: isFenced: (true|false))?\) -> (\(|ERROR: .*)", line)
        if head and not inside and int(head[2]) not in found:
            inside = head[5] == "("
            found[int(head[2])] = Broker(
                int(head[2]),
                head[1],
                "" if head[3] == "null" else head[3],
                head[4] == "true",
                "" if inside else head[5].removeprefix("ERROR: "),
            )
        elif inside and line == ")":
            inside = False
        elif not inside or not re.fullmatch(r"\s+\w+\(\d+\): .+", line):
            raise NotUnderstood("kafka-broker-api-versions", line)
    if inside or not found:
        raise NotUnderstood("kafka-broker-api-versions", "it ends too early")
    return found


_TOPIC = re.compile(r"Topic: (\S+)(?:\tTopicId: \S+)?\tPartitionCount: (\d+)\tReplicationFactor: \d+\tConfigs: ?(.*)")
_PARTITION = re.compile(
    r"\tTopic: (\S+)\tPartition: (\d+)\tLeader: (none|-?\d+)\tReplicas: ([\d,]*)\tIsr: ([\d,]*)"
    r"(?:\tAdding Replicas: ?([\d,]*))?(?:\tRemoving Replicas: ?[\d,]*)?"
    r"(?:\tElr: ?\S*)?(?:\tLastKnownElr: ?\S*)? *"
)


def parse_topics(text: str) -> list[Partition]:
    """`kafka-topics --describe`: every partition of every topic, each topic whole."""
    found: list[Partition] = []
    topic, wanted, min_isr = "", 0, 1
    for line in _lines(text):
        if head := _TOPIC.fullmatch(line):
            if wanted:
                raise NotUnderstood("kafka-topics", f"{topic} has {wanted} partitions more")
            topic, wanted = head[1], int(head[2])
            said = re.search(r"(?:^|,)min\.insync\.replicas=(\d+)(?:,|$)", head[3])
            min_isr = int(said[1]) if said else 1
        elif (one := _PARTITION.fullmatch(line)) and one[1] == topic and wanted and one[4]:
            wanted -= 1
            leader = None if one[3] in ("none", "-1") else int(one[3])
            replicas = tuple(map(int, one[4].split(",")))
            isr = frozenset(map(int, filter(None, one[5].split(","))))
            found.append(Partition(topic, int(one[2]), leader, replicas, isr, min_isr))
        else:
            raise NotUnderstood("kafka-topics", line)
    if wanted or not found:
        raise NotUnderstood("kafka-topics", "it ends too early")
    if len({(one.topic, one.number) for one in found}) != len(found):
        raise NotUnderstood("kafka-topics", "it has a partition twice")
    return found


def parse_names(text: str) -> frozenset[str]:
    """`kafka-topics --list`."""
    return frozenset(_lines(text))


def parse_reassignments(text: str) -> list[str]:
    """`kafka-reassign-partitions --list`: the partitions that move."""
    lines = _lines(text)
    if lines == ["No partition reassignments found."]:
        return []
    if lines[:1] != ["Current partition reassignments:"] or len(lines) < 2:
        raise NotUnderstood("kafka-reassign-partitions", lines[0] if lines else "nothing")
    moving = [
        re.fullmatch(r"(\S+-\d+): replicas: [\d,]*\.(?: (?:adding|removing): [\d,]*\.)*", one) for one in lines[1:]
    ]
    if not all(moving):
        raise NotUnderstood("kafka-reassign-partitions", lines[moving.index(None) + 1])
    return [one[1] for one in moving if one is not None]


_QUORUM = frozenset(
    ("ClusterId", "LeaderId", "LeaderEpoch", "HighWatermark", "MaxFollowerLag", "MaxFollowerLagTimeMs", "CurrentVoters",
     "CurrentObservers")
)  # fmt: skip


def parse_quorum(status: str, replication: str) -> Quorum:
    """`kafka-metadata-quorum describe --status` and `--replication`, which must agree on who leads and who votes."""
    fields = dict(re.findall(r"^([A-Z]\w+): +(.*?) *$", "\n".join(_lines(status)), re.MULTILINE))
    if len(fields) != len(_lines(status)) or set(fields) != _QUORUM:
        raise NotUnderstood("kafka-metadata-quorum", status[:80])
    try:
        leader = int(fields["LeaderId"])
        voters = frozenset(one["id"] if isinstance(one, dict) else one for one in json.loads(fields["CurrentVoters"]))
    except (KeyError, ValueError, TypeError) as error:
        raise NotUnderstood("kafka-metadata-quorum", f"{error!r}") from None
    head, *rows = [[cell.strip() for cell in line.split("\t") if cell.strip()] for line in _lines(replication)] or [[]]
    if [name for name in head if name != "DirectoryId"] != [
        "NodeId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status",
    ]:  # fmt: skip
        raise NotUnderstood("kafka-metadata-quorum", " ".join(head))
    try:
        table = {int(row["NodeId"]): row for row in (dict(zip(head, cells, strict=True)) for cells in rows)}
        votes = {node: row for node, row in table.items() if row["Status"] in ("Leader", "Follower")}
        leads = [node for node, row in table.items() if row["Status"] == "Leader"]
        if leads != [leader] or set(votes) != voters or len(table) != len(rows):
            raise NotUnderstood("kafka-metadata-quorum", "its two answers differ in who leads or who votes")
        # The leader fetches from nobody; some versions say its own time there, some -1.
        now = max(int(votes[leader]["LastFetchTimestamp"]), int(votes[leader]["LastCaughtUpTimestamp"]))
        lag: dict[int, tuple[int, int | None]] = {}
        for node, row in votes.items():
            fetched = int(row["LastFetchTimestamp"])
            lag[node] = (int(row["Lag"]), None if fetched < 0 or now < 0 else max(0, now - fetched))
        lag[leader] = (0, 0)
    except ValueError as error:
        raise NotUnderstood("kafka-metadata-quorum", str(error)) from None
    return Quorum(leader, voters, lag)


def parse_controller(text: str) -> int:
    """`zookeeper-shell ... get /controller`: the id of the active controller."""
    lines = [line for line in text.splitlines() if line.strip()]
    known = r"Connecting to \S+|WATCHER::|WatchedEvent state:SyncConnected type:None path:null"
    if not lines or not all(re.fullmatch(known, line) for line in lines[:-1]):
        raise NotUnderstood("zookeeper-shell", lines[0] if lines else "nothing")
    try:
        return int(json.loads(lines[-1])["brokerid"])
    except (ValueError, KeyError, TypeError):
        raise NotUnderstood("zookeeper-shell", lines[-1]) from None


def parse_settings(text: str, node: int) -> dict[str, Setting]:
    """`kafka-configs --describe --all` of one broker."""
    lines = _lines(text)
    if lines[:1] != [f"All configs for broker {node} are:"] or len(lines) < 2:
        raise NotUnderstood("kafka-configs", lines[0] if lines else "nothing")
    found: dict[str, Setting] = {}
    for line in lines[1:]:
        one = re.fullmatch(r"  ([\w.-]+)=(.*) sensitive=(true|false) synonyms=\{(.*)\}", line)
        if one is None:
            raise NotUnderstood("kafka-configs", line)
        own = re.match(
            rf"DYNAMIC_BROKER_CONFIG:{re.escape(one[1])}=(.*?)"
            r"(?:, (?:DYNAMIC_DEFAULT_BROKER_CONFIG|STATIC_BROKER_CONFIG|DEFAULT_CONFIG):.*)?$",
            one[4],
        )
        found[one[1]] = Setting(one[2], one[3] == "true", own[1] if own else None)
    return found


def _lines(text: str) -> Sequence[str]:
    return [line for line in text.splitlines() if line.strip() and not _UNREACHED.fullmatch(line)]
