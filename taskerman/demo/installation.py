"""The demo's Taskerman, in one of two ways: as processes around a real ZooKeeper, or in this process in memory.

Either way nodes and attempts are real processes, the queues are SQS's and the cluster is what EC2 says. Both are
started like a user would start them: first the installation with its hold, then router and agents.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from taskerman.bootstrap import open_agent, open_desk, open_router
from taskerman.control import Desk
from taskerman.demo.claims import NotSo
from taskerman.demo.crew import Crew
from taskerman.demo.web_cluster import CLUSTER
from taskerman.model.event import Event
from taskerman.ports.tree import Tree
from taskerman.settings import Settings
from taskerman.testing.tree import MemoryServer, MemoryTree

__all__ = ["AsProcesses", "Embedded", "Installation"]

PREFIX = "demo"
OPERATOR = "you@demo"
ACTION = "demo_task:restart"

Configuration = Mapping[str, Mapping[str, JsonValue]]


class Installation(Protocol):
    """A Taskerman. `desk`: the operator's. `coordination`, `daemons`: what they are, in words."""

    desk: Desk
    coordination: str
    daemons: str

    def start(self, nodes: Mapping[str, Configuration]) -> None:
        """Start a router, and an agent for each node with its configuration of runners. Does not wait for them."""
        ...

    def journal(self, node: str) -> Path:
        """Where the agent of `node` remembers how far its attempt is."""
        ...

    def check(self) -> None:
        """Raises `NotSo` when a daemon has ended."""
        ...


class AsProcesses:
    """`taskerman router`, and `taskerman agent` once a node, around a throwaway ZooKeeper."""

    daemons = "1 router and 6 agents, each a process"

    def __init__(self, crew: Crew, folder: Path, hosts: str) -> None:
        """`hosts`: of a ZooKeeper that serves."""
        self._crew = crew
        self._folder = folder
        self._hosts = hosts
        self.coordination = f"a ZooKeeper of its own on {hosts}"
        self._open = ExitStack()
        settings = Settings(zookeeper_hosts=hosts, queue_prefix=PREFIX, operator=OPERATOR)
        self.desk = self._open.enter_context(open_desk(settings))

    def start(self, nodes: Mapping[str, Configuration]) -> None:
        """See `Installation.start`."""
        taskerman = str(Path(sys.executable).with_name("taskerman"))
        everybody = {
            "TASKERMAN_ZOOKEEPER_HOSTS": self._hosts,
            "TASKERMAN_QUEUE_PREFIX": PREFIX,
            "TASKERMAN_OPERATOR": OPERATOR,
            "TASKERMAN_CGROUP": "none",  # nothing of it is to be left on somebody's own machine
        }
        self._crew.start("router", [taskerman, "router"], env=everybody)
        for node, configuration in nodes.items():
            mine = {
                "TASKERMAN_NODE_ID": node,
                "TASKERMAN_CLUSTERS": CLUSTER,
                "TASKERMAN_ACTIONS": ACTION,
                "TASKERMAN_STATE_DIR": str(self._folder / "state" / node),
                "TASKERMAN_RUNNERS": json.dumps(configuration),
            }
            self._crew.start(f"agent-{node}", [taskerman, "agent"], env={**everybody, **mine})

    def journal(self, node: str) -> Path:
        """See `Installation.journal`."""
        return self._folder / "state" / node / "journal.json"

    def check(self) -> None:
        """See `Installation.check`."""
        self._crew.check()


class Embedded:
    """Coordination in memory, and router and agents as threads around it, all in this process."""

    coordination = "embedded, in the memory of one process"
    daemons = "1 router and 6 agents, as threads of that process"

    def __init__(self, crew: Crew, folder: Path) -> None:
        """Starts nothing yet."""
        self._crew = crew
        self._folder = folder
        self._server = MemoryServer()
        self._open = ExitStack()
        self.desk = self._open.enter_context(open_desk(self._settings(), connect=self._connect))
        self._ended: list[str] = []

    def start(self, nodes: Mapping[str, Configuration]) -> None:
        """See `Installation.start`."""
        self._thread("router", self._router)
        for node, configuration in nodes.items():
            self._thread(f"agent-{node}", partial(self._agent, node, configuration))

    def journal(self, node: str) -> Path:
        """See `Installation.journal`."""
        return self._folder / "state" / node / "journal.json"

    def check(self) -> None:
        """See `Installation.check`."""
        if self._ended:
            raise NotSo(self._ended[0])
        self._crew.check()

    def _connect(self) -> Tree:
        return MemoryTree(self._server)

    def _settings(self, **more: object) -> Settings:
        return Settings.model_validate({"queue_prefix": PREFIX, "operator": OPERATOR, **more})

    def _router(self) -> None:
        with open_router(self._settings(), self._note, connect=self._connect) as router:
            router.run()

    def _agent(self, node: str, configuration: Configuration) -> None:
        settings = self._settings(
            node_id=node,
            clusters=(CLUSTER,),
            actions=(ACTION,),
            state_dir=self.journal(node).parent,
            runners=configuration,
        )
        with open_agent(settings, self._note, connect=self._connect) as agent:
            agent.run()

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        def perform() -> None:
            try:
                work()
            except Exception as error:
                self._ended.append(f"{name} ended with {type(error).__name__}: {error}")
            else:
                self._ended.append(f"{name} ended by itself")

        threading.Thread(target=perform, name=name, daemon=True).start()

    def _note(self, event: Event) -> None:
        fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
        with (self._folder / "taskerman.log").open("a", encoding="utf-8") as log:
            log.write(f"{event.level} {event.name} {fields}\n")
