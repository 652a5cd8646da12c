"""Asking a server in SQL, through `psql`: answers are JSON that the server made, so that nothing is parsed by
guesswork.

An error says who must do something: nobody, because it passes (`Unreachable`, `Starting`); a person, because the server
answers and refuses us (`Denied`); or it is about the statement (`QueryFailed`).
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from runners.postgres.config import Address, PostgresConfig, shown
from runners.postgres.programs import ProgramFailed, ProgramMissing, Programs

__all__ = [
    "Access",
    "Denied",
    "QueryFailed",
    "Session",
    "Starting",
    "Unreachable",
    "access_of",
    "literal",
    "session_name",
]

_LOST = 2
"""What psql exits with when there is no connection (any more)."""
_STARTING = re.compile(
    r"FATAL:\s+the database system is (starting up|shutting down|in recovery mode|not yet accepting)"
)
"""In English at least; in another language pg_isready is asked, a moment later."""
_BUSY = re.compile(r"FATAL:\s+(sorry, too many clients|remaining connection slots|too many connections)")
_FATAL = re.compile(r"(FATAL:|no password supplied)")


class Unreachable(Exception):
    """Nobody answers there. `refused`: nobody listens, as opposed to silence."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Starting(Unreachable):
    """Somebody answers, and takes no questions yet, or has no place for us now."""


class Denied(Exception):
    """The server answers and refuses us: a wrong password, no such database or role, no rights."""


class QueryFailed(Exception):
    """The server did not do what it was asked. The text is its own."""


@dataclass(frozen=True, slots=True)
class Access:
    """How servers are asked. `timeout_s`: for one answer. `name`: what the server calls our sessions, so that those of
    a process that was killed can be found and ended."""

    programs: Programs
    user: str
    password: str = field(repr=False)
    passfile: str
    database: str
    timeout_s: float
    name: str = "taskerman"

    def named(self, name: str) -> Access:
        """The same, with sessions of another name."""
        return replace(self, name=name)

    def ask(
        self, server: Address, sql: str, *, database: str = "", settings: Mapping[str, str] | None = None
    ) -> JsonValue:
        """The one JSON value that `sql` selects. Raises `Unreachable`, `Denied`, `QueryFailed`, `ProgramMissing`."""
        limits = {"statement_timeout": f"{int(self.timeout_s * 1000)}", **(settings or {})}
        said = self.tell(server, [sql], database=database, settings=limits, timeout_s=self.timeout_s + 5)
        try:
            found: JsonValue = json.loads(said)
        except ValueError:
            raise QueryFailed(f"{shown(server)} answered {said[:100]!r}, which is no JSON") from None
        return found

    def tell(
        self,
        server: Address,
        statements: Sequence[str],
        *,
        database: str = "",
        settings: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Have statements done, each on its own. `settings`: of the session. Raises as `ask`."""
        argv = [*_argv(), *(word for statement in statements for word in ("-c", statement))]
        try:
            return self.programs.run("psql", argv, env=self.env(server, database, settings), timeout_s=timeout_s)
        except TimeoutError:
            raise Unreachable(f"{shown(server)} did not answer in time") from None
        except ProgramFailed as error:
            raise self._why(server, error) from None

    @contextmanager
    def session(
        self, server: Address, *, database: str = "", settings: Mapping[str, str] | None = None
    ) -> Iterator[Session]:
        """One session that stays open: for a snapshot that others share."""
        env = self.env(server, database, settings)
        with self.programs.started(
            "psql", [*_argv(), "-q"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            yield Session(process)

    def env(self, server: Address, database: str = "", settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a program of PostgreSQL is told in its environment: whom to ask, as whom, with which password."""
        host, port = server
        found = {
            "PGHOST": host,
            "PGPORT": str(port),
            "PGUSER": self.user,
            "PGDATABASE": database or self.database,
            "PGCONNECT_TIMEOUT": str(max(2, int(self.timeout_s))),
            "PGAPPNAME": self.name,
            "PGCLIENTENCODING": "UTF8",
            "PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in (settings or {}).items()),
        }
        if self.password:
            found["PGPASSWORD"] = self.password
        if self.passfile:
            found["PGPASSFILE"] = self.passfile
        return found

    def end_sessions(self, server: Address, *, within_s: float = 20.0) -> int:
        """End all sessions of our name there, and come back when they are gone; how many are left, 0 as a rule.

        A server goes on with a statement whose client has died: so what a killed action asked for is ended here.
        """
        other = self.named(f"{self.name[:50]}-end")
        sql = (
            "SELECT coalesce(json_agg(pg_terminate_backend(pid)), '[]') FROM pg_stat_activity "  # noqa: S608
            f"WHERE application_name = {literal(self.name)} AND pid <> pg_backend_pid()"
        )
        give_up_at = time.monotonic() + within_s
        while True:
            left = other.ask(server, sql)
            count = len(left) if isinstance(left, list) else 0
            if count == 0 or time.monotonic() >= give_up_at:
                return count
            time.sleep(0.1)

    def _why(self, server: Address, error: ProgramFailed) -> Exception:
        said = error.said.strip()
        words = f"{shown(server)}: {said.splitlines()[-1] if said else error}"[:500]
        if error.exit != _LOST:
            if "permission denied" in said or "must be superuser" in said or "must be owner" in said:
                return Denied(f"{words} (user {self.user})")
            return QueryFailed(f"{shown(server)}: {said}"[:1000])
        if _STARTING.search(said) or _BUSY.search(said) or (_FATAL.search(said) and self._rejects(server)):
            return Starting(words)
        if _FATAL.search(said) and "terminating connection" not in said:
            return Denied(f"{words} (user {self.user})")
        return Unreachable(words, refused=nobody_listens(server))

    def _rejects(self, server: Address) -> bool:
        """Whether it takes nobody's connection now (it starts, or stops): told by a code, in whatever language."""
        try:
            self.programs.run("pg_isready", ["-q"], env=self.env(server), timeout_s=self.timeout_s + 5)
        except ProgramFailed as error:
            return error.exit == 1
        except (ProgramMissing, TimeoutError):
            return False
        return False


class Session:
    """One open session: a question at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, sql: str) -> str:
        """What `sql` prints, in lines. Raises `QueryFailed` when it failed or the session is over."""
        mark = "taskerman-end-of-answer"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        lines: list[str] = []
        try:
            self._process.stdin.write(f"{sql};\n\\echo {mark}\n".encode())
            self._process.stdin.flush()
        except OSError:
            pass  # its last words are read below
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line == mark:
                return "\n".join(lines)
            lines.append(line)
        raise QueryFailed(("\n".join(lines) or "the session is over")[-1000:])


def access_of(config: PostgresConfig, name: str = "taskerman") -> Access:
    """As the node's configuration says."""
    return Access(
        Programs(config.programs, config.run_as),
        config.user,
        config.password.get_secret_value(),
        config.passfile,
        config.database,
        config.timeout_s,
        name,
    )


def session_name(attempt: str) -> str:
    """What the sessions of an attempt are called: short enough for a server, and no other attempt's."""
    return f"taskerman-{hashlib.sha256(attempt.encode()).hexdigest()[:20]}"


def literal(text: str) -> str:
    """A string of SQL, whatever the server's settings."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"


def nobody_listens(server: Address) -> bool:
    """Whether there is nobody, for sure, rather than somebody who is silent."""
    host, port = server
    try:
        if host.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(2)
                probe.connect(str(Path(host) / f".s.PGSQL.{port}"))
        else:
            socket.create_connection(server, 2).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False


def _argv() -> list[str]:
    return ["--no-psqlrc", "-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]
