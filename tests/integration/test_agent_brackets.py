"""Brackets, with real agents and real children: begun once before the first node acts, ended once after the last,
whoever is killed on the way.

The action is the witness: the log of the runner has a line before and after each hook and each action.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman.coordination.ending import is_over_after
from taskerman.errors import RefusedByState
from taskerman.janitor import Janitor
from taskerman.janitor.kit import Kit
from taskerman.model.task import ActionTraits
from taskerman.policy.upkeep import Upkeep
from taskerman.testing.history import MemoryHistory
from tests.support.agents import outcome, quick
from tests.support.installation import CLUSTER, NAMES, Installation, OneAction
from tests.support.mortal import Life

NAME = "silence"
PATH = f"/brackets/{CLUSTER}~{NAME}"


class House:
    """An installation whose one action has a bracket, and a janitor that is started when a test says so."""

    def __init__(self, folder: Path, nodes: int) -> None:
        catalog = OneAction(target="tests.support.bracketed:Bracketed")
        catalog.traits_of = ActionTraits(bracket=NAME)
        self.fleet = Installation(folder, nodes, catalog=catalog)
        self.history = MemoryHistory()
        self._janitor: tuple[Janitor, threading.Thread] | None = None

    def start_janitor(self, **upkeep: Any) -> None:
        fleet = self.fleet
        kit = Kit(
            tree=fleet.connect(),
            queues=fleet.queues,
            names=NAMES,
            discoveries={"aws_tags": fleet.discovery},
            history=self.history,
            clock=fleet.clock,
            emit=fleet.events.append,
            upkeep=Upkeep(**{"turn_s": 0.1, "put_away_every_s": 0.1, **upkeep}),
            by="janitor@test",
        )
        janitor = Janitor(kit)
        thread = threading.Thread(target=janitor.run, daemon=True)
        thread.start()
        self._janitor = janitor, thread

    def stop(self) -> None:
        if self._janitor is not None:
            janitor, thread = self._janitor
            janitor.stop()
            thread.join(20)
            janitor._kit.tree.close()
        self.fleet.stop()

    def bracket(self) -> dict[str, Any]:
        record = self.fleet.tree.get(PATH)
        return json.loads(record.data) if record else {}

    def state(self) -> str:
        return str(self.bracket().get("state", "none"))

    def closes(self) -> None:
        self.fleet.until(lambda: self.state() == "closed", "it is closed")

    def story(self) -> list[str]:
        """What the runner noted of hooks and actions, in order."""
        words = {"opening", "opened", "closing", "closed", "begin", "end"}
        return [line["what"] for line in sorted(self.fleet.log(), key=lambda one: one["at"]) if line["what"] in words]

    def judge(self) -> None:
        """No action ran while the bracket was not begun, and in the end it is ended."""
        begun = 0
        acting = 0
        for what in self.story():
            if what == "opened":
                begun = 1
            elif what == "closing":
                assert not acting, f"ended while {acting} act: {self.story()}"
                begun = 0
            elif what == "begin":
                assert begun, f"an action ran outside: {self.story()}"
                acting += 1
            elif what == "end":
                acting -= 1
        assert self.state() == "closed"
        assert not begun, f"not ended: {self.story()}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, 3)
    try:
        made.fleet.start_router()
        yield made
    finally:
        made.stop()


@pytest.fixture
def short_loans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskerman.agent.mailbox._FIRST_LOAN", timedelta(seconds=1))
    monkeypatch.setattr("taskerman.agent.mailbox.LOAN", timedelta(seconds=1))


def start(house: House, *nodes: str) -> None:
    for node in nodes or [each.id for each in house.fleet.nodes]:
        house.fleet.start_agent(node)


def one_by_one(house: House, **params: Any) -> str:
    """A task whose nodes act one after the other, i-2 last."""
    start(house, "i-0", "i-1")
    task = house.fleet.submit(params=quick(lease_args={"concurrency": 1}, **params))
    house.fleet.until(lambda: len(house.fleet.outcomes(task)) == 2, "the others have ended")
    start(house, "i-2")
    all_ended(house, task)
    return task


def all_ended(house: House, task: str) -> None:
    nodes = len(house.fleet.nodes)
    house.fleet.until(lambda: len(house.fleet.outcomes(task)) == nodes, "every node has ended")


# --- in peace ----------------------------------------------------------------------------------------------


def test_it_is_begun_once_before_the_first_and_ended_once_after_the_last(house: House) -> None:
    """Without a janitor: the last node ends it under its own slot, before its end is recorded."""
    start(house)
    task = house.fleet.submit(params=quick(lease_args={"concurrency": 1}))
    all_ended(house, task)
    assert set(house.fleet.outcomes(task).values()) == {"succeeded"}
    assert house.story() == ["opening", "opened", *["begin", "end"] * 3, "closing", "closed"]
    assert house.state() == "closed"
    (closing,) = house.fleet.said("bracket_closing")
    assert closing.fields["under"] != "no slot"


def test_two_at_once_wait_for_the_one_that_begins_it(house: House) -> None:
    """The second gives its slot back and comes again: nobody acts before cluster_begin has returned."""
    house.fleet.behave("i-0", cluster_begin="until")
    start(house, "i-0")
    task = house.fleet.submit(params=quick(lease_args={"concurrency": 3}))
    house.fleet.until(lambda: "opening" in house.story(), "the first begins it")
    start(house, "i-1", "i-2")
    house.fleet.until(
        lambda: "being opened by i-0" in house.fleet.progress(task, "i-1").get("why", ""), "the second waits"
    )
    assert house.story() == ["opening"]
    (house.fleet.folder / "i-0.cluster_begin").touch()
    all_ended(house, task)
    house.closes()
    house.judge()
    assert house.story().count("opening") == 1


def test_two_tasks_share_it_and_the_last_of_both_ends_it(house: House) -> None:
    """The end of the first task would undo it under the second one's node."""
    house.fleet.behave("i-2", action="until")
    start(house)
    first = house.fleet.submit(params=quick(lease_args={"concurrency": 3}), nodes=["i-2"])
    house.fleet.until(lambda: house.fleet.did("begin", "i-2") == 1, "the first acts")
    second = house.fleet.submit(params=quick(lease_args={"concurrency": 3}), nodes=["i-0", "i-1"])
    house.fleet.until(lambda: len(house.fleet.outcomes(second)) == 2, "the second has ended")
    assert house.state() == "open"
    house.fleet.go("i-2")
    house.fleet.until(lambda: bool(house.fleet.outcomes(first)), "the first has ended")
    house.closes()
    house.judge()
    assert (house.story().count("opening"), house.story().count("closing")) == (1, 1)


def test_a_node_with_nothing_to_do_ends_it_when_it_is_the_last(house: House) -> None:
    house.fleet.behave("i-2", pre="skip")
    one_by_one(house)
    assert house.story() == ["opening", "opened", *["begin", "end"] * 2, "closing", "closed"]


def test_two_that_end_at_once_and_see_each_other_leave_it_to_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a janitor: whoever's end is recorded last looks once more, and ends it without a slot."""
    both = threading.Barrier(2)

    def at_once(*args: Any) -> bool:
        over = is_over_after(*args)
        both.wait(20)
        return over

    monkeypatch.setattr("taskerman.agent.bracketing.is_over_after", at_once)
    for node in ("i-0", "i-1"):
        house.fleet.behave(node, action="until")
    start(house, "i-0")
    task = house.fleet.submit(params=quick(), nodes=["i-0", "i-1"])
    house.fleet.until(lambda: house.fleet.did("begin") == 1, "the first acts")
    start(house, "i-1")
    house.fleet.until(lambda: house.fleet.did("begin", "i-1") == 1, "both act")
    house.fleet.go("i-0")
    house.fleet.go("i-1")
    house.closes()
    assert set(house.fleet.outcomes(task).values()) == {"succeeded"}
    assert house.fleet.said("bracket_closing")[-1].fields["under"] == "no slot"
    house.judge()


def test_where_nobody_acts_nothing_is_begun(house: House) -> None:
    for node in ("i-0", "i-1", "i-2"):
        house.fleet.behave(node, pre="skip")
    start(house)
    task = house.fleet.submit(params=quick())
    all_ended(house, task)
    assert house.story() == []
    assert house.state() == "none"


def test_an_action_without_a_bracket_writes_no_more_than_before(tmp_path: Path) -> None:
    """The writes of one attempt, counted: START, JOIN, TAKE, END."""
    plain, bracketed = Installation(tmp_path / "plain", 1), House(tmp_path / "bracketed", 1)
    try:
        writes = []
        for fleet in (plain, bracketed.fleet):
            life = Life()
            fleet.start_router()
            fleet.start_agent("i-0", life=life)
            task = fleet.submit(params=quick())
            assert outcome(fleet, task) == "succeeded"
            writes.append([step for step in life.steps if step.startswith("commit ")])
            commits = [k for k, step in enumerate(life.steps, 1) if step.startswith("commit ")]
        assert not [step for step in writes[0] if "bracket" in step]
        assert len(writes[0]) == 5, writes[0]  # the first START of a node makes its record
        assert len(writes[1]) == len(writes[0]) + 4, writes[1]  # opening, open, closing, closed
        assert (commits[3] + 1, commits[-1]) == (FIRST_STEP, LAST_STEP), life.steps  # TAKE and END
    finally:
        plain.stop()
        bracketed.stop()


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_where_cluster_begin_fails_nothing_acts_and_it_is_undone_all_the_same(house: House) -> None:
    """Half of it may have happened."""
    for node in ("i-0", "i-1", "i-2"):
        house.fleet.behave(node, cluster_begin="raise")
    start(house)
    task = house.fleet.submit(params=quick(lease_args={"concurrency": 1}))
    house.fleet.until(lambda: house.fleet.control(task).get("state") == "halted", "the task halts")
    assert "cluster_begin failed" in str([house.fleet.end(task, f"i-{k}").get("reason") for k in range(3)])
    house.start_janitor()
    house.closes()
    assert "begin" not in house.story()
    house.judge()


def test_a_cluster_end_that_fails_changes_no_outcome_and_another_node_tries_it_again(house: House) -> None:
    house.fleet.behave("i-2", cluster_end="raise")
    task = one_by_one(house)
    assert set(house.fleet.outcomes(task).values()) == {"succeeded"}
    assert (house.state(), house.bracket()["tries"]) == ("closing", 1)
    assert "told to fail in cluster_end" in house.bracket()["why"]
    (said,) = house.fleet.said("bracket_not_closed")
    assert said.level == "error"
    house.start_janitor()
    house.closes()
    house.judge()


def test_a_halted_task_ends_it_and_begins_it_again_when_it_is_resumed(house: House) -> None:
    house.fleet.behave("i-0", action=["raise", "ok"])
    start(house, "i-0")
    task = house.fleet.submit(params=quick())
    house.fleet.until(lambda: house.fleet.control(task).get("state") == "halted", "it halts")
    house.closes()
    assert house.story() == ["opening", "opened", "begin", "end", "closing", "closed"]
    house.fleet.operator.resume(task, "go on")
    start(house, "i-1", "i-2")
    all_ended(house, task)
    house.closes()
    house.judge()
    assert house.story().count("opening") == 2


def test_a_task_that_cannot_go_on_leaves_it_and_takes_it_up_again(house: House) -> None:
    """A hold, a shut window: the task is open for days, and what was silenced must not be so for days."""
    house.fleet.behave("i-0", action="until")
    start(house, "i-0")
    task = house.fleet.submit(params=quick(lease_args={"concurrency": 1}))
    house.fleet.until(lambda: house.fleet.did("begin") == 1, "the first acts")
    house.start_janitor(bracket_idle_s=0.3)
    house.fleet.operator.hold("*", "not now")
    house.fleet.go("i-0")
    start(house, "i-1", "i-2")
    house.closes()
    assert house.fleet.control(task)["state"] == "open"
    house.fleet.operator.unhold("*", "go on")
    all_ended(house, task)
    house.closes()
    house.judge()


def test_what_stands_in_it_is_not_put_away(house: House) -> None:
    """Its plan and its nodes are needed to end it."""
    for node in ("i-0", "i-1", "i-2"):
        house.fleet.behave(node, cluster_end=["raise", "raise", "until"])  # also where one is rung twice
    start(house)
    task = house.fleet.submit(params=quick())
    house.start_janitor(ended_kept_s=0)
    all_ended(house, task)
    house.fleet.until(lambda: house.bracket().get("tries", 0) >= 2, "nobody can end it")
    assert not house.fleet.said("task_put_away")
    for node in ("i-0", "i-1", "i-2"):
        (house.fleet.folder / f"{node}.cluster_end").touch()
    house.closes()
    house.fleet.until(lambda: bool(house.fleet.said("task_put_away")), "it is put away")
    house.judge()


# --- who is killed -----------------------------------------------------------------------------------------


def test_an_agent_killed_in_cluster_begin_begins_it_again(house: House) -> None:
    """Its child ends with it; the record says that there may be something to undo; the next agent calls it again."""
    house.fleet.behave("i-0", cluster_begin=["hang", "ok"])
    start(house, "i-0")
    task = house.fleet.submit(params=quick(), nodes=["i-0"])
    house.fleet.until(lambda: house.story() == ["opening"], "it begins it")
    assert house.state() == "opening"
    house.fleet.crash_agent("i-0")
    house.fleet.until(lambda: house.fleet.left() == [], "its child ends with it")
    start(house, "i-0")
    assert outcome(house.fleet, task) == "succeeded"
    assert house.story() == ["opening", "opening", "opened", "begin", "end", "closing", "closed"]
    house.judge()


def test_an_agent_killed_in_cluster_end_ends_it_before_its_slot_is_free(house: House) -> None:
    house.fleet.behave("i-0", cluster_end=["hang", "ok"])
    start(house, "i-0")
    task = house.fleet.submit(params=quick(), nodes=["i-0"])
    house.fleet.until(lambda: "closing" in house.story(), "it ends it")
    house.fleet.crash_agent("i-0")
    assert house.fleet.slots() == ("i-0~2~acting",)
    house.start_janitor()
    start(house, "i-0")
    assert outcome(house.fleet, task) == "succeeded"
    house.closes()
    house.judge()


def test_a_sweep_ends_it_on_another_node_although_a_slot_is_kept(house: House) -> None:
    """i-0 is unsafe and keeps its slot; i-1 dies while it ends the bracket, and a person says that it is off."""
    house.fleet.behave("i-0", action="until", post="refuse")
    house.fleet.behave("i-1", action="until", cluster_end="hang")
    start(house)
    params = quick(lease_args={"concurrency": 2}, workqueue_args={"retry_count": 0})
    task = house.fleet.submit(params=params, nodes=["i-0", "i-1"])
    house.fleet.until(lambda: len(house.fleet.acted()) == 2, "both act")
    house.fleet.go("i-0")
    house.fleet.until(lambda: house.fleet.end(task).get("outcome") == "unsafe", "the first is unsafe")
    assert house.state() == "open"  # the other acts in it
    house.fleet.go("i-1")
    house.fleet.until(lambda: "closing" in house.story(), "the second ends it")
    house.fleet.crash_agent("i-1")
    house.start_janitor()
    house.fleet.until(lambda: house.fleet.left() == [], "its child ends with it")
    assert house.state() == "closing"
    house.fleet.operator.node_is_off("i-1", "it burnt")
    house.closes()
    assert house.fleet.slots() == ("i-0~2~unsafe",)
    last = house.fleet.said("bracket_closed")[-1].fields
    assert last["node"] == "i-0"
    assert house.fleet.said("bracket_closing")[-1].fields["under"] == "no slot"
    house.judge()


def test_a_sweep_whose_node_dies_goes_on_with_another(house: House) -> None:
    """The claim of the first ends when it has said nothing for longer than a hook may take."""
    house.fleet.behave("i-2", cluster_end="raise")
    house.fleet.behave("i-0", cluster_end="hang")
    one_by_one(house)
    house.fleet.until(lambda: house.bracket().get("tries") == 1, "the last one fails")
    house.start_janitor(bracket_claim_s=0.5)
    house.fleet.until(lambda: (house.bracket().get("claim") or {}).get("node") == "i-0", "the first is asked")
    house.fleet.until(lambda: house.story().count("closing") == 2, "it ends it")
    house.fleet.crash_agent("i-0")
    house.closes()
    assert house.fleet.said("bracket_unclaimed")
    house.judge()


def test_an_agent_that_stops_gives_the_bracket_back(house: House) -> None:
    """It may be stopped for good."""
    house.fleet.behave("i-2", cluster_end="raise")
    house.fleet.behave("i-0", cluster_end="hang")
    one_by_one(house)
    house.start_janitor(bracket_claim_s=3600)
    house.fleet.until(lambda: house.story().count("closing") == 2, "the first is asked")
    house.fleet.stop_agent("i-0")
    house.closes()
    house.judge()


def test_a_person_closes_what_was_undone_by_hand_but_not_under_an_action(house: House) -> None:
    house.fleet.behave("i-0", action="until", cluster_end="raise")
    start(house, "i-0")
    task = house.fleet.submit(params=quick(), nodes=["i-0"])
    house.fleet.until(lambda: house.fleet.did("begin") == 1, "it acts")
    with pytest.raises(RefusedByState, match="i-0 acts"):
        house.fleet.operator.close_bracket(CLUSTER, NAME, "by hand")
    house.fleet.go("i-0")
    assert outcome(house.fleet, task) == "succeeded"
    assert house.state() == "closing"
    house.fleet.operator.close_bracket(CLUSTER, NAME, "by hand")
    assert house.state() == "closed"


FIRST_STEP, LAST_STEP = 8, 16
"""From what an agent notes of its take to the END; between them it opens, acts and closes."""


@pytest.mark.usefixtures("short_loans")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(FIRST_STEP, LAST_STEP + 1))
def test_an_agent_that_dies_at_any_write_acts_within_it_and_leaves_none_behind(
    tmp_path: Path, at: int, after: bool
) -> None:
    house = House(tmp_path, 1)
    fleet = house.fleet
    try:
        life = Life(die_at=at, after=after)
        fleet.start_router()
        task = fleet.submit(params=quick(workqueue_args={"retry_count": 1}))  # not_done is failed, and tried again
        fleet.until(
            lambda: fleet.queues.exists("t-node-i-0") and fleet.queues.depth("t-node-i-0").visible == 1, "it rings"
        )
        fleet.start_agent("i-0", life=life)
        fleet.until(lambda: life.dead or (house.state() == "closed" and bool(fleet.end(task))), "it ends or dies")
        if life.dead:
            fleet.bury("i-0")
            house.start_janitor()
            fleet.start_agent("i-0")
        assert outcome(fleet, task) == "succeeded", life.steps
        house.closes()
        house.judge()
        assert fleet.did("begin") <= 1, life.steps
        assert fleet.slots() == ()
        fleet.until(lambda: fleet.left() == [], "no process is left")
        assert life.dead, "it was to die"
    finally:
        house.stop()
