"""The agent's end of a child: starting it, telling it what to do, hearing what came of it.

It decides nothing. Every way in which a hook can end arrives as one report; the end of the process itself arrives as
the last one, `ChildGone`, exactly once. After the agent died, its successor watches the same child through
`AdoptedChild`, and reads what it left (`attempt_files`).

What a child promises (`taskerman.child.keeper` keeps it):
- until `ExecuteAction` is sent it ends when the agent does (or `close()`s); after that the action goes on to its end or
  its hard deadline, leaves its result file, and only then does the child end;
- a result means that nothing of the action is left: whatever it had started has ended or was killed;
- after a hard deadline the runner's `abort()` may take `ABORT_SECONDS` more before the result is there;
- signals that end others (SIGTERM, SIGINT, SIGHUP) do not end it; SIGKILL does, and then `kill_attempt` cleans up.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from taskerman.agent.attempt_files import log_path, private, read_saved, result_path
from taskerman.agent.child_talk import (
    ChildGone,
    ChildSpec,
    Command,
    OnReport,
    command_to_json,
    report_from_json,
)
from taskerman.agent.killing import kill_attempt
from taskerman.child import ABORT_SIGNAL
from taskerman.child.kin import MARKER, find, process_start, send

__all__ = ["AdoptedChild", "ChildProcess", "start"]

_OURS = "TASKERMAN_"

_LOG = logging.getLogger(__name__)


def start(spec: ChildSpec, directory: Path, on_report: OnReport) -> ChildProcess:
    """Start a child for `spec`, with its files in `directory` (created if absent; one directory for each attempt).

    The child begins to import the runner at once and reports `Ready` or `Failed`; commands may be sent before that
    and wait for it. A second child of the same attempt (another check, after a restart of the agent) uses the same
    directory: what was saved is there again, the log is continued, the result stays until a new action begins.
    Raises `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "v": 1,
        "result_path": str(result_path(directory)),
        "log_path": str(log_path(directory)),
        **asdict(spec),
        "saved": {**spec.saved, **read_saved(directory)},
    }
    spec_path = directory / "spec.json"
    spec_path.write_text(json.dumps(document), encoding="utf-8")
    reports, report_fd = os.pipe()
    try:
        # What the child prints before it has opened its log by itself (a broken installation) is in the log too.
        with open(log_path(directory), "ab", opener=private) as log:
            process = subprocess.Popen(
                # -P: the folder in which the agent happens to stand is no place to import from.
                [sys.executable, "-P", "-m", "taskerman.child", str(spec_path), "--report-fd", str(report_fd)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(report_fd,),
                start_new_session=True,
                env=_environment(spec.attempt),
            )
    except BaseException:
        os.close(reports)
        raise
    finally:
        os.close(report_fd)
    return ChildProcess(spec, process, reports, on_report)


def _environment(attempt: str) -> dict[str, str]:
    """The agent's environment without its settings: passwords of ZooKeeper are no runner's business."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | {MARKER: attempt}


class ChildProcess:
    """A child that this agent started. Its methods may be called from any thread, and from within `on_report`."""

    def __init__(self, spec: ChildSpec, process: subprocess.Popen[bytes], reports: int, on_report: OnReport) -> None:
        """Not for callers: use `start`."""
        self._attempt = spec.attempt
        self.cgroup = spec.cgroup
        self._process = process
        self._reports = reports
        self._on_report = on_report
        self._writing = threading.Lock()
        self.pid = process.pid
        # It cannot have been reaped yet, so the number is still its own. A zombie has a start time no more: then 0.
        self.pid_start = process_start(process.pid) or 0
        self._reader = threading.Thread(target=self._read, name=f"child {spec.attempt}", daemon=True)
        self._reader.start()

    def ask(self, command: Command) -> None:
        """Tell the child. Never raises when it is gone: its last report says so."""
        line = json.dumps(command_to_json(command)).encode() + b"\n"
        with self._writing:
            stdin = self._process.stdin
            if stdin is None or stdin.closed:
                return
            try:
                stdin.write(line)
                stdin.flush()
            except BrokenPipeError:
                return

    def close(self) -> None:
        """Let go of the child, as the agent's death would. Idempotent.

        Before `ExecuteAction` this ends it; after it, the action goes on by itself. Reports still arrive.
        """
        with self._writing:
            if self._process.stdin is not None:
                try:
                    self._process.stdin.close()
                except BrokenPipeError:
                    return  # something unsent was in the buffer; the descriptor is closed all the same

    def kill_all(self, timeout: float = 10.0) -> bool:
        """Kill the child and everything it started; True only if nothing is left. `timeout`: seconds."""
        return kill_attempt(self._attempt, self.pid, self.pid_start, timeout, self.cgroup)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `ChildGone` was delivered. False: not within `timeout` seconds."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _read(self) -> None:
        with open(self._reports, "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the keeper was killed in the middle of it
                try:
                    report = report_from_json(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    # Another build on disk than in memory. What it does cannot be followed, so it must not go on; a
                    # result that it has written is still read from its file.
                    _LOG.error(
                        "a child reported what cannot be read",
                        extra={"line": line[:200], "why": str(error), "attempt": self._attempt},
                    )
                    self.kill_all()
                    break
                self._on_report(report)
        code = self._process.wait()
        self.close()
        self._on_report(ChildGone(code))


class AdoptedChild:
    """A child that an earlier agent started and that outlived it: it can be watched, aborted and killed, not asked."""

    def __init__(self, attempt: str, pid: int, pid_start: int, cgroup: str, on_report: OnReport) -> None:
        """Watch it. `pid`, `pid_start`, `cgroup`: from the journal, of this boot. `ChildGone(None)` follows, at once if
        it is gone already (another process may have its number by now). Then read its result."""
        self._attempt = attempt
        self.cgroup = cgroup
        self.pid = pid
        self.pid_start = pid_start
        self._on_report = on_report
        self._watcher = threading.Thread(target=self._watch, name=f"adopted {attempt}", daemon=True)
        self._watcher.start()

    def abort(self) -> None:
        """Interrupt the action now, as `Abort` would: it cleans up, leaves its result and ends. Harmless when gone."""
        child = find(self.pid, self.pid_start)
        if child is not None:
            send(child, ABORT_SIGNAL)

    def kill_all(self, timeout: float = 10.0) -> bool:
        """Kill the child and everything it started; True only if nothing is left. `timeout`: seconds."""
        return kill_attempt(self._attempt, self.pid, self.pid_start, timeout, self.cgroup)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `ChildGone` was delivered. False: not within `timeout` seconds."""
        self._watcher.join(timeout)
        return not self._watcher.is_alive()

    def _watch(self) -> None:
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            handle = -1
        if handle >= 0:
            try:
                # The handle is open: from here on the start time tells whether it is a handle on the right process.
                if process_start(self.pid) == self.pid_start:
                    select.select([handle], [], [])
            finally:
                os.close(handle)
        self._on_report(ChildGone(None))
