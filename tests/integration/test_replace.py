"""`instance_task:replace` against the Auto Scaling groups of the local cloud."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from runners.instance.group import Group as Seen
from runners.instance.group import Groups, NotAsked
from runners.instance.replace import Replace, may_replace
from taskerman import Go, Recovered, Refuse, Wait
from taskerman.runner import ActionInterrupted, Check
from taskerman.testing.harness import RunnerHarness
from tests.support.auto_scaling import Group
from tests.support.aws import LocalCloud, unique


@pytest.fixture
def group(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Group:
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    return Group(local_cloud, f"demo:{unique('c')}", 3)


def harness(machine: str, **settings: JsonValue) -> RunnerHarness[Replace]:
    return RunnerHarness(Replace, node=machine, settings={"drain": ["drain"], "undrain": ["undrain"], **settings})


def stop_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine goes down while the action waits for that."""

    def down(seconds: float) -> None:
        raise ActionInterrupted("the machine goes down")

    monkeypatch.setattr("time.sleep", down)


def test_it_is_drained_and_then_terminated_and_another_machine_starts(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = group.machines()
    run = harness(first)
    assert run.pre_check() == Go()
    stop_waiting(monkeypatch)
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    assert run.commands == [("drain",)], "what was asked for is not taken back"
    after = group.machines()
    assert first not in after
    assert set(others) < set(after)
    assert len(after) == 3


def test_while_it_lives_nobody_knows_and_it_is_not_called_well(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    run = harness(group.machines()[0])
    assert run.pre_check() == Go()
    stop_waiting(monkeypatch)
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    assert run.recover() is Recovered.UNKNOWN
    assert isinstance(run.post_check(), Wait)


def test_a_drain_that_fails_is_taken_back_and_nothing_was_asked(group: Group) -> None:
    machines = group.machines()
    run = harness(machines[0])
    assert run.pre_check() == Go()
    run.answer("drain", exit=1, output="still busy")
    with pytest.raises(Exception, match="still busy"):
        run.execute_action()
    assert run.commands == [("drain",), ("undrain",)]
    assert run.recover() is Recovered.NOT_DONE
    assert run.post_check() == Go()
    assert group.machines() == machines


def test_a_refusal_of_the_group_is_taken_for_one(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = group.machines()
    run = harness(machines[0])
    assert run.pre_check() == Go()

    def refuse(self: Groups, machine: str) -> None:
        raise NotAsked("AccessDenied")

    monkeypatch.setattr(Groups, "terminate", refuse)
    with pytest.raises(NotAsked):
        run.execute_action()
    assert run.commands == [("drain",), ("undrain",)]
    assert run.recover() is Recovered.NOT_DONE
    assert run.post_check() == Go()


def test_a_group_that_would_start_no_other_is_refused(group: Group) -> None:
    group.suspend("Launch")
    answer = harness(group.machines()[0]).pre_check()
    assert isinstance(answer, Refuse)
    assert "Launch is suspended" in answer.reason


def test_a_machine_of_no_group_is_refused(group: Group) -> None:
    answer = harness("i-0123456789abcdef0").pre_check()
    assert isinstance(answer, Refuse)
    assert "in no Auto Scaling group" in answer.reason


def test_a_machine_on_stand_by_is_waited_for(group: Group) -> None:
    machine = group.machines()[0]
    group.stand_by(machine)
    assert harness(machine).pre_check() == Wait(f"the machine is Standby in its group {group.name}")


def test_wrong_credentials_are_named_before_anything_is_done(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    run = harness(group.machines()[0])
    answer = run.pre_check()
    assert isinstance(answer, Wait)
    assert "Could not connect" in answer.reason
    assert run.commands == []


@pytest.mark.parametrize(
    ("seen", "others", "answer"),
    [
        (Seen("g", "InService", True, 3, 3), 0, Go()),
        (Seen("g", "InService", True, 3, 2), 0, Wait("2 of 3 machines of g are in service", of="cluster")),
        (Seen("g", "InService", True, 3, 2), 1, Go()),
        (Seen("g", "InService", True, 4, 2), 1, Wait("2 of 4 machines of g are in service", of="cluster")),
        (Seen("g", "Terminating", True, 3, 2), 0, Wait("the machine is Terminating in its group g")),
    ],
)
def test_no_more_are_missing_than_the_task_may_have_taken(seen: Seen, others: int, answer: Check) -> None:
    assert may_replace("i-1", seen, others_at_once=others) == answer
