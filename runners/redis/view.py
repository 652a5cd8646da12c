"""What the servers of a Redis Cluster say of themselves and of each other, as values.

Every server is asked, because each has a view of its own: one that is well in its own eyes may be failed in those of
its peers. Nothing is judged here; rules.py says what a view means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from runners.redis.resp import Connection, ErrorReply

__all__ = ["Access", "Address", "Line", "Server", "View", "claim_name", "look", "look_at", "parse_lines"]

Address = tuple[str, int]

_THREADS = 16
_CLAIM = "taskerman-restart:"


def claim_name(server: str) -> str:
    """The name of a connection that says: whoever holds it is about to take down the server of that id."""
    return _CLAIM + server


@dataclass(frozen=True, slots=True)
class Access:
    """How servers are asked. `timeout_s`: for the connection, and for each reply."""

    username: str | None = None
    password: str | None = None
    timeout_s: float = 2.0

    def open(self, address: Address) -> Connection:
        """A connection. Raises `OSError`, `ErrorReply`."""
        return Connection(*address, timeout_s=self.timeout_s, username=self.username, password=self.password)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of CLUSTER NODES: how somebody sees a node.

    `master`: the id of whom it follows, None for a master. `heard_ms`: when a pong of it came last, by the observer's
    clock. `connected`: whether the observer's link to it is up. `slots`: how many it serves, and `ranges` which ones.
    `moving`: slots are being migrated (said by the node of itself only). `epoch`: of its claim to them, which grows
    with every failover.
    """

    id: str
    address: Address
    flags: frozenset[str]
    master: str | None
    heard_ms: int
    connected: bool
    slots: int
    moving: bool = False
    ranges: str = ""
    epoch: int = 0

    @property
    def failed(self) -> bool:
        """It is called failed, or cannot be reached by anybody who reads this."""
        return bool(self.flags & {"fail", "noaddr", "handshake"})

    @property
    def suspected(self) -> bool:
        """The observer alone cannot reach it."""
        return "fail?" in self.flags


@dataclass(frozen=True, slots=True)
class Server:
    """What one server says. `id`: "" outside a cluster. `uptime_s`: whole seconds. `clock_ms`: its clock, when asked.

    `offset`: of its replication stream; a replica's, of what it has. `linked`, `syncing`: of a replica's link to its
    master. `replicas_online`: of a master. `moving_roles`: a failover that it was asked for goes on.
    `claims`: ids of servers that somebody is about to take down, by the names of connections to this one.
    """

    address: Address
    run_id: str
    uptime_s: int = 0
    clock_ms: int = 0
    loading: bool = False
    clustered: bool = True
    replica: bool = False
    linked: bool = True
    syncing: bool = False
    offset: int = 0
    replicas_online: int = 0
    moving_roles: bool = False
    id: str = ""
    state: str = "ok"
    lines: Mapping[str, Line] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class View:
    """Everybody's view at about one time.

    `me`: the id of the own server, "" when nobody knows it. `own`: what it says, None when it does not answer;
    `own_refuses`: nobody listens there. `others`: the other nodes that are known, each as somebody sees it; `answers`:
    what those say that answer. `silent`: why the others do not.
    """

    me: str
    own: Server | None
    own_refuses: bool = False
    others: Mapping[str, Line] = field(default_factory=dict)
    answers: Mapping[str, Server] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)

    def of_me(self) -> Mapping[str, Line | None]:
        """How each other server that answers sees the own one; None: it does not know it."""
        return {peer: server.lines.get(self.me) for peer, server in self.answers.items()}


def look(own: Address, access: Access, *, peers: Sequence[Address] = (), announced: Address | None = None) -> View:
    """Ask the own server, and every other that it or, when it is silent, one of `peers` knows.

    `announced`: what peers call the own server, when that is another address. Raises `ErrorReply` when the own server
    answers and refuses to be asked (a wrong password, missing rights).
    """
    refuses = False
    server: Server | None = None
    try:
        server = look_at(own, access)
    except ConnectionRefusedError:
        refuses = True
    except OSError:
        pass  # silent: what that means is not for us to say
    if server is not None and not server.clustered:
        return View("", server)
    guide = server if server is not None and server.lines else _first(peers, access)
    if guide is None:
        return View(server.id if server else "", server, refuses)
    me = server.id if server is not None and server.id else _named(announced or own, guide)
    others = {line.id: line for line in guide.lines.values() if line.id != me}
    answers, silent = _ask_all(others, access, {guide.id: guide})
    return View(me, server, refuses, others, answers, silent)


def look_at(address: Address, access: Access) -> Server:
    """Ask one server. Raises `OSError` (no answer), `ErrorReply` (it refuses to be asked)."""
    with access.open(address) as connection:
        info = _fields(connection.text("INFO"))
        server = Server(
            address=address,
            run_id=info["run_id"],
            uptime_s=int(info["uptime_in_seconds"]),
            clock_ms=int(info["server_time_usec"]) // 1000,
            clustered=info.get("cluster_enabled") == "1",
        )
        if info.get("loading") == "1":
            return replace(server, loading=True, state="loading")
        connection.text("PING")
        replica = info["role"] == "slave"
        server = replace(
            server,
            replica=replica,
            linked=not replica or info.get("master_link_status") == "up",
            syncing=info.get("master_sync_in_progress") == "1",
            offset=int(info["slave_repl_offset"] if replica else info["master_repl_offset"]),
            replicas_online=sum("state=online" in text for name, text in info.items() if re.match(r"slave\d", name)),
            moving_roles=info.get("master_failover_state", "no-failover") != "no-failover",
        )
        return server if not server.clustered else _with_cluster(server, connection)


def parse_lines(text: str) -> dict[str, Line]:
    """CLUSTER NODES, by id. Raises `ValueError` for what is none."""
    lines = [_line(words) for words in map(str.split, text.splitlines()) if words]
    return {line.id: line for line in lines}


def _with_cluster(server: Server, connection: Connection) -> Server:
    nodes = connection.text("CLUSTER", "NODES")
    mine = next(words[0] for words in map(str.split, nodes.splitlines()) if "myself" in words[2].split(","))
    claims = re.findall(rf" name={_CLAIM}([0-9a-f]+) ", connection.text("CLIENT", "LIST"))
    return replace(
        server,
        id=mine,
        state=_fields(connection.text("CLUSTER", "INFO"))["cluster_state"],
        lines=parse_lines(nodes),
        claims=frozenset(claims),
    )


def _line(words: Sequence[str]) -> Line:
    name, where, flags, master, _, heard, epoch, link, *slots = words
    place = where.partition(",")[0].partition("@")[0]
    host, _, port = place.rpartition(":")
    return Line(
        id=name,
        address=(host.strip("[]"), int(port)),
        flags=frozenset(flags.split(",")),
        master=None if master == "-" else master,
        heard_ms=int(heard),
        connected=link == "connected",
        slots=sum(_count(slot) for slot in slots if not slot.startswith("[")),
        moving=any(slot.startswith("[") for slot in slots),
        ranges=",".join(slot for slot in slots if not slot.startswith("[")),
        epoch=int(epoch),
    )


def _count(slots: str) -> int:
    first, _, last = slots.partition("-")
    return int(last or first) - int(first) + 1


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _first(peers: Sequence[Address], access: Access) -> Server | None:
    for peer in peers:
        try:
            found = look_at(peer, access)
        except (OSError, ErrorReply):
            continue  # the next one may answer
        if found.lines:
            return found
    return None


def _named(address: Address, guide: Server) -> str:
    return next((line.id for line in guide.lines.values() if line.address == address), "")


def _ask_all(
    others: Mapping[str, Line], access: Access, known: Mapping[str, Server]
) -> tuple[dict[str, Server], dict[str, str]]:
    """All at once: one that hangs costs its timeout, and not every other's as well."""

    def ask(line: Line) -> Server | str:
        if not line.address[0]:
            return "its address is not known"
        try:
            return look_at(line.address, access)
        except (OSError, ErrorReply) as error:
            return str(error) or type(error).__name__

    answers = {name: server for name, server in known.items() if name in others}
    silent: dict[str, str] = {}
    asked = [line for line in others.values() if line.id not in answers]
    if asked:
        with ThreadPoolExecutor(min(_THREADS, len(asked))) as pool:
            for line, found in zip(asked, pool.map(ask, asked), strict=True):
                if isinstance(found, str):
                    silent[line.id] = found
                else:
                    answers[line.id] = found
    return answers, silent
