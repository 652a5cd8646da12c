"""One ground on which every `Tree` is tested: how to open clients, and how to do them harm.

A fault that one implementation cannot suffer in the same way is not here: the suite states what both promise.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.model.rights import Role
from taskerman.ports.tree import Create, Exists, Link, Tree
from taskerman.testing.tree import LostAnswer, MemoryServer, MemoryTree
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.identities import CREDENTIALS, secure
from tests.support.tcp_proxy import Held, ZookeeperProxy
from tests.support.waiting import until
from tests.support.zookeeper import SESSION, end_session, identity_of

__all__ = ["Bell", "Ground", "MemoryGround", "ZookeeperGround", "ground", "settle"]


class Ground(Protocol):
    """Clients of one and the same tree, and their faults."""

    def open(self, role: Role = Role.CONTROL) -> Tree:
        """A new client with its own session, open. `role`: as whom, where there are identities."""
        ...

    def lose_answer(self, tree: Tree, became: LostAnswer) -> None:
        """The answer to the next commit of `tree` will be lost."""
        ...

    def deliver_late(self, tree: Tree) -> None:
        """What `lose_answer(tree, LATE)` kept arrives now. `tree` stays cut off until `heal`."""
        ...

    def cut(self, tree: Tree) -> None:
        """Cut `tree` off, and wait until it knows."""
        ...

    def heal(self, tree: Tree) -> None:
        """Connect `tree` again, and wait until it is."""
        ...

    def expire(self, tree: Tree) -> None:
        """End the session of `tree`; returns when `tree` has a new one."""
        ...


class Bell:
    """A wake that counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rung = 0

    def __call__(self) -> None:
        with self._lock:
            self.rung += 1

    def wait(self, times: int = 1) -> None:
        """Wait until it rang so often."""
        until(lambda: self.rung >= times, f"a wake rang {self.rung} times, not {times}")


def settle(tree: Tree) -> None:
    """Return when every wake that is due to `tree` for what has happened so far was called: they keep their order."""
    path, bell = f"/settled-{uuid.uuid4().hex}", Bell()
    tree.sync("/")
    tree.read(Exists(path, bell))
    tree.commit([Create(path)])
    bell.wait()


class MemoryGround:
    """The in-memory tree."""

    def __init__(self) -> None:
        self.server = MemoryServer()

    def open(self, role: Role = Role.CONTROL) -> Tree:
        return self.server.client()

    def lose_answer(self, tree: Tree, became: LostAnswer) -> None:
        assert isinstance(tree, MemoryTree)
        tree.lose_next_answer(became)

    def deliver_late(self, tree: Tree) -> None:
        self.server.deliver_late()

    def cut(self, tree: Tree) -> None:
        assert isinstance(tree, MemoryTree)
        self.server.cut(tree)

    def heal(self, tree: Tree) -> None:
        assert isinstance(tree, MemoryTree)
        self.server.heal(tree)

    def expire(self, tree: Tree) -> None:
        assert isinstance(tree, MemoryTree)
        self.server.expire(tree)


class ZookeeperGround:
    """A real server, each client on a wire of its own."""

    def __init__(self, server: ZookeeperServer, stack: ExitStack, *, secured: bool = False) -> None:
        """`secured`: every role has an identity, and every record its rights."""
        self._server, self._stack, self.secured, self._unsecured = server, stack, secured, secured
        self._root = f"/ground-{uuid.uuid4().hex[:12]}"
        self._wires: dict[int, ZookeeperProxy] = {}
        self._ended: set[int] = set()
        self._held: dict[int, tuple[Held, tuple[int, bytes]]] = {}

    def open(self, role: Role = Role.CONTROL) -> Tree:
        if self._unsecured:
            self._unsecured = False
            secure(self._server.hosts, self._root)
        wire = self._stack.enter_context(ZookeeperProxy(self._server.port))
        credential = CREDENTIALS[role] if self.secured else None
        tree = ZookeeperTree(wire.hosts, root=self._root, session_timeout=SESSION, credential=credential)
        self._stack.callback(tree.close)
        self._stack.callback(wire.heal)
        tree.open()
        self._wires[id(tree)] = wire
        return tree

    def lose_answer(self, tree: Tree, became: LostAnswer) -> None:
        wire = self._wires[id(tree)]
        match became:
            case LostAnswer.APPLIED:
                wire.lose_next_reply()
            case LostAnswer.NEVER:
                wire.lose_next_request()
            case LostAnswer.LATE:
                assert isinstance(tree, ZookeeperTree)
                self._held[id(tree)] = (wire.hold_next_request(), identity_of(tree))

    def deliver_late(self, tree: Tree) -> None:
        held, (session, _) = self._held.pop(id(tree))
        answer = held.deliver()
        assert answer == 0 or session in self._ended, f"the server did not take it ({answer})"

    def cut(self, tree: Tree) -> None:
        self._wires[id(tree)].cut()
        until(lambda: tree.link is Link.DOWN, "the cut is noticed")

    def heal(self, tree: Tree) -> None:
        self._wires[id(tree)].heal()
        until(lambda: tree.link is Link.UP, "the client is back")

    def expire(self, tree: Tree) -> None:
        assert isinstance(tree, ZookeeperTree)
        identity = identity_of(tree) if tree.link is Link.UP else self._held[id(tree)][1]
        self.cut(tree)
        end_session(identity, self._server)
        self._ended.add(identity[0])
        self._wires[id(tree)].heal()
        until(lambda: tree.session not in (None, identity[0]), "the client has a new session")


@pytest.fixture(
    params=[
        "memory",
        pytest.param("zookeeper", marks=pytest.mark.real),
        pytest.param("zookeeper with rights", marks=pytest.mark.real),
    ]
)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each test on the in-memory tree, on a real ZooKeeper, and on one where every role has an identity of its own."""
    if request.param == "memory":
        yield MemoryGround()
        return
    with ExitStack() as stack:
        server = request.getfixturevalue("zookeeper")
        yield ZookeeperGround(server, stack, secured=request.param != "zookeeper")
