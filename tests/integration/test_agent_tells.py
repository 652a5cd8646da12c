"""What an agent tells of its attempts is what happened: its hand-over, its phases, how much it has in hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.installation import Installation

ONE_AT_A_TIME = {"lease_args": {"concurrency": 1}, "timeout_args": {"soft_s": 20, "hard_s": 30, "settle_s": 5}}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, 2)
    for node in made.nodes:
        made.behave(node.id, action="until")
    yield made
    made.stop()


def handovers(two: Installation, node: str) -> list[float | None]:
    return [event.fields["handover_s"] for event in two.said("pre_check_began") if event.fields["node"] == node]  # type: ignore[misc]


def test_a_hand_over_counts_from_the_slot_that_was_freed(two: Installation) -> None:
    task = two.start().submit(params=ONE_AT_A_TIME)
    two.until(lambda: len(two.acted()) == 1, "one acts")
    first = two.acted()[0]
    then = next(node.id for node in two.nodes if node.id != first)
    two.until(lambda: len(two.waiting(task)) == 1, "the other stands in line")
    freed = time.monotonic()
    two.go(first)
    two.until(lambda: len(two.acted()) == 2, "the other acts")
    (handed,) = handovers(two, then)
    assert handed is not None
    assert 0 < handed < time.monotonic() - freed


def test_what_an_agent_is_told_while_it_acts_is_no_hand_over(two: Installation) -> None:
    """It lets nothing begin before the attempt's own end."""
    node = two.nodes[0].id
    two.start_router()
    two.start_agent(node)
    two.submit(params=ONE_AT_A_TIME, limit=1)
    two.until(lambda: len(two.acted()) == 1, "it acts")
    two.submit(params=ONE_AT_A_TIME, limit=1)
    two.until(lambda: two.said("assignments_counted")[-1].fields["waiting"] == 1, "it has the second task, too")
    two.members[node].agent._wake()
    time.sleep(1.5)  # not waited for: it is what must not be counted
    freed = time.monotonic()
    two.go(node)
    two.until(lambda: len(handovers(two, node)) == 2, "the second attempt has begun")
    two.until(lambda: two.did("pre", node) == 2, "and has written so")
    began = [line["at"] for line in two.log() if line["what"] == "pre"][-1]
    handed = handovers(two, node)[1]
    assert handed is None or handed < began - freed + 1.0


def test_its_phases_and_what_it_has_in_hand_are_told_as_they_change(two: Installation) -> None:
    (node, _) = (each.id for each in two.nodes)
    two.start_router()
    two.start_agent(node)
    task = two.submit(params=ONE_AT_A_TIME)
    two.until(lambda: bool(two.acted()), "it acts")
    two.go(node)
    two.until(lambda: node in two.outcomes(task), "it has ended")
    two.until(lambda: bool(two.said("assignment_settled")), "it is settled")
    left = {str(event.fields["phase"]): event.fields["s"] for event in two.said("phase_left")}
    assert list(left) == ["pre_check", "execute_action", "post_check"]
    assert all(isinstance(seconds, float) and seconds > 0 for seconds in left.values())

    def counted() -> list[tuple[object, object]]:
        return [(event.fields["waiting"], event.fields["acting"]) for event in two.said("assignments_counted")]

    two.until(lambda: counted()[-1] == (0, 0), "nothing is in hand any more")
    assert (0, 1) in counted()


def test_how_late_an_action_began_is_told_once_and_not_again_by_whoever_takes_it_over(two: Installation) -> None:
    """And not at all where no schedule said when it was due."""
    node = two.nodes[0].id
    two.start_router()
    two.start_agent(node)
    task = two.submit(params=ONE_AT_A_TIME, limit=1)
    two.go(node)
    two.until(lambda: node in two.outcomes(task), "one that nobody scheduled has ended")
    (two.folder / f"{node}.go").unlink()
    due = datetime.now(UTC) - timedelta(minutes=5)
    two.submit(params=ONE_AT_A_TIME, limit=1, scheduled_for=due.isoformat())
    two.until(lambda: len(two.acted()) == 2, "it acts")
    two.crash_agent(node)
    two.start_agent(node)
    two.until(lambda: bool(two.said("attempt_adopted")), "it is adopted")
    two.go(node)
    two.until(lambda: len(two.said("attempt_ended")) == 2, "it has ended")
    told = [event.fields["late_s"] for event in two.said("phase_entered") if "late_s" in event.fields]
    assert len(told) == 2
    assert told[0] is None
    assert 300 <= float(str(told[1])) < 400
