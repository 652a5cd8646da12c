"""An Auto Scaling group of the local cloud: machines of one cluster, whose number is kept."""

from __future__ import annotations

from taskerman.adapters.ec2 import CLUSTER_TAG
from tests.support.aws import AZS, LocalCloud, unique

__all__ = ["Group"]


class Group:
    """`count` running machines of `cluster` over three zones; each one that ends is replaced at once."""

    def __init__(self, cloud: LocalCloud, cluster: str, count: int) -> None:
        self._cloud = cloud
        self.name = unique("group")
        with cloud.client("autoscaling") as scaling:
            scaling.create_launch_configuration(
                LaunchConfigurationName=self.name, ImageId="ami-12c6146b", InstanceType="t3.micro"
            )
            scaling.create_auto_scaling_group(
                AutoScalingGroupName=self.name,
                LaunchConfigurationName=self.name,
                MinSize=1,
                MaxSize=20,
                DesiredCapacity=count,
                AvailabilityZones=list(AZS),
                Tags=[{"Key": CLUSTER_TAG, "Value": cluster, "PropagateAtLaunch": True}],
            )

    def machines(self) -> list[str]:
        """The ids of those that it has now."""
        with self._cloud.client("autoscaling") as scaling:
            (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return sorted(each["InstanceId"] for each in group["Instances"])

    def terminate(self, machine: str) -> None:
        """End one of its machines for good."""
        with self._cloud.client("autoscaling") as scaling:
            scaling.terminate_instance_in_auto_scaling_group(InstanceId=machine, ShouldDecrementDesiredCapacity=False)

    def stand_by(self, machine: str) -> None:
        """Take it out of service, without another one in its place."""
        with self._cloud.client("autoscaling") as scaling:
            scaling.enter_standby(
                AutoScalingGroupName=self.name, InstanceIds=[machine], ShouldDecrementDesiredCapacity=True
            )

    def suspend(self, *processes: str) -> None:
        """As a person does who looks into something."""
        with self._cloud.client("autoscaling") as scaling:
            scaling.suspend_processes(AutoScalingGroupName=self.name, ScalingProcesses=list(processes))
