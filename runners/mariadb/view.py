"""What the members of a Galera cluster say of themselves and of the cluster, as values.

Every member is asked, because each knows only the component that it is in: one that was cut off calls itself well
until it notices, and two halves each call themselves the cluster. Nothing is judged here; rules.py says what it means.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from runners.mariadb.client import Address, Client, Denied, Row, ServerError, Unreachable, quoted
from taskerman import Context

__all__ = ["Server", "View", "look", "look_at", "server_from", "start_of"]

_THREADS = 16
_NO_SEQNO = 2**63  # Galera says -1 as an unsigned number

_VARIABLES = ("version", "pid_file", "wsrep_on", "wsrep_desync", "wsrep_node_name", "wsrep_provider_options", "datadir")
_SQL = (
    "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep%' OR Variable_name = 'Uptime'; "
    f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({quoted(_VARIABLES)}); SHOW FULL PROCESSLIST"
)
_DDL = ("ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "OPTIMIZE", "ANALYZE", "REPAIR")


@dataclass(frozen=True, slots=True)
class Server:
    """What one member says. `at`: when it was asked, monotonic.

    `id`: of this membership; another one after every join. `component`: what two members have in common that see the
    same members; the number of the view alone is not enough, because two halves count on from the same one. `state`:
    Synced, Donor/Desynced, Joining, Joined... `queue`: write-sets that it received and has not applied. `paused_ns`:
    for how long it held up the cluster's writes, since it started. `committed`: the last write-set; `cached_from`: the
    oldest that it can still hand on, None for none; `cache_bytes`, `passed_bytes`: how much its cache holds, and how
    much went through it. `weight`, `all_weight`: in the vote on who goes on, its own and that of the component.
    `schema_changes`: that run, as far as it `sees_all` statements.
    """

    address: Address
    id: str = ""
    name: str = ""
    version: str = ""
    pid_file: str = ""
    datadir: str = ""
    galera: bool = True
    primary: bool = True
    ready: bool = True
    state: str = "Synced"
    size: int = 0
    cluster: str = ""
    component: str = ""
    desynced: bool = False
    queue: int = 0
    paused_ns: int = 0
    committed: int = 0
    cached_from: int | None = None
    cache_bytes: int = 0
    passed_bytes: int = 0
    weight: int = 1
    all_weight: int = 0
    members: tuple[str, ...] = ()
    sees_all: bool = True
    schema_changes: tuple[str, ...] = ()
    uptime_s: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """Everybody's view at about one time.

    `own`: what this node's server says, None when it does not answer: `own_why`, and `own_refuses` when nobody listens
    there. `answers`: what the others say, by address; `silent`: why the rest does not.
    """

    own: Server | None
    own_why: str = ""
    own_refuses: bool = False
    answers: Mapping[str, Server] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)


def look(ctx: Context, client: Client, own: Address, peers: Sequence[Address]) -> View:
    """Ask the own server, `peers`, and whoever else the own server counts among its members, all at once.

    Raises `Denied` when the own server does not let us ask, and `CommandFailed` when the client is not there.
    """
    found: Server | None = None
    why, refuses = "", False
    try:
        found = look_at(ctx, client, own)
    except Unreachable as error:
        why, refuses = str(error), error.refused
    except Denied:
        raise
    except ServerError as error:
        why = str(error)
    others = {str(peer): peer for peer in peers}
    if found is not None:
        others |= {name: Address.parse(name) for name in found.members if name not in others}
    answers: dict[str, Server] = {}
    silent: dict[str, str] = {}

    def ask(address: Address) -> Server | str:
        try:
            return look_at(ctx, client, address)
        except (Unreachable, ServerError) as error:
            return str(error)

    if others:
        with ThreadPoolExecutor(min(_THREADS, len(others))) as pool:
            for name, answer in zip(others, pool.map(ask, others.values()), strict=True):
                if isinstance(answer, str):
                    silent[name] = answer
                elif found is None or answer.id != found.id:
                    answers.setdefault(name, answer)
    seen: dict[str, str] = {}
    for name, server in list(answers.items()):  # one server under two addresses is one
        if server.id and seen.setdefault(server.id, name) != name:
            del answers[name]
    return View(found, why, refuses, answers, silent)


def look_at(ctx: Context, client: Client, address: Address) -> Server:
    """Ask one server. Raises `Unreachable`, `Denied`, `ServerError`, `CommandFailed`."""
    return server_from(address, client.ask(ctx, address, _SQL), time.monotonic())


def start_of(server: Server) -> dict[str, str]:
    """What tells this start of the server from any other: its process, where that can be read, and its membership."""
    return {"process": _process(server.pid_file), "id": server.id}


def server_from(address: Address, rows: Sequence[Row], at: float) -> Server:
    """What these rows of status, variables and process list say."""
    said = {row[0].lower(): row[1] for row in rows if len(row) == 2}
    options = _options(said.get("wsrep_provider_options", ""))
    cached = _number(said, "wsrep_local_cached_downto")
    members = said.get("wsrep_incoming_addresses", "").split(",")
    size = _number(said, "wsrep_cluster_size")
    place = _number(said, "wsrep_local_index")
    cluster, uuid = said.get("wsrep_cluster_state_uuid", ""), said.get("wsrep_local_state_uuid", "")
    return Server(
        address=address,
        id=said.get("wsrep_gcomm_uuid", ""),
        name=said.get("wsrep_node_name", ""),
        version=said.get("version", ""),
        pid_file=said.get("pid_file", ""),
        datadir=said.get("datadir", ""),
        galera=said.get("wsrep_on") == "ON",
        primary=said.get("wsrep_cluster_status") == "Primary",
        ready=said.get("wsrep_ready") == "ON" and said.get("wsrep_connected") == "ON" and uuid == cluster,
        state=said.get("wsrep_local_state_comment", "unknown"),
        size=size,
        cluster=cluster,
        component=f"{cluster}:{said.get('wsrep_cluster_conf_id', '')}:{size}:{','.join(sorted(members))}",
        desynced=said.get("wsrep_desync") == "ON",
        queue=_number(said, "wsrep_local_recv_queue"),
        paused_ns=_number(said, "wsrep_flow_control_paused_ns"),
        committed=_number(said, "wsrep_last_committed"),
        cached_from=cached if 0 < cached < _NO_SEQNO else None,
        cache_bytes=_bytes(options.get("gcache.size", "")),
        passed_bytes=_number(said, "wsrep_replicated_bytes") + _number(said, "wsrep_received_bytes"),
        weight=int(options["pc.weight"]) if options.get("pc.weight", "").isdigit() else 1,
        all_weight=_number(said, "wsrep_cluster_weight"),
        members=tuple(name for index, name in enumerate(members) if index != place and _is_address(name)),
        sees_all=any(len(row) == 9 and row[1] == "system user" for row in rows),
        schema_changes=tuple(row[7][:100] for row in rows if len(row) == 9 and _changes_schema(row[7])),
        uptime_s=_number(said, "uptime"),
        at=at,
    )


def _number(said: Mapping[str, str], name: str) -> int:
    text = said.get(name, "")
    return int(text) if text.isdigit() else 0


def _options(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _bytes(text: str) -> int:
    unit = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1:].upper(), 0)
    digits = text[:-1] if unit else text
    return int(digits) << unit if digits.isdigit() else 0


def _is_address(text: str) -> bool:
    try:
        Address.parse(text)
    except ValueError:
        return False
    return True


def _changes_schema(statement: str) -> bool:
    first = statement.lstrip("( \n\t").partition(" ")[0].upper()
    return first in _DDL


def _process(pid_file: str) -> str:
    """Which process of this machine it is, for ever: its number and when it was started. "" when that is not known."""
    try:
        pid = int(Path(pid_file).read_text().strip())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return f"{pid}/{fields[19]}"
