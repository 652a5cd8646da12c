"""A Kafka that is not there: three brokers and three controllers (or brokers that are both), and what its admin tools
would print about them.

The forms are those of the tools' sources, versions 3 and 4; the words in them are ours. It is no server: it knows
states, and the few commands that change them. `says` puts any text in the place of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ME", "Part", "RecordedKafka"]

ME = 1
NOW = 1_795_000_000_000
UNREACHED = (
    "[2026-11-28 03:00:00,123] WARN [AdminClient clientId=adminclient-1] Connection to node -2 "
    "(kafka-3.example/10.0.1.3:9092) could not be established. Node may not be available. "
    "(org.apache.kafka.clients.NetworkClient)\n"
)


@dataclass
class Part:
    """One partition."""

    topic: str
    number: int
    replicas: list[int]
    leader: int | None = None
    isr: list[int] = field(default_factory=list)
    min_isr: int | None = 2
    adding: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.isr = self.isr or list(self.replicas)
        self.leader = self.leader or self.replicas[0]


class RecordedKafka:
    """The cluster. `version`: 3 or 4, whose tools print differently. `zookeeper`: its mode."""

    def __init__(self, *, combined: bool = False) -> None:
        self.version = 4
        self.zookeeper = False
        self.brokers = {1: "rack-a", 2: "rack-b", 3: "rack-c"}
        self.fenced: set[int] = set()
        self.mute: set[int] = set()
        self.parts = [
            *(Part("orders", number, [(number + step) % 3 + 1 for step in range(3)]) for number in range(6)),
            *(Part("logs", number, [number + 1, (number + 1) % 3 + 1], min_isr=None) for number in range(3)),
        ]
        self.voters = [1, 2, 3] if combined else [101, 102, 103]
        self.controller = self.voters[1]
        self.lag: dict[int, tuple[int, int]] = {}
        self.settings: dict[str, tuple[str | None, str, bool]] = {
            "log.cleaner.threads": (None, "1", False),
            "num.io.threads": (None, "8", False),
            "log.dirs": (None, "/var/lib/kafka", False),
            "listeners": (None, "PLAINTEXT://:9092,CONTROLLER://:9093", False),
            "ssl.keystore.password": (None, "null", True),
        }
        self.start = 1
        self.running = True
        self.peer_starts: dict[str, float] = {}
        self.says: dict[str, str | tuple[int, str] | Callable[[str], str]] = {}
        self.hangs: set[str] = set()
        self.away = False
        self.elected: list[tuple[str, int]] = []
        self.loses_settings = False

    # --- changes -----------------------------------------------------------------------------------------

    def drop(self, node: int) -> None:
        """A broker is down: not registered, in step with nothing, and leads nothing."""
        self.brokers.pop(node, None)
        for part in self.parts:
            part.isr = [one for one in part.isr if one != node] or part.isr
            if part.leader == node:
                part.leader = next((one for one in part.isr if one != node), None)
        if node == ME:
            self.running = False

    def restart(self) -> None:
        """What the service manager does to this node: its leaders are moved, and it comes back in step."""
        self.start += 1
        self.running = True
        self.brokers.setdefault(ME, "rack-a")
        for part in self.parts:
            if part.leader == ME or part.leader is None:
                part.leader = next((one for one in part.isr if one != ME), ME)
            part.isr = sorted({*part.isr, *(ME for one in part.replicas if one == ME)})

    # --- being asked -------------------------------------------------------------------------------------

    def answer(self, words: Sequence[str]) -> tuple[int, str]:
        """What a tool prints, and how it ends."""
        tool = Path(words[0]).name.removesuffix(".sh")
        key = f"{tool} --list" if tool == "kafka-topics" and "--list" in words else tool
        key = f"{key} --replication" if "--replication" in words else key
        if self.away:
            return (
                1,
                "Error while executing topic command : Timed out waiting for a node assignment. Call: listTopics\n",
            )
        found = self.says.get(key)
        if isinstance(found, tuple):
            return found
        if isinstance(found, str):
            return 0, found
        code, text = self._print(tool, words)
        return code, found(text) if found is not None else text

    def _print(self, tool: str, words: Sequence[str]) -> tuple[int, str]:
        match tool:
            case "kafka-broker-api-versions":
                return 0, self.api_versions()
            case "kafka-topics" if "--list" in words:
                return 0, "".join(f"{name}\n" for name in sorted({part.topic for part in self.parts}))
            case "kafka-topics":
                return 0, self.topics()
            case "kafka-reassign-partitions":
                return 0, self.reassignments()
            case "kafka-metadata-quorum":
                return 0, self.replication() if "--replication" in words else self.status()
            case "zookeeper-shell":
                said = {"version": 2, "brokerid": self.controller, "timestamp": str(NOW), "kraftControllerEpoch": -1}
                head = "Connecting to zk:2181\n\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null\n"
                return 0, head + json.dumps(said, separators=(",", ":")) + "\n"
            case "kafka-configs" if "--describe" in words:
                return 0, self.describe_settings()
            case "kafka-configs":
                return self._alter(words)
            case "kafka-leader-election":
                return self._elect(words)
            case _:
                raise AssertionError(f"the runner asked for what was not recorded: {words}")

    def api_versions(self) -> str:
        """`kafka-broker-api-versions.sh`."""
        text = ""
        for node, rack in self.brokers.items():
            fenced = f" isFenced: {str(node in self.fenced).lower()}" if self.version == 4 else ""
            text += f"kafka-{node}.example:9092 (id: {node} rack: {rack}{fenced}) -> "
            if node in self.mute:
                text += "ERROR: org.apache.kafka.common.errors.DisconnectException\n"
                continue
            text += "(\n\tProduce(0): 0 to 12 [usable: 12],\n\tFetch(1): 4 to 17 [usable: 17],\n"
            text += "\tElectLeaders(43): 0 to 2 [usable: 2],\n\tStreamsGroupHeartbeat(88): UNSUPPORTED\n)\n"
        return text

    def topics(self) -> str:
        """`kafka-topics.sh --describe`."""
        text = ""
        for topic in sorted({part.topic for part in self.parts}):
            parts = [part for part in self.parts if part.topic == topic]
            configs = f"min.insync.replicas={parts[0].min_isr},segment.bytes=1073741824" if parts[0].min_isr else ""
            text += f"Topic: {topic}\tTopicId: cF-qEJhZSw-Bq2m3T9n8Xg\tPartitionCount: {len(parts)}\t"
            text += f"ReplicationFactor: {len(parts[0].replicas)}\tConfigs: {configs}\n"
            for part in parts:
                leader = "none" if part.leader is None else part.leader
                text += f"\tTopic: {topic}\tPartition: {part.number}\tLeader: {leader}\t"
                text += f"Replicas: {_ids(part.replicas)}\tIsr: {_ids(part.isr)}"
                if part.adding:
                    text += f"\tAdding Replicas: {_ids(part.adding)}\tRemoving Replicas: "
                text += "\tElr: \tLastKnownElr: \n" if self.version == 4 else "\n"
        return text

    def reassignments(self) -> str:
        """`kafka-reassign-partitions.sh --list`."""
        moving = [part for part in self.parts if part.adding]
        if not moving:
            return "No partition reassignments found.\n"
        lines = [
            f"{part.topic}-{part.number}: replicas: {_ids(part.replicas)}. adding: {_ids(part.adding)}."
            for part in moving
        ]
        return "Current partition reassignments:\n" + "\n".join(lines) + "\n"

    def status(self) -> str:
        """`kafka-metadata-quorum.sh describe --status`."""
        voters = json.dumps(self.voters, separators=(",", ":"))
        if self.version == 4:
            voters = json.dumps(
                [{"id": one, "endpoints": [f"CONTROLLER://controller-{one}:9093"]} for one in self.voters]
            )
        fields = {
            "ClusterId": "fMCL8kv1SWm87L_Md-I2hg",
            "LeaderId": self.controller,
            "LeaderEpoch": 42,
            "HighWatermark": 918_273,
            "MaxFollowerLag": 0,
            "MaxFollowerLagTimeMs": 120,
            "CurrentVoters": voters,
            "CurrentObservers": json.dumps([{"id": one} for one in self.brokers if one not in self.voters]),
        }
        return "".join(f"{name + ':':<24}{value}\n" for name, value in fields.items())

    def replication(self) -> str:
        """`kafka-metadata-quorum.sh describe --replication`."""
        directory = "DirectoryId           \t" if self.version == 4 else ""
        text = f"NodeId\t{directory}LogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus  \t\n"
        for node in [*self.voters, *(one for one in self.brokers if one not in self.voters)]:
            lag, ago = self.lag.get(node, (0, 0 if node == self.controller else 180))
            status = "Leader" if node == self.controller else "Follower" if node in self.voters else "Observer"
            directory = "U3fHvCoMVWiCVYa2ri_K5w\t" if self.version == 4 else ""
            text += (
                f"{node:<6}\t{directory}{918_273 - lag:<12}\t{lag:<3}\t{NOW - ago:<18}\t{NOW - ago:<21}\t{status:8}\t\n"
            )
        return text

    def describe_settings(self) -> str:
        """`kafka-configs.sh --describe --all` of this broker."""
        text = f"All configs for broker {ME} are:\n"
        for name, (dynamic, static, secret) in self.settings.items():
            value = "null" if secret else dynamic if dynamic is not None else static
            kept = [f"DYNAMIC_BROKER_CONFIG:{name}={dynamic}"] if dynamic is not None else []
            kept += [f"STATIC_BROKER_CONFIG:{name}={static}", f"DEFAULT_CONFIG:{name}={static}"]
            text += f"  {name}={value} sensitive={str(secret).lower()} synonyms={{{', '.join(kept)}}}\n"
        return text

    def _alter(self, words: Sequence[str]) -> tuple[int, str]:
        added = words[words.index("--add-config") + 1] if "--add-config" in words else ""
        removed = words[words.index("--delete-config") + 1].split(",") if "--delete-config" in words else []
        pairs = _pairs(added)
        if static := [name for name in pairs if name in ("log.dirs", "listeners")]:
            return 1, (
                "Error while executing config command with args '--bootstrap-server ...'\n"
                "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.InvalidRequestException: "
                f"Cannot update these configs dynamically: Set({', '.join(static)})\n"
                "\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)\n"
            )
        if not self.loses_settings:
            for name in removed:
                self.settings[name] = (None, *self.settings[name][1:])
            for name, value in pairs.items():
                self.settings[name] = (value, *self.settings[name][1:])
        return 0, f"Completed updating config for broker {ME}.\n"

    def _elect(self, words: Sequence[str]) -> tuple[int, str]:
        wanted = json.loads(Path(words[words.index("--path-to-json-file") + 1]).read_text(encoding="utf-8"))
        done: list[str] = []
        for one in wanted["partitions"]:
            part = next(p for p in self.parts if (p.topic, p.number) == (one["topic"], one["partition"]))
            part.leader = part.replicas[0]
            self.elected.append((part.topic, part.number))
            done.append(f"{part.topic}-{part.number}")
        return 0, f"Successfully completed leader election (PREFERRED) for partitions {', '.join(done)}\n"


def _ids(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))


def _pairs(text: str) -> dict[str, str]:
    """As kafka-configs reads `--add-config`: commas within brackets are part of a value."""
    pairs: dict[str, str] = {}
    depth, word = 0, ""
    for mark in f"{text},":
        if mark == "," and not depth:
            name, _, value = word.partition("=")
            pairs |= {name: value.strip("[]")} if name else {}
            word = ""
            continue
        depth += {"[": 1, "]": -1}.get(mark, 0)
        word += mark
    return pairs
