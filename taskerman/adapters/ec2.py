"""Clusters as EC2 tells them: one tag on each instance, whose value is the cluster's name (`kind:name`), or the names
of several with spaces or commas between them.

Discovery that is wrong is worse than none: a page that is missing would shrink a cluster and with it every percentage
and guard that stands on its size. So whatever is not a whole, plain answer is an error here, never a smaller cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from pydantic import ValidationError

from taskerman.adapters.aws import AWS_ERRORS, PATIENCE, Aws, Deadline, Service, explain, persist
from taskerman.errors import Bug, DiscoveryFailed, Ec2Unavailable, UsageError
from taskerman.model.cluster import Fate, Node, clusters_of_tag
from taskerman.model.ids import ClusterName
from taskerman.ports.discovery import Setup

__all__ = ["CLUSTER_TAG", "Ec2Discovery", "discovery"]

CLUSTER_TAG = "taskerman:cluster"
PAGE = 1000
GROUP_IDS_A_QUESTION = 50
IDS_A_QUESTION = 200  # EC2 takes at most so many values in one filter

_ANSWER_TIMEOUT = timedelta(seconds=20)
_RUNNING = "running"
_MARKS = (" ", ",")
_TERMINATED = "terminated"
_CONTROLS = 5


class Ec2Discovery:
    """The `Discovery` of document field `aws_tags`. A node id is an instance id. Safe to use from several threads.

    Needs the right `ec2:DescribeInstances`, and for `in_service` one more. EC2 is eventually consistent: an instance
    may be missing for some seconds after its start.
    """

    def __init__(
        self, aws: Aws, *, cluster_tag: str = CLUSTER_TAG, patience: timedelta = PATIENCE, page: int = PAGE
    ) -> None:
        """`cluster_tag`: the key of the tag. `patience`: how long one page is asked for while EC2 throttles or is away.

        `page`: instances a request, 5 to 1000. Raises `UsageError` for a tag without a name: any instance has that.
        """
        if not cluster_tag.strip():
            raise UsageError(
                "The EC2 tag that names a node's cluster is empty, which would select anything.",
                next_step="Set TASKERMAN_CLUSTER_TAG.",
            )
        self._aws = aws
        self._cluster_tag = cluster_tag
        self._patience = patience
        self._page = page

    def nodes(self, cluster: str) -> Sequence[Node]:
        """See `Discovery.nodes`."""
        if not cluster:
            raise Bug("Discovery was asked for the cluster without a name, which would be any instance's.")
        filters = {f"tag:{self._cluster_tag}": _patterns(cluster), "instance-state-name": [_RUNNING]}
        found = self._nodes(self._instances(filters, what=f"the nodes of {cluster}"))
        # A filter's value is a pattern to EC2; the name is meant to the letter.
        return tuple(node for node in found if cluster in node.clusters)

    def known(self, nodes: Collection[str]) -> Sequence[Node]:
        """See `Discovery.known`. Ids that EC2 never heard of are left out."""
        remaining = iter(sorted(set(nodes)))
        found: list[Node] = []
        while some := list(islice(remaining, IDS_A_QUESTION)):
            # By filter: the parameter InstanceIds fails as a whole for one unknown id.
            filters = {"instance-id": some, "instance-state-name": [_RUNNING]}
            answer = self._instances(filters, what=f"{len(some)} nodes by their ids")
            found.extend(self._nodes(instance for instance in answer if instance["InstanceId"] in some))
        return tuple(found)

    def fates(self, nodes: Collection[str], *, control: Collection[str]) -> Mapping[str, Fate]:
        """See `Discovery.fates`. EC2 names a terminated instance for about an hour, and then knows it no more."""
        known_to_run = sorted(set(control))[:_CONTROLS]
        remaining = iter(sorted(set(nodes)))
        fates: dict[str, Fate] = {}
        while some := list(islice(remaining, IDS_A_QUESTION - _CONTROLS)):
            asked = sorted({*some, *known_to_run})
            what = f"what became of {len(some)} nodes"
            answer = self._instances({"instance-id": asked}, what=what, whatever_state=True)
            states = {str(instance["InstanceId"]): instance["State"]["Name"] for instance in answer}
            sees = any(states.get(node) == _RUNNING for node in known_to_run)
            for node in some:
                if node in states:
                    fates[node] = Fate.TERMINATED if states[node] == _TERMINATED else Fate.THERE
                elif sees:
                    fates[node] = Fate.ABSENT
        return fates

    def in_service(self, nodes: Collection[str]) -> Mapping[str, str]:
        """See `InService.in_service`: as their Auto Scaling groups say; an instance of none is in service.

        Needs the right `autoscaling:DescribeAutoScalingInstances`, and asks nothing for no nodes.
        """
        told = dict.fromkeys(nodes, "")
        remaining = iter(sorted(told))
        while some := list(islice(remaining, GROUP_IDS_A_QUESTION)):
            what = f"whether {len(some)} nodes are in service"
            answer = self._call("autoscaling", "describe_auto_scaling_instances", {"InstanceIds": some}, what)
            for instance in answer["AutoScalingInstances"]:
                state, health = instance["LifecycleState"], instance["HealthStatus"]
                if state != "InService" or health.lower() != "healthy":
                    told[instance["InstanceId"]] = f"is {state} and {health.lower()} to its group"
        return told

    def _instances(
        self, filters: Mapping[str, Sequence[str]], *, what: str, whatever_state: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """Every running instance that EC2 names, page by page. Raises `DiscoveryFailed`, also in the middle."""
        question: dict[str, Any] = {
            "Filters": [{"Name": name, "Values": list(values)} for name, values in filters.items()],
            "MaxResults": self._page,
        }
        seen: set[str] = set()
        while True:
            page = self._ask(question, what)
            if "Reservations" not in page:
                raise DiscoveryFailed(f"Cannot discover {what}: EC2's answer has no list of instances.")
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    if whatever_state or instance["State"]["Name"] == _RUNNING:
                        yield instance
            token = page.get("NextToken")
            if not token:
                return
            if token in seen:
                raise DiscoveryFailed(f"Cannot discover {what}: EC2's pages go round in a circle.")
            seen.add(token)
            question["NextToken"] = token

    def _nodes(self, instances: Iterator[Mapping[str, Any]]) -> tuple[Node, ...]:
        """Each once: an instance that changes while pages are read may stand on two of them."""
        found: dict[str, Node] = {}
        for instance in instances:
            name = str(instance["InstanceId"])
            tag = _tags(instance).get(self._cluster_tag)
            try:
                found[name] = Node(
                    id=name,
                    az=instance.get("Placement", {}).get("AvailabilityZone", ""),
                    address=instance.get("PrivateIpAddress", ""),
                    clusters=() if tag is None else clusters_of_tag(tag),
                )
            except ValidationError as error:
                raise DiscoveryFailed(f"EC2 names an instance {name!r} that cannot be a node: {error}") from error
            except ValueError as error:
                raise DiscoveryFailed(
                    f"The tag {self._cluster_tag} of {name} does not name its clusters: {error}.",
                    next_step="Correct the tag: redis:a, or redis:a redis:b for several.",
                ) from error
        return tuple(found.values())

    def _ask(self, question: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        return self._call("ec2", "describe_instances", question, what)

    def _call(self, service: Service, operation: str, question: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        try:
            call = getattr(self._aws.client(service, read_timeout=_ANSWER_TIMEOUT), operation)
            page: Mapping[str, Any] = persist(lambda: call(**question), Deadline(self._patience))
        except AWS_ERRORS as error:
            explained = explain(error, doing=f"discover {what}", unavailable=Ec2Unavailable)
            raise DiscoveryFailed(explained.what, next_step=explained.next_step) from error
        return page


def _patterns(cluster: ClusterName) -> list[str]:
    """Of the tag's value: the name alone, first, last or amidst others."""
    before = ["", *(f"*{mark}" for mark in _MARKS)]
    after = ["", *(f"{mark}*" for mark in _MARKS)]
    return [f"{left}{cluster}{right}" for left in before for right in after]


def discovery(setup: Setup) -> Ec2Discovery:
    """`aws_tags`. Its settings: `cluster_tag`, the key of the tag. Raises `UsageError` for any other."""
    tag = setup.settings.get("cluster_tag", CLUSTER_TAG)
    unknown = sorted(setup.settings.keys() - {"cluster_tag"})
    if unknown or not isinstance(tag, str):
        raise UsageError(
            f"The discovery aws_tags has no setting {', '.join(unknown)}." if unknown else f"{tag!r} is not a tag.",
            next_step="It takes `cluster_tag`, a text.",
        )
    return Ec2Discovery(setup.aws or Aws(), cluster_tag=tag)


def _tags(instance: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
