"""`demo:web`: six services, each under its supervisor, and what their nodes' configuration says of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from taskerman.demo.claims import NotSo
from taskerman.demo.crew import Crew
from taskerman.model.cluster import Node

__all__ = ["CLUSTER", "WebCluster"]

CLUSTER = "demo:web"
SUPERVISOR = Path(__file__).with_name("supervisor.py")


class WebCluster:
    """The services of `nodes`, started. `ports`: of each, the same over restarts."""

    def __init__(self, crew: Crew, folder: Path, nodes: Sequence[Node]) -> None:
        """Starts them at the same time and waits until all listen. Raises `NotSo`."""
        self._folder = folder
        self.nodes = tuple(nodes)
        self.ports: dict[str, int] = {}
        for node in nodes:
            (folder / node.id).mkdir(parents=True)
            crew.start(_name(node), [*_supervisor(), "serve", str(folder / node.id)], says=True)
        for node in nodes:
            said = json.loads(crew.first_line(_name(node)))
            if not said["said"].startswith("ok"):
                raise NotSo(f"the service of {node.id} did not start: {said['said']}")
            self.ports[node.id] = said["port"]

    def configuration(self, node: str) -> dict[str, dict[str, JsonValue]]:
        """How `demo_task` works on `node`: what an operator writes into TASKERMAN_RUNNERS there."""
        urls: dict[str, JsonValue] = {name: f"http://127.0.0.1:{port}/health" for name, port in self.ports.items()}
        restart: list[JsonValue] = [*_supervisor(), "ask", str(self._folder / node), "restart"]
        return {"demo_task": {"restart": restart, "health_url": urls[node], "peers": urls}}

    def sicken(self, node: str) -> None:
        """From its next start on the service of `node` is ill."""
        (self._folder / node / "ill").touch()


def _name(node: Node) -> str:
    return f"service-{node.id}"


def _supervisor() -> list[str]:
    return [sys.executable, "-I", "-S", str(SUPERVISOR)]
