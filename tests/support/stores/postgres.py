"""A real PostgreSQL on loopback: a primary and two streaming replicas, each under a supervisor that plays systemd.

Each finds the primary by itself (`primary_conninfo` names all three), so that the roles may move; `members` stay in
their order, and the first is the primary at the beginning. As root it runs as Debian's user `postgres`, because
PostgreSQL refuses root.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.support.ports import free_ports
from tests.support.services import postgresql_program, require
from tests.support.stores.member import Member

__all__ = ["PASSWORD", "USER", "PostgresStore", "running_postgres"]

USER = "ada"
PASSWORD = "s3cret/of the'test"
CLIENT_PATIENCE_S = 2.0
_WELL_WITHIN_S = 60.0
_HBA = "".join(f"{who} scram-sha-256\n" for who in ("local all all", "host all,replication all 127.0.0.1/32"))


class PostgresStore:
    """A running one. `folder`: of everything; short, because the path of a socket has at most 107 characters."""

    kind = "postgres"

    def __init__(self, folder: Path, *, members: int = 3) -> None:
        """Nothing runs yet."""
        self._folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        self.events = folder / "events.jsonl"
        self.events.touch()
        self.ports = free_ports(members)
        self.members: Sequence[Member] = [self._member(number) for number in range(members)]

    # --- what a Store has ----------------------------------------------------------------------------------

    def settings(self, member: Member) -> Mapping[str, Any]:
        """`[runners.postgres_task]` of its node."""
        port = self.port(member)
        return {
            "host": "127.0.0.1",
            "port": port,
            "user": USER,
            "password": PASSWORD,
            "peers": [f"127.0.0.1:{other}" for other in self.ports if other != port],
            "programs": str(Path(postgresql_program("postgres")).parent),
            "run_as": self._user or "",
            "restart": member.command_line("restart"),
            "stop": member.command_line("stop"),
            "start": member.command_line("start"),
            "data": str(member.folder / "data"),
            "handover": "built_in",
            "scratch": str(self._folder),
        }

    def client(self) -> Callable[[], None]:
        """A write that is read again at whoever is the primary; for two seconds it looks for one."""
        return _Client(self)

    def wait_until_well(self) -> None:
        """One primary, and everybody else streams from it and has replayed everything."""
        deadline = time.monotonic() + _WELL_WITHIN_S
        while True:
            seen = [self._state(member) for member in self.members]
            primaries = [each for each in seen if each and not each["recovery"]]
            if len(primaries) == 1 and all(seen):
                replicas = [each for each in seen if each and each["recovery"]]
                if primaries[0]["streaming"] == len(replicas) == len(self.members) - 1 and all(
                    each["replayed"] >= primaries[0]["lsn"] for each in replicas
                ):
                    return
            assert time.monotonic() < deadline, f"not well: {seen}"
            time.sleep(0.05)

    def close(self) -> None:
        """End all of it."""
        for member in self.members:
            member.close()

    # --- what is its own -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the data folders and start everybody; back when all is well."""
        first, *others = self.members
        self._initdb(first.folder / "data")
        self._configure(first)
        first.supervise()
        first.wait_started()
        for copying in [self._copy(member) for member in others]:
            with copying:
                assert copying.wait(60) == 0, "pg_basebackup failed"
        for member in others:
            self._configure(member)
            (member.folder / "data" / "standby.signal").touch()
            self._own(member.folder / "data")
            member.supervise()
        for member in others:
            member.wait_started()
        self.wait_until_well()
        self.execute("CREATE TABLE load (id bigserial PRIMARY KEY, said text)")

    def port(self, member: Member) -> int:
        """Where it listens."""
        return self.ports[list(self.members).index(member)]

    def connect(self, member: Member, database: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """As the superuser, each statement on its own."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port(member),
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=3,
            **more,
        )

    def ask(self, member: Member, statement: str, database: str = "postgres") -> Any:
        """The first value of what a statement returns, None when it returns nothing."""
        with self.connect(member, database) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def execute(self, statement: str, database: str = "postgres") -> None:
        """At the primary."""
        self.ask(self.primary(), statement, database)

    def primary(self) -> Member:
        """Who is it now. Raises AssertionError when nobody or more than one is."""
        found = [m for m in self.members if (state := self._state(m)) and not state["recovery"]]
        assert len(found) == 1, f"{len(found)} primaries: {[each.name for each in found]}"
        return found[0]

    def replicas(self) -> list[Member]:
        """Who follows now."""
        return [m for m in self.members if (state := self._state(m)) and state["recovery"]]

    def most_down(self) -> int:
        """How many members were down at once, by the supervisors' lines, since `forget_events`."""
        down: set[str] = set()
        most = 0
        for line in self.events.read_text().splitlines():
            event = json.loads(line)
            down = down | {event["node"]} if event["event"] == "down" else down - {event["node"]}
            most = max(most, len(down))
        return most

    def restarts(self) -> list[str]:
        """Members in the order in which they went down."""
        events = [json.loads(line) for line in self.events.read_text().splitlines()]
        return [event["node"] for event in events if event["event"] == "down"]

    def forget_events(self) -> None:
        """From here on they count."""
        self.events.write_text("")

    def _state(self, member: Member) -> dict[str, Any] | None:
        sql = (
            "SELECT json_build_object('recovery', pg_is_in_recovery(), 'streaming', (SELECT count(*) FROM "
            "pg_stat_replication WHERE state = 'streaming'), 'lsn', CASE WHEN pg_is_in_recovery() THEN 0 ELSE "
            "pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') END, 'replayed', coalesce(pg_wal_lsn_diff("
            "pg_last_wal_replay_lsn(), '0/0'), 0))"
        )
        try:
            found: dict[str, Any] = self.ask(member, sql)
        except psycopg.Error:
            return None
        return found

    def _member(self, number: int) -> Member:
        folder = self._folder / str(number)
        folder.mkdir()
        port = str(self.ports[number])
        return Member(
            f"pg-{number}",
            folder,
            argv=[postgresql_program("postgres"), "-D", str(folder / "data")],
            ready=[postgresql_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", port],
            events=self.events,
            user=self._user,
            more={"stop_signal": int(signal.SIGINT)},
        )

    def _configure(self, member: Member) -> None:
        hosts = ",".join("127.0.0.1" for _ in self.ports)
        ports = ",".join(map(str, self.ports))
        secret = PASSWORD.replace("'", "\\'")
        way = (
            f"host={hosts} port={ports} user={USER} password='{secret}' application_name={member.name} "
            "target_session_attrs=read-write connect_timeout=3"
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port(member),
            "unix_socket_directories": str(member.folder),
            "shared_buffers": "16MB",
            "max_connections": 60,
            "fsync": "off",
            "wal_keep_size": "128MB",
            "wal_retrieve_retry_interval": "100ms",
            "cluster_name": member.name,
            "primary_conninfo": way,
            "autovacuum": "off",
        }
        quoted = {name: str(value).replace("\\", "\\\\").replace("'", "''") for name, value in settings.items()}
        lines = [f"{name} = '{value}'" for name, value in quoted.items()]
        with (member.folder / "data" / "postgresql.conf").open("a") as file:  # the last of a name counts
            file.write("\n".join(["", *lines, ""]))
        (member.folder / "data" / "pg_hba.conf").write_text(_HBA)

    def _initdb(self, data: Path) -> None:
        secret = data.parent / "secret"
        secret.write_text(PASSWORD)
        self._own(data.parent)
        subprocess.run(
            [
                *(postgresql_program("initdb"), "-D", data, "-U", USER, "--pwfile", secret, "-A", "scram-sha-256"),
                *("-E", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--data-checksums"),
            ],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=data.parent,
        )

    def _copy(self, member: Member) -> subprocess.Popen[bytes]:
        """The primary's data, as it is now."""
        self._own(member.folder)
        return subprocess.Popen(
            [
                *(postgresql_program("pg_basebackup"), "-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", USER),
                *("-D", str(member.folder / "data"), "--checkpoint=fast", "--no-sync"),
            ],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            user=self._user,
            cwd=member.folder,
        )

    def _own(self, place: Path) -> None:
        if self._user is None:
            return
        who = pwd.getpwnam(self._user)
        for path in (place, *place.rglob("*")):
            os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)


class _Client:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._open: psycopg.Connection[Any] | None = None
        self._number = 0

    def __call__(self) -> None:
        give_up_at = time.monotonic() + CLIENT_PATIENCE_S
        while True:
            try:
                return self._ask()
            except psycopg.Error:
                self._close()
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(0.02)

    def _ask(self) -> None:
        if self._open is None:
            hosts = ",".join("127.0.0.1" for _ in self._store.ports)
            self._open = psycopg.connect(
                host=hosts,
                port=",".join(map(str, self._store.ports)),
                user=USER,
                password=PASSWORD,
                dbname="postgres",
                target_session_attrs="read-write",
                connect_timeout=2,
                autocommit=True,
            )
        self._number += 1
        said = f"{os.getpid()}-{id(self)}-{self._number}"
        row = self._open.execute("INSERT INTO load (said) VALUES (%s) RETURNING id", (said,)).fetchone()
        assert row is not None
        again = self._open.execute("SELECT said FROM load WHERE id = %s", (row[0],)).fetchone()
        if again != (said,):
            raise AssertionError(f"{said} was written and {again} is read")

    def _close(self) -> None:
        if self._open is not None:
            with contextlib.suppress(psycopg.Error):
                self._open.close()
            self._open = None

    def __del__(self) -> None:
        self._close()


@contextlib.contextmanager
def running_postgres(members: int = 3) -> Iterator[PostgresStore]:
    """One that is well; gone with the block. Skips, or fails in CI, when PostgreSQL is not installed."""
    require("postgresql")
    folder = Path(tempfile.mkdtemp(prefix="tpg-"))
    folder.chmod(0o755)
    store = PostgresStore(folder, members=members)
    try:
        store.start()
        yield store
    finally:
        store.close()
        shutil.rmtree(folder, ignore_errors=True)
