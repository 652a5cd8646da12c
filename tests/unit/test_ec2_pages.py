"""EC2's pages, as no local cloud sends them: failing in the middle, going round, saying one instance twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import Ec2Discovery
from taskerman.errors import Bug, DiscoveryFailed
from taskerman.model.cluster import Node

WEB = "demo:web"
Answer = dict[str, Any] | Exception


@dataclass
class ScriptedEc2:
    """Answers in order, whatever is asked; remembers the questions."""

    answers: list[Answer]
    questions: list[dict[str, Any]] = field(default_factory=list)

    def describe_instances(self, **question: Any) -> dict[str, Any]:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, service: str, **_: object) -> ScriptedEc2:
        assert service == "ec2"
        return self


def instance(name: str, *, state: str = "running", cluster: str = WEB, **more: object) -> dict[str, Any]:
    return {
        "InstanceId": name,
        "State": {"Name": state},
        "Placement": {"AvailabilityZone": "eu-west-1a"},
        "PrivateIpAddress": "10.0.0.1",
        "Tags": [{"Key": "taskerman:cluster", "Value": cluster}, {"Key": "Name", "Value": "x"}],
        **more,
    }


def page(*instances: dict[str, Any], then: str | None = None) -> dict[str, Any]:
    """One reservation each; `then`: the token of the next page."""
    answer: dict[str, Any] = {"Reservations": [{"Instances": [one]} for one in instances]}
    return answer | ({"NextToken": then} if then is not None else {})


def failure(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeInstances")


def ask(
    *answers: Answer, patience: timedelta = timedelta(seconds=30)
) -> tuple[Callable[[], Sequence[Node]], ScriptedEc2]:
    script = ScriptedEc2(list(answers))
    discovery = Ec2Discovery(cast(Aws, script), patience=patience)
    return lambda: discovery.nodes(WEB), script


def ids(nodes: Sequence[Node]) -> list[str]:
    return [node.id for node in nodes]


def test_every_page_counts() -> None:
    nodes, script = ask(page(instance("i-1"), then="2"), page(then="3"), page(instance("i-2")))
    assert ids(nodes()) == ["i-1", "i-2"]
    assert [question.get("NextToken") for question in script.questions] == [None, "2", "3"]


@pytest.mark.parametrize(
    "error",
    [
        failure("RequestLimitExceeded", 503),
        failure("InternalError", 500),
        failure("UnauthorizedOperation", 403),
        failure("InvalidParameterValue", 400),
        EndpointConnectionError(endpoint_url="http://ec2"),
    ],
)
def test_a_page_that_fails_fails_the_whole_and_never_makes_a_smaller_cluster(error: Exception) -> None:
    nodes, _ = ask(page(instance("i-1"), then="2"), error, patience=timedelta())
    with pytest.raises(DiscoveryFailed, match=WEB):
        nodes()


def test_a_page_that_is_throttled_is_asked_again_and_no_other() -> None:
    throttled = failure("RequestLimitExceeded", 503)
    nodes, script = ask(page(instance("i-1"), then="2"), throttled, throttled, page(instance("i-2")))
    assert ids(nodes()) == ["i-1", "i-2"]
    assert [question.get("NextToken") for question in script.questions] == [None, "2", "2", "2"]


def test_a_missing_right_is_not_asked_for_again_and_names_itself() -> None:
    nodes, script = ask(failure("UnauthorizedOperation", 403))
    with pytest.raises(DiscoveryFailed, match="UnauthorizedOperation") as raised:
        nodes()
    assert "right" in raised.value.next_step
    assert len(script.questions) == 1


@pytest.mark.parametrize("answer", [{}, {"ResponseMetadata": {"HTTPStatusCode": 200}}])
def test_an_answer_without_a_list_is_not_an_empty_cluster(answer: dict[str, Any]) -> None:
    nodes, _ = ask(answer)
    with pytest.raises(DiscoveryFailed, match="no list"):
        nodes()


def test_pages_that_go_round_in_a_circle_are_an_error() -> None:
    nodes, _ = ask(page(instance("i-1"), then="2"), page(then="3"), page(then="2"))
    with pytest.raises(DiscoveryFailed, match="circle"):
        nodes()


def test_an_instance_on_two_pages_is_one_node() -> None:
    nodes, _ = ask(page(instance("i-1"), then="2"), page(instance("i-1"), instance("i-2")))
    assert ids(nodes()) == ["i-1", "i-2"]


@pytest.mark.parametrize("state", ["pending", "shutting-down", "terminated", "stopping", "stopped"])
def test_what_does_not_run_is_no_node_even_if_the_filter_let_it_pass(state: str) -> None:
    nodes, _ = ask(page(instance("i-1", state=state), instance("i-2")))
    assert ids(nodes()) == ["i-2"]


def test_an_instance_of_another_cluster_is_no_node_even_if_the_filter_let_it_pass() -> None:
    nodes, _ = ask(page(instance("i-1", cluster="demo:webserver"), instance("i-2")))
    assert ids(nodes()) == ["i-2"]


def test_an_instance_that_has_no_address_is_a_node_all_the_same() -> None:
    bare = instance("i-1")
    del bare["PrivateIpAddress"]
    nodes, _ = ask(page(bare))
    assert nodes() == (Node(id="i-1", az="eu-west-1a", address="", clusters=("demo:web",)),)


def test_an_id_that_cannot_be_a_node_is_an_error_that_names_it() -> None:
    nodes, _ = ask(page(instance("i 1/..")))
    with pytest.raises(DiscoveryFailed, match="i 1/"):
        nodes()


def test_a_cluster_without_a_name_is_never_asked_for() -> None:
    script = ScriptedEc2([])
    with pytest.raises(Bug, match="without a name"):
        Ec2Discovery(cast(Aws, script)).nodes("")
    assert not script.questions


def test_ids_are_asked_in_chunks_that_ec2_takes_by_a_filter_that_tolerates_unknown_ones() -> None:
    script = ScriptedEc2([page(instance("i-000")), page(), page(instance("i-440", cluster="demo:db"))])
    found = Ec2Discovery(cast(Aws, script)).known([f"i-{n:03}" for n in range(450)] + ["i-000"])
    assert ids(found) == ["i-000", "i-440"]
    asked = [next(f["Values"] for f in q["Filters"] if f["Name"] == "instance-id") for q in script.questions]
    assert [len(values) for values in asked] == [200, 200, 50]
    assert not any("InstanceIds" in question for question in script.questions)


def test_a_node_that_nobody_asked_for_is_not_known_even_if_the_filter_let_it_pass() -> None:
    script = ScriptedEc2([page(instance("i-1"), instance("i-2"))])
    assert ids(Ec2Discovery(cast(Aws, script)).known(["i-2"])) == ["i-2"]
