"""Holding a witness: the process of witness.py, and its verdict as a value.

The line between the two files is the point: here may stand what we like, there nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.redis_cluster import RedisCluster

__all__ = ["Verdict", "WitnessProcess", "watching"]

SCRIPT = Path(__file__).with_name("witness.py")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen from `since` to `until` (CLOCK_MONOTONIC, seconds). The witness judges nothing.

    `most_down_by_probe`, `nodes_down_by_probe`: the most nodes that were down at one moment, as PING every 20 ms saw
    it, and which. `..._by_lines`: the same by what the supervisors wrote; there a stop asked for counts at once.
    `down_now`: by probe. `outages`: per node, [began, ended] by probe. `restarts_by_lines`, `restarts_by_run_id`: per
    node, by the supervisors and by the identity that the server itself gave. Writes: all, those that failed, why
    (Redis's word or the exception's), each with time and slot. `longest_write_gap_s`: the longest time in which no
    write to one slot succeeded, about 0.05 when all is well, and `longest_write_gap_slot`. `blind_s`: the longest time
    in which the witness itself did not look, about 0.02 when all is well: a long one weakens what the probes say.
    """

    since: float
    until: float
    most_down_by_probe: int
    nodes_down_by_probe: list[str]
    most_down_by_lines: int
    nodes_down_by_lines: list[str]
    down_now: list[str]
    outages: Mapping[str, list[list[float]]]
    restarts_by_lines: Mapping[str, int]
    restarts_by_run_id: Mapping[str, int]
    writes_total: int
    writes_failed: int
    write_failures: Mapping[str, int]
    failed_writes: list[list[float]]
    longest_write_gap_s: float
    longest_write_gap_slot: int
    blind_s: float

    @property
    def most_down(self) -> int:
        """The greater of the two: who promises "at most n" is held to both."""
        return max(self.most_down_by_probe, self.most_down_by_lines)


class WitnessProcess:
    """A witness at work. It may be asked often; each verdict is about the whole time since its start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def verdict(self) -> Verdict:
        """What was seen so far. Raises RuntimeError when the witness has died."""
        return Verdict(**self._ask("verdict"))

    def _ask(self, question: str) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if question:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the witness died, exit code {self._process.wait()}")
        return json.loads(answer)


@contextmanager
def watching(cluster: RedisCluster) -> Iterator[WitnessProcess]:
    """A witness that has looked at every node at least once before the block begins; ended with the block."""
    nodes = [f"{node.name}={node.host}:{node.port}" for node in cluster.nodes]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SCRIPT), str(cluster.events), *nodes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        witness = WitnessProcess(process)
        witness._ask("")
        yield witness
