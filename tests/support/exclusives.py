"""Several hosts on this machine, each a node id, that run commands under slots of one real ZooKeeper; and a witness.

The commands themselves write down when they begin and end, on CLOCK_MONOTONIC, which every process of the machine
shares. The judge reads that and nothing of ours.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import until

__all__ = ["PROGRAM", "Crowd", "Spell", "Wrapper", "crowd_on"]

PROGRAM = str(Path(sys.executable).with_name("taskerman"))

ACT = """
import os, sys, time
witness, seconds, mark = sys.argv[1], float(sys.argv[2]), sys.argv[3]
file = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
def say(what):
    os.write(file, f"{what} {mark} {os.getpid()} {time.clock_gettime(time.CLOCK_MONOTONIC):.6f}\\n".encode())
say("begin")
stop = time.monotonic() + seconds
while time.monotonic() < stop and not os.path.exists(witness + ".stop"):
    time.sleep(0.01)
say("end")
"""


@dataclass(frozen=True)
class Spell:
    """A time in which a command ran. `end` None: nobody wrote it."""

    mark: str
    pid: int
    begin: float
    end: float | None


class Wrapper:
    """One `taskerman exclusive`."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def ends(self, within_s: float = 60) -> int:
        """Its exit code."""
        return self._process.wait(within_s)

    def send(self, signum: int) -> None:
        self._process.send_signal(signum)


@dataclass
class Crowd:
    """`environment`: of every process. Whatever runs ends with the test."""

    folder: Path
    environment: dict[str, str]
    wrappers: list[Wrapper] = field(default_factory=list)

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    def taskerman(self, *words: str, host: str = "person", **more: str) -> subprocess.CompletedProcess[str]:
        """One verb, to its end."""
        return subprocess.run(
            [PROGRAM, *words],
            env={**self.environment, "TASKERMAN_NODE_ID": host, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def start(self, host: str, *options: str, argv: Sequence[str], **more: str) -> Wrapper:
        """`taskerman exclusive` on `host`, under way."""
        name = f"{len(self.wrappers)}-{host}"
        out, err = self.folder / f"{name}.out", self.folder / f"{name}.err"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [PROGRAM, "exclusive", *options, "--", *argv],
                env={**self.environment, "TASKERMAN_NODE_ID": host, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        self.wrappers.append(Wrapper(process, out, err))
        return self.wrappers[-1]

    def act(self, mark: str, seconds: float = 600) -> list[str]:
        """A command that tells the witness, and runs so long, or until `stop_all`."""
        return [sys.executable, "-I", "-S", "-c", ACT, str(self.witness), str(seconds), mark]

    def stop_all(self) -> None:
        """Every such command ends by itself soon."""
        Path(f"{self.witness}.stop").touch()

    def go_on(self) -> None:
        """Later ones run again."""
        Path(f"{self.witness}.stop").unlink()

    def spells(self) -> list[Spell]:
        """What the witness was told, in the order of the beginnings."""
        found: dict[str, Spell] = {}
        for line in self.witness.read_text().splitlines() if self.witness.exists() else ():
            what, mark, pid, at = line.split()
            if what == "begin":
                assert mark not in found, f"{mark} began twice"
                found[mark] = Spell(mark, int(pid), float(at), None)
            else:
                found[mark] = Spell(mark, found[mark].pid, found[mark].begin, float(at))
        return sorted(found.values(), key=lambda one: one.begin)

    def begins(self, mark: str, within_s: float = 30) -> Spell:
        """Waits for it."""
        said = lambda: " ".join(one.err for one in self.wrappers)  # noqa: E731
        try:
            until(lambda: any(one.mark == mark for one in self.spells()), f"{mark} begins", within_s=within_s)
            return next(one for one in self.spells() if one.mark == mark)
        except AssertionError as error:
            raise AssertionError(f"{error}: {said()}") from None

    def end_of(self, pid: int, mark: str) -> None:
        """Tell the witness of one that was killed: its number is nobody's any more."""
        until(lambda: not alive(pid), f"{pid} is gone")
        with self.witness.open("a") as file:
            file.write(f"end {mark} {pid} {time.clock_gettime(time.CLOCK_MONOTONIC):.6f}\n")

    def most_at_once(self) -> int:
        """Of the spells that have both ends, and of those that go on."""
        edges = [(one.begin, 1) for one in self.spells()]
        edges += [(one.end, -1) for one in self.spells() if one.end is not None]
        now = most = 0
        for _, change in sorted(edges):
            now += change
            most = max(most, now)
        return most


def alive(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def crowd_on(hosts: str, folder: Path, root: str) -> Iterator[Crowd]:
    """A crowd with an installation of its own; nothing of it runs afterwards."""
    clean = {name: value for name, value in os.environ.items() if not re.match(r"TASKERMAN_|AWS_", name)}
    crowd = Crowd(
        folder,
        {
            **clean,
            "TASKERMAN_ZOOKEEPER_HOSTS": hosts,
            "TASKERMAN_ZOOKEEPER_ROOT": root,
            "TASKERMAN_ZOOKEEPER_SESSION_S": "4",
            "TASKERMAN_STATE_DIR": str(folder / "state"),
            "TASKERMAN_OPERATOR": "ada@laptop",
        },
    )
    try:
        yield crowd
    finally:
        crowd.stop_all()
        for wrapper in crowd.wrappers:
            if wrapper.code is None:
                wrapper.send(signal.SIGTERM)
        for wrapper in crowd.wrappers:
            try:
                wrapper.ends(5)
            except subprocess.TimeoutExpired:
                wrapper.send(signal.SIGKILL)
                wrapper.ends(5)
        for one in crowd.spells():
            if one.end is None and alive(one.pid):
                os.kill(one.pid, signal.SIGKILL)
