"""First faults, each on real processes, each with a witness: the log that the actions themselves write.

A fault is injected when a condition says that the moment has come, never after a pause.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from taskerman.agent.machine import boottime
from taskerman.testing.zookeeper_server import ZookeeperEnsemble, ZookeeperServer
from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.faults import sessions
from tests.acceptance.scripted_house import ScriptedHouse
from tests.support.aws import LocalCloud
from tests.support.sqs_proxy import SqsProxy, running_proxy
from tests.support.tcp_proxy import ZookeeperProxy

pytestmark = pytest.mark.timeout(240)

WELL = "succeeded"


@pytest.fixture
def sqs_proxy(local_cloud: LocalCloud) -> Iterator[SqsProxy]:
    """A wire to SQS with bad days on demand."""
    with running_proxy(local_cloud.url) as proxy:
        yield proxy


def first_of_two(open_house: OpenScriptedHouse, **behaviour: object) -> tuple[ScriptedHouse, str]:
    """Two nodes, one at a time; the first behaves so. Router and both agents run."""
    house = open_house(2)
    first = house.nodes[0]
    house.behave(first, **behaviour)
    house.start()
    return house, first


def all_well_once(house: ScriptedHouse, task: str) -> None:
    """Every node succeeded, acted once in one attempt, one at a time; nothing is held any more."""
    house.wait(task, dict.fromkeys(house.nodes, WELL))
    assert house.acted() == dict.fromkeys(house.nodes, 1)
    assert house.most_at_once() == 1
    assert {house.records.end(task, node)["attempts"] for node in house.nodes} == {1}
    assert house.records.slots() == ()


class TestAgentKilled:
    def test_before_the_action_the_next_agent_checks_again_and_acts_once(
        self, scripted_house: OpenScriptedHouse
    ) -> None:
        house, first = first_of_two(scripted_house, pre="hang")
        task = house.send(house.document("killed-before"))
        house.installation.until(lambda: house.did("pre", first), "the first is in its pre_check")
        house.agent(first).kill()
        assert house.acted() == {}
        assert house.records.slots() == (f"{first}~1~acting",), "a slot outlives its process"
        house.behave(first)
        adopter = house.start_agent(first)
        all_well_once(house, task)
        assert adopter.events("attempt_adopted")
        assert house.did("pre", first) == 2

    def test_in_the_action_it_goes_on_and_the_next_agent_takes_it_over(self, scripted_house: OpenScriptedHouse) -> None:
        house, first = first_of_two(scripted_house, action="until")
        task = house.send(house.document("killed-in"))
        house.installation.until(lambda: house.did("begin", first), "the first acts")
        house.agent(first).kill()
        adopter = house.start_agent(first)
        house.installation.until(lambda: adopter.events("attempt_adopted"), "it is taken over")
        assert house.acted() == {first: 1}, "nobody else begins"
        house.let_go(first)
        all_well_once(house, task)

    def test_in_the_action_that_ends_before_the_next_agent_comes(self, scripted_house: OpenScriptedHouse) -> None:
        """The result file tells how it ended; nobody is asked to guess."""
        house, first = first_of_two(scripted_house, action="until")
        task = house.send(house.document("killed-in-and-ended"))
        house.installation.until(lambda: house.did("begin", first), "the first acts")
        house.agent(first).kill()
        house.let_go(first)
        house.installation.until(lambda: house.did("end", first), "it ends without an agent")
        assert house.records.slots() == (f"{first}~1~acting",)
        assert house.acted() == {first: 1}, "nobody else begins while nobody knows how it ended"
        house.start_agent(first)
        all_well_once(house, task)
        assert house.did("recover") == 0

    def test_after_the_action_the_next_agent_looks_whether_the_node_is_well(
        self, scripted_house: OpenScriptedHouse
    ) -> None:
        house, first = first_of_two(scripted_house, post="hang")
        task = house.send(house.document("killed-after"))
        house.installation.until(lambda: house.did("post", first), "the first is in its post_check")
        house.agent(first).kill()
        house.behave(first)
        house.start_agent(first)
        all_well_once(house, task)
        assert house.did("post", first) == 2

    def test_with_its_action_it_is_asked_and_not_guessed(self, scripted_house: OpenScriptedHouse) -> None:
        """Agent and action are both gone, without a result: recover() does not know; so it is lost, not repeated."""
        house, first = first_of_two(scripted_house, action="until")
        task = house.send(house.document("killed-with-its-action"))
        house.installation.until(lambda: house.did("begin", first), "the first acts")
        house.agent(first).kill()
        house.kill_action(first)
        house.start_agent(first)
        house.installation.until(lambda: house.records.state(task) == "halted", "it stops by itself")
        assert house.records.outcomes(task) == {first: "lost"}
        assert house.did("recover", first) == 1
        assert house.acted() == {first: 1}
        assert house.records.slots() == (), "the node was found well, so its slot is free; the task waits for a person"


class TestAgentFrozen:
    def test_in_the_action_past_its_session_nobody_else_begins_and_nothing_is_done_twice(
        self, scripted_house: OpenScriptedHouse, zookeeper: ZookeeperServer
    ) -> None:
        house = scripted_house(2)
        first, other = house.nodes
        house.behave(first, action="until")
        house.installation.start_router()
        before = sessions(zookeeper.port)
        agent = house.start_agent(first, TASKERMAN_ZOOKEEPER_SESSION_S="2")
        house.installation.until(lambda: agent.events("agent_ready"), "the first is connected")
        its_own = sessions(zookeeper.port) - before
        house.start_agent(other)
        task = house.send(house.document("frozen-in"))
        house.installation.until(lambda: house.did("begin", first), "the first acts")
        agent.freeze()
        gone = house.installation.until(lambda: its_own - sessions(zookeeper.port), "its session ends")
        assert gone
        house.let_go(first)
        house.installation.until(lambda: house.did("end", first), "the action ends while its agent stands still")
        assert house.acted() == {first: 1}
        assert house.records.slots() == (f"{first}~1~acting",)
        agent.thaw()
        all_well_once(house, task)
        assert agent.exit_code is None

    def test_before_the_action_and_given_up_by_a_person_it_wakes_up_and_does_not_act(
        self, scripted_house: OpenScriptedHouse
    ) -> None:
        """Frozen between its check and its action; a person says that the machine is off; the others go on. It wakes
        up with a "go" in its hand, and finds that it is not its turn any more."""
        house, first = first_of_two(scripted_house, pre="until")
        task = house.send(house.document("frozen-before"))
        house.installation.until(lambda: house.did("pre", first), "the first is in its pre_check")
        frozen_at = boottime()
        frozen = house.agent(first)
        frozen.freeze()
        house.installation.must("slots", "release", first, "--node-is-off", "--why", "believed to be off")
        house.installation.must("resume", task, "--why", "without it")
        others = house.nodes[1:]
        house.installation.until(lambda: set(house.records.ended(task)) >= set(others), "the others go on")
        house.let_go(first)
        house.installation.until(lambda: boottime() - frozen_at > 11, "longer than anybody may trust an old slot")
        frozen.may_end = True
        frozen.thaw()
        house.installation.until(lambda: frozen.exit_code is not None, "it stops by itself")
        assert house.acted() == dict.fromkeys(others, 1)
        assert house.records.outcomes(task) == {first: "lost", **dict.fromkeys(others, WELL)}


def test_router_killed_in_mid_fan_out(scripted_house: OpenScriptedHouse, sqs_proxy: SqsProxy) -> None:
    """Another router goes on with the same plan, although the cluster has grown: every node is rung, and acts once."""
    house = scripted_house(4)
    at = house.installation
    sqs_proxy.harm.only = frozenset({"SendMessage", "SendMessageBatch"})
    sqs_proxy.harm.stall_after = 2
    router = at.start_router(AWS_ENDPOINT_URL=sqs_proxy.url)
    at.until(lambda: router.events("router_started"), "a router")
    for node in house.nodes:
        house.start_agent(node)
    at.until(lambda: all(house.agent(node).events("agent_ready") for node in house.nodes), "the agents are ready")
    task = house.send(house.document("fan-out", concurrency=2), begin=False)
    at.until(lambda: sqs_proxy.harmed["stalled"] >= 2, "two are rung and two are not")
    plan = house.records.raw(f"/tasks/{task}")
    assert plan
    router.kill()
    sqs_proxy.harm.stall_after = None
    house.begin(task, 2)
    house.wait_for(task, ends=2)

    house.installation.cloud.start_nodes(at.cluster, 1)  # another node: a plan made anew would have it
    at.start_router()

    def ended() -> bool:
        at.cloud.end_loans(f"{at.prefix}-tasks")  # the dead router's, which would run out by themselves
        return len(house.records.ended(task)) == 4

    at.until(ended, "every node has ended")
    house.wait(task, dict.fromkeys(house.nodes, WELL))
    assert house.acted() == dict.fromkeys(house.nodes, 1)
    assert house.records.raw(f"/tasks/{task}") == plan
    assert house.most_at_once() <= 2


def test_every_message_delivered_twice(scripted_house: OpenScriptedHouse, sqs_proxy: SqsProxy) -> None:
    """Documents, doorbells and dead letters: each node acts once, each end is recorded once, no message is left."""
    sqs_proxy.harm.copies = 2
    house = scripted_house(3, sqs_url=sqs_proxy.url)
    at = house.installation
    last = house.nodes[-1]
    house.behave(last, post="refuse")
    house.start()
    task = house.send(house.document("twice"))
    house.wait(task, {**dict.fromkeys(house.nodes[:-1], WELL), last: "unsafe"})
    assert house.acted() == dict.fromkeys(house.nodes, 1)
    assert house.most_at_once() == 1
    at.until(lambda: house.records.end(task, last)["dead_letter"] == "sent", "the dead letter is announced")
    assert sqs_proxy.harmed["copied"] >= 5, "document, three doorbells, one announcement"
    assert [letter["node"] for letter in at.must("dlq", "list", "--json").json] == [last]
    queues = [f"{at.prefix}-tasks", *(f"{at.prefix}-node-{node}" for node in house.nodes)]
    at.until(lambda: not any(map(house.depth, queues)), "every copy is settled")


@pytest.mark.parametrize("move", ["TAKE", "END"])
@pytest.mark.parametrize("fate", ["applied", "never"])
def test_an_answer_of_a_transaction_lost(
    scripted_house: OpenScriptedHouse, zookeeper_proxy: ZookeeperProxy, move: str, fate: str
) -> None:
    """On the wire of the first node's agent: the server applied it and its reply is lost, or it never arrived."""
    house = scripted_house(2)
    first, other = house.nodes
    at = house.installation
    house.behave(first, action="until")
    at.start_router()
    house.start_agent(first, TASKERMAN_ZOOKEEPER_HOSTS=zookeeper_proxy.hosts)
    house.start_agent(other)
    trap_next = zookeeper_proxy.lose_next_reply if fate == "applied" else zookeeper_proxy.lose_next_request
    task = house.send(house.document("lost-answer"), begin=False)
    if move == "TAKE":
        at.until(lambda: len(house.records.line(task)) == 2, "both stand in line")
        trap = trap_next()
        house.begin(task, 2)
        trap.wait()
        at.until(lambda: house.did("begin", first), "it acts")
    else:
        house.begin(task, 2)
        at.until(lambda: house.did("begin", first), "it acts")
        trap = trap_next()
    house.let_go(first)
    trap.wait()
    all_well_once(house, task)


def test_zookeeper_without_a_quorum_during_an_action(
    scripted_house: OpenScriptedHouse, zookeeper_ensemble: ZookeeperEnsemble
) -> None:
    """The action is not harmed, nothing new starts, and the end is recorded when ZooKeeper is back."""
    house = scripted_house(2, records_hosts=zookeeper_ensemble.hosts)
    first = house.nodes[0]
    at = house.installation
    house.behave(first, action="until")
    house.start()
    task = house.send(house.document("no-quorum"))
    at.until(lambda: house.did("begin", first), "the first acts")
    for member in zookeeper_ensemble.members[:2]:
        member.kill()
    house.let_go(first)
    at.until(lambda: house.did("post", first), "the action ends, and the node is looked at")
    journal = at.folder / first / "state" / "journal.json"
    at.until(lambda: json.loads(journal.read_text())["end"] is not None, "its end is in the journal")
    assert house.acted() == {first: 1}
    for member in zookeeper_ensemble.members[:2]:
        member.start()
    all_well_once(house, task)
