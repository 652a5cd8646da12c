"""SUBMIT promises that what can be known now is said now, in the queue's own words, and that repeats are harmless."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from taskerman import control
from taskerman.control.values import Submitted
from taskerman.errors import (
    ActionArgsInvalid,
    ActionUnknown,
    ClusterEmpty,
    CoordinationUnavailable,
    DiscoveryFailed,
    DocumentFieldInvalid,
    DocumentIdInvalid,
    DocumentNotJson,
    DocumentTooLarge,
    DocumentVersionUnsupported,
    NodeUnknown,
    NotFound,
    TaskEnded,
    TaskermanError,
    TaskExists,
)
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from tests.support.fleet import CLUSTER, Fleet, document


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


def submit(fleet: Fleet, text: str | bytes, *, unchecked: bool = False) -> Submitted:
    return control.submit(fleet.desk, control.prepare(text), unchecked=unchecked)


def sent(fleet: Fleet) -> tuple[str, ...]:
    return fleet.queues.bodies(fleet.names.tasks)


def test_a_document_is_sent_as_it_is_and_its_size_is_told(fleet: Fleet) -> None:
    done = submit(fleet, document(params={"lease_args": {"concurrency": "50%"}}, limit=4))
    assert (done.task_id, done.nodes, done.cap) == ("t-1", 4, 3)
    assert json.loads(sent(fleet)[0]) == json.loads(document(params={"lease_args": {"concurrency": "50%"}}, limit=4))


def test_an_id_is_drawn_before_it_is_sent_so_that_sending_twice_is_one_task(fleet: Fleet) -> None:
    prepared = control.prepare(document(None))
    first = control.submit(fleet.desk, prepared)
    again = control.submit(fleet.desk, prepared)
    assert first.task_id == again.task_id
    assert json.loads(sent(fleet)[0])["task_id"] == first.task_id
    fleet.route()
    assert fleet.plan(first.task_id).hash == first.hash


BAD = [
    ("not json", "{", DocumentNotJson),
    ("a duplicate key", '{"version": 1.2, "version": 1.2}', DocumentNotJson),
    ("not UTF-8", b"\xff", DocumentNotJson),
    ("65 KiB", document(x="y" * 65 * 1024), DocumentTooLarge),
    ("1 MiB", document(x="y" * 1024 * 1024), DocumentTooLarge),
    ("another version", document(version=2.0), DocumentVersionUnsupported),
    ("an unknown field", document(bogus=1), DocumentFieldInvalid),
    ("a wrong type", document(limit="two"), DocumentFieldInvalid),
    ("an unsafe id", document("a/b"), DocumentIdInvalid),
    ("an unknown action", document(action="nosuch_task:restart"), ActionUnknown),
    ("wrong arguments", document(params={"action_args": {"force": "yes"}}), ActionArgsInvalid),
    ("an empty cluster", document(cluster_name="demo:none"), ClusterEmpty),
    ("an unknown node", document(nodes=["i-99"]), NodeUnknown),
    ("a deadline that has passed", document(not_after="2020-01-01T00:00:00Z"), TaskEnded),
]


@pytest.mark.parametrize(("text", "error"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_what_a_router_would_refuse_is_refused_at_once_and_nothing_is_sent(
    fleet: Fleet, text: str | bytes, error: type[TaskermanError]
) -> None:
    with pytest.raises(error) as caught:
        submit(fleet, text)
    assert type(caught.value) is error
    assert caught.value.next_step
    assert sent(fleet) == ()


@pytest.mark.parametrize("text", [bad[1] for bad in BAD if isinstance(bad[1], str)], ids=lambda text: text[:20])
def test_the_queue_gives_the_same_words_as_a_dead_letter(fleet: Fleet, text: str) -> None:
    """Only a document without an id differs: on the wire it is an error, here one is drawn."""
    with pytest.raises(TaskermanError) as caught:
        submit(fleet, text)
    if len(text) >= 256 * 1024:
        return  # no message can carry it
    fleet.queues.send(fleet.names.tasks, text)
    fleet.route()
    (letter,) = control.list_letters(fleet.desk)
    assert letter.code == caught.value.code
    assert caught.value.what.split(" (")[0] in letter.reason


def test_a_registered_node_of_another_cluster_is_refused_by_submit_and_by_the_router(fleet: Fleet) -> None:
    """Where discovery can tell. Else its agent is asked, which rejects what is not of its cluster."""
    fleet.discovery.declare("demo:other", [Node(id="o-1")])
    fleet.agent("o-1")
    fleet.agent("i-77")
    foreign = document("t-1", nodes=["i-1", "o-1"])
    with pytest.raises(NodeUnknown, match="o-1, which is of demo:other and not of demo:web"):
        submit(fleet, foreign)
    fleet.queues.send(fleet.names.tasks, foreign)
    fleet.route()
    (letter,) = control.list_letters(fleet.desk)
    assert "o-1, which is of demo:other" in letter.reason
    submit(fleet, document("t-2", nodes=["i-1", "i-77"]))
    fleet.route()
    assert {node.source for node in fleet.plan("t-2").nodes} == {"ec2", "given"}


def test_another_document_under_the_same_id_is_refused_loudly(fleet: Fleet) -> None:
    fleet.send("t-1")
    with pytest.raises(TaskExists, match="other content"):
        submit(fleet, document("t-1", limit=2))
    assert sent(fleet) == ()


def test_the_same_document_again_is_sent_again_even_when_the_cluster_is_not_what_it_was(fleet: Fleet) -> None:
    """Its plan stands; the routers only ring again those that have not ended."""
    fleet.send("t-1")
    fleet.discovery.declare(CLUSTER, [])
    assert submit(fleet, document("t-1")).planned_before
    assert len(sent(fleet)) == 1


def test_a_discovery_that_fails_is_not_an_empty_cluster(fleet: Fleet) -> None:
    fleet.discovery.fail()
    with pytest.raises(DiscoveryFailed):
        submit(fleet, document())


def test_unchecked_needs_nothing_but_the_queue(fleet: Fleet) -> None:
    fleet.discovery.fail()
    fleet.tree.close()
    done = submit(fleet, document(action="newer_task:restart"), unchecked=True)
    assert done.nodes is None
    assert len(sent(fleet)) == 1


def test_unchecked_still_refuses_what_is_not_a_document(fleet: Fleet) -> None:
    with pytest.raises(DocumentFieldInvalid):
        submit(fleet, document(bogus=1), unchecked=True)


def test_characters_that_a_message_cannot_carry_travel_escaped_under_the_same_hash(fleet: Fleet) -> None:
    prepared = control.prepare(document(params={"action_args": {"note": "\uffff\u0001 é"}}))
    fleet.queues.send(fleet.names.tasks, prepared.body)
    assert control.prepare(sent(fleet)[0]).hash == prepared.hash


def test_without_a_queue_the_next_step_is_to_create_it() -> None:
    bare = Fleet()
    with pytest.raises(NotFound, match="taskerman init"):
        submit(bare, document(), unchecked=True)


# --- --dry-run -------------------------------------------------------------------------------------------


def test_a_preview_names_the_nodes_in_order_the_cap_and_what_holds_each_and_sends_nothing(fleet: Fleet) -> None:
    seen = control.preview(fleet.desk, control.prepare(document(params={"lease_args": {"concurrency": 2}}, limit=3)))
    assert (seen.cap, seen.discovered) == (2, 6)
    assert [node.node for node in seen.nodes] == ["i-1", "i-2", "i-3"]
    assert [node.reason for node in seen.nodes] == [None, "place", "place"]
    assert sent(fleet) == ()


def test_a_preview_sees_the_first_hold_of_a_cluster_that_was_never_worked_on(fleet: Fleet) -> None:
    control.hold(fleet.desk, "*", "freeze")
    seen = control.preview(fleet.desk, control.prepare(document()))
    assert {node.reason for node in seen.nodes} == {"hold"}
    assert "freeze" in seen.nodes[0].text


def test_a_preview_sees_older_tasks_and_busy_nodes(fleet: Fleet) -> None:
    fleet.send("t-old")
    fleet.take("t-old", "i-1")
    fleet.join("t-old", "i-2")
    seen = control.preview(fleet.desk, control.prepare(document("t-new")))
    assert [node.reason for node in seen.nodes[:2]] == ["node_busy", "older_task"]
    assert "t-old" in seen.nodes[1].text


def test_a_preview_is_the_answer_that_the_first_node_gets_once_the_task_is_there(fleet: Fleet) -> None:
    """One function answers both, so they agree on what they both know."""
    fleet.send("t-old", params={"failure_args": {"max_failures": 0}})
    fleet.do("t-old", "i-2", Outcome.UNSAFE, "port closed")
    before = control.preview(fleet.desk, control.prepare(document("t-new"))).nodes[0]
    fleet.send("t-new")
    after = control.explain(fleet.desk, "t-new", "i-1").nodes[0]
    assert (before.reason, before.text) == (after.reason, after.text) == ("kept_slot", before.text)


# --- --wait ----------------------------------------------------------------------------------------------


def test_following_tells_each_change_and_ends_when_every_node_has_ended(fleet: Fleet) -> None:
    script = iter(
        [
            fleet.route,
            lambda: fleet.do("t-1", "i-1", Outcome.SUCCEEDED),
            lambda: None,
            lambda: fleet.do("t-1", "i-2", Outcome.SKIPPED),
        ]
    )
    prepared = control.prepare(document(limit=2))
    control.submit(fleet.desk, prepared)
    seen = list(control.follow(fleet.desk, "t-1", pause=lambda s: next(script)()))
    assert seen[0] is None
    assert [status.counts for status in seen[1:] if status] == [
        {"planned": 2},
        {"planned": 1, "succeeded": 1},
        {"succeeded": 1, "skipped": 1},
    ]
    assert seen[-1] is not None
    assert seen[-1].verdict.exit_code == 0


def last_verdict(fleet: Fleet, patience: float = 0) -> int:
    seen = list(control.follow(fleet.desk, "t-1", patience=timedelta(seconds=patience), pause=fleet.clock.advance))
    assert seen[-1] is not None
    return seen[-1].verdict.exit_code


def test_a_task_with_a_failed_node_that_has_ended_is_10(fleet: Fleet) -> None:
    fleet.send(limit=1)
    fleet.do("t-1", "i-1", Outcome.FAILED, "no", retry=False)
    assert last_verdict(fleet) == 10


def test_a_halted_task_is_11_and_only_when_nobody_acts_any_more(fleet: Fleet) -> None:
    fleet.send(params={"lease_args": {"concurrency": 2}})
    fleet.take("t-1", "i-1")
    fleet.take("t-1", "i-2")
    fleet.end("t-1", "i-1", Outcome.FAILED, "no", retry=False)
    assert last_verdict(fleet) == 13
    fleet.end("t-1", "i-2", Outcome.SUCCEEDED)
    assert last_verdict(fleet) == 11


def test_a_cancelled_or_expired_task_is_12(fleet: Fleet) -> None:
    fleet.send(limit=1)
    control.cancel(fleet.desk, "t-1", "not today")
    assert last_verdict(fleet) == 12
    late = Fleet()
    late.install()
    late.send(limit=1)
    late.clock.advance(timedelta(days=8))
    late.expire("t-1", "i-1")
    assert last_verdict(late) == 12


def test_a_wait_that_ran_out_is_13(fleet: Fleet) -> None:
    fleet.send()
    assert last_verdict(fleet, patience=5) == 13


def follow_until_it_is_told(fleet: Fleet, sent: Submitted) -> None:
    list(control.follow(fleet.desk, sent.task_id, sent=sent, patience=timedelta(seconds=9), pause=fleet.clock.advance))


def test_following_raises_what_the_routers_refused_the_document_for(fleet: Fleet) -> None:
    sent = submit(fleet, document(cluster_name="demo:none"), unchecked=True)
    fleet.route()
    with pytest.raises(ClusterEmpty, match=r"t-1 was refused.*no running node"):
        follow_until_it_is_told(fleet, sent)


def test_a_refusal_of_the_same_bytes_long_ago_says_nothing_until_they_were_judged_again(fleet: Fleet) -> None:
    text = document(cluster_name="demo:none")
    submit(fleet, text, unchecked=True)
    fleet.route()
    fleet.clock.advance(60)
    sent = submit(fleet, text, unchecked=True)
    follow_until_it_is_told(fleet, sent)
    fleet.route()
    with pytest.raises(ClusterEmpty):
        follow_until_it_is_told(fleet, sent)


def test_a_refusal_of_other_bytes_under_the_same_id_says_nothing(fleet: Fleet) -> None:
    submit(fleet, document(cluster_name="demo:none"), unchecked=True)
    fleet.route()
    fleet.clock.advance(60)
    follow_until_it_is_told(fleet, submit(fleet, document(limit=1)))


def test_following_waits_out_an_outage_within_its_patience(fleet: Fleet) -> None:
    fleet.send(limit=1)
    looks = control.follow(fleet.desk, "t-1", patience=timedelta(seconds=60), pause=fleet.clock.advance)
    assert next(looks) is not None
    fleet.server.cut(fleet.tree)
    with pytest.raises(CoordinationUnavailable):
        next(looks)
    assert fleet.clock.monotonic() >= 1060
    fleet.server.heal(fleet.tree)
    assert last_verdict(fleet) == 13
