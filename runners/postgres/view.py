"""What the servers of a cluster say of themselves and of each other, as values.

Every server is asked, because each has a view of its own. Nothing is judged here; rules.py says what a view means. No
password leaves a server: of its `primary_conninfo` it hands out the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from runners.postgres.config import Address, PostgresConfig, address_of, shown
from runners.postgres.psql import Access, Denied, QueryFailed, Unreachable

__all__ = ["Conninfo", "Server", "Standby", "View", "look", "look_at", "parse_conninfo"]

_THREADS = 16

LOOK = r"""
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'recovery', r.recovering,
  'now', extract(epoch FROM clock_timestamp()),
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'received', CASE WHEN r.recovering
      THEN pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')
      ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') END,
  'replayed', CASE WHEN r.recovering THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')
      ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') END,
  'paused', CASE WHEN r.recovering THEN pg_is_wal_replay_paused() ELSE false END,
  'timeline', CASE WHEN r.recovering
      THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
  'receiving', coalesce((SELECT status FROM pg_stat_wal_receiver), ''),
  'standbys', (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state,
      'flushed', coalesce(pg_wal_lsn_diff(flush_lsn, '0/0'), 0))), '[]') FROM pg_stat_replication),
  'conninfo', (SELECT regexp_replace(regexp_replace(setting, '//[^/]*@', '//', 'g'),
      'password\s*=\s*(''(\\.|[^''])*''|[^\s&]*)', '', 'gi') FROM pg_settings WHERE name = 'primary_conninfo'),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ('cluster_name',
      'synchronous_standby_names', 'primary_slot_name', 'recovery_target_timeline', 'recovery_min_apply_delay',
      'hot_standby', 'default_transaction_read_only')),
  'slots', (SELECT coalesce(json_agg(slot_name), '[]') FROM pg_replication_slots WHERE slot_type = 'physical'),
  'logical', (SELECT coalesce(json_agg(slot_name), '[]') FROM pg_replication_slots
      WHERE slot_type = 'logical' AND NOT temporary),
  'copying', (SELECT coalesce(json_agg(application_name || ' of ' || coalesce(usename, '?')), '[]')
      FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (application_name ~ '^(pg_dump|pg_basebackup)'
      OR pid IN (SELECT pid FROM pg_stat_progress_basebackup))),
  'may_look', pg_has_role('pg_monitor', 'USAGE'),
  'may_promote', has_function_privilege('pg_promote(boolean,integer)', 'EXECUTE'))
FROM (SELECT pg_is_in_recovery() AS recovering) AS r
"""


@dataclass(frozen=True, slots=True)
class Conninfo:
    """A replica's way to its primary. `servers`: whom it asks, in order. `target`: which kind it wants."""

    servers: tuple[Address, ...] = ()
    target: str = "any"
    name: str = ""

    @property
    def finds_the_primary(self) -> bool:
        """Whether it goes to whoever is the primary, of those it names."""
        return self.target in ("read-write", "primary")


@dataclass(frozen=True, slots=True)
class Standby:
    """Who receives WAL from a server. `flushed`: as far as it said, in bytes of WAL."""

    name: str
    state: str
    flushed: int

    @property
    def streaming(self) -> bool:
        """Neither catching up nor making a backup."""
        return self.state == "streaming"


@dataclass(frozen=True, slots=True)
class Server:
    """What one server says. Places in the WAL (`received`, `replayed`) in bytes; `now`, `started` in seconds, by its
    own clock. `timeline`: of a replica, the one that it receives. `copying`: the backups that read from it."""

    address: Address
    version: int = 150000
    system: str = "1"
    replica: bool = False
    now: float = 0.0
    started: float = 0.0
    received: int = 0
    replayed: int = 0
    paused: bool = False
    timeline: int = 1
    receiving: str = ""
    standbys: tuple[Standby, ...] = ()
    conninfo: Conninfo = field(default_factory=Conninfo)
    sync_names: str = ""
    cluster_name: str = ""
    slot: str = ""
    slots: frozenset[str] = frozenset()
    logical: tuple[str, ...] = ()
    delay_ms: int = 0
    latest_timeline: bool = True
    read_only: bool = False
    copying: tuple[str, ...] = ()
    may_look: bool = True
    may_promote: bool = True

    @property
    def name(self) -> str:
        """What whoever sends it WAL calls it."""
        return self.conninfo.name or self.cluster_name or "walreceiver"

    @property
    def uptime_s(self) -> float:
        """Since this start, by its own clock."""
        return self.now - self.started

    @property
    def major(self) -> int:
        """Of its version."""
        return self.version // 10000


@dataclass(frozen=True, slots=True)
class View:
    """Everybody's view at about one time.

    `own`: None when it does not answer, and `why` says why; `own_refuses`: nobody listens there. `peers`: those that
    answer; `silent`: why the others do not; `denied`: who answers and refuses us. All by address, as configured.
    """

    own: Server | None
    peers: Mapping[str, Server] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    denied: Mapping[str, str] = field(default_factory=dict)
    own_refuses: bool = False
    why: str = ""

    @property
    def everybody(self) -> tuple[Server, ...]:
        """All that answer, the own one first."""
        return (*(() if self.own is None else (self.own,)), *self.peers.values())

    @property
    def primaries(self) -> tuple[Server, ...]:
        """Those that say that they are."""
        return tuple(server for server in self.everybody if not server.replica)

    @property
    def primary(self) -> Server | None:
        """The only one; None when there is none, or more."""
        return self.primaries[0] if len(self.primaries) == 1 else None


def look(config: PostgresConfig, access: Access) -> View:
    """Ask the own server and all peers, at once. Raises `Denied`, `ProgramMissing`, `QueryFailed` about the own one."""
    addresses = list(dict.fromkeys(config.peers))
    with ThreadPoolExecutor(min(_THREADS, len(addresses) + 1)) as pool:
        asked = pool.submit(look_at, config.own, access)
        others = {text: pool.submit(look_at, address_of(text), access) for text in addresses}
        own: Server | None = None
        why, refuses = "", False
        try:
            own = asked.result()
        except Unreachable as error:
            why, refuses = str(error), error.refused
        peers: dict[str, Server] = {}
        silent: dict[str, str] = {}
        denied: dict[str, str] = {}
        for text, answer in others.items():
            try:
                found = answer.result()
            except Unreachable as error:
                silent[text] = str(error)
            except (Denied, QueryFailed) as error:
                denied[text] = str(error)
            else:
                if own is None or (found.system, found.started) != (own.system, own.started):
                    peers[text] = found  # else it is the own one, by another address
    return View(own, peers, silent, denied, refuses, why)


def look_at(address: Address, access: Access) -> Server:
    """Ask one server. Raises `Unreachable`, `Denied`, `QueryFailed`, `ProgramMissing`."""
    found = access.ask(address, LOOK)
    if not isinstance(found, dict):
        raise QueryFailed(f"{shown(address)} does not describe itself")
    return server_from(address, found)


def server_from(address: Address, found: Mapping[str, Any]) -> Server:
    """The answer to `LOOK` as a value."""
    settings: Mapping[str, str] = found["settings"]
    return Server(
        address=address,
        version=int(found["version"]),
        system=found["system"],
        replica=found["recovery"],
        now=float(found["now"]),
        started=float(found["started"]),
        received=int(found["received"] or 0),
        replayed=int(found["replayed"] or 0),
        paused=found["paused"],
        timeline=int(found["timeline"]),
        receiving=found["receiving"],
        standbys=tuple(
            Standby(each["name"] or "", each["state"] or "", int(each["flushed"])) for each in found["standbys"]
        ),
        conninfo=parse_conninfo(found["conninfo"] or ""),
        sync_names=settings.get("synchronous_standby_names", ""),
        cluster_name=settings.get("cluster_name", ""),
        slot=settings.get("primary_slot_name", ""),
        slots=frozenset(found["slots"]),
        logical=tuple(found["logical"]),
        delay_ms=int(settings.get("recovery_min_apply_delay", 0)),
        latest_timeline=settings.get("recovery_target_timeline", "latest") == "latest",
        read_only=settings.get("default_transaction_read_only") == "on",
        copying=tuple(found["copying"]),
        may_look=found["may_look"],
        may_promote=found["may_promote"],
    )


def parse_conninfo(text: str) -> Conninfo:
    """A connection string of libpq, in either of its forms; what cannot be read names nobody."""
    if re.match(r"postgres(ql)?://", text):
        parts = urlsplit(text)
        hosts = [each.rpartition("@")[2] for each in parts.netloc.split(",")]
        pairs = [(host, "") if host.endswith("]") else _split(host) for host in hosts]
        options = dict(parse_qsl(parts.query))
        servers = _servers([host for host, _ in pairs], [port for _, port in pairs])
    else:
        options = {
            name: re.sub(r"\\(.)", r"\1", value[1:-1] if value.startswith("'") else value)
            for name, value in re.findall(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)", text)
        }
        servers = _servers(options.get("host", "").split(","), options.get("port", "").split(","))
    return Conninfo(servers, options.get("target_session_attrs", "any"), options.get("application_name", ""))


def _split(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(":")
    return (name, port) if name else (host, "")


def _servers(hosts: Iterable[str], ports: list[str]) -> tuple[Address, ...]:
    found = []
    for place, host in enumerate(hosts):
        port = ports[place] if len(ports) > 1 and place < len(ports) else ports[0]
        if host:
            found.append((host.strip("[]"), int(port) if port.isdigit() else 5432))
    return tuple(found)
