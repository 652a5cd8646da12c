"""The demo's AWS: moto in a process of its own, and six tagged instances in three availability zones."""

from __future__ import annotations

import os
from datetime import timedelta

from taskerman.adapters.aws import AWS_ERRORS, Aws
from taskerman.adapters.ec2 import CLUSTER_TAG
from taskerman.demo.claims import NotSo
from taskerman.demo.crew import Crew
from taskerman.model.cluster import Node

__all__ = ["AZS", "Cloud"]

PATIENCE = timedelta(minutes=2)
REGION = "eu-west-1"
AZS = (f"{REGION}a", f"{REGION}b", f"{REGION}c")
NOBODY = {
    "AWS_ACCESS_KEY_ID": "AKIADEMOOPENSNOTHING",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Cloud:
    """A local AWS that knows one cluster. `environment`: what a process needs to see it, and no other."""

    def __init__(self, crew: Crew) -> None:
        """Waits for the member `local-aws` of `crew`. Raises `NotSo` when moto is not installed."""
        try:
            self.url = crew.first_line("local-aws")
        except NotSo as error:
            raise NotSo(
                f"the local AWS did not start ({error}); `make demo` installs moto, which it is made of"
            ) from None
        self.environment = {**NOBODY, "AWS_ENDPOINT_URL": self.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        os.environ.update(self.environment)  # of this process: its own clients find the same cloud

    def start_instances(self, cluster: str, in_each_az: int) -> tuple[Node, ...]:
        """Run and tag the instances of `cluster`; by (AZ, id), the order of every plan. Raises `NotSo`."""
        ec2 = Aws().client("ec2", read_timeout=PATIENCE)
        nodes = []
        for az in AZS:
            try:
                answer = ec2.run_instances(
                    ImageId="ami-12c6146b",
                    MinCount=in_each_az,
                    MaxCount=in_each_az,
                    Placement={"AvailabilityZone": az},
                    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": CLUSTER_TAG, "Value": cluster}]}],
                )
            except AWS_ERRORS as error:
                raise NotSo(f"the local AWS did not start the instances of {cluster}: {error}") from error
            nodes += [Node(id=one["InstanceId"], az=az) for one in answer["Instances"]]
        return tuple(sorted(nodes, key=lambda node: (node.az, node.id)))
