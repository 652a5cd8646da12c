"""A machine is replaced only where a janitor will hold its slot until another one serves."""

from __future__ import annotations

from datetime import UTC, datetime

from taskerman.agent.holding import Held
from taskerman.agent.profile import Profile
from taskerman.agent.screening import Reject, Screen
from taskerman.model.base import content_hash
from taskerman.model.cluster import Node
from taskerman.model.plan import Plan
from taskerman.model.task import ActionTraits, TaskDocument
from taskerman.policy.routing import make_plan
from tests.support.installation import OneAction

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BODY = {
    "action": "demo_task:restart", "version": 1.2, "cluster_name": "demo:web", "owner": "gsi", "task_id": "t-1"
}  # fmt: skip


def judge(plan: Plan, *clusters: str) -> Reject | object | None:
    catalog = OneAction()
    catalog.traits_of = ActionTraits(replaces=True)
    profile = Profile(node="i-1", clusters=clusters, actions=("*",), runners={})
    held = Held(task="t-1", hash=plan.hash)
    return Screen(profile, catalog, frozenset()).judge(plan, held, 0.0)


def planned(*clusters: str, replaces: bool = True) -> Plan:
    document = TaskDocument.model_validate(BODY)
    nodes = [Node(id="i-1", az="a", clusters=clusters)]
    return make_plan(document, BODY, content_hash(BODY), nodes, sent_at=NOW, now=NOW, replaces=replaces)


def test_one_of_one_cluster_that_the_router_knew_is_replaced() -> None:
    assert judge(planned("demo:web"), "demo:web") is None


def test_one_whose_router_did_not_know_is_not() -> None:
    answer = judge(planned("demo:web", replaces=False), "demo:web")
    assert isinstance(answer, Reject)
    assert "Upgrade the routers" in answer.why


def test_one_of_two_clusters_is_not() -> None:
    answer = judge(planned("demo:web", "demo:two"), "demo:web", "demo:two")
    assert isinstance(answer, Reject)
    assert "of one cluster only" in answer.why
