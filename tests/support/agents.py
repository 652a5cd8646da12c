"""What the tests of the agent share: an installation of one node, and the questions that each of them asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation

__all__ = ["fleet", "letters", "outcome", "quick"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Installation]:
    """One node, whose agent the test starts; a router."""
    made = Installation(tmp_path, 1)
    made.start_router()
    yield made
    made.stop()


def outcome(fleet: Installation, task: str, node: str = "i-0") -> str:
    """The recorded outcome of the node's assignment, once it is there."""
    fleet.until(lambda: bool(fleet.end(task, node)), f"an outcome of {node} in {task}")
    return str(fleet.end(task, node)["outcome"])


def letters(fleet: Installation, count: int = 1) -> list[dict[str, Any]]:
    """The announcements that came, once there are as many."""
    found: list[dict[str, Any]] = []

    def come() -> bool:
        found.extend(fleet.dead_letters())
        return len(found) >= count

    fleet.until(come, f"{count} dead letters")
    return found


def quick(**changes: Any) -> dict[str, Any]:
    """`taskerman_params` without retries and with a short settle time; the groups given replace those."""
    return {
        "workqueue_args": {"retry_count": 0},
        "lease_args": {"concurrency": 2},
        "timeout_args": {"soft_s": 20, "hard_s": 30, "settle_s": 1},
        **changes,
    }
