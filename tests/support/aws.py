"""A cloud of one's own: moto's server on loopback, with identities that open no other door.

The server lives in the test process, one for the whole run, and its state with it: tests keep apart by names of their
own (`unique`), not by servers of their own. Daemons that are processes are given `LocalCloud.environment`.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import CLUSTER_TAG
from taskerman.model.cluster import Node

__all__ = ["AZS", "REGION", "LocalCloud", "aws", "local_cloud", "running_cloud", "unique"]

REGION = "eu-west-1"
AZS = (f"{REGION}a", f"{REGION}b", f"{REGION}c")
IDENTITY = {
    "AWS_ACCESS_KEY_ID": "AKIALOCALTESTONLY",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def unique(name: str) -> str:
    """`name` with a random end: no other test of this run, and of no other run, has it."""
    return f"{name}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A running local AWS. `url`: where it listens."""

    url: str

    def environment(self, url: str | None = None) -> dict[str, str]:
        """The AWS variables for a process that should see this cloud; `url`: through a proxy."""
        return {**IDENTITY, "AWS_ENDPOINT_URL": url or self.url}

    @contextmanager
    def client(self, service: str) -> Iterator[Any]:
        """A plain boto3 client, for what a test arranges behind the adapters' back."""
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
        client: Any = boto3.Session(
            aws_access_key_id=IDENTITY["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=IDENTITY["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        ).client(service, endpoint_url=self.url, config=config)
        try:
            yield client
        finally:
            client.close()

    def start_nodes(
        self, cluster: str, count: int, *, tag: str = CLUSTER_TAG, tags: Mapping[str, str] | None = None
    ) -> tuple[Node, ...]:
        """Start `count` instances of `cluster`, dealt over three availability zones, each tagged. By (AZ, id)."""
        started: list[Node] = []
        clusters = tuple(cluster.replace(",", " ").split())
        wanted = [{"Key": key, "Value": value} for key, value in {tag: cluster, **(tags or {})}.items()]
        with self.client("ec2") as ec2:
            for place, az in enumerate(AZS):
                share = len(range(place, count, len(AZS)))
                if share == 0:
                    continue
                answer = ec2.run_instances(
                    ImageId="ami-12c6146b",
                    MinCount=share,
                    MaxCount=share,
                    Placement={"AvailabilityZone": az},
                    TagSpecifications=[{"ResourceType": "instance", "Tags": wanted}],
                )
                started += [
                    Node(id=one["InstanceId"], az=az, address=one["PrivateIpAddress"], clusters=clusters)
                    for one in answer["Instances"]
                ]
        return tuple(sorted(started, key=lambda node: (node.az, node.id)))

    def end_loans(self, queue: str, *, sent_earlier_s: float = 0.0) -> None:
        """The loans of a queue's messages run out now, as they do when whoever received them has died.

        `sent_earlier_s`: and all of them were sent so much earlier than they were.
        """
        from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: PLC0415  (the server of this cloud lives in this process)
        from moto.sqs.models import sqs_backends  # noqa: PLC0415

        found = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues.get(queue)
        for message in list(found._messages) if found is not None else ():
            message.visible_at = 0
            sent = int(message.sent_timestamp or 0) - int(sent_earlier_s * 1000)
            message.sent_timestamp = sent  # type: ignore[assignment]  # moto declares None and keeps a number

    def terminate(self, nodes: Sequence[str]) -> None:
        """End instances."""
        with self.client("ec2") as ec2:
            ec2.terminate_instances(InstanceIds=list(nodes))

    def stop(self, nodes: Sequence[str]) -> None:
        """Stop instances; they can be started again."""
        with self.client("ec2") as ec2:
            ec2.stop_instances(InstanceIds=list(nodes))


@contextmanager
def running_cloud() -> Iterator[LocalCloud]:
    """A moto server on loopback until the block ends."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415  (a second, for nobody else)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield LocalCloud(f"http://{host}:{port}")
    finally:
        server.stop()
        assert server._server is not None
        server._server.server_close()


@pytest.fixture(scope="session")
def local_cloud() -> Iterator[LocalCloud]:
    """The cloud of this run."""
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def aws(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """Clients of the local cloud, closed at the end, in an environment that knows no other."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    door = Aws()
    yield door
    door.close()
