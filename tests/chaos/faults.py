"""Everything that can go wrong, each kind one small class: what it does, how it heals, and what it is called.

A fault is a value: what it concerns is named by number, so that a plan written on one day means the same on another.
Its `inject` answers False when there was nothing to harm (a daemon that was down already).
"""

from __future__ import annotations

import os
import random
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tests.chaos.town import SESSION_S, Seat, Service, Town
from tests.chaos.witness import Coroner, Line
from tests.support.sqs_proxy import Harm

__all__ = ["KINDS", "Fault", "World", "from_json", "to_json"]


@dataclass(frozen=True, slots=True)
class World:
    """What a fault may harm."""

    town: Town
    coroner: Coroner

    def seat(self, number: int) -> Seat:
        return self.town.seats[number % len(self.town.seats)]

    def service(self, role: str, number: int) -> Service | None:
        services = {"router": self.town.routers, "janitor": self.town.janitors}[role]
        return services[number % len(services)] if services else None


@dataclass(frozen=True)
class Fault(ABC):
    """`lasts_s`: between `inject` and `heal`."""

    lasts_s: float
    weight: ClassVar[float] = 1.0
    needs_cell: ClassVar[bool] = False
    needs_reclaim: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def draw(cls, dice: random.Random) -> Fault: ...

    @abstractmethod
    def inject(self, world: World) -> bool: ...

    def heal(self, world: World) -> None:  # noqa: B027  many heal by themselves
        """Undo it. Idempotent; whatever it harmed may have ended meanwhile."""


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
        return _signal(world.seat(self.seat).agent, signal.SIGSTOP)

    def heal(self, world: World) -> None:
        _signal(world.seat(self.seat).agent, signal.SIGCONT)


@dataclass(frozen=True)
class ActionKilled(Fault):
    """SIGKILL to the process of an action that is under way."""

    number: int
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(0.0, dice.randrange(1000))

    def inject(self, world: World) -> bool:
        acting = _acting(world)
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
        seat = _acting_seat(world, self.seat) if self.acting else world.seat(self.seat)
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
class DaemonKilled(Fault):
    """SIGKILL to a router or a janitor."""

    role: str
    number: int
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.choice((0.1, 3.0, 8.0)), dice.choice(("router", "janitor")), dice.randrange(1000))

    def inject(self, world: World) -> bool:
        service = world.service(self.role, self.number)
        killed = service is not None and world.town.kill(service, self.lasts_s)
        if self.role == "router":
            world.town.cloud.end_loans(f"{world.town.installation.prefix}-tasks")  # as fifteen minutes later
        return killed


@dataclass(frozen=True)
class DaemonFrozen(Fault):
    """SIGSTOP to a router or a janitor, also past its session."""

    role: str
    number: int
    weight: ClassVar[float] = 1.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        lasts = dice.uniform(0.3, 3.0) * SESSION_S
        return cls(lasts, dice.choice(("router", "janitor")), dice.randrange(1000))

    def inject(self, world: World) -> bool:
        service = world.service(self.role, self.number)
        return service is not None and _signal(service, signal.SIGSTOP)

    def heal(self, world: World) -> None:
        service = world.service(self.role, self.number)
        if service is not None:
            _signal(service, signal.SIGCONT)


@dataclass(frozen=True)
class MemberKilled(Fault):
    """SIGKILL to one ZooKeeper of three; the leader or not, as it comes. Like all that harms ZooKeeper only when it is
    whole: it takes seconds to come back, and most of a run would be spent without it."""

    number: int
    weight: ClassVar[float] = 2.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(0.5, 8.0), dice.randrange(3))

    def inject(self, world: World) -> bool:
        if not world.town.ensemble.whole():
            return False
        world.town.ensemble.members[self.number].kill()
        return True

    def heal(self, world: World) -> None:
        world.town.ensemble.members[self.number].launch()


@dataclass(frozen=True)
class MemberCut(Fault):
    """One ZooKeeper of three is alone: neither its peers nor its clients reach it, and nobody is told."""

    number: int
    weight: ClassVar[float] = 2.0
    needs_cell: ClassVar[bool] = True

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(1.0, 10.0), dice.randrange(3))

    def inject(self, world: World) -> bool:
        if not world.town.ensemble.whole():
            return False
        world.town.ground.cut(world.town.ensemble.members[self.number].host)
        return True

    def heal(self, world: World) -> None:
        world.town.ground.mend(world.town.ensemble.members[self.number].host)


@dataclass(frozen=True)
class MemberFrozen(Fault):
    """SIGSTOP to one ZooKeeper of three: its connections stay open, and it is silent."""

    number: int
    weight: ClassVar[float] = 1.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(0.5, 8.0), dice.randrange(3))

    def inject(self, world: World) -> bool:
        if not world.town.ensemble.whole():
            return False
        world.town.ensemble.members[self.number].signal(signal.SIGSTOP)
        return True

    def heal(self, world: World) -> None:
        world.town.ensemble.members[self.number].signal(signal.SIGCONT)


@dataclass(frozen=True)
class QuorumLost(Fault):
    """SIGKILL to two ZooKeepers of three at once."""

    spared: int
    weight: ClassVar[float] = 1.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(1.0, 10.0), dice.randrange(3))

    def inject(self, world: World) -> bool:
        if not world.town.ensemble.whole():
            return False
        for member in world.town.ensemble.members:
            if member.number - 1 != self.spared:
                member.kill()
        return True

    def heal(self, world: World) -> None:
        for member in world.town.ensemble.members:
            member.launch()


@dataclass(frozen=True)
class QueuesHarmed(Fault):
    """A bad day of SQS: `harm` says which."""

    harm: str
    weight: ClassVar[float] = 4.0
    WAYS: ClassVar[dict[str, dict[str, Any]]] = {
        "duplicates": {"copies": 2},
        "lent twice": {"again": 0.5},
        "delays and overtaking": {"delay_most_s": 8},
        "5xx": {"refuse": 0.4, "refuse_with": (503, "ServiceUnavailable")},
        "throttling": {"refuse": 0.4, "refuse_with": (403, "RequestThrottled")},
        "lost answers": {"swallow": 0.3},
        "forgotten deletes": {"forget": 0.5},
        "everything": {"copies": 2, "again": 0.2, "delay_most_s": 3, "refuse": 0.1, "swallow": 0.1, "forget": 0.2},
        "away": {"refuse": 1.0},
        "and EC2 refuses": {"refuse_others": 0.5},
        "and EC2 is away": {"refuse_others": 1.0},
    }

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(dice.uniform(2.0, 12.0), dice.choice([*cls.WAYS]))

    def inject(self, world: World) -> bool:
        world.town.proxy.harm = Harm(**self.WAYS[self.harm], dice=world.town.proxy.harm.dice)
        return True

    def heal(self, world: World) -> None:
        world.town.proxy.harm = Harm(dice=world.town.proxy.harm.dice)


@dataclass(frozen=True)
class LoansEnded(Fault):
    """Every message that somebody holds is lent to the next one who asks."""

    weight: ClassVar[float] = 1.0

    @classmethod
    def draw(cls, dice: random.Random) -> Fault:
        return cls(0.0)

    def inject(self, world: World) -> bool:
        world.town.cloud.end_loans(world.town.installation.prefix)
        return True


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
        with suppress(OSError), self._ballast(world).open("ab", buffering=0) as file:
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
        seat = _acting_seat(world, self.seat) if self.acting else world.seat(self.seat)
        if seat is None:
            return False
        world.town.terminate(seat, self.lasts_s)
        return True


KINDS: dict[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (
        AgentKilled,
        AgentRestarted,
        AgentFrozen,
        ActionKilled,
        NodeKilled,
        NodeCut,
        DaemonKilled,
        DaemonFrozen,
        MemberKilled,
        MemberCut,
        MemberFrozen,
        QuorumLost,
        QueuesHarmed,
        LoansEnded,
        ClockJumped,
        DiskFull,
        InstanceTerminated,
    )
}


def to_json(fault: Fault) -> dict[str, Any]:
    """For the plan."""
    return {"kind": type(fault).__name__, **asdict(fault)}


def from_json(found: dict[str, Any]) -> Fault:
    """From the plan."""
    known = dict(found)
    return KINDS[known.pop("kind")](**known)


def _signal(service: Service, number: signal.Signals) -> bool:
    daemon = service.daemon
    if daemon is None or daemon.exit_code is not None:
        return False
    with suppress(ProcessLookupError):
        daemon._process.send_signal(number)
    return True


def _acting(world: World, patience_s: float = 3.0) -> list[Line]:
    """Who acts now; somebody does within seconds, if work is done at all."""
    give_up = time.monotonic() + patience_s
    while not (found := world.coroner.acting()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return found


def _acting_seat(world: World, number: int) -> Seat | None:
    nodes = [line["node"] for line in _acting(world)]
    found = [seat for seat in world.town.seats if seat.instance in nodes]
    return found[number % len(found)] if found else None
