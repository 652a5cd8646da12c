"""The demo's witness: a process of its own that asks every node how it is, fifty times a second, the whole time.

A script that imports nothing of ours and knows nothing of tasks, slots or limits, only ports: what it writes down is
what a client of the cluster would have seen.

    python prober.py FILE NODE=PORT...      until standard input closes

Every line of FILE is a fact, with `at` in seconds of CLOCK_MONOTONIC, which all processes of a machine share:

    {"fact": "down" | "up", "node", "at"}          down: the moment a question was asked that got no 200;
                                                   up: the moment a 200 was there again (and at the very first)
    {"fact": "seen", "node", "at", "pid", "started"}   another process answers, whatever it answers
    {"fact": "count", "at", "probes", "longest_gap_s"} so many questions until now; the longest that a node was unasked
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import TextIO

EVERY_S = 0.02
COUNT_EVERY_S = 0.2
ANSWER_WITHIN_S = 1.0


class Notebook:
    """The file, shared by the threads."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._probes = 0
        self._longest_gap_s = 0.0

    def write(self, fact: str, at: float, **more: object) -> None:
        """One fact, on disk for others to read at once."""
        with self._lock:
            self._file.write(json.dumps({"fact": fact, "at": at, **more}) + "\n")
            self._file.flush()

    def probed(self, gap_s: float) -> None:
        """One question more."""
        with self._lock:
            self._probes += 1
            self._longest_gap_s = max(self._longest_gap_s, gap_s)

    def count(self) -> None:
        """Write down how many there were."""
        self.write("count", time.monotonic(), probes=self._probes, longest_gap_s=self._longest_gap_s)


class Watcher:
    """One node's thread. Connections are kept while they last; a broken one is an answer: the node is down."""

    def __init__(self, node: str, port: int, notebook: Notebook) -> None:
        self.node = node
        self.port = port
        self.notebook = notebook
        self.well: bool | None = None
        self.process: tuple[int, float] | None = None
        self.connection: http.client.HTTPConnection | None = None

    def watch(self, ended: threading.Event) -> None:
        """Ask until `ended`. A question that was late is not made up for by two."""
        asked_at = due = time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            before, asked_at = asked_at, time.monotonic()
            due = max(due + EVERY_S, asked_at)
            self.notebook.probed(asked_at - before)
            well = self.ask() == 200
            if well is not self.well:
                self.well = well
                at = time.monotonic() if well else asked_at
                self.notebook.write("up" if well else "down", at, node=self.node)

    def ask(self) -> int:
        """The status code; 0 when nobody answers."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN_S)
        try:
            self.connection.request("GET", "/health")
            answer = self.connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.connection.close()
            self.connection = None
            return 0
        process = said["pid"], said["started"]
        if process != self.process:
            self.process = process
            self.notebook.write("seen", time.monotonic(), node=self.node, pid=process[0], started=process[1])
        return answer.status


def _until_nobody_wants_it(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    path, *nodes = argv
    ended = threading.Event()
    with open(path, "a", encoding="utf-8") as file:
        notebook = Notebook(file)
        watchers = [Watcher(node, int(port), notebook) for node, _, port in (spec.partition("=") for spec in nodes)]
        threads = [threading.Thread(target=watcher.watch, args=(ended,)) for watcher in watchers]
        for thread in threads:
            thread.start()
        threading.Thread(target=_until_nobody_wants_it, args=(ended,), daemon=True).start()
        while not ended.wait(COUNT_EVERY_S):
            notebook.count()
        for thread in threads:
            thread.join()
        notebook.count()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
