"""What a fault is, and what it may harm.

A fault is a value: what it concerns is named by number, so that a plan written on one day means the same on another.
Its `inject` answers False when there was nothing to harm (a daemon that was down already).
"""

from __future__ import annotations

import random
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from tests.chaos.town import Seat, Service, Town
from tests.chaos.witness import Coroner, Line

__all__ = ["Fault", "World", "acting_lines", "acting_seat", "signal_service"]


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


def signal_service(service: Service, number: signal.Signals) -> bool:
    daemon = service.daemon
    if daemon is None or daemon.exit_code is not None:
        return False
    with suppress(ProcessLookupError):
        daemon._process.send_signal(number)
    return True


def acting_lines(world: World, patience_s: float = 3.0) -> list[Line]:
    """Who acts now; somebody does within seconds, if work is done at all."""
    give_up = time.monotonic() + patience_s
    while not (found := world.coroner.acting()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return found


def acting_seat(world: World, number: int) -> Seat | None:
    nodes = [line["node"] for line in acting_lines(world)]
    found = [seat for seat in world.town.seats if seat.instance in nodes]
    return found[number % len(found)] if found else None
