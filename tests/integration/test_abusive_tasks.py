"""Whatever a task has a node run, it is contained, its outcome says what it did, and the next task there succeeds.

`command_task:run` through a real agent with real children. What cannot be had here: a file system that hangs in the
kernel (NFS whose server is gone), where not even SIGKILL ends a process; a fifo that nobody opens and a stopped process
stand for it. What cannot be killed keeps its slot: that is proved of the lifecycle, in `test_lifecycle.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskerman.agent.isolation import Isolation
from taskerman.policy.bounds import Bounds
from taskerman.runner.identity import own_name
from tests.support.agents import outcome
from tests.support.cgroups import isolation
from tests.support.installation import Installation, OneAction

__all__ = ["isolation"]

RUN = OneAction("command_task:run", "runners.command.program:Run")
ways = pytest.mark.parametrize("isolation", ["groups", "session"], indirect=True)


class Node:
    """One node whose agent runs what it is sent."""

    def __init__(self, folder: Path, isolation: Isolation) -> None:
        self.folder = folder
        self.isolation = isolation
        self.fleet = Installation(folder, 1, catalog=RUN)
        self.fleet.start_router()
        settings: dict[str, Any] = {
            "user": own_name(),
            "allow": [{"argv": ["/bin/sh", "-c"], "more": "anything"}, {"argv": ["/usr/bin/true"]}],
        }
        self.agent = self.fleet.start_agent(
            "i-0", isolation=isolation, runners={"command_task": settings}, bounds=self._bounds
        )

    @property
    def _bounds(self) -> Bounds:
        """Without groups a task's own limit is refused, and the node's is kept by each process for itself."""
        return Bounds() if self.isolation.hierarchies else Bounds(memory_mb=128)

    def run(self, text: str, *, soft_s: int = 20, checked: bool = False, **timeouts: Any) -> dict[str, Any]:
        """The recorded end of a task that has a shell do that. `checked`: of one whose end nobody will see."""
        args: dict[str, Any] = {"argv": ["/bin/sh", "-c", text]} | ({"check": ["/usr/bin/true"]} if checked else {})
        task = self.fleet.submit(
            action="command_task:run",
            params={
                "workqueue_args": {"retry_count": 0},
                "action_args": args,
                "timeout_args": {"soft_s": soft_s, "settle_s": 20, **timeouts},
                "failure_args": {"max_failures": 9},
            },
        )
        outcome(self.fleet, task)
        return self.fleet.end(task)

    def goes_on(self) -> None:
        """Nothing of it is left, and the next task succeeds."""
        assert self.fleet.left() == []
        assert self.run("exit 0")["outcome"] == "succeeded"

    def files(self, name: str) -> list[Path]:
        return sorted(self.folder.rglob(name), key=lambda path: path.stat().st_mtime)

    def result(self) -> dict[str, Any]:
        """What the last attempt left of itself."""
        return dict(json.loads(self.files("result.json")[-1].read_text()))


@pytest.fixture
def node(tmp_path: Path, isolation: Isolation) -> Iterator[Node]:
    made = Node(tmp_path, isolation)
    yield made
    made.fleet.stop()


@ways
def test_gigabytes_of_output_fill_neither_disk_nor_memory_and_their_end_is_kept(node: Node) -> None:
    """Two of them where the kernel counts the memory of all together, pages of files too."""
    limit: dict[str, Any] = {"memory_mb": 128} if node.isolation.hierarchies else {}
    size = 2_000_000_000 if limit else 100_000_000
    end = node.run(f"yes taskerman | head -c {size}; echo; echo the very last line; exit 3", soft_s=60, **limit)
    assert end["outcome"] == "failed"
    assert "exit 3" in end["reason"]
    assert "it met its output limit 16,777,216 bytes (" in end["reason"]
    lines = end["tail"].splitlines()
    assert "the very last line" in lines
    assert lines.index("the very last line") > lines.index("taskerman")
    assert sum(path.stat().st_size for path in node.files("output.log*")) <= 16 * 1024 * 1024
    assert node.result()["max_rss_bytes"] < 128 << 20
    node.goes_on()


@ways
def test_memory_that_grows_is_stopped_and_the_reason_says_so(node: Node) -> None:
    limit: dict[str, Any] = {"memory_mb": 128} if node.isolation.hierarchies else {}
    end = node.run("tail /dev/zero; exit 9", **limit)  # it looks for the last line, and there is none
    assert end["outcome"] == "failed"
    assert "it met its memory limit 128 MB" in end["reason"]
    assert node.result()["max_rss_bytes"] <= 140 << 20
    node.goes_on()


@pytest.mark.parametrize("isolation", ["groups"], indirect=True)
def test_a_file_that_never_opens_is_waited_for_until_the_soft_timeout(node: Node) -> None:
    os.mkfifo(node.folder / "fifo")
    end = node.run(f"exec cat < {node.folder}/fifo", soft_s=1, checked=True)
    assert end["outcome"] == "failed"
    assert "it took longer than its soft timeout" in end["reason"]
    assert "SIGTERM" not in end["reason"]
    node.goes_on()


@ways
def test_what_does_not_let_itself_be_ended_is_killed_and_named(node: Node) -> None:
    """A shell that ignores the signal, a child that is stopped, and one that ignores it in a session of its own."""
    own = "trap '' TERM; setsid sh -c \"trap '' TERM; echo hidden; sleep 654\""
    end = node.run(f"{own} & sh -c 'kill -STOP $$'", soft_s=1, checked=True)
    assert end["outcome"] == "failed"
    assert "it took longer than its soft timeout" in end["reason"]
    assert "'kill -STOP $$' was killed: it did not end within 5 s of SIGTERM" in end["reason"]
    assert "sleep 654" in end["tail"]
    node.goes_on()


@pytest.mark.parametrize("isolation", ["groups"], indirect=True)
def test_a_fork_bomb_ends_with_its_task_and_the_reason_names_the_limit(node: Node) -> None:
    end = node.run("bomb() { bomb | bomb & }; bomb; sleep 600", soft_s=2, checked=True, processes=40)
    assert end["outcome"] == "failed"
    assert "it met its process limit 40 (" in end["reason"]
    node.goes_on()


@ways
def test_a_daemon_that_is_left_behind_is_killed_and_named_in_the_outcome(node: Node) -> None:
    end = node.run("(setsid sh -c 'sleep 654 & sleep 654' > /dev/null 2>&1 &) ; sleep 0.2; echo done")
    assert end["outcome"] == "succeeded"
    assert "done" in end["tail"]
    assert end["tail"].count("killing what was left: pid ") >= 2
    assert "sleep 654" in end["tail"]
    node.goes_on()
