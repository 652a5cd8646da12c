"""The router: whatever comes out of the global queue is planned or told of, once, and nothing else stops for it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import Bug, CoordinationUnavailable, Ec2Unavailable, NotPermitted, QueuesUnavailable
from taskerman.model.cluster import Node
from taskerman.model.event import Event
from taskerman.model.ids import QueueNames
from taskerman.model.plan import Plan
from taskerman.ports.tree import Create, Op, Set
from taskerman.router import Router, RouterLimits
from taskerman.testing.clock import ManualClock
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.queue_faults import FaultyQueues
from taskerman.testing.queues import MemoryQueues
from taskerman.testing.tree import LostAnswer, MemoryServer, MemoryTree
from tests.support.fleet import CLUSTER, ListedCatalog, document

NAMES = QueueNames("t")
NODES = tuple(Node(id=f"i-{k:03}", az="abc"[k % 3]) for k in range(6))


class TouchyCatalog(ListedCatalog):
    """A runner whose own validator breaks in a way that nobody foresaw."""

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        if "touch" in args:
            raise ZeroDivisionError("in a foreign validator")
        super().check_args(action, {})


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Rig:
    """Routers over the fakes; time stands still until a test moves it."""

    nodes: Sequence[Node] = NODES
    clock: ManualClock = field(default_factory=ManualClock)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = MemoryServer(now_ms=lambda: int(self.clock.now().timestamp() * 1000))
        self.memory = MemoryQueues(self.clock)
        self.queues = FaultyQueues(self.memory)
        self.discovery = MemoryDiscovery({CLUSTER: self.nodes})
        person = OperatorMoves(self.server.client(), "ada", self.clock.now)
        person.install("new")
        person.unhold("new-installation", "tests")
        for queue in (NAMES.tasks, NAMES.dead_letter):
            self.memory.ensure(queue)
        self.tree = self.server.client()
        self.router = self.another()

    def another(self, tree: MemoryTree | None = None, catalog: ListedCatalog | None = None) -> Router:
        return Router(
            RouterMoves(tree or self.tree),
            queues=self.queues,
            names=NAMES,
            discoveries={"aws_tags": self.discovery},
            catalog=catalog or TouchyCatalog(),
            clock=self.clock,
            emit=self.events.append,
            limits=RouterLimits(poll=timedelta()),
            throw=lambda: 0.5,
        )

    def send(self, body: str) -> None:
        self.memory.send(NAMES.tasks, body)

    def route(self, router: Router | None = None) -> None:
        while (router or self.router).turn():
            pass

    def until_quiet(self) -> None:
        """Let time pass until nothing lies in the global queue any more: what waits there is looked at again."""
        for _ in range(200):
            self.route()
            if not self.memory.bodies(NAMES.tasks):
                return
            self.clock.advance(60)
        raise AssertionError(f"still there: {self.memory.bodies(NAMES.tasks)}; {self.events[-3:]}")

    def rung(self) -> dict[str, int]:
        """How many doorbells lie in each node's queue."""
        found = {node.id: NAMES.node(node.id) for node in self.nodes}
        return {node: len(self.memory.bodies(q)) for node, q in found.items() if self.memory.exists(q)}

    def letters(self) -> list[dict[str, Any]]:
        """The announcements in the dead-letter queue."""
        return [json.loads(body) for body in self.memory.bodies(NAMES.dead_letter)]

    def plan(self, task: str) -> Plan:
        found = RouterMoves(self.server.client()).plan(task)
        assert isinstance(found, Plan)
        return found


@pytest.fixture
def rig() -> Rig:
    return Rig()


def raw(**changes: Any) -> str:
    body = json.loads(document("t-bad"))
    for key, value in changes.items():
        if value is ...:
            del body[key]
        else:
            body[key] = value
    return json.dumps(body)


BAD_INPUT: dict[str, tuple[str, str, str]] = {
    "an unknown field": (raw(colour="red"), "E-DOC-FIELD", "colour"),
    "a wrong type": (raw(limit="two"), "E-DOC-FIELD", "limit"),
    "an unknown action": (raw(action="nobody:restart"), "E-ACTION-UNKNOWN", "nobody:restart"),
    "an unsafe id": (raw(task_id="../t"), "E-DOC-ID", "task_id"),
    "an unsafe node": (raw(nodes=["i/1"]), "E-DOC-ID", "nodes"),
    "an empty cluster": (raw(cluster_name="demo:nobody"), "E-CLUSTER-EMPTY", "demo:nobody"),
    "an unknown node": (raw(nodes=["i-nobody"]), "E-NODE-UNKNOWN", "i-nobody"),
    "65 KiB": (raw(owner="o" * 65 * 1024), "E-DOC-SIZE", "65,536"),
    "nearly all that a message can hold": (raw(owner="o" * 250 * 1024), "E-DOC-SIZE", "65,536"),
    "not JSON": ("{hello", "E-DOC-JSON", "line 1"),
    "no object": ("[1]", "E-DOC-JSON", "list"),
    "not a number": (raw(limit=float("nan")), "E-DOC-JSON", "NaN"),
    "a duplicate key": ('{"task_id":"a","task_id":"b"}', "E-DOC-JSON", "task_id"),
    "no task_id": (raw(task_id=...), "E-DOC-ID", "task_id"),
    "another version": (raw(version=2), "E-DOC-VERSION", "2"),
    "no version": (raw(version=...), "E-DOC-VERSION", "version"),
    "too late": (raw(not_after="2025-01-01T00:00:00Z"), "E-TASK-ENDED", "not_after"),
    "a time that is none": (raw(not_after="9999-12-31T23:59:59-14:00"), "E-DOC-FIELD", "not_after"),
    "a time without a zone": (raw(not_after="2030-01-01T00:00:00"), "E-DOC-FIELD", "zone"),
    "a percentage of given nodes": (
        raw(nodes=["i-001"], taskerman_params={"lease_args": {"concurrency": "10%"}}),
        "E-DOC-FIELD",
        "percentage",
    ),
    "half a surrogate pair": (raw(owner="\ud800"), "E-DOC-FIELD", ""),
}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_is_recorded_and_announced_and_stops_nothing_else(what: str, rig: Rig) -> None:
    """Each is a dead letter that names the thing; the good documents before and behind it are routed."""
    body, code, names = BAD_INPUT[what]
    rig.send(document("t-before"))
    rig.send(body)
    rig.send(document("t-behind"))
    rig.route()
    assert rig.rung() == {node.id: 2 for node in NODES}
    assert rig.memory.bodies(NAMES.tasks) == ()
    [letter] = rig.letters()
    assert (letter["kind"], letter["code"]) == ("document", code)
    assert names in letter["reason"]
    assert letter["body_bytes"] == len(body.encode())
    [refused] = [path for path in rig.server.dump() if path.startswith("/refused/")]
    record = json.loads(rig.server.dump()[refused].data)
    assert record["dead_letter"] == "sent"
    assert record["reason"] == letter["reason"]
    assert refused.endswith(letter["key"])


def test_the_same_id_with_other_content_is_refused_and_the_first_goes_on(rig: Rig) -> None:
    """A task's document cannot be changed by sending another one under its id."""
    rig.send(document("t-1"))
    rig.route()
    first = rig.plan("t-1")
    rig.send(document("t-1", limit=1))
    rig.route()
    assert [letter["code"] for letter in rig.letters()] == ["E-TASK-EXISTS"]
    assert rig.plan("t-1") == first
    assert rig.rung() == {node.id: 1 for node in NODES}


def test_a_refused_message_that_comes_again_is_settled_in_silence(rig: Rig) -> None:
    """Its deletion failed: it is not announced twice, and not judged anew."""
    rig.send("{hello")
    rig.queues.faults.fail_acks = 3
    rig.until_quiet()
    assert len(rig.letters()) == 1


@pytest.mark.parametrize("skew", [timedelta(minutes=-5), timedelta(), timedelta(minutes=5)])
def test_a_refused_document_that_is_sent_anew_is_judged_anew(rig: Rig, skew: timedelta) -> None:
    """What was wrong may have been mended meanwhile, whatever the router's clock thinks of the queue's."""
    rig.discovery.declare(CLUSTER, ())
    rig.send(document("t-1"))
    rig.clock.jump(skew)
    rig.route()
    assert [letter["code"] for letter in rig.letters()] == ["E-CLUSTER-EMPTY"]
    rig.clock.jump(-skew)
    rig.discovery.declare(CLUSTER, NODES)
    rig.clock.advance(1)
    rig.send(document("t-1"))
    rig.clock.jump(skew)
    rig.until_quiet()
    assert rig.rung() == {node.id: 1 for node in NODES}
    assert len(rig.letters()) == 1


def test_a_planned_message_that_comes_again_rings_only_those_without_an_end(rig: Rig) -> None:
    """A redelivery never chooses again, and disturbs nobody who has ended."""
    rig.send(document("t-1"))
    rig.queues.faults.fail_acks = 1
    rig.route()
    plan = rig.plan("t-1")
    end = b'{"v":1,"outcome":"succeeded","attempt":"t-1.i-000.1","at":"2026-01-01T12:00:00Z"}'
    rig.server.client().commit([Create("/tasks/t-1/end/i-000", end)])
    rig.discovery.declare(CLUSTER, NODES[:2])
    rig.until_quiet()
    assert rig.plan("t-1") == plan
    assert rig.rung() == {node.id: 1 if node.id == "i-000" else 2 for node in NODES}


def test_discovery_that_fails_for_a_while_delays_and_no_more(rig: Rig) -> None:
    """An API error is not an empty cluster: the document waits in the queue, and others pass."""
    rig.discovery.fail("throttled")
    rig.send(document("t-1"))
    rig.route()
    assert rig.letters() == []
    assert len(rig.memory.bodies(NAMES.tasks)) == 1
    rig.discovery.recover()
    rig.until_quiet()
    assert rig.rung() == {node.id: 1 for node in NODES}


def test_discovery_that_fails_for_an_hour_is_told_of(rig: Rig) -> None:
    """After the patience it is a dead letter that says what discovery said; nothing is lost."""
    started = rig.clock.now()
    rig.discovery.fail("access denied")
    rig.send(document("t-1"))
    rig.until_quiet()
    [letter] = rig.letters()
    assert letter["code"] == "E-DISCOVERY"
    assert "access denied" in letter["reason"]
    assert rig.clock.now() - started >= timedelta(hours=1)
    assert rig.discovery.questions >= 5


def test_a_document_that_lay_there_for_hours_is_not_refused_for_one_failure(rig: Rig) -> None:
    """Nobody routed for a while; then discovery stumbles once."""
    rig.send(document("t-1"))
    rig.clock.advance(timedelta(hours=3))
    rig.discovery.fail("throttled")
    rig.route()
    assert rig.letters() == []
    rig.discovery.recover()
    rig.until_quiet()
    assert rig.rung() == {node.id: 1 for node in NODES}


@pytest.mark.parametrize(
    "error",
    [
        Ec2Unavailable("EC2 does not answer."),
        NotPermitted("This router may not write /tasks."),
        QueuesUnavailable("SQS does not answer."),
        RuntimeError("what nobody foresaw"),
    ],
)
def test_what_is_not_the_documents_fault_does_not_refuse_it(
    rig: Rig, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage, a missing right of the router, or a bug of ours: it waits, and is routed afterwards."""

    def fail(cluster: str) -> Sequence[Node]:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(rig.discovery, "nodes", fail)
        rig.send(document("t-1"))
        rig.send("{hello")
        rig.route()
    assert [letter["code"] for letter in rig.letters()] == ["E-DOC-JSON"]
    rig.until_quiet()
    assert rig.rung() == {node.id: 1 for node in NODES}


def test_a_foreign_validator_that_breaks_stops_no_router(rig: Rig) -> None:
    """Whatever it raises, the document stays and the next one is routed."""
    rig.send(document("t-1", params={"action_args": {"touch": True}}))
    rig.send(document("t-2"))
    rig.route()
    assert rig.rung() == {node.id: 1 for node in NODES}
    assert len(rig.memory.bodies(NAMES.tasks)) == 1
    assert any("ZeroDivisionError" in str(event.fields) for event in rig.events)


def test_a_missing_dead_letter_queue_is_made(rig: Rig) -> None:
    """It is announced all the same."""
    rig.memory.delete(NAMES.dead_letter)
    rig.send("{hello")
    rig.route()
    assert len(rig.letters()) == 1


def test_a_dead_letter_that_cannot_be_sent_is_owed_until_it_can(rig: Rig) -> None:
    """The record says that it is owed, the message stays, and there is one announcement in the end."""
    rig.queues.faults.fail_sends = 2
    rig.send("{hello")
    rig.route()
    assert rig.letters() == []
    assert len(rig.memory.bodies(NAMES.tasks)) == 1
    rig.until_quiet()
    assert len(rig.letters()) == 1


def test_200_nodes_are_rung_and_a_router_that_cannot_reach_some_rings_again() -> None:
    """One doorbell each; what was not accepted by the queues is repeated by the redelivery."""
    rig = Rig(nodes=tuple(Node(id=f"i-{k:03}", az="abc"[k % 3]) for k in range(200)))
    rig.queues.faults.fail_sends = 450
    rig.send(document("t-1"))
    rig.until_quiet()
    assert set(rig.rung()) == {node.id for node in rig.nodes}
    assert all(rig.rung().values())


def test_two_routers_at_once_agree_on_one_plan(rig: Rig) -> None:
    """Doubled messages, two routers, and a cluster that changes between them: the first plan is the plan."""
    other = rig.another(rig.server.client())
    rig.send(document("t-1"))
    rig.send(document("t-1"))

    def between(tree: MemoryTree, ops: Sequence[Op]) -> None:
        if tree is rig.tree and any(op.path == "/tasks/t-1" for op in ops):
            rig.server.before_commit = None
            rig.discovery.declare(CLUSTER, NODES[:3])
            other.turn()

    rig.server.before_commit = between
    first, second = rig.queues.receive(NAMES.tasks, wait=timedelta(), loan=timedelta(minutes=1), most=2)
    second.requeue()
    rig.router.route(first)
    rig.until_quiet()
    assert [node.id for node in rig.plan("t-1").nodes] == ["i-000", "i-001", "i-002"]
    assert rig.rung() == {"i-000": 2, "i-001": 2, "i-002": 2}
    assert rig.letters() == []


def _steps(rig: Rig, body: str) -> int:
    """How many steps towards the outside world routing `body` takes; each is one at which a router may die."""
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1

    _on_every_step(rig, step)
    rig.send(body)
    rig.route()
    return count


def _on_every_step(rig: Rig, step: Callable[[], None]) -> None:
    rig.server.before_commit = lambda tree, ops: step()
    inner = rig.queues._inner

    class Stepping:
        def __getattr__(self, name: str) -> Any:
            found = getattr(inner, name)
            if name not in ("send", "send_each", "ensure"):
                return found

            def stepped(*args: Any, **kwargs: Any) -> Any:
                step()
                answer = found(*args, **kwargs)
                step()
                return answer

            return stepped

    rig.queues._inner = Stepping()


@pytest.mark.parametrize("body", [document("t-1"), "{hello"], ids=["planned", "refused"])
def test_a_router_that_dies_at_any_step_is_repeated_with_the_same_result(body: str) -> None:
    """Before and after every write: the next router ends with one plan, every node rung, or one dead letter."""
    steps = _steps(Rig(), body)
    assert steps >= 4
    for at in range(1, steps + 1):
        rig = Rig()
        left = at

        def step() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash

        _on_every_step(rig, step)
        rig.send(body)
        with pytest.raises(Crash):
            rig.route()
        before = {path: r.data for path, r in rig.server.dump().items() if path == "/tasks/t-1"}
        rig.discovery.declare(CLUSTER, NODES if not before else NODES[:1])
        rig.router = rig.another(rig.server.client())
        rig.clock.advance(timedelta(minutes=16))
        rig.until_quiet()
        if body == "{hello":
            assert {letter["key"] for letter in rig.letters()} == {rig.letters()[0]["key"]}, at
            assert len(rig.letters()) <= 2, at  # sent, and died before that was noted: the same key
            assert rig.rung() == {}
        else:
            assert [node.id for node in rig.plan("t-1").nodes] == sorted(
                (node.id for node in NODES), key=lambda n: ("abc"[int(n[2:]) % 3], n)
            )
            assert all(count >= 1 for count in rig.rung().values()), at
            assert len(rig.rung()) == 6, at
            assert rig.letters() == []


@pytest.mark.parametrize("became", list(LostAnswer))
def test_a_lost_answer_to_the_plan_changes_nothing(rig: Rig, became: LostAnswer) -> None:
    """Applied, never, or later: create-if-absent, and the same plan."""
    lost = [became]
    rig.server.faults = lambda tree, ops: lost.pop() if lost and any(op.path == "/tasks/t-1" for op in ops) else None
    rig.send(document("t-1"))
    rig.until_quiet()
    while rig.server.late:
        rig.server.deliver_late()
    assert len(rig.plan("t-1").nodes) == 6
    assert len([p for p in rig.server.dump() if p.startswith(f"/clusters/{CLUSTER}/open/")]) == 1
    assert all(rig.rung().values())


def test_without_zookeeper_documents_wait(rig: Rig) -> None:
    """It is an outage, and no more."""
    rig.send(document("t-1"))
    rig.server.cut()
    with pytest.raises(CoordinationUnavailable):
        rig.router.turn()
    [delivery] = rig.queues.receive(NAMES.tasks, wait=timedelta(), loan=timedelta(minutes=1))
    rig.router.route(delivery)
    assert rig.letters() == []
    rig.server.heal()
    rig.until_quiet()
    assert rig.rung() == {node.id: 1 for node in NODES}


def test_a_record_that_cannot_be_read_stops_the_sweep_and_not_the_router(rig: Rig) -> None:
    """Documents are routed on beside it."""
    rig.send(document("t-1"))
    rig.route()
    [entry] = [p for p in rig.server.dump() if p.startswith(f"/clusters/{CLUSTER}/open/")]
    rig.server.client().commit([Set(entry, b"{}", None)])
    rig.clock.advance(timedelta(minutes=2))
    rig.send(document("t-2"))
    rig.route()
    assert rig.rung() == {node.id: 2 for node in NODES}
    assert any(event.name == "sweep_failed" for event in rig.events)


def test_a_router_that_is_asked_to_stop_gives_back_what_it_has_not_begun(rig: Rig) -> None:
    """The next router finds it at once, and not after a quarter of an hour."""
    for k in range(3):
        rig.send(document(f"t-{k}"))
    ring = rig.queues.send_each

    def stop_then_ring(letters: Sequence[Any]) -> Sequence[Any]:
        rig.router.stop()
        return ring(letters)

    rig.queues.send_each = stop_then_ring  # type: ignore[method-assign]
    rig.router.turn()
    assert rig.memory.depth(NAMES.tasks).visible == 2


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("action", "version", "limit", "cluster_name", "owner", "task_id", "taskerman_params", "nodes", "not_after")


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON_VALUES, max_size=3),
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=2),
)
def test_every_document_is_planned_or_refused_whatever_is_in_it(changes: dict[str, Any], args: dict[str, Any]) -> None:
    """And a plan can be read again by an agent."""
    rig = Rig(nodes=NODES[:1])
    body = json.loads(document("t-1")) | {"taskerman_params": {"action_args": args}} | changes
    try:
        rig.send(json.dumps(body, ensure_ascii=random.Random(str(body)).random() < 0.5))
    except (Bug, UnicodeEncodeError):  # no message
        return
    rig.router = rig.another(catalog=_Anything())
    rig.route()
    assert rig.memory.bodies(NAMES.tasks) == (), rig.events[-1]
    if not rig.letters():
        plans = [p for p in rig.server.dump() if p.startswith("/tasks/") and p.count("/") == 2]
        assert len(plans) == 1
        assert rig.plan(plans[0].removeprefix("/tasks/")).task.action


class _Anything(ListedCatalog):
    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        """Accepts all."""
