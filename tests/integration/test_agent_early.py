"""Who waits near the head has its child started early: a freed slot costs no imports, and nothing else changes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskerman.child.kin import carries_marker, processes
from tests.support.installation import Installation

ONE_AT_A_TIME = {"lease_args": {"concurrency": 1}, "timeout_args": {"soft_s": 20, "hard_s": 30, "settle_s": 5}}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, 2)
    yield made
    made.stop()


def _keepers(attempt: str) -> list[int]:
    """The processes of the attempt's child that lead a session: the keeper."""
    table = processes()
    return [p.pid for p in table.values() if p.session == p.pid and p.alive and carries_marker(p, attempt)]


def _one_acts_one_waits(two: Installation) -> tuple[str, str, str]:
    """The task, the node that acts until it is told, and the one that waits with a child that is ready."""
    for node in two.nodes:
        two.behave(node.id, action="until")
    task = two.start().submit(params=ONE_AT_A_TIME)
    two.until(lambda: len(two.acted()) == 1, "one acts")
    acting = two.acted()[0]
    waiting = next(node.id for node in two.nodes if node.id != acting)
    two.until(lambda: len(_keepers(f"{task}.{waiting}.1")) == 1, "the next one's child is started")
    assert not [line for line in two.log() if line["node"] == waiting]
    return task, acting, waiting


def test_the_child_that_waited_is_the_one_that_acts(two: Installation) -> None:
    """It knows the fencing token of the take that came after its start."""
    task, acting, waiting = _one_acts_one_waits(two)
    keeper = _keepers(f"{task}.{waiting}.1")
    (two.folder / f"{acting}.go").touch()
    two.until(lambda: len(two.acted()) == 2, "the other acts")
    assert _keepers(f"{task}.{waiting}.1") == keeper
    (two.folder / f"{waiting}.go").touch()
    two.until(
        lambda: set(two.outcomes(task).values()) == {"succeeded"} and len(two.outcomes(task)) == 2, "both are done"
    )
    fences = {line["node"]: line["fence"] for line in two.log() if line["what"] == "begin"}
    assert fences[waiting] > fences[acting] > 0


def test_a_child_that_died_while_it_waited_is_replaced(two: Installation) -> None:
    """Nobody notices but the one who waits a little longer."""
    task, acting, waiting = _one_acts_one_waits(two)
    (early,) = _keepers(f"{task}.{waiting}.1")
    os.kill(early, signal.SIGKILL)
    two.until(lambda: early not in _keepers(f"{task}.{waiting}.1"), "it is gone")
    for node in two.nodes:
        (two.folder / f"{node.id}.go").touch()
    two.until(lambda: len(two.outcomes(task)) == 2, "both are done")
    assert set(two.outcomes(task).values()) == {"succeeded"}
    assert sorted(two.acted()) == sorted([acting, waiting])


def test_a_child_that_is_not_wanted_any_more_ends(two: Installation) -> None:
    """A cancelled task leaves nobody waiting on a pipe."""
    task, acting, waiting = _one_acts_one_waits(two)
    two.operator.cancel(task, "changed our mind")
    two.until(lambda: not _keepers(f"{task}.{waiting}.1"), "the child that waited is gone")
    (two.folder / f"{acting}.go").touch()
    two.until(lambda: len(two.outcomes(task)) == 2, "both have an outcome")
    assert two.outcomes(task)[waiting] == "cancelled"
    assert json.dumps(two.slots()) == "[]"
