"""The spine: a document goes in, an outcome comes out; real children, everything else in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskerman.ringing import ring
from tests.support.installation import NAMES, Installation


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, 1)
    yield made
    made.stop()


@pytest.fixture
def six(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, 6)
    yield made
    made.stop()


def test_a_document_becomes_an_outcome_on_one_node(fleet: Installation) -> None:
    """Submit to outcome: one node, one attempt, nothing left over."""
    task = fleet.start().submit()
    fleet.until(lambda: fleet.outcomes(task) == {"i-0": "succeeded"}, "an outcome")
    assert fleet.acted() == ["i-0"]
    assert fleet.slots() == ()
    fleet.until(lambda: fleet.queues.depth("t-node-i-0").in_flight == 0, "the doorbell is settled")
    fleet.until(lambda: fleet.tree.children("/clusters/demo:web/open").names == (), "the task is closed")  # type: ignore[union-attr]
    assert list(fleet.dead_letters()) == []


def test_six_nodes_are_done_two_at_a_time(six: Installation) -> None:
    """Each node once, never more than two in an action."""
    for node in six.nodes:
        six.behave(node.id, action="until")
    task = six.start().submit()
    six.until(lambda: len(six.acted()) == 2, "both places are used at once")
    for node in six.nodes:
        (six.folder / f"{node.id}.go").touch()
    six.until(lambda: len(six.outcomes(task)) == 6, "six outcomes")
    assert set(six.outcomes(task).values()) == {"succeeded"}
    assert sorted(six.acted()) == [node.id for node in six.nodes]
    assert six.most_at_once() == 2
    assert six.slots() == ()


def test_an_unsafe_node_stops_the_task_and_keeps_its_slot(six: Installation) -> None:
    """The task halts by itself, others are untouched, a dead letter says why; a redrive after repair goes on."""
    sick = "i-1"
    six.behave(sick, post="refuse")
    six.operator.hold("*", "until all stand in line, so that the order is the plan's")
    task = six.start().submit(params={"lease_args": {"concurrency": 1}})
    six.until(lambda: len(six.waiting(task)) == 6, "all stand in line")
    six.operator.unhold("*", "go")
    six.until(lambda: six.control(task).get("state") == "halted", "the task halts")
    assert six.outcomes(task)[sick] == "unsafe"
    assert six.slots() == (f"{sick}~1~unsafe",)
    assert six.acted() == ["i-0", "i-3", sick]  # ranks are by AZ
    letters: list[dict[str, object]] = []

    def a_letter_came() -> bool:
        letters.extend(six.dead_letters())
        return bool(letters)

    six.until(a_letter_came, "a dead letter")
    assert letters[0]["destnode"] == sick
    assert "told to refuse" in str(letters[0]["reason"])

    six.behave(sick)
    assert six.operator.redrive(task, sick, "repaired")
    plan = six.operator.plan(task)
    assert not ring(six.queues, NAMES, plan, [n.id for n in plan.nodes])
    six.until(lambda: len(six.outcomes(task)) == 6, "all done")
    assert set(six.outcomes(task).values()) == {"succeeded"}
    assert six.slots() == ()
