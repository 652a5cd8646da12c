"""Making sure that nothing of an attempt is left, when its keeper can no longer be asked.

Three ways to recognise what belongs to it, because each has a hole: descendants of the keeper (while it lives; it
adopts orphans), processes of its session, and processes that carry the attempt's marker in their environment (also in
sessions of their own, also after the keeper's death). Only what escaped all three is not seen: a process that left
the session, dropped its environment *and* outlived the keeper. A control group closes that hole: nobody leaves it by
accident, and where the attempt has one it comes first.
"""

from __future__ import annotations

import signal
import time

from taskerman.child.cgroup import Cgroup
from taskerman.child.kin import Process, carries_marker, descendants, find, kill_until_none, processes, send

__all__ = ["kill_attempt"]


def kill_attempt(attempt: str, keeper_pid: int, keeper_pid_start: int, timeout: float, cgroup: str = "") -> bool:
    """Kill the keeper and every process of `attempt`; True only if nothing is left.

    `keeper_pid`, `keeper_pid_start`: as recorded, of this boot (after a reboot nothing is left anyway: do not call).
    `timeout`: seconds. `cgroup`: as recorded; empty = it has none. Idempotent; harmless when the keeper's number
    belongs to another process by now. Never touches other attempts on the same machine. False also when a process
    cannot be told from a stranger's: a member of a session with the keeper's number that carries no marker, and whose
    leader is gone; unless the attempt has a group, which tells them apart.
    """
    give_up_at = time.monotonic() + timeout
    group = Cgroup.parse(cgroup)
    if group is not None and not group.kill(give_up_at):
        return False
    keeper = find(keeper_pid, keeper_pid_start)
    if keeper is not None:
        # Stopped, it cannot react to deaths, but goes on adopting orphans: so all of them stay its descendants.
        _try(keeper, signal.SIGSTOP)

        def of_the_keeper() -> list[Process]:
            table = processes()
            found = {p.pid: p for p in descendants(keeper_pid, table) if p.alive}
            found |= {p.pid: p for p in table.values() if p.session == keeper_pid and p.alive}
            found.pop(keeper_pid, None)
            return list(found.values())

        # Even if somebody is left: the keeper must go, and the answer below then says so.
        kill_until_none(of_the_keeper, give_up_at=give_up_at)
        _try(keeper, signal.SIGKILL)

    doubtful = False

    def marked_or_keeper() -> list[Process]:
        nonlocal doubtful
        table = processes()
        leader = table.get(keeper_pid)
        ours = leader is not None and leader.start == keeper_pid_start  # as long as it is a zombie, too
        found, doubtful = [], False
        for process in table.values():
            if not process.alive:
                continue
            in_session = process.session == keeper_pid and process.start >= keeper_pid_start
            if (ours and in_session) or carries_marker(process, attempt):
                found.append(process)
            elif in_session and leader is None:
                doubtful = True
        return found

    gone = kill_until_none(marked_or_keeper, give_up_at=give_up_at) and kill_until_none(
        marked_or_keeper, give_up_at=give_up_at
    )
    return gone and (group is not None or not doubtful)


def _try(process: Process, signum: int) -> None:
    try:
        send(process, signum)
    except PermissionError:
        return  # then it cannot be killed either, and the look that follows finds it alive
