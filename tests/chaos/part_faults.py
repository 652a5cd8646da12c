"""What goes wrong with the parts that nodes share: routers and janitors, ZooKeeper, SQS and EC2."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.chaos.fault import Fault, World, signal_service
from tests.chaos.town import SESSION_S
from tests.support.sqs_proxy import Harm

__all__ = [
    "DaemonFrozen",
    "DaemonKilled",
    "LoansEnded",
    "MemberCut",
    "MemberFrozen",
    "MemberKilled",
    "QueuesHarmed",
    "QuorumLost",
]


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
        return service is not None and signal_service(service, signal.SIGSTOP)

    def heal(self, world: World) -> None:
        service = world.service(self.role, self.number)
        if service is not None:
            signal_service(service, signal.SIGCONT)


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
