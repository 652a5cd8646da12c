"""The installation under test: every daemon a process, every node on a host of its own, and somebody who starts again
what has ended, as systemd would.

It keeps no record and judges nothing; what it did is in the events that it is given a listener for.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.cloud import Cloud
from tests.chaos.ensemble import Ensemble
from tests.chaos.ground import Ground, Host
from tests.chaos.shell import Shells
from tests.support.daemons import Answer, Daemon, Installation
from tests.support.sqs_proxy import SqsProxy

__all__ = ["SCOPES", "SESSION_S", "Listener", "Seat", "Service", "Town"]

Listener = Callable[..., dict[str, Any]]
"""Told of everything, as (what, **known); answers with the line that was written."""
NODE_DISK_BYTES = 8 * 1024 * 1024
_RESTART_S = 0.5
SESSION_S = 4
SCOPES = {"wire": 2}
"""Named scopes, and how many nodes may be in each."""
UPKEEP: dict[str, float] = {
    "turn_s": 1,
    "margin_s": 5,
    "reclaim_every_s": 2,
    "absent_apart_s": 10,
    "reclaims_an_hour": 1000,
    "ring_every_s": 30,
    "settle_grace_s": 5,
    "put_away_every_s": 3,
    "ended_kept_s": 3,
    "letters_kept_s": 5,
}
"""A janitor in a hurry: what takes days is seen in minutes. Tombstones outlast the run, as they outlast late copies."""


@dataclass
class Service:
    """A daemon that is started again when it ends. `down_until`: not before that (monotonic)."""

    name: str
    start: Callable[[], Daemon]
    daemon: Daemon | None = None
    down_until: float = 0.0

    def alive(self) -> bool:
        """Whether its process is there."""
        return self.daemon is not None and self.daemon.exit_code is None


@dataclass
class Seat:
    """Where an instance stands; when it is terminated, another one of the same clusters takes the seat."""

    name: str
    clusters: tuple[str, ...]
    host: Host
    instance: str = ""
    home: Path = field(default_factory=Path)
    agent: Service = field(init=False)
    lives: int = 0


class Town:
    """The whole of it. `tell`: gets every event, as (what, **known)."""

    def __init__(
        self,
        folder: Path,
        ground: Ground,
        ensemble: Ensemble,
        cloud: Cloud,
        proxy: SqsProxy,
        *,
        clusters: Mapping[str, int],
        seed: int,
        tell: Listener,
        breakage: str = "",
    ) -> None:
        """`clusters`: how many nodes are of which; "a:b c:d" for nodes of two.
        `breakage`: see `sabotage`; only to show that the judge cries out."""
        self.folder, self.ground, self.ensemble, self.cloud, self.proxy = folder, ground, ensemble, cloud, proxy
        self.witness, self.tell = folder / "witness.jsonl", tell
        self.installation = Installation(
            folder, cloud.local, ensemble.hosts, cluster="", session_s=SESSION_S, sqs_url=proxy.url
        )
        self.installation.env["PYTHONPATH"] = os.pathsep.join(
            [str(_plugin(folder)), self.installation.env["PYTHONPATH"]]
        )
        self.installation.env |= {
            "CHAOS_BREAKAGE": breakage,
            "TASKERMAN_DEFERRAL_S": "1",
            "TASKERMAN_BREAKER_COOL_DOWN_S": "6",
            "TASKERMAN_JANITOR": json.dumps(UPKEEP),
            "TASKERMAN_STATE_DIR": str(folder / "state"),
            "TASKERMAN_HISTORY_URL": f"sqlite:///{folder.absolute()}/history.db",
        }
        self._seed = seed
        self.seats: list[Seat] = []
        for names, size in clusters.items():
            short = "".join(name.split(":")[1] for name in names.split())
            for number in range(1, size + 1):
                name = f"{short}{number}"
                self.seats.append(Seat(name, tuple(names.split()), ground.host(name)))
        self.routers = [self._service(f"router-{number}", ["router"]) for number in (1, 2)]
        self.janitors = [self._service(f"janitor-{number}", ["janitor"]) for number in (1, 2)]
        for seat in self.seats:
            seat.agent = Service(f"agent-{seat.name}", lambda seat=seat: self._start_agent(seat))  # type: ignore[misc]
        self.shells = Shells(self.installation.env)
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._lock = threading.RLock()

    # --- running -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install, start everything, and lift the first hold."""
        self._must("init")
        for scope, capacity in SCOPES.items():
            self._must("scopes", "set", scope, str(capacity), "--why", "chaos")
        for seat in self.seats:
            self.seat_instance(seat)
        self._watcher.start()
        self._must("unhold", "new-installation", "--why", "chaos")

    def close(self) -> None:
        """Nothing of it is left."""
        self._stop.set()
        if self._watcher.ident is not None:
            self._watcher.join(30)
        self.shells.close()
        self.installation.close()
        for seat in self.seats:
            self._unmount(seat)

    def services(self) -> list[Service]:
        """All daemons."""
        return [*self.routers, *self.janitors, *(seat.agent for seat in self.seats)]

    def type(self, *words: str) -> Answer:
        """What a person types, and what came of it. Raises `queue.Empty` when everybody is typing already."""
        return Answer(self.shells.type(*words))

    def sizes(self) -> dict[str, int]:
        """How many nodes each cluster has."""
        return dict(Counter(name for seat in self.seats for name in seat.clusters))

    def seat_instance(self, seat: Seat) -> None:
        """A new instance in the seat, with an empty disk."""
        with self._lock:
            self._unmount(seat)
            seat.lives += 1
            seat.instance = self.cloud.local.start_nodes(" ".join(seat.clusters), 1)[0].id
            seat.home = self.folder / f"{seat.name}-{seat.lives}"
            (seat.home / "state").mkdir(parents=True)
            (seat.home / "boot_id").write_text(f"{uuid.uuid4()}\n")
            if self.ground.has_networks:
                argv = ["mount", "-t", "tmpfs", "-o", f"size={NODE_DISK_BYTES}", "none", str(seat.home / "state")]
                subprocess.run(argv, check=True)
            self.tell("seated", seat=seat.name, clusters=seat.clusters, node=seat.instance)

    def kill(self, service: Service, down_s: float) -> bool:
        """SIGKILL, and no new one for so long. False: it was down already."""
        with self._lock:
            service.down_until = time.monotonic() + down_s
            if not service.alive():
                return False
            assert service.daemon is not None
            service.daemon.kill()
            return True

    def kill_node(self, seat: Seat, down_s: float, *, disk_lost: bool = False) -> None:
        """As a power cut: its agent and everything that it started, in whatever session; and it is booted again.

        `disk_lost`: and its disk is replaced by an empty one.
        """
        with self._lock:
            self.kill(seat.agent, down_s)
            (seat.home / "boot_id").write_text(f"{uuid.uuid4()}\n")
            marker = f"CHAOS_SEAT={seat.name}".encode()
            for _ in range(3):  # what was forked while we looked
                for entry in Path("/proc").iterdir():
                    if not entry.name.isdigit() or int(entry.name) == os.getpid():
                        continue
                    with suppress(OSError):
                        if marker in (entry / "environ").read_bytes().split(b"\0"):
                            os.kill(int(entry.name), signal.SIGKILL)
            if disk_lost:
                for entry in (seat.home / "state").iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def terminate(self, seat: Seat, down_s: float) -> None:
        """A power cut for ever; EC2 says so, and another instance takes the seat after `down_s`."""
        with self._lock:
            self.kill_node(seat, down_s)
            self.tell("terminated", node=seat.instance)
            self.cloud.local.terminate([seat.instance])
            self.seat_instance(seat)

    # --- inside ------------------------------------------------------------------------------------------

    def _must(self, *words: str) -> None:
        answer = self.type(*words)
        assert answer.code == 0, f"{words}: {answer}"

    def _service(self, name: str, words: list[str]) -> Service:
        return Service(name, lambda: self._start(name, (), words, {}))

    def _start_agent(self, seat: Seat) -> Daemon:
        settings = {"witness": str(self.witness), "seed": self._seed, "reboot": str(seat.home / "reboot")}
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (seat.home / "taskerman.toml").write_text("\n".join(["[runners.chaos_task]", *lines, ""]))
        own = {
            "TASKERMAN_NODE_ID": seat.instance,
            "TASKERMAN_CLUSTERS": ",".join(seat.clusters),
            "TASKERMAN_ACTIONS": "chaos_task:*",
            "TASKERMAN_STATE_DIR": str(seat.home / "state"),
            "TASKERMAN_BOOT_ID_FILE": str(seat.home / "boot_id"),
            "TASKERMAN_SETTINGS_FILE": str(seat.home / "taskerman.toml"),
            "CHAOS_CLOCK_FILE": str(seat.home / "clock"),
            "CHAOS_SEAT": seat.name,
        }
        return self._start(seat.agent.name, seat.host.prefix, ["agent"], own)

    def _start(self, name: str, prefix: tuple[str, ...], words: list[str], env: Mapping[str, str]) -> Daemon:
        argv = [*prefix, str(Path(sys.executable).with_name("taskerman")), *words]
        return Daemon(name, argv, {**self.installation.env, **env}, self.folder / f"{name}.log")

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                for seat in self.seats:
                    if (seat.home / "reboot").exists():
                        (seat.home / "reboot").unlink()
                        self.kill_node(seat, 0.5)
                        self.tell("rebooted", seat=seat.name)
                for service in self.services():
                    daemon = service.daemon
                    if daemon is not None and daemon.exit_code is not None:
                        if not daemon.may_end:
                            self.tell("ended_by_itself", service=service.name, code=daemon.exit_code)
                            if daemon.exit_code in (1, 2):
                                self.tell("accident", text=f"{service.name} ended with {daemon.exit_code}")
                            service.down_until = max(service.down_until, time.monotonic() + _RESTART_S)
                        service.daemon = None
                    if service.daemon is None and time.monotonic() >= service.down_until:
                        service.daemon = service.start()
                        self.installation.daemons.append(service.daemon)
                        self.tell("started", service=service.name, pid=service.daemon.pid)

    def _unmount(self, seat: Seat) -> None:
        if seat.lives and self.ground.has_networks:
            subprocess.run(["umount", "--lazy", str(seat.home / "state")], check=False, capture_output=True)


def _plugin(folder: Path) -> Path:
    """A folder that offers the runner as an installed package would, and gives daemons a clock that can be set."""
    place = folder / "chaos-plugin"
    info = place / "chaos_task-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-task\nVersion: 0\n")
    offers = ("chaos_task.restart = tests.chaos.runner:Chaotic", "chaos_task.reboot = tests.chaos.runner:Rebooting")
    (info / "entry_points.txt").write_text("\n".join(["[taskerman.runners]", *offers, ""]))
    shutil.copy(Path(__file__).with_name("sabotage.py"), place / "sitecustomize.py")
    return place
