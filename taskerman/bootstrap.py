"""Composition: the only module that picks adapters. Everything else receives what it needs as arguments.

Each function opens what one kind of process needs, lends it, and closes it again, whatever happened in between.
Nothing is reached before it is wanted, so that a verb which needs only a queue needs only a queue.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskerman.adapters.aws import Aws
from taskerman.adapters.clock import SystemClock
from taskerman.adapters.discoveries import InstalledDiscoveries
from taskerman.adapters.instance_metadata import InstanceMetadata
from taskerman.adapters.runners import InstalledRunners
from taskerman.adapters.sqs import SqsQueues
from taskerman.adapters.zookeeper import Credential, Wire, ZookeeperTree
from taskerman.agent import Agent, JournalFile, Profile
from taskerman.agent.isolation import detect
from taskerman.masking import masked
from taskerman.model.event import Listener
from taskerman.model.ids import NodeId, Owner
from taskerman.ports.history import History, HistoryReader
from taskerman.ports.signatures import Signatures
from taskerman.ports.tree import Tree
from taskerman.pulse import Pulse
from taskerman.settings import Loaded, Settings, SignatureKey, load

if TYPE_CHECKING:  # what only some processes need is imported where it is opened: an agent at rest stays small
    from taskerman.control import Desk, Subject
    from taskerman.control.history import HistoryUpgraded
    from taskerman.control.subject import HistorySeen
    from taskerman.janitor import Janitor
    from taskerman.router import Router
    from taskerman.telemetry.telling import Told

__all__ = [
    "Connect",
    "generate_key",
    "identity_digest",
    "open_agent",
    "open_desk",
    "open_history",
    "open_history_reader",
    "open_janitor",
    "open_router",
    "read_settings",
    "sign_document",
    "subject_of",
    "upgrade_history",
]

_A_PERSON_WAITS = timedelta(seconds=5)
_A_DAEMON_WAITS = timedelta(seconds=15)
"""For ZooKeeper's first answer. Several servers are tried in it."""

Connect = Callable[[], Tree]
"""Makes a new client of the tree, not yet open. Given to the functions below it stands in for ZooKeeper, for a whole
installation in one process; absent, the settings name the ZooKeeper."""


def read_settings() -> Loaded:
    """The settings of this process. Raises `UsageError`."""
    return load()


@contextmanager
def open_desk(settings: Settings, *, connect: Connect | None = None) -> Iterator[Desk]:
    """An operator's desk. Its tree connects when a verb first needs it."""
    from taskerman.control import Desk  # noqa: PLC0415

    with ExitStack() as closing:
        aws = _aws(closing)
        tree = _connect(settings, connect, _A_PERSON_WAITS)()
        closing.callback(tree.close)
        yield Desk(
            tree=tree,
            queues=_queues(settings, aws),
            names=settings.queue_names,
            discoveries=_discoveries(settings, aws, closing),
            catalog=InstalledRunners(),
            clock=SystemClock(),
            by=settings.operator,
            guard=settings.guard,
            secure=_securing(settings, tree),
        )


@contextmanager
def open_router(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Router]:
    """A router; it connects when it runs, and waits for ZooKeeper as long as it must."""
    from taskerman.coordination.router_moves import RouterMoves  # noqa: PLC0415
    from taskerman.router import Router  # noqa: PLC0415

    with ExitStack() as closing:
        aws = _aws(closing, told)
        tree = _connect(settings, connect, _A_DAEMON_WAITS, told)()
        closing.callback(tree.close)
        yield Router(
            RouterMoves(tree),
            queues=_queues(settings, aws),
            names=settings.queue_names,
            discoveries=_discoveries(settings, aws, closing),
            catalog=InstalledRunners(),
            clock=SystemClock(),
            emit=emit,
            guard=settings.guard,
            signatures=_signatures(settings),
            pulse=told.pulse if told else None,
        )


@contextmanager
def open_janitor(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Janitor]:
    """A janitor; it connects when it runs, and waits for ZooKeeper as long as it must."""
    from taskerman.janitor import Janitor  # noqa: PLC0415
    from taskerman.janitor.kit import Kit as JanitorKit  # noqa: PLC0415

    with ExitStack() as closing:
        aws = _aws(closing, told)
        tree = _connect(settings, connect, _A_DAEMON_WAITS, told)()
        closing.callback(tree.close)
        kit = JanitorKit(
            tree=tree,
            queues=_queues(settings, aws),
            names=settings.queue_names,
            discoveries=_discoveries(settings, aws, closing),
            history=closing.enter_context(open_history(settings)),
            clock=SystemClock(),
            emit=emit,
            upkeep=settings.janitor,
            by=f"janitor@{socket.gethostname()}:{os.getpid()}",
            pulse=told.pulse if told else Pulse(),
            counts=told is not None and told.metrics is not None,
        )
        yield Janitor(kit)


@contextmanager
def open_agent(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Agent]:
    """The agent of this node, with its journal locked; it connects when it has work.

    Raises `UsageError` when the settings do not say which node this is, `LockedByAnother`, `StopNow`.
    """
    profile = _profile(settings)
    with ExitStack() as closing:
        aws = _aws(closing, told)
        journal = closing.enter_context(JournalFile(settings.state_dir, profile.node))
        yield Agent(
            profile,
            journal,
            connect=_connect(settings, connect, _A_DAEMON_WAITS, told, node=profile.node),
            queues=_queues(settings, aws),
            names=settings.queue_names,
            catalog=InstalledRunners(),
            clock=SystemClock(),
            emit=emit,
            pulse=told.pulse if told else None,
            isolation=detect(settings.cgroup, journal.now.uuid),
        )


@contextmanager
def open_history(settings: Settings) -> Iterator[History]:
    """Where the janitor records the past. It connects when something is recorded. Raises `UsageError`."""
    from taskerman.adapters.sql import SqlHistory  # noqa: PLC0415  a fifth of a second that only its users pay

    history = SqlHistory(settings.history, upgrades=settings.history_upgrade)
    try:
        yield history
    finally:
        history.close()


@contextmanager
def open_history_reader(settings: Settings) -> Iterator[HistoryReader]:
    """The past, for people. Raises `UsageError`."""
    from taskerman.adapters.sql import SqlHistoryReader  # noqa: PLC0415

    reader = SqlHistoryReader(settings.history)
    try:
        yield reader
    finally:
        reader.close()


def upgrade_history(settings: Settings) -> HistoryUpgraded:
    """Make the history's tables, or bring them up to date. Idempotent, and safe while others write or upgrade too.

    Raises `HistorySchema` (a newer build made them), `HistoryUnavailable`, `NotPermitted`, `UsageError`.
    """
    from taskerman.adapters.sql import upgrade  # noqa: PLC0415
    from taskerman.control.history import HistoryUpgraded  # noqa: PLC0415

    return HistoryUpgraded(place=masked(settings.history), revision=upgrade(settings.history))


def subject_of(loaded: Loaded) -> Subject:
    """What this machine is configured to be, for `doctor`."""
    from taskerman.control import Subject  # noqa: PLC0415
    from taskerman.control.wire import AWS_VARIABLES  # noqa: PLC0415

    settings = loaded.settings
    # Only where an agent is meant to run: looking makes the folder of the groups.
    isolation = detect(settings.cgroup if settings.node_id else "none", "doctor")
    return Subject(
        node=settings.node_id,
        clusters=settings.clusters,
        actions=settings.actions,
        unknown=loaded.unknown,
        isolation=str(isolation),
        grouped=bool(isolation.hierarchies),
        unkept=tuple(sorted(settings.bounds.names - isolation.honoured)),
        aws={name: os.environ[name] for name in AWS_VARIABLES if os.environ.get(name)},
        history=partial(_look_at_history, settings) if _keeps_history(settings) else None,
        history_upgrade=settings.history_upgrade,
        keys={name: partial(_read_key, name, key) for name, key in settings.signature_keys.items()},
        signed_only=settings.signatures_required,
    )


def _keeps_history(settings: Settings) -> bool:
    """Whether one is meant to be reached from here: one is named, or a janitor of this machine has made one."""
    return settings.history_url is not None or (settings.state_dir / "history.db").exists()


def _look_at_history(settings: Settings) -> HistorySeen:
    from taskerman.adapters.sql import look  # noqa: PLC0415
    from taskerman.control.subject import HistorySeen  # noqa: PLC0415

    seen = look(settings.history)
    found = seen.standing
    return HistorySeen(masked(settings.history), found.there, found.needed, found.behind, seen.denied)


def _read_key(name: str, key: SignatureKey) -> tuple[Owner, ...]:
    """Whose tasks it may sign. Raises `UsageError` when the file holds no such key."""
    from taskerman.adapters.signatures import KeySource, SignatureKeys  # noqa: PLC0415

    SignatureKeys({name: KeySource(key.file, key.owners)})
    return key.owners


def _aws(closing: ExitStack, told: Told | None = None) -> Aws:
    metrics = told.metrics if told else None
    aws = Aws(on_request=metrics.aws_sent, on_failure=metrics.aws_failed) if metrics else Aws()
    closing.callback(aws.close)
    return aws


def _queues(settings: Settings, aws: Aws) -> SqsQueues:
    return SqsQueues(aws, dead_letter=settings.queue_names.dead_letter)


def _discoveries(settings: Settings, aws: Aws, closing: ExitStack) -> InstalledDiscoveries:
    """By the name that a document's `discovery` gives: whatever is installed. `aws_tags` has a setting of its own."""
    own = {"cluster_tag": settings.cluster_tag, **settings.discoveries.get("aws_tags", {})}
    discoveries = InstalledDiscoveries({**settings.discoveries, "aws_tags": own}, aws=aws)
    closing.callback(discoveries.close)
    return discoveries


def _connect(
    settings: Settings,
    connect: Connect | None,
    patience: timedelta,
    told: Told | None = None,
    *,
    node: NodeId | None = None,
) -> Connect:
    """`node`: whose own identity is taken along, if it has one."""
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


def _signatures(settings: Settings) -> Signatures | None:
    """None: no key is named, and whoever may put documents into the queue is believed."""
    if not settings.signature_keys and not settings.signatures_required:
        return None
    from taskerman.adapters.signatures import KeySource, SignatureKeys  # noqa: PLC0415  only its users pay for it

    keys = {name: KeySource(key.file, key.owners) for name, key in settings.signature_keys.items()}
    return SignatureKeys(keys, required=settings.signatures_required)


def sign_document(document: Mapping[str, Any], file: Path, key: str) -> dict[str, Any]:
    """`document` with its signature by the private key in `file`. Raises `UsageError`."""
    from taskerman.adapters.signatures import sign  # noqa: PLC0415

    return sign(document, file, key)


def generate_key(file: Path) -> Path:
    """Make a key pair, `file` and `.pub` beside it; the path of that. Raises `UsageError`."""
    from taskerman.adapters.signatures import generate_key as generate  # noqa: PLC0415

    return generate(file)


def identity_digest(user: str, password: str) -> str:
    """What ZooKeeper knows of a user and a password."""
    return Credential(user, password).digest


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


def _securing(settings: Settings, tree: Tree) -> Callable[[], int] | None:
    """What `init` does about rights, when the settings say who is who."""
    identities = settings.zookeeper_identities
    if identities is None or not isinstance(tree, ZookeeperTree):
        return None
    return partial(tree.secure, identities)


def _profile(settings: Settings) -> Profile:
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
