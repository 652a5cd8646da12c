"""Three HTTP services behind a load balancer that is a folder: who has a file in it, is in it."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.stores import web_server
from tests.support.stores.member import Member, start_together
from tests.support.waiting import until

__all__ = ["HANG_UP", "WebService"]

HANG_UP = "import os, signal, sys; os.kill(int(open(sys.argv[1]).read()), signal.SIGHUP)"


class WebService:
    """A `Store`. `ports`: by member's name. `balancer`: the folder."""

    kind = "service"

    def __init__(self, folder: Path, count: int = 3) -> None:
        """Starts them, and returns when all serve."""
        self.folder = folder
        self.balancer = folder / "in"
        self.balancer.mkdir(parents=True)
        self.ports = dict(zip([f"web-{number}" for number in range(count)], free_ports(count), strict=True))
        self.members: Sequence[Member] = [self._member(name) for name in self.ports]
        start_together(self.members, self.close)

    def _member(self, name: str) -> Member:
        home = self.folder / name
        home.mkdir()
        (self.balancer / name).touch()
        port = self.ports[name]
        connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 1).close()"
        return Member(
            name=name,
            folder=home,
            argv=[sys.executable, "-I", "-S", web_server.__file__, str(home), name, str(port), json.dumps(self.ports)],
            ready=[sys.executable, "-I", "-S", "-c", connect, str(port)],
            events=self.folder / "events",
        )

    def url(self, name: str, path: str = "/health") -> str:
        """An address of a member."""
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def service(self, member: Member, **more: Any) -> dict[str, Any]:
        """The section of one service, with all commands. `more`: in place of what stands there."""
        home, name = member.folder, member.name
        touch, remove = shutil.which("touch"), shutil.which("rm")
        return {
            "restart": member.command_line("restart"),
            "stop": member.command_line("stop"),
            "start": member.command_line("start"),
            "reload": [sys.executable, "-I", "-S", "-c", HANG_UP, str(home / "pid")],
            "reload_mark": ["cat", str(home / "generation")],
            "pid_file": str(home / "pid"),
            "checks": [{"http": self.url(name), "body": f"^ok {name}$"}, {"tcp": f"127.0.0.1:{self.ports[name]}"}],
            "drain": [remove, "-f", str(self.balancer / name)],
            "undrain": [touch, str(self.balancer / name)],
            "called": name,
            "peers": {
                peer.name: {"http": self.url(peer.name), "about": "/peers/{node}", "about_body": "^up$"}
                for peer in self.members
                if peer.name != name
            },
            **more,
        }

    def settings(self, member: Member, **more: Any) -> Mapping[str, Any]:
        """Of the member's node. `more`: of its service."""
        return {"services": {"web": self.service(member, **more)}, "state_folder": str(member.folder / "notes")}

    def client(self) -> Callable[[], None]:
        """As a careful application: through a load balancer, and to another member when one fails it."""
        return lambda: self._ask_any(attempts=len(self.members))

    def simple_client(self) -> Callable[[], None]:
        """It believes the load balancer, and asks once."""
        return lambda: self._ask_any(attempts=1)

    def _ask_any(self, attempts: int) -> None:
        names = sorted(path.name for path in self.balancer.iterdir())
        random.shuffle(names)
        last: Exception | None = RuntimeError("nobody is in the load balancer")
        for name in names[:attempts]:
            try:
                assert self.get(name, "/work") == (200, name)
            except (OSError, http.client.HTTPException) as error:
                last = error
            else:
                return
        assert last is not None
        raise last

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Status and text of a member's page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            connection.close()

    def wait_until_well(self) -> None:
        """All serve, and all are in the load balancer."""

        def well() -> bool:
            try:
                return all(self.get(name, "/health")[0] == 200 for name in self.ports)
            except OSError:
                return False

        until(well, "all services are well", within_s=60)
        assert {path.name for path in self.balancer.iterdir()} == set(self.ports)

    def close(self) -> None:
        """End all of it."""
        for member in self.members:
            member.close()
