"""A whole installation in one process: one tree server, one set of queues, a router and agents as threads.

The attempts are real child processes with journal and fsync. Trees and queues may be the fakes or the real ones: what
this file knows of them is their contracts.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from taskerman.adapters.clock import SystemClock
from taskerman.agent import Agent, Profile
from taskerman.agent.isolation import NO_GROUPS, Isolation
from taskerman.agent.journal import Journal
from taskerman.agent.loop import _Deaf
from taskerman.child.kin import MARKER, processes
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import ActionUnknown
from taskerman.model.cluster import Node
from taskerman.model.event import Event
from taskerman.model.ids import QueueNames, draw_task_id
from taskerman.model.task import ActionTraits
from taskerman.policy.conclusion import Pace
from taskerman.ports.queue import Queues
from taskerman.ports.tree import Tree
from taskerman.router import Router, RouterLimits
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.queues import MemoryQueues
from taskerman.testing.tree import MemoryServer, MemoryTree
from tests.support.mortal import Killed, Life, MortalJournal, MortalQueues, MortalTree

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
    journal: MortalJournal
    thread: threading.Thread
    life: Life
    trees: list[MortalTree]
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
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = SystemClock()
        self.server = MemoryServer()
        self.connect = connect or (lambda: MemoryTree(self.server))
        self.queues = queues or MemoryQueues(self.clock)
        self.catalog = catalog or OneAction()
        self.nodes = [Node(id=f"i-{k}", az="abc"[k % 3]) for k in range(nodes)]
        self.discovery = MemoryDiscovery({CLUSTER: self.nodes})
        self.events: list[Event] = []
        self.members: dict[str, Member] = {}
        self.tasks: list[str] = []
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
                poll=timedelta(seconds=0.2),
                again=timedelta(seconds=0.1),
                sweep=timedelta(seconds=0.2),
                refused=timedelta(seconds=0.1),
            ),
        )
        thread = threading.Thread(target=router.run, name="router", daemon=True)
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

    def start_agent(
        self,
        node: str,
        *,
        catalog: OneAction | None = None,
        life: Life | None = None,
        once: bool = False,
        max_wait: float = 600,
        fail: Callable[[Journal], OSError | None] | None = None,
        isolation: Isolation = NO_GROUPS,
        **changes: Any,
    ) -> Member:
        """Start it. `life`: when it dies. `fail`: which writes of its journal fail. `changes`: of its profile."""
        life = life or Life()
        journal = MortalJournal(self.folder / "state" / node, node, life)
        journal.fail = fail or journal.fail
        trees: list[MortalTree] = []
        errors: list[BaseException] = []

        def connect() -> Tree:
            trees.append(MortalTree(self.connect(), life))
            return trees[-1]

        agent = Agent(
            self.profile(node, **changes),
            journal,
            connect=connect,
            queues=MortalQueues(self.queues, life),
            names=NAMES,
            catalog=catalog or self.catalog,
            clock=self.clock,
            emit=self.events.append,
            isolation=replace(isolation, mark=journal.now.uuid[:8]),
        )

        def work() -> None:
            try:
                agent.run(once=once, max_wait=timedelta(seconds=max_wait))
            except BaseException as error:
                errors.append(error)
            finally:
                journal.close()

        member = Member(
            agent, journal, threading.Thread(target=work, name=f"agent {node}", daemon=True), life, trees, errors
        )
        member.thread.start()
        self.members[node] = member
        return member

    def crash_agent(self, node: str, *, expire: bool = True) -> None:
        """As `kill -9`: nothing more is written, nothing is said to anybody; its session runs out at once, or later."""
        member = self.members[node]
        member.life.dead = True
        member.agent._inbox.put(_Deaf(Killed()))
        self.bury(node, expire=expire)

    def bury(self, node: str, *, expire: bool = True) -> None:
        """Wait for the end of an agent whose life is over; its session runs out."""
        member = self.members.pop(node)
        member.thread.join(30)
        assert not member.thread.is_alive(), f"the agent of {node} does not die; {self.story()}"
        assert member.errors, f"the agent of {node} ended in peace; {self.story()}"
        assert isinstance(member.errors[0], Killed), member.errors[0]
        if expire:
            for tree in member.trees:
                assert isinstance(tree.inner, MemoryTree)
                self.server.expire(tree.inner)

    def failed(self, node: str) -> BaseException:
        """What the agent of `node` ended with."""
        member = self.members.pop(node)
        member.thread.join(30)
        assert member.errors, f"the agent of {node} did not fail; {self.story()}"
        return member.errors[0]

    def ended(self, node: str) -> None:
        """Wait until the agent of `node` has ended by itself, in peace."""
        member = self.members.pop(node)
        member.thread.join(30)
        assert not member.thread.is_alive(), f"the agent of {node} does not end; {self.story()}"
        assert not member.errors, member.errors[0]

    def stop_agent(self, node: str) -> None:
        member = self.members.pop(node)
        member.agent.stop()
        member.thread.join(20)
        assert not member.thread.is_alive(), f"the agent of {node} does not stop"
        # One whose life ends at its very last step dies while it is being stopped: that is what it was told to do.
        if member.errors and not (member.life.dead and isinstance(member.errors[0], Killed)):
            raise member.errors[0]

    def stop(self) -> None:
        """End all that was started, whatever state the test left it in."""
        for member in self.members.values():
            member.agent.stop()
        errors: list[Exception] = []
        for node in list(self.members):
            try:
                self.stop_agent(node)
            except Exception as error:
                errors.append(error)
        if self._router is not None:
            router, thread, tree = self._router
            router.stop()
            thread.join(20)
            tree.close()
            self._router = None
        self.tree.close()
        for process in self.left():  # of agents that a test has killed
            os.kill(process, signal.SIGKILL)
        for thread in threading.enumerate():  # else a child may outlast the tests, and who has to bury it
            if thread.name.startswith(("child ", "adopted ")):
                thread.join(20)
        if errors:
            raise errors[0]

    def left(self) -> list[int]:
        """Processes of this installation's attempts that live."""
        prefixes = [f"{task}.".encode() for task in self.tasks]
        found = []
        for process in processes().values():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            except OSError:
                continue
            if process.alive and any(MARKER.encode() + b"=" + prefix in environment for prefix in prefixes):
                found.append(process.pid)
        return found

    # --- people

    def behave(self, node: str, **behaviour: Any) -> None:
        (self.folder / f"{node}.json").write_text(json.dumps(behaviour))

    def go(self, node: str) -> None:
        """Let an action that waits "until" end."""
        (self.folder / f"{node}.go").touch()

    def submit(self, task: str | None = None, **changes: Any) -> str:
        """Send a document. Its id is drawn: attempts are told apart by it on the whole machine."""
        task = task or draw_task_id()
        self.tasks.append(task)
        self.queues.send(NAMES.tasks, json.dumps(document(task, **changes)))
        return task

    # --- looking

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; {self.story()}"
            for member in self.members.values():
                # One that was to die may have died since the condition was asked: the next asking tells.
                assert member.life.dead or not member.errors, repr(member.errors[0])
            time.sleep(0.01)

    def outcomes(self, task: str) -> dict[str, str]:
        names = self.tree.children(f"/tasks/{task}/end")
        found = {}
        for name in names.names if names else ():
            record = self.tree.get(f"/tasks/{task}/end/{name}")
            if record is not None:
                found[name] = json.loads(record.data)["outcome"]
        return found

    def end(self, task: str, node: str = "i-0") -> dict[str, Any]:
        record = self.tree.get(f"/tasks/{task}/end/{node}")
        return json.loads(record.data) if record else {}

    def progress(self, task: str, node: str = "i-0") -> dict[str, Any]:
        record = self.tree.get(f"/tasks/{task}/progress/{node}")
        return json.loads(record.data) if record else {}

    def node(self, node: str = "i-0") -> dict[str, Any]:
        record = self.tree.get(f"/nodes/{node}")
        return json.loads(record.data) if record else {}

    def journal(self, node: str = "i-0") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state" / node / "journal.json").read_text())
        return found

    def said(self, name: str) -> list[Event]:
        return [event for event in list(self.events) if event.name == name]

    def did(self, what: str, node: str = "i-0") -> int:
        """How often the runner of `node` did that: pre, begin, end, post, recover."""
        return sum(line["what"] == what and line["node"] == node for line in self.log())

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
        whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
        return [json.loads(line) for line in whole.splitlines()]  # a line that crosses a page may be seen half

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
