"""The records of schedules, in memory and on a real ZooKeeper: of two writers one has, an unknown answer is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.schedules import Change, ScheduleVerbs, bell, read_schedules, write_schedules
from taskerman.coordination.verdicts import ended_tasks
from taskerman.errors import CoordinationUnavailable, NotPermitted, RefusedByState, ScheduleUnknown
from taskerman.model.audit import AuditEntry
from taskerman.model.rights import Role
from taskerman.model.schedule_record import (
    FiredTask,
    PendingFiring,
    ScheduleOrigin,
    ScheduleRecord,
    Verdict,
)
from taskerman.ports.tree import Tree
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, SETTLED
from tests.support.scheduling import schedule
from tests.support.tree_ground import Ground, ground

__all__ = ["ground"]

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def record(name: str = "nightly", through: datetime = NOW) -> ScheduleRecord:
    return ScheduleRecord(
        schedule=schedule(name), origin=ScheduleOrigin.FILES, place=f"{name}.yaml:1", since=NOW, through=through
    )


def new(tree: Tree, *names: str) -> None:
    written = write_schedules(tree, [Change(name, record(name), None) for name in names])
    assert set(written.done) == set(names)


def later(tree: Tree, name: str, hours: int = 1) -> Change:
    known = read_schedules(tree, [name])[name]
    return Change(name, record(name, NOW + timedelta(hours=hours)), known.version)


def person(tree: Tree) -> ScheduleVerbs:
    return ScheduleVerbs(tree, "ada@laptop", lambda: NOW)


def test_many_are_written_and_read_as_they_were_and_what_goes_is_gone(ground: Ground) -> None:
    tree = ground.open()
    names = [f"s{n:03}" for n in range(250)]
    new(tree, *names)
    found = read_schedules(ground.open())
    assert sorted(found) == names
    assert found["s007"].record == record("s007")
    written = write_schedules(tree, [Change(name, None, found[name].version) for name in names[:249]])
    assert (written.done, written.stale) == ({}, frozenset())
    assert list(read_schedules(tree)) == ["s249"]


def test_versions_that_are_told_are_those_that_are_read(ground: Ground) -> None:
    tree = ground.open()
    new(tree, "nightly")
    written = write_schedules(tree, [later(tree, "nightly")])
    assert written.done["nightly"] == read_schedules(tree)["nightly"]


def test_of_two_writers_one_has_and_the_others_of_its_batch_are_written_all_the_same(ground: Ground) -> None:
    first, second = ground.open(), ground.open()
    new(first, "a", "b", "c")
    mine = [later(first, name, 1) for name in "abc"]
    write_schedules(second, [later(second, "b", 2)])
    written = write_schedules(first, mine)
    assert set(written.done) == {"a", "c"}
    assert written.stale == {"b"}
    assert read_schedules(first, ["b"])["b"].record.through == NOW + timedelta(hours=2)


def test_of_two_who_declare_a_new_one_at_once_one_has(ground: Ground) -> None:
    first, second = ground.open(), ground.open()
    new(first, "a")
    assert write_schedules(second, [Change("a", record("a"), None)]).stale == {"a"}


@EVERY_LOSS
def test_a_write_without_an_answer_is_told_as_unknown_and_whatever_comes_of_it_happens_once(
    ground: Ground, became: LostAnswer
) -> None:
    tree, other = ground.open(), ground.open()
    new(tree, "a")
    change = later(tree, "a", 1)
    ground.lose_answer(tree, became)
    try:
        written = write_schedules(tree, [change])
        assert not written.done
        assert written.stale == {"a"}
    except CoordinationUnavailable:
        pass  # it could not even be asked any more
    again = read_schedules(other)["a"]
    settled = write_schedules(other, [Change("a", record("a", NOW + timedelta(hours=2)), again.version)])
    if became is LostAnswer.LATE:
        ground.deliver_late(tree)
    assert settled.done["a"].record.through == NOW + timedelta(hours=2)
    assert read_schedules(other)["a"] == settled.done["a"]


def test_a_person_rings_the_bell_and_leaves_an_audit_entry_with_each_change(ground: Ground) -> None:
    tree = ground.open()
    new(tree, "a", "b")
    before, _ = bell(tree)
    person(tree).pause("a", "incident")
    assert bell(tree) == (before + 1, "a")
    person(tree).resume("a", "over")
    firing = PendingFiring(task_id="a-x1", nominal=None, due=NOW, body="{}", by="ada@laptop")
    person(tree).trigger("b", firing, "once")
    assert bell(tree) == (before + 3, "b")
    assert read_schedules(tree)["b"].record.pending == (firing,)
    person(tree).triggered("b", "a-x1")
    found = read_schedules(tree)["b"].record
    assert (found.pending, [one.task_id for one in found.open]) == ((), ["a-x1"])
    entries = [
        layout.decode(AuditEntry, entry, layout.AUDIT)
        for name in tree.children(layout.AUDIT).names  # type: ignore[union-attr]
        if (entry := tree.get(f"{layout.AUDIT}/{name}"))
    ]
    assert [(one.verb, one.target, one.why) for one in entries] == [
        ("schedule pause", "a", "incident"),
        ("schedule resume", "a", "over"),
        ("schedule trigger", "b", "once"),
    ]


@SETTLED
def test_a_pause_without_an_answer_is_found_out(ground: Ground, became: LostAnswer) -> None:
    tree = ground.open()
    new(tree, "a")
    ground.lose_answer(tree, became)
    done = person(tree).pause("a", "incident")
    assert done.paused is not None
    assert read_schedules(ground.open())["a"].record.paused == done.paused


def test_what_is_not_there_or_in_another_state_is_refused(ground: Ground) -> None:
    tree = ground.open()
    tree.ensure(layout.SCHEDULES)
    with pytest.raises(ScheduleUnknown):
        person(tree).pause("a", "x")
    new(tree, "a")
    with pytest.raises(RefusedByState):
        person(tree).resume("a", "x")
    write_schedules(
        tree, [Change("a", record("a").model_copy(update={"retired_at": NOW}), read_schedules(tree)["a"].version)]
    )
    with pytest.raises(RefusedByState):
        person(tree).trigger("a", PendingFiring(task_id="a-x1", nominal=None, due=NOW, body="{}"), "x")


def test_a_task_of_which_nothing_is_there_is_open_until_its_time_is_over(ground: Ground) -> None:
    tree = ground.open()
    task = FiredTask(
        task_id="a-1", nominal=NOW, due=NOW, sent_at=NOW, sha256="0" * 64, not_after=NOW + timedelta(hours=1)
    )
    assert ended_tasks(tree, [task], NOW + timedelta(hours=1)) == {}
    assert ended_tasks(tree, [task], NOW + timedelta(hours=2))["a-1"].verdict is Verdict.UNKNOWN


def test_agents_and_readers_may_look_and_change_nothing(ground: Ground) -> None:
    """Where there are identities; elsewhere everybody is control."""
    control = ground.open()
    new(control, "a")
    for role in (Role.AGENT, Role.READER):
        tree = ground.open(role)
        assert set(read_schedules(tree)) == {"a"}
        if getattr(ground, "secured", False):
            with pytest.raises(NotPermitted):
                person(tree).pause("a", "x")
            assert read_schedules(control)["a"].record.paused is None
