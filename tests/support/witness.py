"""An independent witness of a Redis Cluster: a process that imports nothing of ours and no library but Python's own.

    python witness.py EVENTS_FILE NAME=HOST:PORT ...

From its start on it

- asks every node PING, every 20 ms, each in a thread of its own; a refusal, a broken connection, any other answer and
  one second of silence mean that the node is down, from the moment of the unanswered question;
- writes to slots spread over the whole key space, every 50 ms each, following MOVED as any client does;
- asks each server that it connects to who it is, so that a restart too short to be seen as an outage is counted.

The supervisors' lines (EVENTS_FILE) are read when a verdict is asked for. They say the same from the other side, and
err in the other direction: a probe sees an outage up to 20 ms shorter than it was, the lines never shorter. Times are
CLOCK_MONOTONIC, the same for every process of a machine. Overlaps are computed afterwards, from intervals, so that a
node whose silence is understood late still counts from its beginning.

`verdict` on a line of standard input is answered with one line of JSON; `Verdict` in witnessing.py says what its fields
mean. The witness ends with its standard input. It judges nothing: how much is too much is for the test to say.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections import Counter

PROBE_EVERY_S = 0.02
WRITE_EVERY_S = 0.05
SILENCE_S = 1.0
SLOTS = 16384
WATCHED_SLOTS = 32

now = time.monotonic


class Connection:
    """One connection that speaks RESP, enough for PING, INFO and SET."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def call(self, *words: str) -> str:
        """The reply as text, errors with their "-". Raises OSError when there is none."""
        parts = [word.encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        line = self.stream.readline().decode().strip()
        if not line:
            raise ConnectionError("closed")
        if line.startswith("$") and line != "$-1":
            return self.stream.read(int(line[1:]) + 2).decode()
        return line

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


class Prober(threading.Thread):
    """Asks one node, for ever. `outages`: [since, until], until None while it lasts."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.node, self.address = name, address
        self.outages: list[list[float | None]] = []
        self.servers: list[str] = []  # run ids, in order of appearance
        self.probes = 0
        self.blind_s = 0.0  # the longest time between an answer and the next question
        self.connection: Connection | None = None

    def run(self) -> None:
        answered = now()
        while True:
            asked = now()
            self.blind_s = max(self.blind_s, asked - answered)
            up = self.is_up()
            answered = now()
            self.probes += 1
            is_down = bool(self.outages) and self.outages[-1][1] is None
            if up and is_down:
                self.outages[-1][1] = answered
            elif not up and not is_down:
                self.outages.append([asked, None])
            time.sleep(max(0.0, asked + PROBE_EVERY_S - answered))

    def is_up(self) -> bool:
        try:
            if self.connection is None:
                self.connection = Connection(self.address)
                self.meet(self.connection.call("INFO", "server"))
            if self.connection.call("PING") == "+PONG":
                return True
        except (OSError, ValueError):
            pass  # no answer: that is what down means
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        return False

    def meet(self, info: str) -> None:
        found = re.search(r"run_id:(\w+)", info)
        if found and found[1] not in self.servers:
            self.servers.append(found[1])


class Writer(threading.Thread):
    """Writes to one slot, for ever: one thread a slot, so that a dead master delays nobody else's writes."""

    def __init__(self, slot: int, key: str, addresses: list[tuple[str, int]]) -> None:
        super().__init__(daemon=True)
        self.slot, self.key, self.addresses = slot, key, addresses
        self.target = addresses[slot % len(addresses)]
        self.connections: dict[tuple[str, int], Connection] = {}
        self.total = 0
        self.failures: Counter[str] = Counter()
        self.failed_at: list[float] = []
        self.last_success = now()
        self.longest_gap = 0.0

    def run(self) -> None:
        while True:
            began = now()
            problem = self.write(str(self.total))
            self.total += 1
            if problem is None:
                self.longest_gap = max(self.longest_gap, now() - self.last_success)
                self.last_success = now()
            else:
                self.failures[problem] += 1
                self.failed_at.append(began)
            time.sleep(max(0.0, began + WRITE_EVERY_S - now()))

    def write(self, value: str) -> str | None:
        """None when some node accepted it, else why not. A redirection is followed and is no failure."""
        for _ in range(3):
            try:
                if self.target not in self.connections:
                    self.connections[self.target] = Connection(self.target)
                reply = self.connections[self.target].call("SET", self.key, value)
            except (OSError, ValueError) as error:
                broken = self.connections.pop(self.target, None)
                if broken is not None:
                    broken.close()
                # Whoever answers says where the slot has gone.
                self.target = self.addresses[(self.addresses.index(self.target) + 1) % len(self.addresses)]
                return type(error).__name__
            if reply.startswith("+OK"):
                return None
            if not reply.startswith("-MOVED"):
                return reply.lstrip("-").split(" ")[0]
            host, port = reply.rsplit(" ", 1)[1].rsplit(":", 1)
            self.target = (host, int(port))
            if self.target not in self.addresses:
                return "MOVED to a stranger"
        return "MOVED in a circle"

    def gap(self) -> float:
        """The longest time without a success, the one that lasts included. Seconds."""
        return max(self.longest_gap, now() - self.last_success)


def slot_of(key: str) -> int:
    """CRC16 (XMODEM) of the key, as the cluster counts it; the keys used here have no braces."""
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return (crc & 0xFFFF) % SLOTS


def watched_keys() -> dict[int, str]:
    """A slot and a key of it in each of WATCHED_SLOTS equal parts of the key space. Slots move in ranges."""
    found: dict[int, tuple[int, str]] = {}
    number = 0
    while len(found) < WATCHED_SLOTS:
        key = f"witness-{number}"
        slot = slot_of(key)
        found.setdefault(slot * WATCHED_SLOTS // SLOTS, (slot, key))
        number += 1
    return dict(found.values())


def most_at_once(outages: dict[str, list[tuple[float, float]]]) -> tuple[int, list[str]]:
    """How many nodes were down at one moment, at most, and which. An outage that ends as another begins overlaps."""
    edges = sorted(
        edge for name, spans in outages.items() for begin, end in spans for edge in ((begin, 0, name), (end, 1, name))
    )
    down: list[str] = []
    worst: list[str] = []
    for _, ends, name in edges:
        if ends:
            down.remove(name)
        else:
            down.append(name)
        worst = max(worst, down, key=len).copy()
    return len(worst), sorted(worst)


def outages_by_lines(lines: list[dict], since: float, until: float) -> dict[str, list[tuple[float, float]]]:
    """What the supervisors wrote, as intervals within [since, until]. A node without a line yet counts as up."""
    spans: dict[str, list[tuple[float, float]]] = {}
    open_since: dict[str, float] = {}
    for line in sorted(lines, key=lambda line: line["at"]):
        if line["event"] == "down":
            open_since.setdefault(line["node"], line["at"])
        elif line["node"] in open_since:
            spans.setdefault(line["node"], []).append((open_since.pop(line["node"]), line["at"]))
    for node, begin in open_since.items():
        spans.setdefault(node, []).append((begin, until))
    return {node: [(max(b, since), e) for b, e in found if e >= since] for node, found in spans.items()}


def starts_by_lines(lines: list[dict], since: float) -> Counter[str]:
    """How often each node came up since `since`, first starts left out."""
    starts: Counter[str] = Counter()
    seen: set[str] = set()
    for line in sorted(lines, key=lambda line: line["at"]):
        if line["event"] == "up":
            starts[line["node"]] += line["node"] in seen and line["at"] >= since
        seen.add(line["node"])
    return starts


class Witness:
    """All threads and the file, and what they say together."""

    def __init__(self, events: str, nodes: dict[str, tuple[str, int]]) -> None:
        self.events = events
        self.began = now()
        self.probers = [Prober(name, address) for name, address in nodes.items()]
        addresses = list(nodes.values())
        self.writers = [Writer(slot, key, addresses) for slot, key in sorted(watched_keys().items())]
        for thread in (*self.probers, *self.writers):
            thread.start()

    def is_watching(self) -> bool:
        """Every node was asked and every slot was tried at least once."""
        return all(p.probes for p in self.probers) and all(w.total for w in self.writers)

    def verdict(self) -> dict:
        until = now()
        with open(self.events, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        probed = {
            p.node: [(b, e if e is not None else until) for b, e in list(p.outages) if b is not None]
            for p in self.probers
        }
        by_probe, nodes_by_probe = most_at_once(probed)
        by_lines, nodes_by_lines = most_at_once(outages_by_lines(lines, self.began, until))
        starts = starts_by_lines(lines, self.began)
        longest = max(self.writers, key=Writer.gap)
        return {
            "since": self.began,
            "until": until,
            "most_down_by_probe": by_probe,
            "nodes_down_by_probe": nodes_by_probe,
            "most_down_by_lines": by_lines,
            "nodes_down_by_lines": nodes_by_lines,
            "down_now": sorted(p.node for p in self.probers if p.outages and p.outages[-1][1] is None),
            "outages": probed,
            "restarts_by_lines": {p.node: starts[p.node] for p in self.probers},
            "restarts_by_run_id": {p.node: max(0, len(p.servers) - 1) for p in self.probers},
            "writes_total": sum(w.total for w in self.writers),
            "writes_failed": sum(len(w.failed_at) for w in self.writers),
            "write_failures": dict(sum((w.failures for w in self.writers), Counter())),
            "failed_writes": sorted([at, w.slot] for w in self.writers for at in list(w.failed_at)),
            "longest_write_gap_s": longest.gap(),
            "longest_write_gap_slot": longest.slot,
            "blind_s": max(p.blind_s for p in self.probers),
        }


def main(argv: list[str]) -> int:
    events, *nodes = argv
    addresses = {}
    for node in nodes:
        name, address = node.split("=", 1)
        host, port = address.rsplit(":", 1)
        addresses[name] = (host, int(port))
    witness = Witness(events, addresses)
    while not witness.is_watching():
        time.sleep(PROBE_EVERY_S)
    print(json.dumps({"watching": sorted(addresses)}), flush=True)
    for line in sys.stdin:
        if line.strip() == "verdict":
            print(json.dumps(witness.verdict()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
