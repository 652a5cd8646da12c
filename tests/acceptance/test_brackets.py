"""Brackets with the shipped commands as processes, killed with SIGKILL in the middle of their hooks.

The witness is the runner's own log: a line before and after each hook and each action.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse

pytestmark = pytest.mark.timeout(240)

HASTE = json.dumps({"turn_s": 0.3, "put_away_every_s": 0.5, "ended_kept_s": 0})


def document(house: ScriptedHouse, task: str, **params: Any) -> dict[str, Any]:
    made = house.document(task, workqueue_args={"retry_count": 0}, **params)
    return {**made, "action": "scripted_task:bracketed"}


def bracket(house: ScriptedHouse) -> dict[str, Any]:
    """As `brackets list --json` shows it."""
    found = house.installation.must("brackets", "list", "--json").json
    return dict(found[0]) if found else {}


def judge(house: ScriptedHouse) -> list[str]:
    """No action ran outside; in the end it was ended. The story, in order."""
    words = {"opening", "opened", "closing", "closed", "begin", "end"}
    story = [line["what"] for line in sorted(house.log(), key=lambda one: one["at"]) if line["what"] in words]
    begun, acting = False, 0
    for what in story:
        if what in ("opened", "closing"):
            begun = what == "opened"
            assert begun or not acting, story
        acting += {"begin": 1, "end": -1}.get(what, 0)
        assert begun or not acting, story
    assert not begun, story
    assert bracket(house)["state"] == "closed"
    return story


def test_an_agent_killed_in_cluster_begin_leaves_word_and_begins_it_again(scripted_house: OpenScriptedHouse) -> None:
    house = scripted_house(2)
    first, second = house.nodes
    house.behave(first, cluster_begin=["die-agent", "ok"])
    house.start()
    house.agent(first).may_end = True
    task = house.send(document(house, "t-1"))
    installation = house.installation
    installation.until(lambda: house.agent(first).exit_code is not None, "it is killed in its hook")
    assert house.agent(first).exit_code == -9
    assert bracket(house)["state"] == "opening"
    assert house.acted() == {}
    house.start_agent(first)
    house.wait(task, {first: "succeeded", second: "succeeded"})
    story = judge(house)
    assert story == ["opening", "opening", "opened", "begin", "end", "begin", "end", "closing", "closed"]


def test_the_last_agent_is_killed_before_it_ends_it_and_another_node_does_although_a_slot_is_kept(
    scripted_house: OpenScriptedHouse,
) -> None:
    """The machine of the last node burns between its action and cluster_end, and the only other one that acted is
    unsafe and keeps its slot: nobody may start, and what was silenced is heard again all the same."""
    house = scripted_house(3)
    for node in house.nodes:
        house.behave(node, action="until")
    house.start()
    installation = house.installation
    installation.start_janitor(TASKERMAN_JANITOR=HASTE)
    task = house.send(document(house, "t-1", lease_args={"concurrency": 2}))
    installation.until(lambda: house.did("begin") == 2, "two act")
    broken, burning = house.acted()  # whoever comes while it is being opened gives its place back, to any other
    (idle,) = set(house.nodes) - {broken, burning}
    house.behave(broken, action="until", post="refuse")
    house.behave(burning, action="until", cluster_end="die-agent")
    house.agent(burning).may_end = True
    house.let_go(broken)
    installation.until(lambda: house.records.end(task, broken), "the first is unsafe")
    assert house.records.end(task, broken)["outcome"] == "unsafe"
    assert bracket(house)["state"] == "open"
    refused = installation.run("brackets", "close", installation.cluster, "silence", "--why", "a test")
    assert refused.code == 4
    assert f"{burning} acts" in refused.err
    house.let_go(burning)
    installation.until(lambda: house.agent(burning).exit_code is not None, "it is killed in cluster_end")
    shown = bracket(house)
    assert (shown["state"], shown["closer"], shown["inside"]) == ("closing", burning, [burning])
    assert "silence" in installation.must("explain", task).out
    # Nobody may end it under an attempt of which nobody knows whether it still acts, until a person says so.
    installation.must("slots", "release", burning, "--node-is-off", "--why", "it burnt")
    installation.until(lambda: bracket(house)["state"] == "closed", "another node ends it")
    assert house.records.slots() == (f"{broken}~2~unsafe",)
    assert house.records.outcomes(task) == {broken: "unsafe", burning: "lost"}
    story = judge(house)
    assert story[-3:] == ["closing", "closing", "closed"]
    (ended,) = [line["node"] for line in house.log() if line["what"] == "closed"]
    assert ended in (broken, idle)
    installation.must("doctor")
