"""Hosts on a network of our own: each has an address and a link that can be cut and mended.

Without a cell all hosts are this one, at 127.0.0.1, and nothing can be cut: a smaller run, for machines without root.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from tests.chaos.cell import BRIDGE, IN_A_CELL, NETWORK

__all__ = ["Ground", "Host"]


@dataclass(frozen=True, slots=True)
class Host:
    """`prefix`: what a command begins with to be run there."""

    name: str
    address: str
    prefix: tuple[str, ...] = ()


class Ground:
    """Makes hosts; the cell ends with the run, and they with it."""

    def __init__(self) -> None:
        self.has_networks = IN_A_CELL in os.environ
        self._made = 0

    @property
    def address(self) -> str:
        """Where hosts find what runs on none of them."""
        return f"{NETWORK}.1" if self.has_networks else "127.0.0.1"

    def host(self, name: str) -> Host:
        """A new host. `name`: at most 12 characters."""
        if not self.has_networks:
            return Host(name, "127.0.0.1")
        self._made += 1
        made = Host(name, f"{NETWORK}.{10 + self._made}", ("ip", "netns", "exec", name))
        for line in (
            f"ip netns add {name}",
            f"ip link add v-{name} type veth peer name eth0 netns {name}",
            f"ip link set v-{name} master {BRIDGE} up",
            f"ip -n {name} addr add {made.address}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} link set lo up",
        ):
            subprocess.run(line.split(), check=True)
        return made

    def cut(self, host: Host) -> None:
        """Nothing that is sent to or from it arrives, and nobody is told. Idempotent."""
        self._link(host, "down")

    def mend(self, host: Host) -> None:
        """Undo `cut`. Idempotent."""
        self._link(host, "up")

    def _link(self, host: Host, state: str) -> None:
        assert self.has_networks
        subprocess.run(["ip", "link", "set", f"v-{host.name}", state], check=True)
