"""The judge cries out: for each promise, a history in which it is kept, and the same history with one thing wrong."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.history import History, Order, Stop
from tests.chaos.judge import judge
from tests.chaos.ledger import Change, Step

CLUSTER = "chaos:c"


def line(what: str, node: str, at: float, *, task: str = "t1", k: int = 1, pid: int = 0, **known: object) -> dict:
    process = pid or 100 * int(node[1:]) + k
    return {
        "what": what,
        "node": node,
        "cluster": CLUSTER,
        "task": task,
        "attempt": f"{task}.{node}.{k}",
        "pid": process,
        "start": process,
        "at": at,
        "wall": 1000.0 + at,
        **known,
    }


def whole(node: str, at: float, **known: Any) -> list[dict]:
    """An attempt that goes well, from `at` to a second later."""
    return [
        line("pre", node, at, **known),
        line("begin", node, at + 0.1, **known),
        line("end", node, at + 0.8, ok=True, **known),
        line("post", node, at + 0.9, well=True, **known),
    ]


def step(do: str, path: str, data: object = "") -> Step:
    return Step(do, path, data if isinstance(data, bytes) else json.dumps(data).encode())


def plan(task: str, *nodes: str, owner: str = "red") -> Change:
    packed = zlib.compress(json.dumps({"doc": {"owner": owner}, "nodes": [{"id": node} for node in nodes]}).encode())
    steps = (step("create", f"/tasks/{task}", packed), step("create", f"/tasks/{task}/ctl", {"state": "open"}))
    return Change(1, 1_000_000, steps)


def take(node: str, *, cap: int = 1, task: str = "t1", zxid: int = 2, k: int = 1) -> Change:
    note = {"task": task, "attempt": f"{task}.{node}.{k}"}
    return Change(zxid, 1_000_000, (step("create", f"/scopes/{CLUSTER}/{node}~{cap}~acting", note),))


def end(node: str, outcome: str = "succeeded", *, cap: int = 1, letter: str = "none", task: str = "t1") -> Change:
    steps = (
        step("create", f"/tasks/{task}/end/{node}", {"outcome": outcome, "attempt": f"{task}.{node}.1",
                                                     "dead_letter": letter}),
        step("delete", f"/scopes/{CLUSTER}/{node}~{cap}~acting"),
    )  # fmt: skip
    return Change(3, 1_000_950 if node == "n1" else 1_001_950, steps)


ORDER = Order("t1", CLUSTER, "red", 1)
KEPT = History(
    orders=(ORDER,),
    lines=(*whole("n1", 0.0), *whole("n2", 1.0)),
    ledger=(plan("t1", "n1", "n2"), take("n1"), end("n1"), take("n2"), end("n2")),
)


def broken(history: History) -> list[int]:
    return sorted({violation.promise for violation in judge(history)})


def test_a_history_in_which_all_is_kept_is_kept() -> None:
    assert judge(KEPT) == ()


class TestNeverMoreThanAllowed:
    def test_two_act_where_one_may(self) -> None:
        both = tuple(sorted([*whole("n1", 0.0), *whole("n2", 0.5)], key=lambda each: each["at"]))
        found = judge(replace(KEPT, lines=both))
        assert {violation.promise for violation in found} == {1}
        assert "2 act:" in found[0].text

    def test_the_smaller_promise_binds_whoever_comes_second(self) -> None:
        orders = (ORDER, Order("t2", CLUSTER, "red", 3))
        both = (*whole("n1", 0.0), *whole("n2", 0.5, task="t2"))
        assert 1 in broken(replace(KEPT, orders=orders, lines=both))

    def test_two_may_where_both_allow_two(self) -> None:
        history = replace(KEPT, orders=(replace(ORDER, cap=2),), lines=(*whole("n1", 0.0), *whole("n2", 0.5)))
        assert 1 not in broken(history)

    def test_who_was_killed_counts_for_as_long_as_it_was_seen_alive(self) -> None:
        silent = line("begin", "n1", 0.1)
        lines = (silent, *whole("n2", 1.0))
        history = replace(KEPT, lines=lines, alive={(silent["pid"], silent["start"]): 1.5})
        assert any(violation.text.count("2 act:") for violation in judge(history))

    def test_who_was_killed_counts_until_a_check_found_the_node_well(self) -> None:
        silent = line("begin", "n1", 0.1)
        history = replace(KEPT, lines=(silent, *whole("n2", 1.0)), alive={})
        assert any("maintenance" in violation.text for violation in judge(history))
        found = line("post", "n1", 0.5, well=True)
        assert 1 not in broken(replace(history, lines=(silent, found, *whole("n2", 1.0))))
        assert 1 not in broken(replace(history, freed=(("n1", 0.5),))), "or a person answers for it"

    def test_a_node_that_a_check_found_unwell_counts(self) -> None:
        unwell = [line("begin", "n1", 0.1), line("end", "n1", 0.2, ok=True), line("post", "n1", 0.3, well=False)]
        assert 1 in broken(replace(KEPT, lines=(*unwell, *whole("n2", 1.0))))

    def test_nobody_acts_for_a_task_that_nobody_ordered(self) -> None:
        assert 1 in broken(replace(KEPT, orders=()))

    def test_an_exclusive_task_beside_another(self) -> None:
        orders = (replace(ORDER, cap=3, exclusive=True), Order("t2", CLUSTER, "red", 3))
        both = (*whole("n1", 0.0), *whole("n2", 0.5, task="t2"))
        assert 1 in broken(replace(KEPT, orders=orders, lines=both))
        assert 1 not in broken(replace(KEPT, orders=orders, lines=(*whole("n1", 0.0), *whole("n2", 0.5))))

    def test_a_node_of_two_clusters_counts_in_both(self) -> None:
        other = [{**each, "cluster": "chaos:other"} for each in whole("n2", 0.5, task="t2")]
        history = replace(KEPT, orders=(ORDER, Order("t2", "chaos:other", "red", 1)), lines=(*whole("n1", 0.0), *other))
        assert 1 not in broken(history)
        assert 1 in broken(replace(history, clusters={"n2": ("chaos:other", CLUSTER)}))

    def test_a_named_scope_binds_across_clusters(self) -> None:
        other = [{**each, "cluster": "chaos:other"} for each in whole("n2", 0.5, task="t2")]
        orders = (replace(ORDER, scope="wire"), Order("t2", "chaos:other", "red", 1, scope="wire"))
        history = replace(KEPT, orders=orders, lines=(*whole("n1", 0.0), *other), scopes={"wire": 2})
        assert 1 not in broken(history)
        assert 1 in broken(replace(history, scopes={"wire": 1}))

    def test_a_place_too_many_in_a_named_scope_is_seen_in_the_transactions(self) -> None:
        declared = Change(1, 1_000_000, (step("create", "/scopes/wire", {"capacity": 1}),))
        full = Change(2, 1_000_000, (step("create", "/scopes/wire/n9~-~acting", {"task": "t9", "attempt": "t9.n9.1"}),))
        more = Change(2, 1_000_000, (step("create", "/scopes/wire/n1~-~acting", {"task": "t1", "attempt": "t1.n1.1"}),))
        assert broken(replace(KEPT, ledger=(declared, full, *KEPT.ledger))) == []
        assert broken(replace(KEPT, ledger=(declared, full, more, *KEPT.ledger))) == [1]

    def test_a_take_while_the_breaker_is_open_is_a_probe_and_the_only_one(self) -> None:
        broke = Change(1, 1_000_000, (step("create", f"/clusters/{CLUSTER}", {"open_until": "x", "probe": None}),))
        assert broken(replace(KEPT, ledger=(broke, *KEPT.ledger))) == [1]
        first, second = take("n1"), take("n2")
        claim = step("set", f"/clusters/{CLUSTER}", {"open_until": "x", "probe": "t1.n1.1"})
        probing = replace(first, steps=(claim, *first.steps))
        closed = Change(1, 1_000_000, (step("set", f"/clusters/{CLUSTER}", {"open_until": None, "probe": None}),))
        kept = (broke, KEPT.ledger[0], probing, end("n1"), closed, second, end("n2"))
        assert broken(replace(KEPT, ledger=kept)) == []
        assert broken(replace(KEPT, ledger=tuple(change for change in kept if change is not closed))) == [1]

    def test_an_exclusive_slot_beside_another_is_seen_in_the_transactions(self) -> None:
        note = {"task": "t9", "attempt": "t9.n9.1"}
        alone = Change(2, 1_000_000, (step("create", f"/scopes/{CLUSTER}/n9~5~acting~t9", note),))
        ledger = (plan("t9", "n9"), plan("t1", "n1", "n2"), alone, take("n1", cap=5), end("n1", cap=5), end("n2"))
        found = judge(replace(KEPT, ledger=ledger, waiting={("t9", "n9"): "hold"}))
        assert [violation.promise for violation in found] == [1]

    def test_a_slot_too_many_is_seen_in_the_transactions(self) -> None:
        ledger = (plan("t1", "n1", "n2"), take("n1"), take("n2", zxid=7), end("n1"), end("n2"))
        found = judge(replace(KEPT, ledger=ledger))
        assert [violation.promise for violation in found] == [1]
        assert "0x7" in found[0].text

    def test_a_slot_beside_a_kept_one_is_seen_in_the_transactions(self) -> None:
        kept = Change(2, 1_000_000, (step("create", f"/scopes/{CLUSTER}/n9~5~unsafe"),))
        ledger = (plan("t1", "n1", "n2"), kept, take("n1", cap=5), end("n1", cap=5), end("n2"))
        assert [violation.promise for violation in judge(replace(KEPT, ledger=ledger))] == [1]


class TestOneOutcomeEach:
    def test_a_task_without_a_trace(self) -> None:
        assert broken(replace(KEPT, orders=(ORDER, replace(ORDER, task="t2")))) == [2]

    def test_a_node_without_an_outcome(self) -> None:
        history = replace(KEPT, ledger=KEPT.ledger[:-1])
        assert broken(history) == [2]
        assert broken(replace(history, waiting={("t1", "n2"): "hold"})) == [], "it waits for a person"
        assert broken(replace(history, waiting={("t1", "n2"): None})) == [2], "and explain knows no reason"

    def test_two_outcomes_of_one_node(self) -> None:
        assert 2 in broken(replace(KEPT, ledger=(*KEPT.ledger, end("n2"))))

    def test_after_a_redrive_there_is_another_one(self) -> None:
        redriven = Change(8, 1_000_950, (step("delete", "/tasks/t1/end/n2"),))
        assert broken(replace(KEPT, ledger=(*KEPT.ledger, redriven))) == [2]
        assert broken(replace(KEPT, ledger=(*KEPT.ledger, redriven, end("n2")))) == []

    def test_what_is_put_away_is_not_missed(self) -> None:
        closing = Change(8, 1_001_000, (step("set", "/tasks/t1/ctl", {"state": "closing"}),))
        gone = Change(9, 1_001_000, (step("delete", "/tasks/t1/end/n1"), step("delete", "/tasks/t1/end/n2")))
        history = replace(KEPT, ledger=(*KEPT.ledger, closing, gone))
        assert broken(history) == []
        past = frozenset({("t1", "n1", "t1.n1.1", "succeeded"), ("t1", "n2", "t1.n2.1", "succeeded")})
        assert broken(replace(history, past=past)) == []
        assert broken(replace(history, past=frozenset([*past][1:]))) == [2], "and the history does not know it"

    def test_an_audited_verb_that_is_nowhere(self) -> None:
        typed = Change(8, 1_001_000, (step("create", "/audit/0000000001", {"id": "v1"}),))
        swept = Change(9, 1_001_000, (step("delete", "/audit/0000000001"),))
        assert broken(replace(KEPT, ledger=(*KEPT.ledger, typed), past=frozenset())) == []
        history = replace(KEPT, ledger=(*KEPT.ledger, typed, swept), past=frozenset())
        assert broken(history) == [2]
        assert broken(replace(history, past_verbs=frozenset({"v1"}))) == []

    def test_something_is_left(self) -> None:
        assert broken(replace(KEPT, left=("a message",))) == [2]

    def test_an_accident(self) -> None:
        assert broken(replace(KEPT, accidents=("a traceback",))) == [0]


class TestNothingAfterAStop:
    @pytest.mark.parametrize("on", ["*", f"cluster:{CLUSTER}", "owner:red", "task:t1"])
    def test_who_was_not_named_begins(self, on: str) -> None:
        stop = Stop(on, acked_at=0.95, named=frozenset({"t1.n1.1"}))
        assert broken(replace(KEPT, stops=(stop,))) == [3]

    @pytest.mark.parametrize(
        "stop",
        [
            Stop("*", acked_at=0.95, named=frozenset({"t1.n2.1"})),
            Stop("*", acked_at=0.95, named=frozenset(), over_at=0.99),
            Stop("owner:blue", acked_at=0.95, named=frozenset()),
            Stop("task:t2", acked_at=0.95, named=frozenset()),
            Stop("*", acked_at=2.0, named=frozenset()),
        ],
        ids=["named", "lifted", "of another", "another task", "later"],
    )
    def test_who_may_begin(self, stop: Stop) -> None:
        assert broken(replace(KEPT, stops=(stop,))) == []

    def test_a_take_under_a_hold_is_seen_in_the_transactions(self) -> None:
        hold = Change(1, 1_000_000, (step("create", "/control", {"holds": [{"id": "h", "on": "owner:red"}]}),))
        assert broken(replace(KEPT, ledger=(hold, *KEPT.ledger))) == [3]

    def test_a_take_of_a_cancelled_task_is_seen_in_the_transactions(self) -> None:
        cancelled = Change(1, 1_000_000, (step("set", "/tasks/t1/ctl", {"state": "cancelled"}),))
        assert broken(replace(KEPT, ledger=(KEPT.ledger[0], cancelled, *KEPT.ledger[1:]))) == [3]

    def test_an_attempt_that_begins_twice(self) -> None:
        again = (*KEPT.lines, line("begin", "n2", 3.0), line("end", "n2", 3.1), line("post", "n2", 3.2, well=True))
        assert 3 in broken(replace(KEPT, lines=again))

    def test_an_attempt_may_begin_twice_when_it_had_not_happened(self) -> None:
        lines = (line("begin", "n1", 0.0), line("recover", "n1", 0.1, answer="not_done"), *whole("n1", 0.2))
        assert broken(replace(KEPT, lines=(*lines, *whole("n2", 1.5)))) == []

    def test_an_attempt_that_begins_after_its_outcome(self) -> None:
        late = tuple({**each, "wall": each["wall"] + 5} for each in KEPT.lines)
        assert broken(replace(KEPT, lines=late)) == [3]


class TestEveryDeadLetterArrives:
    LEDGER = (plan("t1", "n1", "n2"), take("n1"), end("n1"), take("n2"), end("n2", "failed", letter="owed"))
    SENT = Change(9, 1_001_000, (step("set", "/tasks/t1/end/n2", {"outcome": "failed", "attempt": "t1.n2.1",
                                                                "dead_letter": "sent"}),))  # fmt: skip

    def test_owed_and_never_sent(self) -> None:
        assert broken(replace(KEPT, ledger=self.LEDGER)) == [4]

    def test_sent_and_never_arrived(self) -> None:
        assert broken(replace(KEPT, ledger=(*self.LEDGER, self.SENT))) == [4]

    def test_sent_and_arrived(self) -> None:
        arrived = frozenset({"t1.n2.1"})
        assert broken(replace(KEPT, ledger=(*self.LEDGER, self.SENT), letters=arrived)) == []

    def test_not_even_owed(self) -> None:
        assert broken(replace(KEPT, ledger=(*self.LEDGER[:-1], end("n2", "failed")))) == [4]

    def test_a_redrive_before_it_was_sent_pays_it(self) -> None:
        redriven = Change(9, 1_001_000, (step("delete", "/tasks/t1/end/n2"),))
        assert broken(replace(KEPT, ledger=(*self.LEDGER, redriven, end("n2")))) == []

    def test_a_redrive_after_it_was_sent_does_not(self) -> None:
        redriven = Change(9, 1_001_000, (step("delete", "/tasks/t1/end/n2"),))
        assert broken(replace(KEPT, ledger=(*self.LEDGER, self.SENT, redriven, end("n2")))) == [4]

    def test_a_document_that_cannot_be_accepted(self) -> None:
        assert broken(replace(KEPT, garbage=frozenset({"abc"}))) == [4]
        assert broken(replace(KEPT, garbage=frozenset({"abc"}), letters=frozenset({"abc"}))) == []
