"""How each kind of fault is undone, and how one sees that it is. Everything here may be done twice, and by two at once.

Of the standard library alone, and a command of its own: it is what the switch runs when everything else is dead.

    python -m runners.fault.undo STATE_FOLDER [ID]        undo all, or one; 0 when nothing is left over

It refuses to believe a command's exit code: a fault leaves the journal when its absence was seen.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runners.fault import process
from runners.fault.journal import Entry, Journal, Unreadable, boot_id

__all__ = ["NETEM_HANDLE", "left_over", "main", "undo", "undo_all"]

COMMAND_TIMEOUT_S = 25.0
LOOK_EVERY_S, AGAIN_S = 0.1, 5.0
NETEM_HANDLE = "7a5c:"
"""By which our queueing discipline is known from anybody else's."""


def undo(entry: Entry, journal: Journal, *, within_s: float, say: Callable[[str], None] = print) -> str:
    """Undo it, and wait until that is seen; then it leaves the journal. Why it is not undone, "" when it is."""
    give_up_at = time.monotonic() + within_s
    # A stop that was asked for may still be on its way, with the service running: so it is started in any case.
    must, act_at, why = entry.kind == "stop_service", 0.0, "not tried"
    while why:
        try:
            why = left_over(entry)
            if (why or must) and time.monotonic() >= act_at:
                must = False
                _UNDO[entry.kind](entry, say)
                act_at = time.monotonic() + AGAIN_S  # what was asked to start needs time to be seen
                why = left_over(entry)
        except (OSError, subprocess.SubprocessError) as error:
            why = f"{type(error).__name__}: {error}"
        if why and time.monotonic() >= give_up_at:
            say(f"{entry.kind} of {entry.task} is not undone: {why}")
            return why
        if why:
            time.sleep(LOOK_EVERY_S)
    journal.remove(entry)
    say(f"{entry.kind} of {entry.task} is undone")
    return ""


def undo_all(journal: Journal, *, within_s: float, say: Callable[[str], None] = print, only: str = "") -> str:
    """The same of everything that is left over; `only`: of that id. Why something is not undone, "" when all is."""
    try:
        entries = [entry for entry in journal.entries() if only in ("", entry.id)]
    except (Unreadable, OSError) as error:
        return str(error)
    give_up_at = time.monotonic() + within_s
    whys = [undo(entry, journal, within_s=max(0.0, give_up_at - time.monotonic()), say=say) for entry in entries]
    return "; ".join(filter(None, whys))


def left_over(entry: Entry) -> str:
    """What of it is still there, "" when nothing is. Looks, and changes nothing."""
    return _LEFT[entry.kind](entry)


# --- a service ---------------------------------------------------------------------------------------------


def _service_left(entry: Entry) -> str:
    done = _run(entry.undo["running"])
    return "" if done.returncode == 0 else f"the service does not run ({' '.join(entry.undo['running'])})"


def _service_undo(entry: Entry, say: Callable[[str], None]) -> None:
    _run(entry.undo["start"], say)


# --- processes ---------------------------------------------------------------------------------------------


def _pause_left(entry: Entry) -> str:
    if entry.boot != boot_id():
        return ""
    stopped = [each[0] for each in entry.undo["processes"] if process.state(each) == "T"]
    return f"processes {stopped} are stopped" if stopped else ""


def _pause_undo(entry: Entry, say: Callable[[str], None]) -> None:
    for each in entry.undo["processes"]:
        if process.send(each, signal.SIGCONT):
            say(f"process {each[0]} goes on")


def _kill_left(entry: Entry) -> str:
    wanted, alive = len(entry.undo["processes"]), len(process.find(entry.undo["target"]))
    return "" if alive >= wanted else f"{alive} of {wanted} processes that were killed run again"


def _kill_undo(entry: Entry, say: Callable[[str], None]) -> None:
    if entry.undo["start"]:
        _run(entry.undo["start"], say)


# --- a disk ------------------------------------------------------------------------------------------------


def _fill_left(entry: Entry) -> str:
    """The file has no name: it is there as long as the process that made it holds it."""
    holder = entry.undo["holder"]
    if entry.boot != boot_id() or not process.same(holder):
        return ""
    # The number of a file that is gone is given to others: so only this one process is looked into.
    held = _files(holder[0])
    return f"process {holder[0]} holds the file that fills the disk" if tuple(entry.undo["file"]) in held else ""


def _fill_undo(entry: Entry, say: Callable[[str], None]) -> None:
    say("the disk is free again as soon as the action's process has ended")


def _files(pid: int) -> set[tuple[int, int]]:
    found = set()
    for each in Path("/proc", str(pid), "fd").iterdir():
        try:
            about = each.stat()
        except FileNotFoundError:
            continue  # closed meanwhile
        found.add((about.st_dev, about.st_ino))
    return found


# --- a network ---------------------------------------------------------------------------------------------


def _loss_left(entry: Entry) -> str:
    if entry.boot != boot_id():
        return ""
    for table in entry.undo["tables"]:
        listed = _run([*entry.undo["within"], table, "-w", "5", "-S"])
        if listed.returncode != 0:
            return f"{table} cannot be asked: {listed.stdout.strip()[-200:]}"
        if entry.undo["tag"] in listed.stdout:
            return f"rules with the comment {entry.undo['tag']} are in {table}"
    return ""


def _loss_undo(entry: Entry, say: Callable[[str], None]) -> None:
    for table in entry.undo["tables"]:
        for chain, *words in entry.undo["rules"]:
            _run([*entry.undo["within"], table, "-w", "5", "-D", chain, *words], say)


def _latency_left(entry: Entry) -> str:
    if entry.boot != boot_id():
        return ""
    interface = entry.undo["interface"]
    shown = _run([*entry.undo["within"], "tc", "qdisc", "show", "dev", interface])
    if shown.returncode != 0 and "Cannot find device" in shown.stdout:
        return ""  # the interface is gone, and its delay with it
    if shown.returncode != 0:
        return f"tc cannot be asked about {interface}: {shown.stdout.strip()[-200:]}"
    return f"{interface} is delayed" if f"qdisc netem {NETEM_HANDLE}" in shown.stdout else ""


def _latency_undo(entry: Entry, say: Callable[[str], None]) -> None:
    _run([*entry.undo["within"], "tc", "qdisc", "del", "dev", entry.undo["interface"], "root"], say)


def _run(argv: Sequence[str], say: Callable[[str], None] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(argv),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=COMMAND_TIMEOUT_S,
    )
    if say is not None:
        say(f"{' '.join(argv)}: exit {done.returncode} {done.stdout.strip()[-300:]}".rstrip())
    return done


_LEFT: Mapping[str, Callable[[Entry], str]] = {
    "stop_service": _service_left,
    "pause_process": _pause_left,
    "kill_process": _kill_left,
    "fill_disk": _fill_left,
    "packet_loss": _loss_left,
    "add_latency": _latency_left,
}
_UNDO: Mapping[str, Callable[[Entry, Callable[[str], None]], Any]] = {
    "stop_service": _service_undo,
    "pause_process": _pause_undo,
    "kill_process": _kill_undo,
    "fill_disk": _fill_undo,
    "packet_loss": _loss_undo,
    "add_latency": _latency_undo,
}


def main(argv: Sequence[str]) -> int:
    """The command. Its exit code is 0 when nothing that it was asked about is left over."""
    if not 1 <= len(argv) <= 2:
        print(__doc__)
        return 2
    why = undo_all(Journal(Path(argv[0])), within_s=60.0, only=argv[1] if len(argv) == 2 else "")
    if why:
        print(why, file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
