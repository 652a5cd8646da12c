"""Running one command so that nothing it prints is lost or kept in memory, and nothing it does can hang the runner.

Apart from the context because it is the only part that needs the `subprocess` module.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from taskerman.runner.identity import Identity, NoSuchUser, identity_of

__all__ = ["stream"]

GRACE_SECONDS = 5.0
CHUNK = 64 * 1024


def stream(
    argv: Sequence[str],
    *,
    timeout: timedelta | None,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    write: Callable[[bytes], None],
    tail_bytes: int,
    user: str | None = None,
    pass_fds: Sequence[int] = (),
) -> tuple[int | None, bytes, str]:
    """Run `argv` to its end: (exit code or None, the last `tail_bytes` of its output, why there is no code).

    Whatever interrupts it (a timeout, an exception raised by a signal) ends the command's process group first.
    `user`: as whom, in an environment made anew. `pass_fds`: descriptors that it has, too.
    """
    give_up_at = None if timeout is None else time.monotonic() + timeout.total_seconds()
    process = _started(argv, env, cwd, user, pass_fds)
    if isinstance(process, str):
        return None, b"", f"cannot be started{process}"
    assert process.stdout is not None
    tail = b""
    with process.stdout as output:
        handle = os.pidfd_open(process.pid)
        try:
            os.set_blocking(output.fileno(), False)
            poll = select.poll()
            poll.register(output.fileno(), select.POLLIN)
            poll.register(handle, select.POLLIN)
            while True:
                left = None if give_up_at is None else give_up_at - time.monotonic()
                if left is not None and left <= 0:
                    seconds = timeout.total_seconds() if timeout is not None else 0
                    how = "ended" if _end_group(process, handle) else _killed()
                    return None, tail, f"took longer than {seconds:g} s and was {how}"
                ready = dict(poll.poll(None if left is None else max(1, int(left * 1000))))
                if output.fileno() in ready:
                    chunk = output.read(CHUNK)
                    if chunk:
                        write(chunk)
                        tail = (tail + chunk)[-tail_bytes:] if len(chunk) < tail_bytes else chunk[-tail_bytes:]
                        continue  # the exit is looked at only when everything printed so far was read
                    if chunk == b"":
                        poll.unregister(output.fileno())  # closed its output and goes on
                if handle in ready:
                    return process.wait(), tail, ""
        except BaseException as error:
            if not _end_group(process, handle):
                error.add_note(f"{' '.join(argv)[:200]} was {_killed()}")
            raise
        finally:
            os.close(handle)


def _started(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    user: str | None,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes] | str:
    """The new process; or why there is none."""
    try:
        who = None if user is None else identity_of(user)
    except NoSuchUser as error:
        return f": {error}"
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(who, env),
            cwd=cwd,
            process_group=0,
            bufsize=0,
            pass_fds=pass_fds,
            **_becoming(who),
        )
    except OSError as error:
        return f"{_as_whom(who)}: {error.strerror}: {error.filename or argv[0]}"
    except ValueError as error:  # what no argument list can hold, such as a NUL
        return f": {error}"


def _environment(who: Identity | None, env: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Ours and `env`; of somebody else, what a login of theirs would have, and `env`."""
    if who is None:
        return None if env is None else {**os.environ, **env}
    return {**who.environment, **(env or {})}


def _becoming(who: Identity | None) -> dict[str, Any]:
    """The new process leaves our identity behind before the program is executed, all of our groups too."""
    if who is None or who.is_own:
        return {}
    return {"user": who.uid, "group": who.gid, "extra_groups": who.groups}


def _as_whom(who: Identity | None) -> str:
    return "" if who is None or who.is_own else f" as {who.name}"


def _end_group(process: subprocess.Popen[bytes], handle: int) -> bool:
    """SIGTERM to the whole group, SIGKILL after the grace. Whether the command ended by the first; it has ended now.

    The command is reaped last: until then its number, and so the group's, cannot be given to anybody else.
    """
    _signal_group(process, signal.SIGTERM)
    ended: list[int] = []
    try:
        ended, _, _ = select.select([handle], [], [], GRACE_SECONDS)
    finally:
        _signal_group(process, signal.SIGKILL)  # also what the command had started and left behind in its group
        process.wait()
    return bool(ended)


def _killed() -> str:
    return f"killed: it did not end within {GRACE_SECONDS:g} s of SIGTERM"


def _signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except ProcessLookupError:
        return
