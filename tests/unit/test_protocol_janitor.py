"""With janitors in it the protocol keeps its promises too, whoever leads, and the machine notices when it does not.

`TASKERMAN_EXAMPLES` raises the number of walks (default 1).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from taskerman.errors import Bug
from tests.support.protocol_janitor import HouseWorld, finish_house, walk
from tests.support.protocol_janitor_scenes import HOUSE_MOMENTS, HOUSE_MUTATIONS, HOUSE_SCENES, HouseMutation
from tests.support.protocol_judge import Violation

TIMES = int(os.environ.get("TASKERMAN_EXAMPLES", "1"))


@pytest.mark.timeout(90 * TIMES)
def test_random_walks_with_two_leaders_end_with_nothing_left_but_the_past() -> None:
    """Many cheap walks, from seeds: a failing one is `walk(seed)`."""
    takes = put_away = terminated = 0
    for seed in range(12 * TIMES):
        world = walk(seed)
        takes += world.judge.takes
        put_away += len(world.put_away)
        terminated += len(world.terminated)
    assert takes > 10 * TIMES, "the walks go nowhere"
    assert put_away > 10 * TIMES, "hardly anything was put away"
    assert terminated > 5 * TIMES, "hardly any machine ended"


@pytest.mark.parametrize("seed", [710631, 711311])
def test_a_walk_that_once_found_something_ends_well(seed: int) -> None:
    """710631: a task was put away between the two moves of its cancel, which then said that it was refused.
    711311: a machine was reclaimed by one janitor between two reads of another, which then spoke of a bug."""
    walk(seed, between=0.3, lost=0.08)


@pytest.mark.parametrize("scene", HOUSE_SCENES.values(), ids=HOUSE_SCENES)
def test_a_scene_with_a_janitor_ends_well_at_whatever_moment_it_is_disturbed(
    scene: Callable[[HouseWorld, int], None],
) -> None:
    for moment in range(HOUSE_MOMENTS):
        world = HouseWorld()
        scene(world, moment)
        world.judge.raise_if_violated()
        finish_house(world)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOUSE_MUTATIONS)
def test_without_one_rule_of_the_janitor_a_promise_is_broken(name: str) -> None:
    """Each rule is there for a reason, and the proof above would notice its absence."""
    with pytest.raises((Violation, Bug)):
        _play(HOUSE_MUTATIONS[name])


def _play(mutation: HouseMutation) -> None:
    with mutation.patch():
        for moment in range(HOUSE_MOMENTS):
            world = HouseWorld(edit=mutation.edit)
            mutation.scene(world, moment)
            world.judge.raise_if_violated()
            finish_house(world)
