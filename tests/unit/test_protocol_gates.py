"""Breakers, windows and parked tasks keep their promises at whatever moment they are disturbed; each rule is needed."""

from __future__ import annotations

import pytest

from taskerman.errors import Bug
from tests.support.protocol_gate_scenes import MUTATIONS, SCENES
from tests.support.protocol_judge import Violation
from tests.support.protocol_mutations import Mutation
from tests.support.protocol_rest import finish
from tests.support.protocol_scenes import MOMENTS, Scene
from tests.support.protocol_world import World


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_scene_ends_well_at_whatever_moment_it_is_disturbed(scene: Scene) -> None:
    for moment in range(MOMENTS):
        world = World()
        scene(world, moment)
        world.judge.raise_if_violated()
        finish(world)


def _play(mutation: Mutation) -> None:
    assert mutation.scene is not None
    with mutation.patch():
        for moment in range(MOMENTS):
            world = World(edit=mutation.edit)
            mutation.scene(world, moment)
            world.judge.raise_if_violated()
            finish(world)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_without_one_rule_a_broken_promise_is_found(name: str) -> None:
    with pytest.raises((Violation, Bug)):
        _play(MUTATIONS[name])
