"""The processes of one attempt: finding them in /proc, and killing exactly those.

Used by the keeper on its descendants and by the agent on what a dead keeper left. A process is named by its pid *and*
its start time, and is killed through a pidfd that was compared with both: a number that was given to another process
in the meantime kills nobody.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "MARKER",
    "Process",
    "carries_marker",
    "command_line",
    "descendants",
    "find",
    "find_alive",
    "kill_until_none",
    "process_start",
    "processes",
    "send",
]

MARKER = "TASKERMAN_ATTEMPT"
"""The environment variable that every process of an attempt inherits; its value is the attempt's id."""


class Process:
    """One line of the process table. `start`: clock ticks after boot; with `pid` it names the process for ever."""

    __slots__ = ("parent", "pid", "session", "start", "state", "threads")

    def __init__(self, pid: int, state: str, parent: int, session: int, start: int, threads: int = 1) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.session = session
        self.start = start
        self.threads = threads

    @property
    def alive(self) -> bool:
        """It can still do something: not a zombie, or one whose other threads go on."""
        return self.state not in "ZX" or self.threads > 1


def _read(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may contain anything: the fields begin after the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]), int(fields[17]))


def processes() -> dict[int, Process]:
    """Every process of the machine that we can see, by pid. Not one instant: it may change while it is read."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))) is not None:
            found[process.pid] = process
    return found


def process_start(pid: int) -> int | None:
    """When `pid` was started, in clock ticks after boot (field 22 of its stat); None: no such process, or a zombie."""
    process = _read(pid)
    return process.start if process is not None and process.alive else None


def find(pid: int, start: int) -> Process | None:
    """The process that these two name, if it is alive."""
    process = _read(pid)
    return process if process is not None and process.alive and process.start == start else None


def find_alive(pid: int) -> Process | None:
    """Whoever has that number now, if it is alive: a number alone names nobody for long."""
    process = _read(pid)
    return process if process is not None and process.alive else None


def descendants(root: int, table: Mapping[int, Process]) -> list[Process]:
    """The children of `root`, their children and so on, zombies included, without `root`."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    todo = [root]
    while todo:
        for process in children.get(todo.pop(), ()):
            found.append(process)
            todo.append(process.pid)
    return found


def carries_marker(process: Process, attempt: str, marker: str = MARKER) -> bool:
    """Whether it was started with the marker of `attempt`. False for what we may not look into."""
    try:
        with open(f"/proc/{process.pid}/environ", "rb", buffering=0) as file:
            environment = file.read(1 << 21)
    except OSError:  # gone, a zombie, or another user's: in no case a process that this attempt could be blamed for
        return False
    return f"{marker}={attempt}".encode() in environment.split(b"\0")


def command_line(process: Process) -> str:
    """What it runs, for people; at most 200 characters."""
    try:
        with open(f"/proc/{process.pid}/cmdline", "rb", buffering=0) as file:
            words = file.read(4096).rstrip(b"\0").split(b"\0")
    except OSError:
        return "?"
    return b" ".join(words).decode(errors="replace")[:200] or "?"


def send(process: Process, signum: int) -> bool:
    """Send a signal to exactly this process. False: it is gone already.

    Raises `PermissionError` when it belongs to another user.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = _read(process.pid)
        if now is None or now.start != process.start or not now.alive:
            return False
        signal.pidfd_send_signal(handle, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def kill_until_none(
    find: Callable[[], Iterable[Process]],
    *,
    give_up_at: float | None = None,
    reap: Callable[[], None] = lambda: None,
    killed: Callable[[Process], None] = lambda process: None,
) -> bool:
    """SIGKILL what `find` finds, again and again, until nobody alive is left.

    One look that finds nothing at all is enough: a process that forks and exits while the table is read is seen, as
    a zombie, unless its parent reaps it meanwhile, and then that one is seen. Zombies are therefore a reason to look
    once more. `reap` is called before each look; `killed` once for each process, before it is killed. `give_up_at`:
    on `time.monotonic`; None = never. What may not be killed, or hangs in the kernel, is tried for as long.
    False: somebody was still alive at `give_up_at`.
    """
    seen: set[tuple[int, int]] = set()
    clean, pause = 0, 0.001
    while True:
        reap()
        found = list(find())
        alive = [process for process in found if process.alive]
        for process in alive:
            if (process.pid, process.start) not in seen:
                seen.add((process.pid, process.start))
                killed(process)
            try:
                send(process, signal.SIGKILL)
            except PermissionError:
                continue  # tried again below: the answer to the caller is that somebody is left
        clean = 0 if alive else clean + 1
        if not found or clean == 2:
            return True
        if give_up_at is not None and time.monotonic() >= give_up_at:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 1.0) if alive else 0.001
