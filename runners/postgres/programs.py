"""PostgreSQL's own programs: found, of the right version, run as the right user, and never left behind.

A password is in a program's environment and nowhere else: not among its arguments, which everybody on the machine can
read, and not in a log. What a program prints is in English, so that it can be read here.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["ProgramFailed", "ProgramMissing", "Programs", "Streaming"]

_CHUNK = 1 << 20
_TAIL_BYTES = 4000
_GRACE_S = 5.0


class ProgramMissing(Exception):
    """A program cannot be run here at all. The text names it and the next step."""


class ProgramFailed(Exception):
    """A program ended with another code than 0. `exit`: it, negative for a signal."""

    def __init__(self, name: str, exit_code: int, said: str) -> None:
        self.name, self.exit, self.said = name, exit_code, said
        last = [line for line in said.strip().splitlines() if line.strip()][-1:] or ["it printed nothing"]
        how = f"ended by signal {-exit_code}" if exit_code < 0 else f"exit {exit_code}"
        super().__init__(f"{name}: {how}; {last[0][:400]}")


@dataclass(frozen=True, slots=True)
class Programs:
    """`folder`: where they are; "" = PATH. `run_as`: a user of the system; "" = as we."""

    folder: str = ""
    run_as: str = ""

    def path(self, name: str) -> str:
        """Of a program. Raises `ProgramMissing`."""
        found = shutil.which(name, path=self.folder or None)
        if found is None:
            where = self.folder or "PATH"
            raise ProgramMissing(
                f"the program {name} of PostgreSQL is not in {where}: install it, or name its folder in this node's "
                "configuration (programs)"
            )
        return found

    def version(self, name: str) -> int:
        """Its major version. Raises `ProgramMissing`, `ProgramFailed`."""
        said = self.run(name, ["--version"], timeout_s=20)
        found = re.search(r"(\d+)(?:\.\d+|devel|beta\d+|rc\d+)", said)
        if found is None:
            raise ProgramMissing(f"{name} does not say which version it is, but {said.strip()[:100]!r}")
        return int(found[1])

    def check_user(self) -> None:
        """Raise `ProgramMissing` when programs cannot be run as the user that the configuration names."""
        if not self.run_as:
            return
        try:
            user = pwd.getpwnam(self.run_as)
        except KeyError:
            raise ProgramMissing(f"there is no user {self.run_as} on this machine: correct run_as") from None
        if os.geteuid() not in (0, user.pw_uid):
            raise ProgramMissing(f"only root may run programs as {self.run_as}: correct run_as, or run the agent so")

    def run(
        self,
        name: str,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
    ) -> str:
        """What it printed on standard output. Raises `ProgramMissing`, `ProgramFailed`, `TimeoutError`."""
        with self.started(name, args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{name} took longer than {timeout_s:g} s") from None
            if process.returncode:
                raise ProgramFailed(name, process.returncode, (err or out).decode(errors="replace")[-_TAIL_BYTES:])
            return str(out.decode(errors="replace"))

    @contextmanager
    def started(
        self,
        name: str,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.DEVNULL,
        stderr: Any = subprocess.PIPE,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """It runs within, in a process group of its own; afterwards nothing of it does (SIGINT first, which makes
        `psql` cancel what it asked the server for). Raises `ProgramMissing`."""
        self.check_user()
        try:
            process = subprocess.Popen(
                [self.path(name), *args],
                env=_environment(env or {}),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                process_group=0,
                **self._identity(),
            )
        except OSError as error:
            raise ProgramMissing(f"{name} cannot be started: {error.strerror or error}") from error
        with process:
            try:
                yield process
            finally:
                _end(process)

    def streaming(self, name: str, args: Sequence[str], *, env: Mapping[str, str] | None = None) -> Streaming:
        """A program whose standard output is read as it comes."""
        return Streaming(self, name, args, env or {})

    def _identity(self) -> dict[str, Any]:
        if not self.run_as or pwd.getpwnam(self.run_as).pw_uid == os.geteuid():
            return {}
        user = pwd.getpwnam(self.run_as)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(self.run_as, user.pw_gid)}


class Streaming:
    """One program, whose output is content: whole only when it ended well."""

    def __init__(self, programs: Programs, name: str, args: Sequence[str], env: Mapping[str, str]) -> None:
        self._programs, self._name, self._args, self._env = programs, name, args, env
        self.said = ""
        """What it wrote to standard error; known afterwards."""

    def chunks(self) -> Iterator[bytes]:
        """Its output. After the last chunk raises `ProgramFailed` unless it ended with 0, so that whoever stores it
        knows before it counts. Raises `ProgramMissing`."""
        with tempfile.TemporaryFile() as words:
            with self._programs.started(
                self._name, self._args, env=self._env, stdout=subprocess.PIPE, stderr=words
            ) as process:
                assert process.stdout is not None
                while chunk := process.stdout.read(_CHUNK):
                    yield chunk
                process.wait()
            self.said = _tail_of(words)
            if process.returncode:
                raise ProgramFailed(self._name, process.returncode, self.said)


def _tail_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read().decode(errors="replace")


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours (with the marker by which leftovers are found), but nobody's PostgreSQL variables, and no AWS identity."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "AWS_"))}
    return {**ours, "LC_ALL": "C", "TZ": "UTC", **more}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return  # it was reaped, and its number may be somebody else's by now
    _signal(process, signal.SIGINT)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return
