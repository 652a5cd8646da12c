"""A failing seed replays: the plan of a run depends on the seed alone, and survives being written down."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tests.chaos.fault import Fault, World
from tests.chaos.faults import KINDS
from tests.chaos.node_faults import DiskFull
from tests.chaos.schedule import Act, draw, read, write


def drawn(seed: int = 7, length_s: float = 600.0, *, whole: bool = True) -> tuple:
    return draw(seed, length_s, every_s=2.0, has_cell=whole, can_reclaim=whole)


def test_the_same_seed_draws_the_same_plan_and_another_seed_another() -> None:
    assert drawn() == drawn()
    assert drawn() != drawn(8)


def test_a_plan_that_was_written_is_the_plan_that_is_read(tmp_path: Path) -> None:
    write(tmp_path / "plan.jsonl", drawn())
    assert read(tmp_path / "plan.jsonl") == drawn()


def test_every_kind_of_fault_comes_before_any_comes_twice() -> None:
    kinds = [type(planned.what) for planned in drawn() if isinstance(planned.what, Fault)]
    assert set(kinds[: len(KINDS)]) == set(KINDS.values())


def test_where_there_is_no_cell_nothing_is_planned_that_needs_one() -> None:
    faults = [planned.what for planned in drawn(whole=False) if isinstance(planned.what, Fault)]
    assert faults
    assert not any(fault.needs_cell or fault.needs_reclaim for fault in faults)


def test_people_act_all_the_time() -> None:
    assert sum(isinstance(planned.what, Act) for planned in drawn()) > 100


def test_a_disk_that_is_not_a_nodes_small_one_is_never_filled(tmp_path: Path) -> None:
    """A seat whose new instance has its folder and not yet its disk: the fault must not fill the machine's own."""
    (tmp_path / "state").mkdir()
    world = SimpleNamespace(seat=lambda number: SimpleNamespace(home=tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))  # so that a wrong answer costs a megabyte
    try:
        hit = DiskFull(1.0, 0).inject(cast(World, world))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not hit
    assert list((tmp_path / "state").iterdir()) == []
