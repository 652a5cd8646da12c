"""Whether machines are in service is what their Auto Scaling group says."""

from __future__ import annotations

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import Ec2Discovery
from tests.support.auto_scaling import Group
from tests.support.aws import LocalCloud, unique


def test_those_of_a_group_that_has_them_in_service(aws: Aws, local_cloud: LocalCloud) -> None:
    group = Group(local_cloud, f"demo:{unique('c')}", 3)
    machines = group.machines()
    group.stand_by(machines[0])
    told = Ec2Discovery(aws).in_service(machines)
    assert told == {machines[0]: "is Standby and healthy to its group", machines[1]: "", machines[2]: ""}


def test_a_machine_of_no_group_is_in_service(aws: Aws, local_cloud: LocalCloud) -> None:
    (node,) = local_cloud.start_nodes(f"demo:{unique('c')}", 1)
    assert Ec2Discovery(aws).in_service([node.id]) == {node.id: ""}
    assert Ec2Discovery(aws).in_service([]) == {}


def test_many_are_asked_for_in_several_questions(aws: Aws, local_cloud: LocalCloud) -> None:
    group = Group(local_cloud, f"demo:{unique('c')}", 3)
    many = [*group.machines(), *(f"i-{number:017x}" for number in range(120))]
    told = Ec2Discovery(aws).in_service(many)
    assert set(told) == set(many)


def test_a_terminated_machine_is_replaced_by_its_group(aws: Aws, local_cloud: LocalCloud) -> None:
    """What the local cloud does, which the tests of replacing rest on."""
    cluster = f"demo:{unique('c')}"
    group = Group(local_cloud, cluster, 3)
    first, *others = group.machines()
    group.terminate(first)
    after = group.machines()
    assert len(after) == 3
    assert set(others) < set(after)
    assert {node.id for node in Ec2Discovery(aws).nodes(cluster)} == set(after)
