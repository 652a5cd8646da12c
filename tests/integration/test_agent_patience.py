"""An agent whose loop hangs while its session lives stops nobody: the agent behind it acts; on either ground."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.installation import Installation

PATIENCE = timedelta(seconds=0.6)
ONE_AT_A_TIME = {"lease_args": {"concurrency": 1}, "timeout_args": {"soft_s": 20, "hard_s": 30, "settle_s": 5}}


@pytest.fixture(params=["memory", pytest.param("zookeeper", marks=pytest.mark.real)])
def three(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    connect = None
    if request.param == "zookeeper":
        server: ZookeeperServer = request.getfixturevalue("zookeeper")
        root: str = request.getfixturevalue("zookeeper_root")
        connect = lambda: ZookeeperTree(server.hosts, root=root)  # noqa: E731
    made = Installation(tmp_path, 3, connect=connect)
    made.start_router()
    for node in made.nodes:
        made.start_agent(node.id, patience=PATIENCE)
    yield made
    made.stop()


def hang(fleet: Installation, node: str) -> Callable[[], None]:
    """The loop of the node's agent stands still from its next turn on, until the answer is called."""
    agent, stands, goes_on = fleet.members[node].agent, threading.Event(), threading.Event()
    turn = agent._turn

    def hanging() -> float:
        stands.set()
        assert goes_on.wait(60)
        return turn()

    agent._turn = hanging  # type: ignore[method-assign]
    agent._wake()
    assert stands.wait(20), "it did not come to a turn"
    return goes_on.set


def test_whoever_stands_behind_it_acts_and_it_goes_on_when_it_wakes_up(three: Installation) -> None:
    hold = three.operator.hold("*", "until all stand in line, so that the order is the plan's")
    task = three.submit(params=ONE_AT_A_TIME)
    three.until(lambda: len(three.waiting(task)) == 3, "all stand in line")
    wake_up = hang(three, "i-0")
    three.operator.unhold(hold.id, "go")
    three.until(lambda: set(three.outcomes(task)) == {"i-1", "i-2"}, "the two behind it are done")
    assert "i-0" not in three.acted()
    wake_up()
    three.until(lambda: three.outcomes(task) == dict.fromkeys(["i-0", "i-1", "i-2"], "succeeded"), "all are done")
    assert three.most_at_once() == 1


def test_a_younger_task_passes_the_older_one_that_it_heads(three: Installation) -> None:
    hold = three.operator.hold("*", "until it stands in line")
    older = three.submit(params=ONE_AT_A_TIME, nodes=["i-0"])
    three.until(lambda: len(three.waiting(older)) == 1, "it stands in line")
    wake_up = hang(three, "i-0")
    younger = three.submit(params=ONE_AT_A_TIME, nodes=["i-1"])
    three.until(lambda: len(three.waiting(younger)) == 1, "the other stands in its own line")
    three.operator.unhold(hold.id, "go")
    three.until(lambda: three.outcomes(younger) == {"i-1": "succeeded"}, "the younger one is done")
    assert three.outcomes(older) == {}
    wake_up()
    three.until(lambda: three.outcomes(older) == {"i-0": "succeeded"}, "the older one goes on")
