"""Ports of the tests' servers are nobody else's: each belongs to one process for as long as that lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = "from tests.support.ports import free_ports; print(*free_ports(600), flush=True); input()"


def test_two_processes_are_never_given_the_same_as_long_as_both_live() -> None:
    """With so many of so few that chance alone would give a dozen to both."""
    given = []
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        given.append(set(map(int, process.stdout.readline().split())))
    for process in processes:
        process.communicate("\n")
    assert [len(ports) for ports in given] == [600, 600]
    assert not given[0] & given[1]
