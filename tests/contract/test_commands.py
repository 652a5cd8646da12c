"""Commands under a slot, in memory and on a real ZooKeeper: never more at once than each of them was promised."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.commands import CommandMoves, Ending, Ready, Shut, ShutBy, Wish
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.overview import named_scopes, slots
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import (
    AnswerUnknown,
    CoordinationUnavailable,
    GroupUnknown,
    NotPermitted,
    RefusedByState,
    ScopeUnknown,
)
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandHow, CommandRecord
from taskerman.model.rights import Role
from taskerman.ports.tree import Tree
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, SETTLED
from tests.support.commands import END, NOW, found_installation, record_of, wish
from tests.support.tree_ground import Ground, ground

__all__ = ["ground"]


def person(tree: Tree) -> OperatorMoves:
    return OperatorMoves(tree, "ada@laptop", lambda: NOW)


@pytest.fixture
def control(ground: Ground) -> Tree:
    tree = ground.open()
    found_installation(tree)
    return tree


def moves_of(tree: Tree) -> CommandMoves:
    moves = CommandMoves(tree)
    moves.prepare()
    return moves


def host(ground: Ground) -> CommandMoves:
    """A host, which comes as agents do where there are identities."""
    return moves_of(ground.open(Role.AGENT))


def looked(moves: CommandMoves, one: Wish, **how: bool) -> Ready | Shut:
    for _ in range(20):
        found = moves.look(one, **how)  # type: ignore[arg-type]
        if found is not None:
            return found
    raise AssertionError("it moves all the time")


def ready(moves: CommandMoves, one: Wish) -> Ready:
    found = looked(moves, one)
    assert isinstance(found, Ready), found
    return found


def enters(moves: CommandMoves, one: Wish) -> Wish:
    assert moves.take(ready(moves, one), record_of(one))
    return one


def shut(moves: CommandMoves, one: Wish, **how: bool) -> Shut:
    found = looked(moves, one, **how)
    assert isinstance(found, Shut), found
    return found


def test_a_command_is_alone_in_a_scope_that_nobody_declared_until_it_has_ended(ground: Ground, control: Tree) -> None:
    first, second = host(ground), host(ground)
    there = enters(first, wish("web-1"))
    found = shut(second, wish("web-2"))
    assert found.by is ShutBy.FULL
    for word in (there.holder, "2026-01-31T12:00:00Z", "backup.sh --all", "1 of 1 place in scope backup is taken"):
        assert word in found.text
    assert first.end(there.holder, END) is Ending.DONE
    enters(second, wish("web-2"))


def test_every_promise_there_binds_and_so_does_a_declared_capacity(ground: Ground, control: Tree) -> None:
    one, two = host(ground), host(ground)
    enters(one, wish("a", promise=3))
    enters(two, wish("b", promise=2))
    assert shut(one, wish("c", promise=3)).by is ShutBy.FULL, "b promised two"
    person(control).set_capacity("wire", 1, "thin")
    other = host(ground)
    enters(other, wish("a", "wire", promise=3))
    assert shut(other, wish("b", "wire", promise=3)).by is ShutBy.FULL, "one was declared"
    person(control).set_capacity("none", 0, "closed")
    assert "nothing starts in it" in shut(host(ground), wish("a", "none")).text


def test_of_two_that_have_seen_the_last_place_one_takes(ground: Ground, control: Tree) -> None:
    one, two = host(ground), host(ground)
    a, b = wish("a"), wish("b")
    seen_a, seen_b = ready(one, a), ready(two, b)
    assert two.take(seen_b, record_of(b))
    assert not one.take(seen_a, record_of(a))
    assert [held.slot.node for held in slots(control)] == [b.holder]


def test_a_capacity_that_is_lowered_while_somebody_takes_binds_it(ground: Ground, control: Tree) -> None:
    person(control).set_capacity("backup", 1, "x")
    moves, one = host(ground), wish()
    seen = ready(moves, one)
    person(control).set_capacity("backup", 0, "closed")
    assert not moves.take(seen, record_of(one))


def test_a_hold_on_everything_stops_what_has_looked_already_and_is_named(ground: Ground, control: Tree) -> None:
    moves, one = host(ground), wish()
    seen = ready(moves, one)
    person(control).hold("*", "incident 7")
    assert not moves.take(seen, record_of(one))
    found = shut(moves, one)
    assert found.by is ShutBy.STOPPED
    assert "incident 7" in found.text
    assert "ada@laptop" in found.text


def test_other_holds_stop_no_command(ground: Ground, control: Tree) -> None:
    person(control).hold("owner:dba", "theirs")
    enters(host(ground), wish())


def test_a_group_lets_in_its_hosts_alone_and_a_change_stops_what_has_looked(ground: Ground, control: Tree) -> None:
    moves = host(ground)
    with pytest.raises(GroupUnknown):
        moves.look(wish("a", group="nightly"))
    assert person(control).set_group("nightly", ["b", "a"], "new") is None
    with pytest.raises(NotPermitted):
        moves.look(wish("c", group="nightly"))
    one = wish("a", group="nightly")
    seen = ready(moves, one)
    before = person(control).set_group("nightly", ["b"], "a is drained")
    assert before is not None
    assert before.hosts == ("a", "b")
    assert not moves.take(seen, record_of(one))
    with pytest.raises(NotPermitted):
        moves.look(one)


@EVERY_LOSS
def test_a_take_without_an_answer_is_found_out_and_never_comes_later(
    ground: Ground, control: Tree, became: LostAnswer
) -> None:
    """Whatever `settle` says is so for ever: after a no the scope is free for others, and stays so."""
    tree = ground.open(Role.AGENT)
    moves, other = moves_of(tree), host(ground)
    one = wish("a")
    seen = ready(moves, one)
    ground.lose_answer(tree, became)
    with pytest.raises(AnswerUnknown):
        moves.take(seen, record_of(one))
    # While the late one is on its way its own client is cut off, so another one asks in its stead.
    happened = (other if became is LostAnswer.LATE else moves).settle(seen)
    if became is LostAnswer.LATE:
        ground.deliver_late(tree)
    assert happened is (became is LostAnswer.APPLIED)
    assert [held.slot.node for held in slots(control)] == ([one.holder] if happened else [])
    if not happened:
        enters(other, wish("b"))


@SETTLED
def test_settling_without_an_answer_may_be_repeated(ground: Ground, control: Tree, became: LostAnswer) -> None:
    tree = ground.open(Role.AGENT)
    moves, one = moves_of(tree), wish("a")
    seen = ready(moves, one)
    ground.lose_answer(tree, LostAnswer.APPLIED)
    with pytest.raises(AnswerUnknown):
        moves.take(seen, record_of(one))
    ground.lose_answer(tree, became)
    with pytest.raises(AnswerUnknown):
        moves.settle(seen)
    assert moves.settle(seen)


@SETTLED
def test_an_end_without_an_answer_may_be_repeated_and_happens_once(
    ground: Ground, control: Tree, became: LostAnswer
) -> None:
    tree = ground.open(Role.AGENT)
    moves = moves_of(tree)
    one = enters(moves, wish())
    ground.lose_answer(tree, became)
    with pytest.raises(AnswerUnknown):
        moves.end(one.holder, END)
    assert moves.end(one.holder, END) is Ending.DONE
    assert slots(control) == []
    later = END.model_copy(update={"at": NOW + timedelta(hours=1), "exit": 1})
    assert moves.end(one.holder, later) is Ending.ALREADY, "what was recorded first stays"
    assert moves.end("never-x22222222", END) is Ending.GONE


def test_a_host_finds_its_own_commands_without_an_end_and_nobody_elses(ground: Ground, control: Tree) -> None:
    moves = host(ground)
    a = enters(moves, wish("a", promise=9))
    enters(moves, wish("a-x", promise=9))
    over = enters(moves, wish("a", promise=9))
    moves.end(over.holder, END)
    b = enters(moves, wish("a", "other"))
    assert {one.record.holder for one in moves.running("a")} == {a.holder, b.holder}
    assert [one.record.holder for one in moves.running("a", "backup")] == [a.holder]


def test_who_waits_goes_first_come_first_and_who_does_not_wait_passes_nobody(ground: Ground, control: Tree) -> None:
    trees = [ground.open(Role.AGENT) for _ in range(3)]
    first, second, hasty = map(moves_of, trees)
    there = enters(hasty, wish("z"))
    a, b = wish("a"), wish("b")
    first.queue_up(a)
    first.queue_up(a)
    second.queue_up(b)
    listing = control.children(layout.command_waits("backup"))
    assert listing is not None
    assert len(listing.names) == 2
    assert shut(first, a, place=True).by is ShutBy.FULL
    hasty.end(there.holder, END)
    assert shut(second, b, place=True).by is ShutBy.TURN
    assert a.holder in shut(hasty, wish("c")).text
    assert isinstance(looked(first, a, place=True), Ready)
    trees[0].close()
    assert isinstance(looked(second, b, place=True), Ready), "a place goes with its session"


def test_a_person_frees_the_slot_of_a_machine_that_is_off_audited(ground: Ground, control: Tree) -> None:
    moves = host(ground)
    one = enters(moves, wish())
    with pytest.raises(RefusedByState, match="is a command"):
        person(control).release(one.holder, "x")
    done = person(control).node_is_off(one.holder, "burnt")
    assert [path.split("/")[2] for path in done.freed] == ["backup"]
    assert slots(control) == []
    found = control.get(layout.command(one.holder))
    assert found is not None
    end = layout.decode(CommandRecord, found, "x").end
    assert end is not None
    assert (end.how, end.exit) == (CommandHow.RELEASED, None)
    assert moves.end(one.holder, END) is Ending.ALREADY
    with pytest.raises(RefusedByState, match="has ended"):
        person(control).node_is_off(one.holder, "again")
    (entry,) = [
        layout.decode(AuditEntry, record, "x")
        for name in control.children(layout.AUDIT).names  # type: ignore[union-attr]
        if (record := control.get(f"{layout.AUDIT}/{name}")) and one.holder in record.data.decode()
    ]
    assert (entry.verb, entry.why) == ("release --node-is-off", "burnt")


def test_a_scope_is_not_declared_by_a_command_and_is_shown_while_one_is_in_it(ground: Ground, control: Tree) -> None:
    moves = host(ground)
    one = enters(moves, wish())
    assert [(seen.name, seen.capacity) for seen in named_scopes(control)] == [("backup", None)]
    with pytest.raises(ScopeUnknown):
        RouterMoves(control).check_scope(_task_in("backup"))
    assert person(control).set_capacity("backup", 4, "now it is") is None
    RouterMoves(control).check_scope(_task_in("backup"))
    assert shut(moves, wish("b", promise=4)).by is ShutBy.FULL, "declared or not, a promise binds"
    moves.end(one.holder, END)
    assert [(seen.name, seen.capacity) for seen in named_scopes(control)] == [("backup", 4)]


def _task_in(scope: str):
    from taskerman.model.task import TaskDocument  # noqa: PLC0415

    return TaskDocument.model_validate_json(
        '{"action": "demo_task:restart", "version": 1.0, "cluster_name": "demo:web", "owner": "ada", "task_id": "t-1",'
        f'"taskerman_params": {{"lease_args": {{"scope": "{scope}"}}}}}}'
    )


def test_while_it_cannot_be_asked_nobody_claims_to_know(ground: Ground, control: Tree) -> None:
    tree = ground.open(Role.AGENT)
    moves, one = moves_of(tree), wish()
    seen = ready(moves, one)
    ground.cut(tree)
    with pytest.raises(CoordinationUnavailable):
        moves.take(seen, record_of(one))
    with pytest.raises(CoordinationUnavailable):
        moves.settle(seen)
    ground.heal(tree)
    assert not moves.settle(seen)


def test_readers_may_look_and_begin_nothing(ground: Ground, control: Tree) -> None:
    """Where there are identities; elsewhere everybody is control."""
    agent = host(ground)
    agent.end(enters(agent, wish()).holder, END)
    one = wish()
    reader = CommandMoves(ground.open(Role.READER))
    seen = ready(reader, one)
    if getattr(ground, "secured", False):
        with pytest.raises(NotPermitted):
            reader.take(seen, record_of(one))
        with pytest.raises(NotPermitted):
            person(ground.open(Role.AGENT)).set_group("nightly", ["a"], "not mine to say")
    enters(agent, wish("b"))
