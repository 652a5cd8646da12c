"""What goes wrong on a node: its agent, its action, its power, its disk, its clock, its network."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.chaos.fault import Fault, World, acting_lines, acting_seat, signal_service
from tests.chaos.town import NODE_DISK_BYTES, SESSION_S

__all__ = [
    "ActionKilled",
    "AgentFrozen",
    "AgentKilled",
    "AgentRestarted",
    "ClockJumped",
    "DiskFull",
    "InstanceTerminated",
    "NodeCut",
    "NodeKilled",
]


@dataclass(frozen=True)
class AgentKilled(Fault):
    """SIGKILL to an agent; what it started goes on. It is started again after `lasts_s`."""

    seat: int
    weight: ClassVar[float] = 4.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.choice((0.1, 1.0, 3.0, 12.0)), dice.randrange(1000))

    def inject(self, world: World) -> bool:
        return world.town.kill(world.seat(self.seat).agent, self.lasts_s)


@dataclass(frozen=True)
class AgentRestarted(Fault):
    """SIGTERM, as an upgrade does."""

    seat: int
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(0.0, dice.randrange(1000))

    def inject(self, world: World) -> bool:
        daemon = world.seat(self.seat).agent.daemon
        if daemon is None or daemon.exit_code is not None:
            return False
        daemon.may_end = True
        with suppress(ProcessLookupError):
            daemon._process.send_signal(signal.SIGTERM)
        return True


@dataclass(frozen=True)
class AgentFrozen(Fault):
    """SIGSTOP to an agent, for up to three of its ZooKeeper sessions."""

    seat: int
    weight: ClassVar[float] = 3.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(0.3, 3.0) * SESSION_S, dice.randrange(1000))

    def inject(self, world: World) -> bool:
        return signal_service(world.seat(self.seat).agent, signal.SIGSTOP)

    def heal(self, world: World) -> None:
        signal_service(world.seat(self.seat).agent, signal.SIGCONT)


@dataclass(frozen=True)
class ActionKilled(Fault):
    """SIGKILL to the process of an action that is under way."""

    number: int
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(0.0, dice.randrange(1000))

    def inject(self, world: World) -> bool:
        acting = acting_lines(world)
        if not acting:
            return False
        with suppress(ProcessLookupError):
            os.kill(acting[self.number % len(acting)]["pid"], signal.SIGKILL)
        return True


@dataclass(frozen=True)
class NodeKilled(Fault):
    """A power cut: the agent and everything that it started; the node comes back after `lasts_s`, with its disk, or
    with another one."""

    seat: int
    acting: bool
    disk_lost: bool
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        lasts, disk_lost = dice.choice((0.5, 4.0, 10.0)), dice.random() < 0.25
        return cls(lasts, dice.randrange(1000), dice.random() < 0.7, disk_lost)

    def inject(self, world: World) -> bool:
        seat = acting_seat(world, self.seat) if self.acting else world.seat(self.seat)
        if seat is None:
            return False
        world.town.kill_node(seat, self.lasts_s, disk_lost=self.disk_lost)
        return True


@dataclass(frozen=True)
class NodeCut(Fault):
    """The network of a node is gone: no ZooKeeper, no queue; its processes live."""

    seat: int
    weight: ClassVar[float] = 3.0
    needs_cell: ClassVar[bool] = True

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(0.5, 12.0), dice.randrange(1000))

    def inject(self, world: World) -> bool:
        world.town.ground.cut(world.seat(self.seat).host)
        return True

    def heal(self, world: World) -> None:
        world.town.ground.mend(world.seat(self.seat).host)


@dataclass(frozen=True)
class ClockJumped(Fault):
    """The time of day of a node's agent is wrong by `by_s` seconds."""

    seat: int
    by_s: float
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(2.0, 15.0), dice.randrange(1000), dice.choice((-7200.0, -60.0, 45.0, 3600.0)))

    def inject(self, world: World) -> bool:
        (world.seat(self.seat).home / "clock").write_text(str(self.by_s))
        return True

    def heal(self, world: World) -> None:
        (world.seat(self.seat).home / "clock").write_text("0")


@dataclass(frozen=True)
class DiskFull(Fault):
    """Not a byte more fits on the disk with a node's journal."""

    seat: int
    weight: ClassVar[float] = 2.0
    needs_cell: ClassVar[bool] = True

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(1.0, 10.0), dice.randrange(1000))

    def inject(self, world: World) -> bool:
        ballast = self._ballast(world)
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            disk = os.fstatvfs(file.fileno())
            if disk.f_blocks * disk.f_frsize > NODE_DISK_BYTES:
                # The seat is just given to another instance, whose small disk is not mounted yet: this is the
                # machine's own, and nobody's to fill.
                ballast.unlink()
                return False
            for size in (1 << 16, 1 << 10, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        return True

    def heal(self, world: World) -> None:
        self._ballast(world).unlink(missing_ok=True)

    def _ballast(self, world: World) -> Any:
        return world.seat(self.seat).home / "state" / "ballast"


@dataclass(frozen=True)
class InstanceTerminated(Fault):
    """A power cut from which an instance never comes back, and EC2 says so; another one takes its seat later."""

    seat: int
    acting: bool
    weight: ClassVar[float] = 1.0
    needs_reclaim: ClassVar[bool] = True

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(3.0, 10.0), dice.randrange(1000), dice.random() < 0.8)

    def inject(self, world: World) -> bool:
        seat = acting_seat(world, self.seat) if self.acting else world.seat(self.seat)
        if seat is None:
            return False
        world.town.terminate(seat, self.lasts_s)
        return True
