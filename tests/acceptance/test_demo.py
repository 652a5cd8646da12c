"""`taskerman demo` as a newcomer types it: what it claims was so, and nothing of it is left, whatever ends it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.services import require
from tests.support.waiting import until

TASKERMAN = str(Path(sys.executable).with_name("taskerman"))
MARK = "DEMO_TEST_MARK"
PATIENCE_S = 240.0

pytestmark = pytest.mark.timeout(500)


class Demo:
    """One demo as a process. Whatever it starts inherits its mark."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.mark = secrets.token_hex(8)
        self._output = folder / "output"
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(folder)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [TASKERMAN, "demo", *options], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )

    @property
    def said(self) -> str:
        """What it has printed so far; what is broken over lines is one line again."""
        return self._output.read_text(errors="replace")

    @property
    def words(self) -> str:
        return " ".join(self.said.split())

    def living(self) -> list[str]:
        """The command lines of all processes that carry its mark."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [command for command in found if command]

    def left_behind(self) -> list[str]:
        """The folders that it made and did not remove."""
        return [path.name for path in self.folder.glob("taskerman-*")]

    @property
    def ended(self) -> bool:
        """Whether its own process has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """For a test that failed: by the door, which ends the rest."""
        if not self.ended:
            self.process.kill()
            self.process.wait()
        until(lambda: not self.living(), "nothing of the demo is left", within_s=30)


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.end()


def check_claims(demo: Demo) -> None:
    """All that the demo is there to show, in its own words."""
    words = demo.words
    assert re.search(r"At most [12] of 6 were down at once, seen by the prober \([\d,]{4,} probes", words), words
    assert "Each was restarted exactly once" in words
    assert "The task stopped by itself (halted)" in words
    assert re.search(r"The slot of (i-\w+) is kept", words)
    assert "The other 3 were left alone: the same processes, never down." in words
    assert "A dead letter lies in demo-dead-letter (SQS) and in `taskerman dlq list`" in words
    assert "answers 500" in words
    assert "$ taskerman explain restart-2" in words
    assert re.search(r"\$ taskerman dlq redrive restart-2 i-\w+", words)
    assert "All of this was so." in words
    assert "█" in demo.said


def test_two_demos_at_once_show_what_they_claim_and_leave_nothing(tmp_path: Path, demos: list[Demo]) -> None:
    """One around a real ZooKeeper, one embedded: neither disturbs the other, and each says which it was."""
    require("zookeeper")
    real, embedded = Demo(tmp_path / "1"), Demo(tmp_path / "2", "--embedded")
    demos += [real, embedded]
    for demo in demos:
        assert demo.wait() == 0, demo.said
        check_claims(demo)
        assert demo.living() == []
        assert demo.left_behind() == []
    assert "Coordination was a real ZooKeeper" in real.words
    assert "Not shown: a real ZooKeeper" in embedded.words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_whatever_ends_it_in_mid_action_nothing_is_left(
    tmp_path: Path, demos: list[Demo], number: signal.Signals
) -> None:
    """Ctrl-C, a polite end and a rude one: no process (agents, attempts, services, JVM, cloud) and no folder."""
    require("zookeeper")
    demo = Demo(tmp_path / "1")
    demos.append(demo)
    until(lambda: "acting" in demo.said or demo.ended, "an action is under way", within_s=PATIENCE_S)
    assert not demo.ended, demo.said
    commands = " ".join(demo.living())
    for part in ("QuorumPeerMain", "local_aws", "prober.py", "web.py", "taskerman agent", "taskerman.child"):
        assert part in commands, f"{part} is not there: {commands}"
    demo.process.send_signal(number)
    until(lambda: not demo.living(), "no process is left", within_s=15)
    until(lambda: not demo.left_behind(), "no folder is left", within_s=5)
    assert "Act 2" not in demo.said, "it was not ended; it was over by itself"
    assert demo.wait() == (-signal.SIGKILL if number is signal.SIGKILL else 130)
