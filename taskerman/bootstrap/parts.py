"""The parts of a process, made of its settings: clients, discoveries, signatures, and who an agent is.

Nothing is reached here, and nothing opened that whoever asks does not close.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from taskerman.adapters.aws import Aws
from taskerman.adapters.discoveries import InstalledDiscoveries
from taskerman.adapters.instance_metadata import InstanceMetadata
from taskerman.adapters.sqs import SqsQueues
from taskerman.adapters.zookeeper import Credential, Wire, ZookeeperTree
from taskerman.adapters.zookeeper.securing import secure
from taskerman.agent import Profile
from taskerman.model.ids import NodeId
from taskerman.ports.schedules import ScheduleSource
from taskerman.ports.signatures import Signatures
from taskerman.ports.tree import Tree
from taskerman.settings import Settings

if TYPE_CHECKING:  # what only some processes need is imported where it is opened: an agent at rest stays small
    from taskerman.ports.schedules import ScheduleFiles
    from taskerman.telemetry.telling import Told

__all__ = [
    "Connect",
    "make_aws",
    "make_connect",
    "make_discoveries",
    "make_profile",
    "make_queues",
    "make_schedule_files",
    "make_securing",
    "make_signatures",
    "make_sources",
]

Connect = Callable[[], Tree]
"""Makes a new client of the tree, not yet open. Given to the functions below it stands in for ZooKeeper, for a whole
installation in one process; absent, the settings name the ZooKeeper."""


def make_aws(closing: ExitStack, told: Told | None = None) -> Aws:
    """The clients of AWS, closed with `closing`; their requests are counted where metrics are kept."""
    metrics = told.metrics if told else None
    aws = Aws(on_request=metrics.aws_sent, on_failure=metrics.aws_failed) if metrics else Aws()
    closing.callback(aws.close)
    return aws


def make_queues(settings: Settings, aws: Aws) -> SqsQueues:
    """The installation's queues."""
    return SqsQueues(aws, dead_letter=settings.queue_names.dead_letter)


def make_discoveries(settings: Settings, aws: Aws, closing: ExitStack) -> InstalledDiscoveries:
    """By the name that a document's `discovery` gives: whatever is installed. `aws_tags` has a setting of its own."""
    own = {"cluster_tag": settings.cluster_tag, **settings.discoveries.get("aws_tags", {})}
    discoveries = InstalledDiscoveries({**settings.discoveries, "aws_tags": own}, aws=aws)
    closing.callback(discoveries.close)
    return discoveries


def make_connect(
    settings: Settings,
    connect: Connect | None,
    patience: timedelta,
    told: Told | None = None,
    *,
    node: NodeId | None = None,
) -> Connect:
    """What makes clients of the tree: `connect` where it is given, else of the ZooKeeper that the settings name.

    `patience`: for its first answer. `node`: whose own identity is taken along, if it has one.
    """
    if connect is not None:
        return connect
    metrics = told.metrics if told else None
    credential, own = settings.zookeeper_credential, None
    if node is not None and (secret := settings.zookeeper_node_secret) is not None:
        own = Credential(node, secret)
    return lambda: ZookeeperTree(
        settings.zookeeper_hosts,
        root=settings.zookeeper_root,
        session_timeout=settings.zookeeper_session,
        open_timeout=patience,
        on_request=metrics.zookeeper_sent if metrics else None,
        on_failure=metrics.zookeeper_failed if metrics else None,
        credential=None if credential is None else Credential(*credential),
        node_credential=own,
        wire=_wire(settings),
    )


def _wire(settings: Settings) -> Wire | None:
    if not settings.zookeeper_tls:
        return None
    key_password = settings.zookeeper_tls_key_password
    return Wire(
        ca=settings.zookeeper_tls_ca,
        cert=settings.zookeeper_tls_cert,
        key=settings.zookeeper_tls_key,
        key_password=None if key_password is None else key_password.get_secret_value(),
        check_hostname=settings.zookeeper_tls_check_hostname,
    )


def make_schedule_files(settings: Settings, aws: Aws) -> ScheduleFiles | None:
    """Where the settings say that schedules are declared; None: nowhere. Nothing is read yet."""
    if not settings.schedules:
        return None
    from taskerman.adapters.schedules import Bucket, DeclaredFiles, Folder  # noqa: PLC0415  only its users pay for it

    in_bucket = settings.schedules.startswith("s3://")
    return DeclaredFiles(Bucket(aws, settings.schedules) if in_bucket else Folder(Path(settings.schedules)))


def make_signatures(settings: Settings) -> Signatures | None:
    """None: no key is named, and whoever may put documents into the queue is believed."""
    if not settings.signature_keys and not settings.signatures_required:
        return None
    from taskerman.adapters.signatures import KeySource, SignatureKeys  # noqa: PLC0415  only its users pay for it

    keys = {name: KeySource(key.file, key.owners) for name, key in settings.signature_keys.items()}
    return SignatureKeys(keys, required=settings.signatures_required)


def make_sources(settings: Settings, aws: Aws, closing: ExitStack) -> Sequence[ScheduleSource]:
    """Where schedules are declared: reviewed files, then what people added; of two that declare the same name the
    first counts."""
    from taskerman.adapters.sql import SqlScheduleStore  # noqa: PLC0415  only its users pay for it

    files = make_schedule_files(settings, aws)
    store = SqlScheduleStore(settings.history, upgrades=False)
    closing.callback(store.close)
    return [store] if files is None else [files, store]


def make_securing(settings: Settings, tree: Tree) -> Callable[[], int] | None:
    """What `init` does about rights, when the settings say who is who."""
    identities = settings.zookeeper_identities
    if identities is None or not isinstance(tree, ZookeeperTree):
        return None
    return partial(secure, tree, identities)


def make_profile(settings: Settings) -> Profile:
    """Who this agent is: as set, else as the instance's metadata says; the host name is never taken for it."""
    metadata = InstanceMetadata()
    clusters = settings.clusters or metadata.clusters(settings.cluster_tag)
    node = settings.node_id or metadata.instance_id()
    return Profile(
        node=node,
        clusters=clusters,
        actions=settings.actions,
        runners=settings.runners,
        pace=settings.pace,
        breaker=settings.breaker,
        idle_session=settings.idle_session,
        patience=settings.patience,
        bounds=settings.bounds,
        log_form=settings.log_format,
        boot_id_path=str(settings.boot_id_file),
    )
