"""`fault_task` for real: each fault is seen, and is undone after each kind of death.

Real processes under a supervisor, a small file system in memory, packets in a network namespace of its own. The
kernel's netem is the one thing that is played (a `tc` that keeps a file): not every kernel has it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.fault import process
from runners.fault.fill_disk import FillDisk
from runners.fault.journal import Journal
from runners.fault.network import AddLatency, PacketLoss
from runners.fault.operation import Fault
from runners.fault.processes import KillProcess, PauseProcess
from runners.fault.stop_service import StopService
from runners.fault.undo import main
from taskerman import Go, Recovered, Wait
from tests.support import switch
from tests.support.dying import INTERRUPTED, OnTheMachine
from tests.support.services import require
from tests.support.stores.service import WebService
from tests.support.waiting import until

pytestmark = pytest.mark.real

CLUSTER = "web:staging"
MEGA = 2**20


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebService]:
    service = WebService(tmp_path_factory.mktemp("fault") / "web", count=1)
    yield service
    service.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.fault.operation.steadily", lambda ctx, answer: answer)
    for module in ("switch", "network"):
        monkeypatch.setattr(f"runners.fault.{module}.GRACE_S", 0.1)


class Scene(ABC):
    """One fault, on a node on which it is allowed."""

    operation: type[Fault]
    args: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / "state")
        (folder / "timers").mkdir()

    @abstractmethod
    def in_force(self) -> bool:
        """Whether it is, as somebody sees who is harmed by it."""

    def section(self) -> dict[str, Any]:
        """What the node's configuration names for it."""
        return {}

    def attempt(self, duration_s: float = 60.0) -> OnTheMachine:
        timer = [sys.executable, "-I", "-S", switch.__file__]
        settings = {
            "clusters": [CLUSTER],
            "hosts": ["web-*"],
            "state_folder": str(self.journal.folder),
            "checks": [{"command": ["true"]}],
            "switch": {
                "arm": [*timer, "arm", str(self.folder / "timers"), "{name}", "{seconds}"],
                "disarm": [*timer, "disarm", str(self.folder / "timers"), "{name}"],
            },
            **self.section(),
        }
        args = {"duration_s": duration_s, **self.args}
        return OnTheMachine(
            self.operation, settings=settings, args=args, cluster=CLUSTER, node="web-0", nodes=["web-0"]
        )

    def close(self) -> None:
        """Leave nothing."""
        for timer in (self.folder / "timers").iterdir():
            switch.disarm(timer)
        assert main([str(self.journal.folder)]) == 0


class OfProcess(Scene):
    """Something is done to the process of a service."""

    def __init__(self, folder: Path, web: WebService) -> None:
        super().__init__(folder)
        self.web, self.member = web, web.members[0]

    def section(self) -> dict[str, Any]:
        connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 1).close()"
        port = str(self.web.ports[self.member.name])
        return {
            "services": {
                "web": {
                    "stop": self.member.command_line("stop"),
                    "start": self.member.command_line("start"),
                    "running": [sys.executable, "-I", "-S", "-c", connect, port],
                }
            },
            "processes": {
                "web": {"pid_file": str(self.member.folder / "pid"), "start": self.member.command_line("start")}
            },
        }

    def in_force(self) -> bool:
        return self.member.pid is None


class Stopped(OfProcess):
    operation = StopService
    args = {"service": "web"}  # noqa: RUF012


class Killed(OfProcess):
    operation = KillProcess
    args = {"process": "web"}  # noqa: RUF012


class Paused(OfProcess):
    operation = PauseProcess
    args = {"process": "web"}  # noqa: RUF012

    def in_force(self) -> bool:
        found = process.find({"pid_file": str(self.member.folder / "pid")})
        return [process.state(each) for each in found] == ["T"]


class Full(Scene):
    """A file system of 16 MiB in memory."""

    operation = FillDisk
    args = {"disk": "data", "leave_free_bytes": MEGA}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        require("network")  # it is root that may mount
        self.place = folder / "data"
        self.place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(self.place)], check=True)

    def section(self) -> dict[str, Any]:
        return {"disks": {"data": {"path": str(self.place), "min_free_bytes": MEGA}}}

    def in_force(self) -> bool:
        assert list(self.place.iterdir()) == [], "no name is ever there"
        about = os.statvfs(self.place)
        return about.f_bavail * about.f_frsize <= MEGA

    def close(self) -> None:
        super().close()
        subprocess.run(["umount", str(self.place)], check=True)


class Lossy(Scene):
    """A port in a network namespace of its own, of whose packets all are lost."""

    operation = PacketLoss
    args = {"interface": "lo", "ports": [8080], "percent": 100.0}  # noqa: RUF012
    SERVE = "import socket; s = socket.create_server(('127.0.0.1', 8080))\nwhile 1: s.accept()[0].close()"
    ASK = "import socket; socket.create_connection(('127.0.0.1', 8080), 0.25).close()"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        require("network")
        self.name = f"fault-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.inside = ["ip", "netns", "exec", self.name]
        subprocess.run([*self.inside, "ip", "link", "set", "lo", "up"], check=True)
        self.server = subprocess.Popen([*self.inside, sys.executable, "-I", "-S", "-c", self.SERVE])
        until(lambda: not self.in_force(), "it serves")

    def section(self) -> dict[str, Any]:
        network = {"interfaces": ["lo"], "ports": [8080], "max_loss_percent": 100, "namespace": self.name}
        return {"network": network}

    def in_force(self) -> bool:
        asked = subprocess.run(
            [*self.inside, sys.executable, "-I", "-S", "-c", self.ASK], check=False, capture_output=True
        )
        return asked.returncode != 0

    def close(self) -> None:
        super().close()
        self.server.kill()
        self.server.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class Slow(Scene):
    """An interface with a delay, in a file that a `tc` of ours keeps in place of the kernel."""

    operation = AddLatency
    args = {"interface": "lo", "latency_ms": 100, "jitter_ms": 10}  # noqa: RUF012
    TC = """#!/bin/sh
case "$*" in
    "qdisc add dev lo root netem delay 1ms") ;;
    "qdisc add dev lo root "*) [ ! -e {state} ] && shift 5 && echo "$*" > {state} ;;
    "qdisc del dev lo root") rm {state} ;;
    "qdisc show dev lo") if [ -e {state} ]; then echo "qdisc netem 7a5c: root refcnt 2 limit 1000 delay 100ms 10ms"
        else echo "qdisc noqueue 0: root refcnt 2"; fi ;;
    *) echo "what is $*?"; exit 1 ;;
esac
"""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        require("network")
        self.kernel = folder / "kernel"
        tc = folder / "bin" / "tc"
        tc.parent.mkdir()
        tc.write_text(self.TC.replace("{state}", str(self.kernel)))
        tc.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tc.parent}:{os.environ['PATH']}")

    def section(self) -> dict[str, Any]:
        return {"network": {"interfaces": ["lo"], "max_latency_ms": 200}}

    def in_force(self) -> bool:
        return self.kernel.exists() and self.kernel.read_text() == "handle 7a5c: netem delay 100ms 10ms\n"


SCENES = ("stopped", "killed", "paused", "full", "lossy", "slow")


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, tmp_path: Path, web: WebService, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    match request.param:
        case "stopped" | "killed" | "paused":
            kinds = {"stopped": Stopped, "killed": Killed, "paused": Paused}
            made: Scene = kinds[request.param](tmp_path, web)
        case "full":
            made = Full(tmp_path)
        case "lossy":
            made = Lossy(tmp_path)
        case _:
            made = Slow(tmp_path, monkeypatch)
    yield made
    made.close()


of_every_kind = pytest.mark.parametrize("scene", SCENES, indirect=True)


def acting(scene: Scene, harness: OnTheMachine) -> int:
    """The action runs, and its fault is in force."""
    assert harness.pre_check() == Go()
    child = harness.begin(scene.folder / "diary")
    try:
        until(scene.in_force, "it is in force")
    except AssertionError:
        os.killpg(child, signal.SIGKILL)
        harness.ended(child, scene.folder / "diary")
        raise AssertionError(f"never in force: {harness.points}") from None
    return child


def killed(scene: Scene, harness: OnTheMachine) -> None:
    """All of it, at once, with the fault in force; `harness` is what the next process finds."""
    child = acting(scene, harness)
    os.killpg(child, signal.SIGKILL)
    assert os.WIFSIGNALED(harness.ended(child, scene.folder / "diary"))


def undone(scene: Scene, harness: OnTheMachine) -> None:
    assert not scene.in_force()
    assert scene.journal.entries() == ()
    assert harness.post_check() == Go()
    assert harness.pre_check() == Go(), "it may be done again"


@of_every_kind
def test_a_fault_that_lasts_its_time_is_undone_and_one_that_is_interrupted_as_well(scene: Scene) -> None:
    whole = scene.attempt(0.05)
    assert whole.pre_check() == Go()
    whole.execute_action()
    undone(scene, whole)
    assert whole.recover() is Recovered.DONE
    assert list((scene.folder / "timers").iterdir()) == [], "the switch is disarmed"

    cut = scene.attempt()
    child = acting(scene, cut)
    os.kill(child, signal.SIGTERM)
    assert os.WEXITSTATUS(cut.ended(child, scene.folder / "diary")) == INTERRUPTED
    undone(scene, cut)


@of_every_kind
def test_a_fault_whose_action_is_killed_is_undone_by_abort_and_by_recover(scene: Scene) -> None:
    """By `abort` when the keeper lives; by `recover` of the next agent when it was killed with its agent."""
    first = scene.attempt()
    killed(scene, first)
    first.abort()
    undone(scene, first)

    second = scene.attempt()
    killed(scene, second)
    assert second.recover() is Recovered.UNKNOWN, "it was cut short"
    undone(scene, second)


@of_every_kind
def test_with_everything_of_ours_dead_a_fault_ends_at_its_deadline(scene: Scene) -> None:
    """Nobody of ours does anything: the switch does, or what the fault is made of."""
    harness = scene.attempt(1.0)
    killed(scene, harness)
    until(lambda: not scene.in_force(), "it ends by itself")
    if not scene.operation.guards_itself:
        until(lambda: scene.journal.entries() == (), "it left the journal")
    elif isinstance(scene, Lossy):
        assert isinstance(harness.post_check(), Wait), "dead rules are left, and are told"
    later = scene.attempt()
    assert later.pre_check() == Go(), "the next attempt clears what is left"
    undone(scene, later)


@pytest.mark.parametrize("scene", ["stopped", "lossy"], indirect=True)
def test_a_person_undoes_it_with_one_command_on_the_node(scene: Scene) -> None:
    killed(scene, scene.attempt())
    command = [sys.executable, "-I", "-m", "runners.fault.undo", str(scene.journal.folder)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    undone(scene, scene.attempt())


@pytest.mark.parametrize("scene", ["killed"], indirect=True)
def test_killed_at_any_point_nothing_is_left(scene: Scene) -> None:
    """Also between what is written down, armed and done."""
    for point in range(1, 30):
        harness = scene.attempt(0.02)
        if not harness.killed_at(point, scene.folder / "diary"):
            break
        began = any('"began": true' in each for each in harness.points)
        over = any('"over": true' in each for each in harness.points)
        answer = harness.recover()
        wanted = Recovered.DONE if over else Recovered.UNKNOWN if began else Recovered.NOT_DONE
        assert answer is wanted, f"point {point} of {harness.points}"
        undone(scene, harness)
    else:
        raise AssertionError("it was always killed")
    assert point > 4


@pytest.mark.parametrize("scene", ["slow"], indirect=True)
def test_a_kernel_without_netem_is_refused_by_name(scene: Scene) -> None:
    """By the real `tc`, where this machine's kernel has none."""
    real = shutil.which("tc", path=os.environ["PATH"].partition(":")[2])
    probe = ["unshare", "--net", str(real), "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    has = real is not None and subprocess.run(probe, check=False, capture_output=True).returncode == 0
    (scene.folder / "bin" / "tc").write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    answer = scene.attempt().pre_check()
    assert isinstance(answer, Go) is has
    assert has or "no netem" in str(answer)
