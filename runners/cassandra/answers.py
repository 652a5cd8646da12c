"""What `nodetool` of Cassandra 4 prints, as values; and nothing else: a line that is not known is not passed over.

Each parser raises `NotUnderstood` for another version's format, another language, a warning before the answer, half an
answer or none. Whoever decides on such a one would decide on a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Cluster",
    "Compactions",
    "Info",
    "Net",
    "NotUnderstood",
    "Row",
    "parse_cluster",
    "parse_compactions",
    "parse_gossip",
    "parse_info",
    "parse_net",
    "parse_sessions",
    "parse_snapshots",
    "parse_status",
    "printable",
]

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SIZE = r"\?|\d+(?:\.\d+)? (?:bytes|[KMGTP]i?B)"
_ROW = re.compile(rf"([UD?])([NLJM]) +(\S+) +({_SIZE}) +(?:\d+ +)?(\?|\d+(?:\.\d+)?%) +({_ID}) +(?:-?\d+ +)?(\S+) *")
_BYTES = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


def printable(text: str, most: int = 160) -> str:
    """The beginning of it, in one line that is safe on a terminal: what was not understood may be anything."""
    shown = (mark if mark.isprintable() or mark.isspace() else "\N{REPLACEMENT CHARACTER}" for mark in text[:most])
    return " ".join("".join(shown).split())


class NotUnderstood(Exception):
    """An answer that is not of the form that Cassandra 4 gives."""

    def __init__(self, command: str, what: str) -> None:
        super().__init__(
            f"what nodetool {command} says is not understood ({printable(what)}); this runner knows Cassandra 4.x, in "
            "English, and nothing printed beside it"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A node, as `status` has it. `up`: None when it says "?". `state`: N, L, J or M. `load_bytes`, `owns` (percent):
    None when it says "?"."""

    address: str
    up: bool | None
    state: str
    dc: str
    rack: str
    host_id: str
    load_bytes: float | None = None
    owns: float | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """`describecluster`. `schemas`: who has which version; those that cannot be asked stand under "UNREACHABLE".
    `nodes`: how many each data centre has. `versions`: of the database. `copies`: by keyspace, by data centre
    ("*" for SimpleStrategy); empty for keyspaces that are each node's own."""

    name: str
    partitioner: str
    schemas: Mapping[str, Sequence[str]]
    nodes: Mapping[str, int]
    versions: Sequence[str]
    copies: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Info:
    """`info -T`. `generation`: grows with every start; 0 while gossip is off."""

    host_id: str
    gossip: bool
    native: bool
    generation: int
    joined: bool
    tokens: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Net:
    """`netstats`. `streams`: what is streamed, with whom."""

    mode: str
    streams: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Compactions:
    """`compactionstats`. `active`: the kinds that run, such as Compaction, Validation or Cleanup."""

    pending: int
    active: Sequence[str] = field(default=())


def parse_status(text: str) -> dict[str, Row]:
    """`status`, by address."""
    rows: dict[str, Row] = {}
    dc = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"Datacenter: (\S+) *", line):
            dc = found[1]
        elif found := _ROW.fullmatch(line):
            up, state, address, load, owns, host_id, rack = found.groups()
            if not dc or address in rows:
                raise NotUnderstood("status", line)
            rows[address] = Row(
                address,
                {"U": True, "D": False, "?": None}[up],
                state,
                dc,
                rack,
                host_id,
                _size(load),
                None if owns == "?" else float(owns.rstrip("%")),
            )
        elif not re.fullmatch(
            r"=*|Status=Up/Down|\|/ State=Normal/Leaving/Joining/Moving|-- +Address .*Host ID .*Rack *|Note: .*", line
        ):
            raise NotUnderstood("status", line)
    # The last thing that it prints is an empty line, and a note after it: half a list has neither.
    if not rows or not re.search(r"\n\n(Note: .*\n+)?\Z", text):
        raise NotUnderstood("status", "it ends too early")
    return rows


_CLUSTER = re.compile(
    r"Cluster Information:\n\tName: (?P<name>.*)\n\tSnitch: .*\n\tDynamicEndPointSnitch: .*\n"
    r"\tPartitioner: (?P<partitioner>\S+)\n\tSchema versions:\n(?P<schemas>(?:\t\t\S+: \[.*\]\n)+)"
    r"Stats for all nodes:\n\tLive: \d+\n\tJoining: \d+\n\tMoving: \d+\n\tLeaving: \d+\n\tUnreachable: \d+\n"
    r"(?:Error: Non-system keyspaces .*\n)?"
    r"Data Centers: *\n(?P<nodes>(?:\t\S+ #Nodes: \d+ #Down: \d+\n)+)"
    r"Database versions:\n(?P<versions>(?:\t\S+: \[.*\]\n)+)"
    r"Keyspaces:\n(?P<keyspaces>(?:\t\S+ -> Replication class: \S+ \{.*\}\n)+)"
)


def parse_cluster(text: str) -> Cluster:
    """`describecluster`."""
    found = _CLUSTER.fullmatch(re.sub(r"\n{2,}", "\n", text))
    if found is None:
        raise NotUnderstood("describecluster", text.strip().splitlines()[0] if text.strip() else "nothing")
    copies: dict[str, dict[str, int]] = {}
    for name, kind, options in re.findall(r"\t(\S+) -> Replication class: (\S+) \{(.*)\}", found["keyspaces"]):
        counts = dict(part.split("=", 1) for part in options.split(", ") if "=" in part)
        if not all(re.fullmatch(r"\d+", count) for count in counts.values()):
            raise NotUnderstood("describecluster", f"{name}: {options}")
        match kind:
            case "NetworkTopologyStrategy":
                copies[name] = {dc: int(count) for dc, count in counts.items()}
            case "SimpleStrategy":
                copies[name] = {"*": int(counts["replication_factor"])}
            case "LocalStrategy":
                copies[name] = {}
            case _:
                raise NotUnderstood("describecluster", f"{name}: {kind}")
    return Cluster(
        found["name"],
        found["partitioner"].rpartition(".")[2],
        {one: who.split(", ") for one, who in re.findall(r"\t\t(\S+): \[(.*)\]", found["schemas"])},
        {dc: int(count) for dc, count in re.findall(r"\t(\S+) #Nodes: (\d+)", found["nodes"])},
        re.findall(r"\t(\S+): \[", found["versions"]),
        copies,
    )


def parse_info(text: str) -> Info:
    """`info -T`."""
    fields: dict[str, str] = {}
    tokens: list[int] = []
    joined = True
    for line in text.splitlines():
        found = re.fullmatch(r"(?=.{23}: )([A-Z][\w ()]*?) *: (.*)", line)
        if found is None:
            raise NotUnderstood("info", line)
        if found[1] != "Token":
            fields[found[1]] = found[2]
        elif re.fullmatch(r"-?\d+", found[2]):
            tokens.append(int(found[2]))
        elif found[2] == "(node is not joined to the cluster)":
            joined = False
        else:
            raise NotUnderstood("info", line)
    try:
        if joined != bool(tokens) or not re.fullmatch(_ID, fields["ID"]):
            raise NotUnderstood("info", "it ends too early")
        truth = {"true": True, "false": False}
        return Info(
            fields["ID"],
            truth[fields["Gossip active"]],
            truth[fields["Native Transport active"]],
            int(fields["Generation No"]),
            joined,
            tuple(tokens),
        )
    except (KeyError, ValueError) as error:
        raise NotUnderstood("info", f"{error}") from None


def parse_net(text: str) -> Net:
    """`netstats`."""
    mode = re.match(r"Mode: ([A-Z]+)\n", text)
    if mode is None:
        raise NotUnderstood("netstats", text[:80])
    said, _, statistics = text[mode.end() :].partition("Read Repair Statistics:\n")
    if mode[1] != "STARTING" and not re.search(r"^Gossip messages +\S+ +\d+ +\d+ +\d+$", statistics, re.MULTILINE):
        raise NotUnderstood("netstats", "it ends too early")
    if said == "Not sending any streams.\n":
        return Net(mode[1])
    streams: list[str] = []
    for line in said.splitlines():
        if found := re.fullmatch(rf"(\S.*) {_ID}", line):
            streams.append(found[1])
        elif streams and (found := re.fullmatch(r" {4}(?:\S*/)?(\S+)(?: \(using \S+\))?", line)):
            streams[-1] += f" with {found[1]}"
        elif not streams or not re.match(r" {8}", line):
            raise NotUnderstood("netstats", line)
    if not streams:
        raise NotUnderstood("netstats", "neither streams nor that there are none")
    return Net(mode[1], tuple(streams))


def parse_compactions(text: str) -> Compactions:
    """`compactionstats`."""
    lines = text.splitlines()
    pending = re.fullmatch(r"pending tasks: (\d+)", lines[0]) if lines else None
    if pending is None:
        raise NotUnderstood("compactionstats", text[:80])
    active: list[str] = []
    table = ended = False
    for line in lines[1:]:
        row = re.fullmatch(rf"{_ID} +(\S.*?) +\S+ +\S+ +\d+ +\d+ +\S+ +(?:\d+\.\d+%|n/a) *", line)
        if re.fullmatch(r"id +compaction type +keyspace +table +completed +total +unit +progress *", line):
            table = True
        elif table and not ended and row is not None:
            active.append(row[1])
        elif table and re.fullmatch(r" *Active compaction remaining time : +\S+", line):
            ended = True
        elif line and not re.fullmatch(r"- \S+\.\S+: \d+", line):
            raise NotUnderstood("compactionstats", line)
    if table != ended or not (table or text.endswith("\n\n")):
        raise NotUnderstood("compactionstats", "it ends too early")
    return Compactions(int(pending[1]), tuple(active))


def parse_gossip(text: str) -> dict[str, dict[str, str]]:
    """`gossipinfo`: what is said of each address, without the versions of the single values."""
    nodes: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if found := re.fullmatch(r"[^ /]*/([0-9A-Fa-f.:\[\]]+)", line):
            fields = nodes.setdefault(found[1], {})
        elif nodes and (found := re.fullmatch(r"  (generation|heartbeat):(\d+)", line)):
            fields[found[1]] = found[2]
        elif nodes and (found := re.fullmatch(r"  (\w+):(?:(?:\d+):(.*)|not present)", line)):
            fields[found[1]] = found[2] or ""
        else:
            raise NotUnderstood("gossipinfo", line)
    if not nodes or any("generation" not in fields for fields in nodes.values()) or not text.endswith("\n"):
        raise NotUnderstood("gossipinfo", "it ends too early")
    return nodes


def parse_sessions(text: str) -> dict[str, str]:
    """`repair_admin list`: who coordinates each incremental session that has not ended."""
    lines = text.splitlines()
    if lines == ["no sessions"]:
        return {}
    if not lines or not re.fullmatch(r"id +\| state +\| last activity +\| coordinator +\| participants.*", lines[0]):
        raise NotUnderstood("repair_admin list", text[:80])
    found: dict[str, str] = {}
    for line in lines[1:]:
        words = [word.strip() for word in line.split(" | ")]
        if len(words) < 5 or not re.fullmatch(_ID, words[0]):
            raise NotUnderstood("repair_admin list", line)
        found[words[0]] = re.sub(r"^[^/]*/|:\d+$", "", words[3])
    return found


def parse_snapshots(text: str) -> frozenset[str]:
    """`listsnapshots`: the names that there are."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if lines == ["Snapshot Details:", "There are no snapshots"]:
        return frozenset()
    if len(lines) < 3 or lines[0] != "Snapshot Details:" or not lines[1].startswith("Snapshot name"):
        raise NotUnderstood("listsnapshots", text[:80])
    if not lines[-1].startswith("Total TrueDiskSpaceUsed:"):
        raise NotUnderstood("listsnapshots", "it ends too early")
    rows = [re.fullmatch(rf"(\S+) +\S+ +\S+ +(?:{_SIZE}) +(?:{_SIZE})(?: .*)?", line) for line in lines[2:-1]]
    if not all(rows):
        raise NotUnderstood("listsnapshots", lines[rows.index(None) + 2])
    return frozenset(row[1] for row in rows if row is not None)


def _size(text: str) -> float | None:
    if text == "?":
        return None
    number, unit = text.split()
    return float(number) * _BYTES[unit.replace("KB", "KiB").replace("MB", "MiB").replace("GB", "GiB")]
