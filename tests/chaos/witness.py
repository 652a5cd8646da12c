"""What really happened, written down by those who did it, in one file that is only ever appended to.

This module imports nothing of Taskerman and asks nothing of it. A line is JSON: `what`, `at` (CLOCK_MONOTONIC), `wall`
(the time of day, to be compared with ZooKeeper's), and what else is known. `Coroner` watches the processes that said
they had begun: one that is killed cannot say that it has ended, and counts for as long as it was seen alive.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["Coroner", "read_lines", "start_of", "write_line"]

Line = dict[str, Any]


def write_line(path: str | Path, what: str, **known: object) -> Line:
    """Append one line; whole or not at all, whoever else is writing (O_APPEND, one write)."""
    line: Line = {"what": what, "at": time.monotonic(), "wall": time.time(), **known}
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
    return line


def read_lines(path: str | Path, *, holding: str = "") -> list[Line]:
    """Every whole line that holds those characters, in the order in which they were written."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    lines = data.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n") and holding.encode() in line]


def start_of(pid: int) -> int | None:
    """When the process began, in clock ticks; None when it is gone, or only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class Coroner:
    """Looks every 20 ms whether those who began and did not end are still alive. Runs from `start` to `close`.

    `seen`: by (pid, start), when it was last seen alive: it certainly acted until then, if it did not end before.
    """

    def __init__(self, path: Path) -> None:
        self.seen: dict[tuple[int, int], float] = {}
        self._path, self._offset = path, 0
        self._watched: dict[tuple[int, int], Line] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="coroner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what was seen stays."""
        self._stop.set()
        self._thread.join(10)

    def acting(self) -> list[Line]:
        """Those who began, did not end and are alive."""
        with self._lock:
            return list(self._watched.values())

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._read()
            for key in list(self._watched):
                now = time.monotonic()
                if start_of(key[0]) == key[1]:
                    self.seen[key] = now
                else:
                    with self._lock:
                        self._watched.pop(key, None)

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for raw in whole.splitlines():
            line = json.loads(raw)
            if line["what"] not in ("begin", "end"):
                continue
            key = (line["pid"], line["start"])
            with self._lock:
                if line["what"] == "begin":
                    self._watched[key] = line
                    self.seen.setdefault(key, line["at"])
                else:
                    self._watched.pop(key, None)
