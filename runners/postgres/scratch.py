"""A server of its own for a backup to be restored into: a folder, a socket in it, no port, and nothing left afterwards.

It runs under its own configuration only. What was restored is data and no instruction: no archiving, no subscription,
no library, no address of the original is in force here, so that proving a backup cannot touch what it is a backup of.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runners.postgres.config import Address, PostgresConfig
from runners.postgres.programs import ProgramFailed, Programs
from runners.postgres.psql import Access, QueryFailed, Unreachable, session_name

__all__ = ["ROLE", "Scratch", "leftovers", "room"]

ROLE = "taskerman_restore"
_PREFIX = "taskerman-restore-"
_PORT = 5432
_START_WITHIN_S = 600.0
_LONGEST = 90
"""Characters of its folder: the path of a socket has at most 107."""

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "20",
    "max_prepared_transactions": "64",
    "fsync": "off",
    "synchronous_standby_names": "",
    "full_page_writes": "off",
    "archive_mode": "off",
    "archive_command": "",
    "restore_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "ssl": "off",
    "external_pid_file": "",
    "event_source": "PostgreSQL",
}


class Scratch:
    """The folder of one attempt and what runs in it."""

    def __init__(self, config: PostgresConfig, attempt: str) -> None:
        """Nothing is made yet. Raises `ValueError` when the folder's path is too long for a socket."""
        self._config = config
        self.folder = Path(config.scratch) / (_PREFIX + session_name(attempt)[-20:])
        if len(str(self.folder)) > _LONGEST:
            raise ValueError(f"{self.folder} is too long for a socket: name a shorter scratch folder")
        self.data = self.folder / "data"
        self.programs = Programs(config.programs, config.run_as)
        self._held: int | None = None

    def make(self) -> None:
        """An empty folder that only the server's user can enter."""
        self.remove()
        self.folder.mkdir(mode=0o700)
        self._held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self.data.mkdir(mode=0o700)
        (self.folder / "hba").write_text("local all all trust\n")
        (self.folder / "ident").write_text("")
        self.own()

    def initdb(self) -> None:
        """A new, empty server. Raises `ProgramFailed`."""
        argv = ["-D", str(self.data), "-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        self.programs.run("initdb", argv)

    def own(self) -> None:
        """Everything in it belongs to the server's user."""
        if not self._config.run_as or os.geteuid() != 0:
            return
        who = pwd.getpwnam(self._config.run_as)
        for place in (self.folder, *self.folder.rglob("*")):
            os.chown(place, who.pw_uid, who.pw_gid, follow_symlinks=False)

    @contextmanager
    def running(self, role: str = ROLE) -> Iterator[Address]:
        """It serves within, on the socket in its folder, `role`, too. Raises `ProgramFailed` with the end of its log,
        `Denied`."""
        log = self.folder / "log"
        for name in ("standby.signal", "recovery.signal", "postmaster.pid"):
            (self.data / name).unlink(missing_ok=True)
        (self.data / "postgresql.auto.conf").write_text("")
        (self.folder / "postgresql.conf").write_text("")
        self.own()
        settings = {
            **_SETTINGS,
            **self._config.scratch_settings,
            "config_file": str(self.folder / "postgresql.conf"),
            "hba_file": str(self.folder / "hba"),
            "ident_file": str(self.folder / "ident"),
            "unix_socket_directories": str(self.folder),
        }
        argv = ["-D", str(self.data), *(word for each in settings.items() for word in ("-c", "=".join(each)))]
        with (
            log.open("ab") as words,
            self.programs.started("postgres", argv, stdout=words, stderr=subprocess.STDOUT) as server,
        ):
            give_up_at = time.monotonic() + _START_WITHIN_S
            access = self.access(role)
            while True:
                with suppress(Unreachable, QueryFailed):
                    if access.ask((str(self.folder), _PORT), "SELECT to_json(pg_is_in_recovery())") is False:
                        break
                if server.poll() is not None or time.monotonic() >= give_up_at:
                    raise ProgramFailed("the scratch server", server.returncode or 0, self.said())
                time.sleep(0.1)
            yield str(self.folder), _PORT

    def access(self, role: str = ROLE) -> Access:
        """How it is asked."""
        return Access(self.programs, role, "", "", "template1", 60.0)

    def said(self) -> str:
        """The end of its log."""
        with suppress(OSError):
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        return ""

    def remove(self) -> None:
        """Gone, with what ran in it. Idempotent."""
        pid = _server_in(self.folder)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, 3)  # SIGQUIT: at once, and without a crash report
            give_up_at = time.monotonic() + 10
            while _server_in(self.folder) is not None and time.monotonic() < give_up_at:
                time.sleep(0.05)
        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)


def leftovers(config: PostgresConfig) -> Sequence[Path]:
    """Folders of attempts that ended without removing them: nothing runs in them, and nobody works there."""
    return [
        each for each in Path(config.scratch).glob(f"{_PREFIX}*") if _server_in(each) is None and not _is_held(each)
    ]


def _is_held(folder: Path) -> bool:
    """Whether a living attempt, perhaps of another agent on this machine, has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def room(config: PostgresConfig) -> int:
    """How many bytes may be written into the scratch folder. Raises `OSError`."""
    disk = os.statvfs(config.scratch)
    return max(0, disk.f_bavail * disk.f_frsize - config.scratch_reserve_bytes)


def _server_in(folder: Path) -> int | None:
    """The process of the server that runs in a scratch folder: told by its pid file *and* by its command line,
    because a number is given to others again."""
    data = folder / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    return pid if str(data).encode() in words else None
