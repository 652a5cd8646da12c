"""A whole installation in one process: one tree server, one set of queues, a router and agents as threads.

The attempts are real child processes with journal and fsync. Trees and queues may be the fakes or the real ones: what
this file knows of them is their contracts.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from taskerman.adapters.clock import SystemClock
from taskerman.agent import Agent, JournalFile, Profile
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import ActionUnknown
from taskerman.model.cluster import Node
from taskerman.model.event import Event
from taskerman.model.ids import QueueNames
from taskerman.model.task import ActionTraits
from taskerman.policy.conclusion import Pace
from taskerman.ports.queue import Queues
from taskerman.ports.tree import Tree
from taskerman.router import Router, RouterLimits
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.queues import MemoryQueues
from taskerman.testing.tree import MemoryServer, MemoryTree

CLUSTER = "demo:web"
NAMES = QueueNames("t")
FAST = Pace(backoff=timedelta(milliseconds=50), deferral=timedelta(milliseconds=50))


class OneAction:
    """A catalog of one action."""

    def __init__(self, action: str = "demo_task:restart", target: str = "tests.support.scripted:Scripted") -> None:
        self.action = action
        self._target = target
        self.traits_of = ActionTraits()

    def names(self) -> Sequence[str]:
        return (self.action,)

    def target(self, action: str) -> str:
        if action != self.action:
            raise ActionUnknown(f"No runner is installed for {action!r}.")
        return self._target

    def traits(self, action: str) -> ActionTraits:
        self.target(action)
        return self.traits_of

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        self.target(action)


@dataclass
class Member:
    """One node's agent, and the thread it works on."""

    agent: Agent
    journal: JournalFile
    thread: threading.Thread
    errors: list[BaseException] = field(default_factory=list)


class Installation:
    """Start it, send documents, wait for outcomes, look at the action's own log."""

    def __init__(
        self,
        folder: Path,
        nodes: int,
        *,
        connect: Callable[[], Tree] | None = None,
        queues: Queues | None = None,
        catalog: OneAction | None = None,
    ) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.server = MemoryServer()
        self.connect = connect or (lambda: MemoryTree(self.server))
        self.queues = queues or MemoryQueues(self.clock)
        self.catalog = catalog or OneAction()
        self.nodes = [Node(id=f"i-{k}", az="abc"[k % 3]) for k in range(nodes)]
        self.discovery = MemoryDiscovery({CLUSTER: self.nodes})
        self.events: list[Event] = []
        self.members: dict[str, Member] = {}
        self.tree = self.connect()
        self.tree.open()
        self.operator = OperatorMoves(self.tree, "tester", self.clock.now)
        self.operator.install("new")
        self.operator.unhold("new-installation", "tests")
        self.queues.ensure(NAMES.tasks)
        self.queues.ensure(NAMES.dead_letter)
        self._router: tuple[Router, threading.Thread, Tree] | None = None

    # --- daemons

    def start(self) -> Installation:
        self.start_router()
        for node in self.nodes:
            self.start_agent(node.id)
        return self

    def start_router(self) -> None:
        tree = self.connect()
        tree.open()
        router = Router(
            RouterMoves(tree),
            queues=self.queues,
            names=NAMES,
            discoveries={"aws_tags": self.discovery},
            catalog=self.catalog,
            clock=self.clock,
            emit=self.events.append,
            limits=RouterLimits(
                poll=timedelta(seconds=0.2), again=timedelta(seconds=0.1), sweep=timedelta(seconds=0.2)
            ),
        )
        thread = threading.Thread(target=router.run, name="router")
        thread.start()
        self._router = router, thread, tree

    def profile(self, node: str, **changes: Any) -> Profile:
        settings: dict[str, Any] = {
            "node": node,
            "clusters": (CLUSTER,),
            "actions": ("*",),
            "runners": {"demo_task": {"folder": str(self.folder)}},
            "pace": FAST,
            "poll": timedelta(seconds=0.2),
        }
        return Profile(**{**settings, **changes})

    def agent(self, node: str, **changes: Any) -> tuple[Agent, JournalFile]:
        journal = JournalFile(self.folder / "state" / node, node)
        agent = Agent(
            self.profile(node, **changes),
            journal,
            connect=self.connect,
            queues=self.queues,
            names=NAMES,
            catalog=self.catalog,
            clock=self.clock,
            emit=self.events.append,
        )
        return agent, journal

    def start_agent(self, node: str, **changes: Any) -> Member:
        agent, journal = self.agent(node, **changes)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                agent.run()
            except BaseException as error:
                errors.append(error)
            finally:
                journal.close()

        member = Member(agent, journal, threading.Thread(target=work, name=f"agent {node}"), errors)
        member.thread.start()
        self.members[node] = member
        return member

    def stop_agent(self, node: str) -> None:
        member = self.members.pop(node)
        member.agent.stop()
        member.thread.join(20)
        assert not member.thread.is_alive(), f"the agent of {node} does not stop"
        if member.errors:
            raise member.errors[0]

    def stop(self) -> None:
        for node in list(self.members):
            self.members[node].agent.stop()
        for node in list(self.members):
            self.stop_agent(node)
        if self._router is not None:
            router, thread, tree = self._router
            router.stop()
            thread.join(20)
            tree.close()
            self._router = None
        self.tree.close()

    # --- people

    def behave(self, node: str, **behaviour: Any) -> None:
        (self.folder / f"{node}.json").write_text(json.dumps(behaviour))

    def submit(self, task: str = "t1", **changes: Any) -> str:
        self.queues.send(NAMES.tasks, json.dumps(document(task, **changes)))
        return task

    # --- looking

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; {self.story()}"
            for member in self.members.values():
                assert not member.errors, member.errors[0]
            time.sleep(0.01)

    def outcomes(self, task: str) -> dict[str, str]:
        names = self.tree.children(f"/tasks/{task}/end")
        found = {}
        for name in names.names if names else ():
            record = self.tree.get(f"/tasks/{task}/end/{name}")
            if record is not None:
                found[name] = json.loads(record.data)["outcome"]
        return found

    def control(self, task: str) -> dict[str, Any]:
        record = self.tree.get(f"/tasks/{task}/ctl")
        return json.loads(record.data) if record else {}

    def waiting(self, task: str) -> tuple[str, ...]:
        names = self.tree.children(f"/tasks/{task}/line/0")
        return names.names if names else ()

    def slots(self) -> tuple[str, ...]:
        names = self.tree.children(f"/scopes/{CLUSTER}")
        return names.names if names else ()

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def acted(self) -> list[str]:
        return [line["node"] for line in self.log() if line["what"] == "begin"]

    def most_at_once(self) -> int:
        now: set[str] = set()
        most = 0
        for line in sorted(self.log(), key=lambda line: line["at"]):
            if line["what"] == "begin":
                now.add(line["node"])
            elif line["what"] == "end":
                now.discard(line["node"])
            most = max(most, len(now))
        return most

    def dead_letters(self) -> Iterator[dict[str, Any]]:
        while found := self.queues.receive(NAMES.dead_letter, wait=timedelta(0), loan=timedelta(minutes=1)):
            for delivery in found:
                yield json.loads(delivery.body)

    def story(self) -> str:
        return "; ".join(f"{event.name} {dict(event.fields)}" for event in self.events[-12:])


def document(task: str, **changes: Any) -> dict[str, Any]:
    """A task document; `params` are merged into taskerman_params."""
    params = {
        "lease_args": {"concurrency": 2},
        "timeout_args": {"soft_s": 20, "hard_s": 30, "settle_s": 5},
        **changes.pop("params", {}),
    }
    return {
        "action": "demo_task:restart",
        "version": 1.2,
        "cluster_name": CLUSTER,
        "discovery": "aws_tags",
        "owner": "gsi",
        "task_id": task,
        "taskerman_params": params,
        "nodes": [],
        "destnode": "",
        **changes,
    }
