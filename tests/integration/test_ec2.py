"""What only the EC2 adapter has: pages of the real wire, another tag, names that are patterns to EC2."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import Ec2Discovery
from taskerman.errors import DiscoveryFailed
from tests.support.aws import LocalCloud, unique


def test_a_cluster_of_several_pages_is_whole(local_cloud: LocalCloud, aws: Aws) -> None:
    cluster = f"demo:{unique('paged')}"
    asked: Counter[str] = Counter()
    door = Aws(on_request=lambda operation: asked.update([operation]))
    # Each call is a reservation of three, and a page has five instances at most.
    nodes = [node for _ in range(4) for node in local_cloud.start_nodes(cluster, 3)]
    found = Ec2Discovery(door, page=5).nodes(cluster)
    door.close()
    assert sorted(node.id for node in found) == sorted(node.id for node in nodes)
    assert asked["DescribeInstances"] > 1


def test_the_name_of_the_tag_is_a_setting(local_cloud: LocalCloud, aws: Aws) -> None:
    cluster = f"demo:{unique('tagged')}"
    nodes = local_cloud.start_nodes(cluster, 1, tag="acme:datastore")
    assert Ec2Discovery(aws, cluster_tag="acme:datastore").nodes(cluster) == nodes
    assert Ec2Discovery(aws).nodes(cluster) == ()


def test_a_name_is_meant_to_the_letter_although_ec2_reads_patterns(local_cloud: LocalCloud, aws: Aws) -> None:
    cluster = f"demo:{unique('pattern')}"
    local_cloud.start_nodes(cluster, 1)
    assert Ec2Discovery(aws).nodes(cluster[:-1] + "?") == ()
    assert Ec2Discovery(aws).nodes("*") == ()


def test_terminated_nodes_are_not_of_the_cluster_and_not_known(local_cloud: LocalCloud, aws: Aws) -> None:
    cluster = f"demo:{unique('gone')}"
    gone, stays = local_cloud.start_nodes(cluster, 2)
    local_cloud.terminate([gone.id])
    assert Ec2Discovery(aws).nodes(cluster) == (stays,)
    assert Ec2Discovery(aws).known([gone.id, stays.id]) == (stays,)


def test_missing_credentials_are_an_error_of_discovery(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DiscoveryFailed, match="credentials"):
        Ec2Discovery(aws, patience=timedelta()).nodes("demo:web")
