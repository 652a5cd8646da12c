"""Whose turn it is among the members of an ensemble, and which start of a server listens on a port."""

from __future__ import annotations

import os
import socket

import pytest

from runners.backups import Backup
from runners.listening import start_of
from runners.turns import CLOCKS_S, backup_turn, begun_at, leader_last
from taskerman import Check, Go, Skip, Wait

BEGAN = 1_000_000.0


def turn(*starts: float | None, planned: int = 2, began: float | None = BEGAN, after: float = 60.0) -> Check:
    return leader_last(starts, others_planned=planned, began=began, now=BEGAN + after, patience_s=900.0)


@pytest.mark.parametrize("starts", [(0.0, 0.0), (0.0, BEGAN + 5), (None, BEGAN + 5), (BEGAN - CLOCKS_S - 1, BEGAN + 5)])
def test_the_leader_waits_while_another_was_not_restarted_since_the_task_began(
    starts: tuple[float | None, ...],
) -> None:
    assert isinstance(turn(*starts), Wait)


def test_it_goes_when_all_others_were() -> None:
    assert turn(BEGAN + 5, BEGAN + 30) == Go()
    assert turn(BEGAN - CLOCKS_S / 2, BEGAN + 30) == Go(), "the clocks of two machines are not the same"


def test_it_does_not_wait_for_whom_the_task_does_not_touch_nor_for_whom_nobody_hears() -> None:
    assert turn(0.0, 0.0, planned=0) == Go()
    assert turn(0.0, BEGAN + 5, planned=1) == Go()
    assert turn(BEGAN + 5, planned=2) == Go()


def test_it_does_not_wait_for_ever_after_the_last_that_moved_on() -> None:
    assert turn(0.0, 0.0, after=901) == Go()
    assert isinstance(turn(0.0, BEGAN + 500, after=901), Wait)
    assert turn(0.0, BEGAN + 500, after=1401) == Go()
    assert turn(0.0, BEGAN + 10**6, after=901) == Go(), "a clock of the future is no reason"


def test_it_goes_where_nobody_says_when_the_task_began() -> None:
    assert turn(0.0, 0.0, began=begun_at("")) == Go()
    assert begun_at("2026-11-28T10:00:00+00:00") == begun_at("2026-11-28T11:00:00+01:00")


def test_one_task_makes_one_backup_and_a_leader_leaves_it_to_others() -> None:
    def asked(made: Backup | None, leads: bool, *, planned: int = 2, after: float = 60.0) -> Check:
        now = BEGAN + after
        return backup_turn(made, leads=leads, others_planned=planned, began=BEGAN, now=now, patience_s=900.0)

    made = Backup("b/1", None, (), {})  # type: ignore[arg-type]
    assert isinstance(asked(made, False), Skip)
    assert isinstance(asked(made, True), Skip)
    assert asked(None, False) == Go()
    assert isinstance(asked(None, True), Wait)
    assert asked(None, True, planned=0) == Go()
    assert asked(None, True, after=901) == Go()


def test_a_listener_is_known_by_its_process_and_its_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = start_of(port, "boot")
        assert found == start_of(port, "boot")
        assert found != start_of(port, "another boot")
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert start_of(client.getsockname()[1], "boot") is None, "it is connected there, and does not listen"
    assert found is not None
    assert found.startswith(f"boot/{os.getpid()}/")
    assert start_of(port, "boot") is None
