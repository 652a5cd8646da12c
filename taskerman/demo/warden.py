"""Whatever ends the demo, nothing of it is left: the process that stands between the terminal and everything else.

    terminal ── the demo (takes Ctrl-C) ──pipe── warden ── stage ── router, agents, attempts, services, JVM, cloud

The warden runs in a session of its own, so that no Ctrl-C and no closing terminal reaches it, and adopts every orphan
below it. It reads one pipe: when the demo ends, however it ends, the pipe closes. Then, as when the stage has ended by
itself, everything below it is killed, until nobody is left, and the folder is removed. It refuses to know what is
played on the stage.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from taskerman.child.kin import Process, descendants, kill_until_none, processes

__all__ = ["INTERRUPTED", "KEPT", "main"]

INTERRUPTED = 130
KEPT = 1
"""A stage that ended so has failed, and what its processes wrote is wanted: the folder stays."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CURTAIN_S = 1.5
"""How long the stage may take to leave the terminal as it found it."""

GIVE_UP_S = 20.0


def main(argv: list[str]) -> int:
    """Run the stage with the arguments `argv`; the exit code is its own, or 130 when the pipe closed before."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = tempfile.mkdtemp(prefix="taskerman-demo-")
    stage = subprocess.Popen(
        [sys.executable, "-P", "-m", "taskerman.demo.stage", folder, *argv],
        stdin=subprocess.DEVNULL,
        env=dict(_neutral(folder)),
        preexec_fn=_on_stage,  # noqa: PLW1509  (this process has one thread)
    )
    code = _wait(stage)
    if code is None:
        _say(stage, signal.SIGTERM)
        _exit_code(stage, CURTAIN_S)
        code = INTERRUPTED
    nobody_left = kill_until_none(_below, give_up_at=time.monotonic() + GIVE_UP_S, reap=lambda: _reap(stage))
    if code != KEPT:
        shutil.rmtree(folder, ignore_errors=True)
    if not nobody_left:
        print("Some processes of the demo could not be ended.", file=sys.stderr)
        return KEPT
    return code


def _on_stage() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _neutral(folder: str) -> Iterator[tuple[str, str]]:
    """This environment without what would lead the demo to a real cloud or a real installation."""
    for name, value in os.environ.items():
        if not name.startswith(("AWS_", "BOTO_", "TASKERMAN_")):
            yield name, value
    yield "TMPDIR", folder


def _wait(stage: subprocess.Popen[bytes]) -> int | None:
    """The stage's exit code; None: the demo has ended before it."""
    handle = os.pidfd_open(stage.pid)
    try:
        while True:
            ready, _, _ = select.select([sys.stdin, handle], [], [])
            if handle in ready:
                return _exit_code(stage, None)
            if not os.read(sys.stdin.fileno(), 1):
                return None
    finally:
        os.close(handle)


def _exit_code(stage: subprocess.Popen[bytes], timeout_s: float | None) -> int | None:
    try:
        code = stage.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    return code if code >= 0 else KEPT


def _say(stage: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if stage.poll() is None:
        stage.send_signal(number)


def _below() -> list[Process]:
    return descendants(os.getpid(), processes())


def _reap(stage: subprocess.Popen[bytes]) -> None:
    stage.poll()  # by its own object, which must learn of it
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
