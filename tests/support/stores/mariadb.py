"""A real Galera cluster of three MariaDB on loopback, each under its own supervisor.

All begin with the same files and the same position, so that nobody copies the data of another to join. The first is
told to begin a new cluster in its settings file, and the line is removed as soon as it runs: whoever restarts it later
joins it to the others, as on a machine where a person bootstrapped it once.

It refuses to heal: what a test stopped, killed or broke stays so until the test asks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import services
from tests.support.ports import free_ports
from tests.support.stores.member import Member
from tests.support.stores.mysql_wire import MysqlError, MysqlWire

__all__ = ["APP", "KEEPER", "Galera", "Place", "formed_galera", "forming_galera", "galera"]

NAMES = ("maria-0", "maria-1", "maria-2")
KEEPER = ("taskerman", "k-" + uuid.uuid4().hex)
"""The runner's user and password."""
APP = ("app", "a-" + uuid.uuid4().hex)
WELL_WITHIN_S = 60.0

_USERS = f"""
FLUSH PRIVILEGES;
CREATE USER '{KEEPER[0]}'@'%' IDENTIFIED BY '{KEEPER[1]}';
GRANT PROCESS, RELOAD, LOCK TABLES, BINLOG MONITOR, SUPER, SELECT, SHOW VIEW, EVENT, TRIGGER
    ON *.* TO '{KEEPER[0]}'@'%';
CREATE USER '{APP[0]}'@'%' IDENTIFIED BY '{APP[1]}';
CREATE USER 'nobody'@'%' IDENTIFIED BY 'nothing';
CREATE USER 'watcher'@'%' IDENTIFIED BY 'nothing';
GRANT PROCESS ON *.* TO 'watcher'@'%';
CREATE DATABASE shop;
GRANT ALL ON shop.* TO '{APP[0]}'@'%';
CREATE TABLE shop.notes (id VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL) ENGINE=InnoDB;
"""

_SETTINGS = """[mysqld]
datadir={folder}/data
socket={folder}/sql
pid-file={folder}/pid
bind-address=127.0.0.1
port={sql}
skip-name-resolve
user={user}
default-storage-engine=InnoDB
binlog-format=ROW
innodb-autoinc-lock-mode=2
innodb-buffer-pool-size=24M
innodb-log-file-size=8M
innodb-flush-log-at-trx-commit=2
performance-schema=OFF
max-connections=50
wsrep-on=ON
wsrep-provider={library}
wsrep-cluster-name=taskerman-test
wsrep-cluster-address=gcomm://{group}
wsrep-node-name={name}
wsrep-node-address=127.0.0.1
wsrep-node-incoming-address=127.0.0.1:{sql}
wsrep-sst-method=rsync
wsrep-sst-receive-address=127.0.0.1:{sst}
wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:{gcomm};ist.recv_addr=127.0.0.1:{ist};gcache.size=16M;\
evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S"
"""
_BEGIN = "wsrep-new-cluster\n"


@dataclass(frozen=True, slots=True)
class Place:
    """The ports of one member on 127.0.0.1, and its folder."""

    name: str
    folder: Path
    sql: int
    gcomm: int
    ist: int
    sst: int

    @property
    def settings(self) -> Path:
        """Its settings file."""
        return self.folder / "my.cnf"


class Galera:
    """`members` in the order of their names; `places` beside them."""

    kind = "mariadb"

    def __init__(self, places: Sequence[Place], members: Sequence[Member]) -> None:
        self.places = tuple(places)
        self.members: Sequence[Member] = tuple(members)

    def place(self, member: Member) -> Place:
        """Where the member stands."""
        return self.places[self.members.index(member)]

    def settings(self, member: Member) -> Mapping[str, Any]:
        """`[runners.mariadb_task]` of its node."""
        own = self.place(member)
        return {
            "socket": str(own.folder / "sql"),
            "defaults_file": str(own.folder / "client.cnf"),
            "peers": [f"127.0.0.1:{each.sql}" for each in self.places if each is not own],
            "restart": member.command_line("restart"),
            "print_defaults": ["mariadbd", f"--defaults-file={own.settings}", "--print-defaults"],
        }

    def sql(self, member: Member, statement: str, *, user: tuple[str, str] = KEEPER) -> list[tuple[str | None, ...]]:
        """One statement at one member. Raises `OSError`, `MysqlError`."""
        wire = self.connect(member, user)
        try:
            return wire.query(statement)
        finally:
            wire.close()

    def connect(self, member: Member, user: tuple[str, str] = KEEPER) -> MysqlWire:
        """A connection to one member."""
        return MysqlWire("127.0.0.1", self.place(member).sql, *user, timeout_s=20)

    def status(self, member: Member) -> dict[str, str]:
        """Its status of Galera, in lower case."""
        return {str(name).lower(): str(value) for name, value in self.sql(member, "SHOW GLOBAL STATUS LIKE 'wsrep%'")}

    def client(self) -> Callable[[], None]:
        """One note that is written and read again; a member that refuses is left for the next one."""
        return _Client(self)

    def wait_until_well(self) -> None:
        """Until every member is Synced in one component of all."""
        deadline = time.monotonic() + WELL_WITHIN_S
        while wrong := self._wrong():
            assert time.monotonic() < deadline, f"the cluster is not well: {wrong}"
            time.sleep(0.05)

    def _wrong(self) -> str:
        seen = set()
        for member in self.members:
            try:
                status = self.status(member)
            except (OSError, MysqlError) as error:
                return f"{member.name}: {error}"
            if status["wsrep_local_state_comment"] != "Synced" or status["wsrep_ready"] != "ON":
                return f"{member.name} is {status['wsrep_local_state_comment']}"
            if int(status["wsrep_cluster_size"]) != len(self.members):
                return f"{member.name} sees {status['wsrep_cluster_size']} members"
            seen.add((status["wsrep_cluster_conf_id"], status["wsrep_cluster_state_uuid"]))
        return "" if len(seen) == 1 else "the members disagree"

    def close(self) -> None:
        """End all of it."""
        for member in self.members:
            member.close()


class _Client:
    """Its own row, so that nobody's transaction conflicts with another's."""

    def __init__(self, store: Galera) -> None:
        self._ports = [place.sql for place in store.places]
        self._wire: MysqlWire | None = None
        self._row = uuid.uuid4().hex
        self._count = 0
        self._at = hash(self._row) % len(self._ports)

    def __call__(self) -> None:
        self._count += 1
        deadline = time.monotonic() + 2.0
        while True:
            try:
                self._once()
                return
            except (OSError, MysqlError):
                self._leave()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _once(self) -> None:
        if self._wire is None:
            self._wire = MysqlWire("127.0.0.1", self._ports[self._at], *APP, timeout_s=2.0)
        self._wire.query(f"REPLACE INTO shop.notes VALUES ('{self._row}', {self._count})")
        read = self._wire.query(f"SELECT value FROM shop.notes WHERE id = '{self._row}'")
        assert read == [(str(self._count),)], f"written {self._count}, read {read}"

    def _leave(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None
        self._at = (self._at + 1) % len(self._ports)

    def __del__(self) -> None:
        if self._wire is not None:
            self._wire.close()


@pytest.fixture(scope="session")
def formed_galera() -> Iterator[Galera]:
    """One cluster for all tests of a run: it takes 9 s."""
    with forming_galera() as store:
        yield store


@pytest.fixture
def galera(formed_galera: Galera) -> Iterator[Galera]:
    """Three MariaDB, well; what a test stopped or broke is started again after it."""
    formed_galera.wait_until_well()
    yield formed_galera
    for member in formed_galera.members:
        member.must("repair")
        member.must("start")
    formed_galera.wait_until_well()


@contextmanager
def forming_galera() -> Iterator[Galera]:
    """Three members that are well; gone with the block. Skips or fails when MariaDB is not installed."""
    services.require("mariadb")
    user = "mysql" if os.getuid() == 0 else None
    with ExitStack() as stack:
        # Not pytest's folder: the path of a unix socket has to be short, and another user must reach it.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galera-")))
        root.chmod(0o755)
        events = root / "events.jsonl"
        ports = free_ports(4 * len(NAMES))
        places = [Place(name, root / name, *ports[4 * i : 4 * i + 4]) for i, name in enumerate(NAMES)]
        _lay_out(root, places, user)
        events.unlink()
        events.touch()
        members = [_member(place, events, user) for place in places]
        store = Galera(places, members)
        stack.callback(store.close)
        first, *others = members
        first.supervise()
        first.wait_started()
        settings = places[0].settings
        settings.write_text(settings.read_text().replace(_BEGIN, ""))
        for member in others:  # one after another: two that join at once take turns in starting over
            member.supervise()
            member.wait_started()
        store.wait_until_well()
        yield store


def _member(place: Place, events: Path, user: str | None) -> Member:
    argv = ["mariadbd", f"--defaults-file={place.settings}"]
    ready = ["mariadb-admin", "--no-defaults", f"--socket={place.folder / 'sql'}", "--silent", "ping"]
    return Member(place.name, place.folder, argv, ready, events, user, {"start_within_s": 60})


def _lay_out(root: Path, places: Sequence[Place], user: str | None) -> None:
    """Every member's folder, with settings and data, as a cluster leaves them that was shut down in order."""
    group = ",".join(f"127.0.0.1:{place.gcomm}" for place in places)
    for place in places:
        place.folder.mkdir()
        more = {"user": user or "", "library": services.GALERA, "group": group}
        text = _SETTINGS.format(folder=place.folder, **more, **_of(place))
        place.settings.write_text(text + (_BEGIN if place is places[0] else ""))
        client = place.folder / "client.cnf"
        client.write_text(f"[client]\nuser={KEEPER[0]}\npassword={KEEPER[1]}\n")
        client.chmod(0o600)
        if user is not None:
            shutil.chown(place.folder, user, user)
    first, *others = places
    _install(root, first, user)
    for place in others:
        shutil.copytree(first.folder / "data", place.folder / "data")
        state = place.folder / "data" / "grastate.dat"
        state.write_text(state.read_text().replace("safe_to_bootstrap: 1", "safe_to_bootstrap: 0"))
        if user is not None:
            for path in (place.folder / "data").rglob("*"):
                shutil.chown(path, user, user)
            shutil.chown(place.folder / "data", user, user)


def _of(place: Place) -> dict[str, Any]:
    return {"name": place.name, "sql": place.sql, "gcomm": place.gcomm, "ist": place.ist, "sst": place.sst}


def _install(root: Path, place: Place, user: str | None) -> None:
    """The tables, the users, and a first position of the cluster: a server that ran alone once."""
    users = root / "users.sql"
    users.write_text(_USERS)
    words = ["mariadb-install-db", "--no-defaults", f"--datadir={place.folder / 'data'}", f"--extra-file={users}"]
    words += ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"]
    words += [f"--user={user}"] if user is not None else []
    made = subprocess.run(words, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    alone = _member(place, root / "events.jsonl", user)
    alone.supervise()
    try:
        alone.wait_started()
        alone.must("stop")
    finally:
        alone.close()
    alone.socket.unlink()
