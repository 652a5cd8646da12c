"""A Cassandra that is not there: six nodes in three racks, and what `nodetool` 4.1 would print about them.

The forms are those of the tool's source (status, info, describecluster, netstats, compactionstats, gossipinfo,
describering, repair_admin, listsnapshots); the words in them are ours. It is no server: it knows states, and the few
commands that change them. `says` puts any text in the place of an answer, which is how broken ones are recorded.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["ME", "OTHER_SCHEMA", "Node", "RecordedCassandra"]

ME = "10.0.0.1"
SCHEMA = "2207c2a9-f598-3971-986b-2926e09e239d"
OTHER_SCHEMA = "e84b6a60-24cf-30ca-9b58-452d92911703"
REFUSED = (
    "nodetool: Failed to connect to '{host}:7199' - ConnectException: 'Connection refused (Connection refused)'.\n"
)


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@dataclass
class Node:
    """One node, as it is. `sees`: how it sees others when that is not how they are."""

    address: str
    rack: str
    tokens: tuple[int, ...]
    dc: str = "dc1"
    up: bool = True
    state: str = "N"
    generation: int = 1_790_000_000
    schema: str = SCHEMA
    mode: str = "NORMAL"
    gossip: bool = True
    native: bool = True
    streams: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    pending: int = 0
    sessions: Mapping[str, str] = field(default_factory=dict)
    load: str = "103.44 GiB"
    snapshots: set[str] = field(default_factory=set)
    sees: dict[str, str] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)

    @property
    def seen(self) -> str:
        """As others see it who look."""
        return ("U" if self.up and self.gossip else "D") + self.state


class RecordedCassandra:
    """The cluster. `commands` that change something are done; `silent` nodes do not answer nodetool."""

    def __init__(self) -> None:
        step = 2**64 // 12
        self.nodes = {
            f"10.0.0.{number}": Node(
                f"10.0.0.{number}",
                f"rack{(number - 1) % 3 + 1}",
                (-(2**63) + step * (number - 1) + 17, -(2**63) + step * (number + 5) + 17),
            )
            for number in range(1, 7)
        }
        self.keyspaces = {
            "system": "LocalStrategy {}",
            "system_schema": "LocalStrategy {}",
            "system_auth": "NetworkTopologyStrategy {dc1=3}",
            "system_distributed": "SimpleStrategy {replication_factor=3}",
            "system_traces": "SimpleStrategy {replication_factor=2}",
            "shop": "NetworkTopologyStrategy {dc1=3}",
        }
        self.version = "4.1.3"
        self.says: dict[tuple[str, str], str | tuple[int, str] | Callable[[str], str]] = {}
        self.silent: set[str] = set()
        self.repaired: list[tuple[str, int, int]] = []
        self.cleaned: list[str] = []
        self.repair_answers: list[tuple[int, str]] = []
        self.done: list[tuple[str, ...]] = []
        self.hangs: set[str] = set()
        self.free_percent = 60.0
        self.hints_bytes = 0
        self.on_snapshot: Callable[[str], object] = lambda tag: None
        self.on_clear: Callable[[str], object] = lambda tag: None

    @property
    def me(self) -> Node:
        """The node whose agent runs the runner."""
        return self.nodes[ME]

    def drop(self, address: str) -> None:
        """A node is down."""
        self.nodes[address].up = False
        self.silent.add(address)

    def restart(self) -> None:
        """What the service manager does to this node."""
        self.silent.discard(ME)
        me = self.me
        me.up, me.mode, me.gossip, me.native = True, "NORMAL", True, True
        me.generation += 86_400
        me.streams = me.active = ()

    # --- being asked -------------------------------------------------------------------------------------

    def answer(self, host: str, words: Sequence[str]) -> tuple[int, str]:
        """What `nodetool` prints when it asks `host`, and how it ends."""
        if host in self.silent:
            return 1, REFUSED.format(host=host)
        node, command = self.nodes[host], words[0]
        found = self.says.get((host, command))
        if isinstance(found, tuple):
            return found
        if isinstance(found, str):
            return 0, found
        if tuple(words[:2]) == ("repair_admin", "cancel"):
            self.done.append(tuple(words))
            node.sessions = {name: who for name, who in node.sessions.items() if _id(name) != words[-1]}
            return 0, ""
        text = self._do(node, words) if hasattr(self, f"_do_{command}") else self._print(node, words)
        if isinstance(text, tuple):
            return text
        return 0, found(text) if found is not None else text

    def _print(self, node: Node, words: Sequence[str]) -> str:
        match words[0]:
            case "status":
                return self.status(node)
            case "info":
                return self.info(node)
            case "describecluster":
                return self.describecluster(node)
            case "netstats":
                return self.netstats(node)
            case "compactionstats":
                return self.compactionstats(node)
            case "gossipinfo":
                return self.gossipinfo(node)
            case "describering":
                return self.describering(words[1])
            case "repair_admin" if words[1] == "list":
                return self.sessions(node)
            case "listsnapshots":
                return self.listsnapshots(node)
            case _:
                raise AssertionError(f"the runner asked for what was not recorded: {words}")

    def _seen(self, observer: Node, node: Node) -> str:
        return observer.sees.get(node.address, node.seen)

    def status(self, observer: Node) -> str:
        """`nodetool status`."""
        text = ""
        for dc in sorted({node.dc for node in self.nodes.values()}):
            text += f"Datacenter: {dc}\n{'=' * (12 + len(dc))}\n"
            text += "Status=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n"
            text += f"--  Address   Load        Tokens  Owns (effective)  {'Host ID':36}  Rack\n"
            for node in self.nodes.values():
                if node.dc == dc:
                    seen = self._seen(observer, node)
                    text += f"{seen}  {node.address:8}  {node.load:10}  {len(node.tokens):<6}  {'50.0%':16}  "
                    text += f"{_id(node.address)}  {node.rack}\n"
        return text + "\n"

    def info(self, node: Node) -> str:
        """`nodetool info -T`."""
        lines = {
            "ID": _id(node.address),
            "Gossip active": str(node.gossip).lower(),
            "Native Transport active": str(node.native).lower(),
            "Load": node.load,
            "Generation No": str(node.generation if node.gossip else 0),
            "Uptime (seconds)": "86412",
            "Heap Memory (MB)": "1834.21 / 7987.25",
            "Off Heap Memory (MB)": "12.48",
            "Data Center": node.dc,
            "Rack": node.rack,
            "Exceptions": "0",
            "Key Cache": "entries 1893, size 151.91 KiB, capacity 100 MiB, 29112 hits, 31544 requests, "
            "0.923 recent hit rate, 14400 save period in seconds",
            "Percent Repaired": "97.02%",
        }
        text = "".join(f"{name:<23}: {value}\n" for name, value in lines.items())
        if node.state == "J":
            return text + f"{'Token':<23}: (node is not joined to the cluster)\n"
        return text + "".join(f"{'Token':<23}: {token}\n" for token in node.tokens)

    def describecluster(self, observer: Node) -> str:
        """`nodetool describecluster`."""
        schemas: dict[str, list[str]] = {}
        for node in self.nodes.values():
            up = self._seen(observer, node).startswith("U")
            schemas.setdefault(node.schema if up else "UNREACHABLE", []).append(node.address)
        states = [self._seen(observer, node) for node in self.nodes.values()]
        text = "Cluster Information:\n\tName: recorded\n"
        text += "\tSnitch: org.apache.cassandra.locator.GossipingPropertyFileSnitch\n"
        text += "\tDynamicEndPointSnitch: enabled\n\tPartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n"
        text += "\tSchema versions:\n"
        text += "".join(f"\t\t{version}: [{', '.join(who)}]\n\n" for version, who in schemas.items())
        text += f"Stats for all nodes:\n\tLive: {sum(state[0] == 'U' for state in states)}\n"
        for name, letter in (("Joining", "J"), ("Moving", "M"), ("Leaving", "L")):
            text += f"\t{name}: {sum(state[1] == letter for state in states)}\n"
        text += f"\tUnreachable: {sum(state[0] == 'D' for state in states)}\n\nData Centers: \n"
        for dc in sorted({node.dc for node in self.nodes.values()}):
            here = [self._seen(observer, node) for node in self.nodes.values() if node.dc == dc]
            text += f"\t{dc} #Nodes: {len(here)} #Down: {sum(state[0] == 'D' for state in here)}\n"
        addresses = ", ".join(f"{address}:7000" for address in self.nodes)
        text += f"\nDatabase versions:\n\t{self.version}: [{addresses}]\n\nKeyspaces:\n"
        return text + "".join(f"\t{name} -> Replication class: {how}\n" for name, how in self.keyspaces.items())

    def netstats(self, node: Node) -> str:
        """`nodetool netstats`."""
        text = f"Mode: {node.mode}\n"
        if not node.streams:
            text += "Not sending any streams.\n"
        for kind in node.streams:
            text += f"{kind} 7f3a4c50-cbd5-11ee-8d3e-2b9f0f5a1c11\n    /10.0.0.4\n"
            text += "        Receiving 12 files, 4831838208 bytes total. Already received 3 files (25.00%), "
            text += "1207959552 bytes total (25.00%)\n"
        if node.mode == "STARTING":
            return text
        text += "Read Repair Statistics:\nAttempted: 412\nMismatch (Blocking): 3\nMismatch (Background): 1\n"
        text += f"{'Pool Name':25}{'Active':>10}{'Pending':>10}{'Completed':>15}{'Dropped':>10}\n"
        for name in ("Large messages", "Small messages", "Gossip messages"):
            text += f"{name:25}{'n/a':>10}{0:>10}{81734:>15}{0:>10}\n"
        return text

    def compactionstats(self, node: Node) -> str:
        """`nodetool compactionstats`."""
        text = f"pending tasks: {node.pending}\n"
        text += f"- shop.orders: {node.pending}\n" if node.pending else ""
        text += "\n"
        if node.active:
            text += f"{'id':36} {'compaction type':26} keyspace table  completed total      unit  progress\n"
            for kind in node.active:
                text += f"{_id(kind)} {kind:26} shop     orders 53687091  2147483648 bytes 2.50%\n"
            text += "Active compaction remaining time :   0h02m05s\n"
        return text

    def gossipinfo(self, observer: Node) -> str:
        """`nodetool gossipinfo`."""
        text = ""
        for node in self.nodes.values():
            generation = observer.heard.get(node.address, node.generation)
            status = "NORMAL" if node.gossip and node.up else "shutdown"
            value = f"NORMAL,{node.tokens[0]}" if status == "NORMAL" else "shutdown,true"
            text += f"/{node.address}\n  generation:{generation}\n  heartbeat:91822\n"
            text += f"  LOAD:91797:1.11067E11\n  SCHEMA:17:{node.schema}\n  DC:13:{node.dc}\n  RACK:15:{node.rack}\n"
            text += f"  RELEASE_VERSION:6:{self.version}\n  NET_VERSION:2:12\n  HOST_ID:3:{_id(node.address)}\n"
            text += f"  RPC_READY:57:{str(node.native and node.up).lower()}\n"
            text += f"  NATIVE_ADDRESS_AND_PORT:4:{node.address}:9042\n  STATUS_WITH_PORT:56:{value}\n"
            text += "  SSTABLE_VERSIONS:7:big-nb\n  TOKENS:55:<hidden>\n"
        return text

    def describering(self, keyspace: str) -> str:
        """`nodetool describering KEYSPACE`."""
        copies = max(int(part) for part in self.keyspaces[keyspace].replace("}", "").split("=")[1:])
        ends = sorted((token, node) for node in self.nodes.values() for token in node.tokens)
        simple = self.keyspaces[keyspace].startswith("SimpleStrategy")
        text = f"Schema Version:{SCHEMA}\nTokenRange: \n"
        for place, (end, _) in enumerate(ends):
            walk = [ends[(place + step) % len(ends)][1] for step in range(len(ends))]
            kept: list[Node] = []
            for node in walk:
                if len(kept) < copies and (simple or node.rack not in {one.rack for one in kept}):
                    kept.append(node)
            names = ", ".join(node.address for node in kept)
            details = ", ".join(
                f"EndpointDetails(host:{node.address}, datacenter:{node.dc}, rack:{node.rack})" for node in kept
            )
            text += f"\tTokenRange(start_token:{ends[place - 1][0]}, end_token:{end}, endpoints:[{names}], "
            text += f"rpc_endpoints:[{names}], endpoint_details:[{details}])\n"
        return text

    def sessions(self, node: Node) -> str:
        """`nodetool repair_admin list`."""
        if not node.sessions:
            return "no sessions\n"
        text = f"{'id':36} | state     | last activity | coordinator    | participants\n"
        for name, coordinator in node.sessions.items():
            text += f"{_id(name)} | REPAIRING | 12 (s)        | /{coordinator}:7000 | {coordinator}:7000,{ME}:7000\n"
        return text

    def listsnapshots(self, node: Node) -> str:
        """`nodetool listsnapshots`."""
        if not node.snapshots:
            return "Snapshot Details: \nThere are no snapshots\n"
        text = "Snapshot Details: \nSnapshot name Keyspace name Column family name True size Size on disk\n"
        text += "".join(f"{name} shop orders 0 bytes 4.02 GiB\n" for name in sorted(node.snapshots))
        return text + "\nTotal TrueDiskSpaceUsed: 0 bytes\n\n"

    # --- being changed -----------------------------------------------------------------------------------

    def _do(self, node: Node, words: Sequence[str]) -> str | tuple[int, str]:
        self.done.append(tuple(words))
        answer = getattr(self, f"_do_{words[0]}")(node, words)
        return answer if isinstance(answer, str | tuple) else ""

    def _do_disablebinary(self, node: Node, words: Sequence[str]) -> None:
        node.native = False

    def _do_enablebinary(self, node: Node, words: Sequence[str]) -> None:
        node.native = True

    def _do_disablegossip(self, node: Node, words: Sequence[str]) -> None:
        node.gossip = False

    def _do_enablegossip(self, node: Node, words: Sequence[str]) -> None:
        node.gossip = True

    def _do_drain(self, node: Node, words: Sequence[str]) -> None:
        node.mode, node.gossip, node.native = "DRAINED", False, False

    def _do_stop(self, node: Node, words: Sequence[str]) -> None:
        node.active = tuple(kind for kind in node.active if not kind.upper().startswith(words[1]))

    def _do_cleanup(self, node: Node, words: Sequence[str]) -> None:
        self.cleaned.append(words[-1])

    def _do_snapshot(self, node: Node, words: Sequence[str]) -> str | tuple[int, str]:
        tag = words[words.index("-t") + 1]
        if tag in node.snapshots:
            return 2, f"error: Snapshot {tag} already exists.\n"
        node.snapshots.add(tag)
        self.on_snapshot(tag)
        said = f"Requested creating snapshot(s) for [all keyspaces] with snapshot name [{tag}]\n"
        return said + f"Snapshot directory: {tag}\n"

    def _do_clearsnapshot(self, node: Node, words: Sequence[str]) -> None:
        tag = words[words.index("-t") + 1]
        node.snapshots.discard(tag)
        self.on_clear(tag)

    def _do_repair(self, node: Node, words: Sequence[str]) -> tuple[int, str]:
        start, end = int(words[words.index("-st") + 1]), int(words[words.index("-et") + 1])
        keyspace = words[words.index("--") + 1]
        began = "[2026-11-28 03:00:00,123] Starting repair command #1 (7f3a4c50-cbd5-11ee-8d3e-2b9f0f5a1c11), "
        began += f"repairing keyspace {keyspace} with repair options (parallelism: parallel, # of ranges: 1)\n"
        if self.repair_answers:
            code, said = self.repair_answers.pop(0)
            return code, began + said
        self.repaired.append((keyspace, start, end))
        return 0, began + (
            "[2026-11-28 03:00:09,456] Repair completed successfully\n"
            "[2026-11-28 03:00:09,460] Repair command #1 finished in 9 seconds\n"
        )
