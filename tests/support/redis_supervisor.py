"""A supervisor of one Redis: that of supervisor.py, with what only Redis has. A script of the standard library alone.

    python redis_supervisor.py serve SPEC.json
    python redis_supervisor.py ask SOCKET VERB

One more verb: `isolate` (from the next start on the server looks well and its peers cannot reach it); `repair` takes it
back as well. Here "up" means that it answers PING.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

if __package__:
    from tests.support.supervisor import Supervisor, ask, main
else:  # as a script it is on its own, and knows only its neighbour
    sys.path.insert(0, str(Path(__file__).parent))
    from supervisor import Supervisor, ask, main  # type: ignore[import-not-found,no-redef]

__all__ = ["RedisSupervisor", "ask"]

BLACK_HOLE_PORT = 1  # nobody listens there
NEVER_MS = 24 * 3600 * 1000


class RedisSupervisor(Supervisor):
    """`spec`, beside that of any supervisor: port, spare_port (where an isolated one listens for peers that do not know
    of it)."""

    def __init__(self, spec: dict) -> None:
        super().__init__({"stop_within_s": 15, "start_within_s": 15, "log": f"{spec['folder']}/redis.log", **spec})
        self.port: int = spec["port"]
        self.spare_port: int = spec["spare_port"]
        self.isolated = False
        self.true_bus_ports: dict[int, int] = {}  # by a peer's port, while isolated

    def argv(self) -> list[str]:
        argv = list(self.spec["argv"])
        if self.broken:
            argv += ["--maxmemory-policy", "broken-on-purpose"]
        if self.isolated:
            argv += ["--cluster-port", str(self.spare_port), "--cluster-node-timeout", str(NEVER_MS)]
            self._point_peers_at(None)
        return argv

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def perform(self, verb: str) -> str:
        if verb == "isolate":
            self.bury()
            self.isolated = True
            return "ok isolated from the next start on"
        if verb == "repair":
            self.bury()
            return self._repair()
        return super().perform(verb)

    def _repair(self) -> str:
        self.broken = False
        if self.isolated and self.server is not None:
            return f"failed {self.node} runs isolated; stop it first: it would write its view of its peers again"
        if self.isolated:
            self._point_peers_at(self.true_bus_ports)
            self.isolated = False
        return "ok starts work again"

    def _point_peers_at(self, bus_ports: dict[int, int] | None) -> None:
        """Rewrite where this server believes its peers' cluster bus to be: None = nowhere. Only while it is down.

        Replication and clients use the other port, so a server that cannot gossip still looks well to whoever asks it.
        """

        def moved(found: re.Match[str]) -> str:
            port, bus_port = int(found[1]), int(found[2])
            if bus_ports is None and bus_port != BLACK_HOLE_PORT:
                self.true_bus_ports[port] = bus_port
            return f":{port}@{BLACK_HOLE_PORT if bus_ports is None else bus_ports[port]}"

        path = self.folder / "nodes.conf"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(x if "myself" in x else re.sub(r":(\d+)@(\d+)", moved, x, count=1) for x in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], RedisSupervisor))
