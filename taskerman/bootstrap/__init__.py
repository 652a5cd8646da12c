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

from taskerman.adapters.clock import SystemClock
from taskerman.adapters.runners import InstalledRunners
from taskerman.adapters.zookeeper import Credential
from taskerman.agent import Agent, JournalFile
from taskerman.agent.isolation import detect
from taskerman.bootstrap.parts import (
    Connect,
    make_aws,
    make_connect,
    make_discoveries,
    make_profile,
    make_queues,
    make_schedule_files,
    make_securing,
    make_signatures,
    make_sources,
)
from taskerman.bootstrap.subject import subject_of
from taskerman.errors import UsageError
from taskerman.masking import masked
from taskerman.model.event import Listener
from taskerman.ports.history import History, HistoryReader
from taskerman.pulse import Pulse
from taskerman.settings import Loaded, Settings, load

if TYPE_CHECKING:  # what only some processes need is imported where it is opened: an agent at rest stays small
    from pydantic import JsonValue

    from taskerman.adapters.schedules.collecting import Collected
    from taskerman.adapters.uploads import Uploaded
    from taskerman.control import Desk
    from taskerman.control.history import HistoryUpgraded
    from taskerman.exclusive import Kit as ExclusiveKit
    from taskerman.janitor import Janitor
    from taskerman.ports.catalog import Guide
    from taskerman.ports.schedules import ScheduleFiles, ScheduleStore
    from taskerman.router import Router
    from taskerman.scheduler import Scheduler
    from taskerman.telemetry.telling import Told


__all__ = [
    "Connect",
    "collect_schedules",
    "generate_key",
    "guide",
    "identity_digest",
    "open_agent",
    "open_desk",
    "open_exclusive",
    "open_history",
    "open_history_reader",
    "open_janitor",
    "open_router",
    "open_schedule_files",
    "open_schedule_store",
    "open_scheduler",
    "read_mapping",
    "read_settings",
    "schedule_text",
    "shipped_schedules",
    "sign_document",
    "subject_of",
    "upgrade_history",
    "upload_program",
]

_WHERE_SCHEDULES_ARE = Path("configs/tasks")
_A_PERSON_WAITS = timedelta(seconds=5)
_A_DAEMON_WAITS = timedelta(seconds=15)
"""For ZooKeeper's first answer. Several servers are tried in it."""


def read_settings() -> Loaded:
    """The settings of this process. Raises `UsageError`."""
    return load()


@contextmanager
def open_desk(settings: Settings, *, connect: Connect | None = None) -> Iterator[Desk]:
    """An operator's desk. Its tree connects when a verb first needs it."""
    from taskerman.control import Desk  # noqa: PLC0415

    with ExitStack() as closing:
        aws = make_aws(closing)
        tree = make_connect(settings, connect, _A_PERSON_WAITS)()
        closing.callback(tree.close)
        yield Desk(
            tree=tree,
            queues=make_queues(settings, aws),
            names=settings.queue_names,
            discoveries=make_discoveries(settings, aws, closing),
            catalog=InstalledRunners(),
            clock=SystemClock(),
            by=settings.operator,
            guard=settings.guard,
            secure=make_securing(settings, tree),
        )


@contextmanager
def open_router(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Router]:
    """A router; it connects when it runs, and waits for ZooKeeper as long as it must."""
    from taskerman.coordination.router_moves import RouterMoves  # noqa: PLC0415
    from taskerman.router import Router  # noqa: PLC0415

    with ExitStack() as closing:
        aws = make_aws(closing, told)
        tree = make_connect(settings, connect, _A_DAEMON_WAITS, told)()
        closing.callback(tree.close)
        yield Router(
            RouterMoves(tree),
            queues=make_queues(settings, aws),
            names=settings.queue_names,
            discoveries=make_discoveries(settings, aws, closing),
            catalog=InstalledRunners(),
            clock=SystemClock(),
            emit=emit,
            guard=settings.guard,
            signatures=make_signatures(settings),
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
        aws = make_aws(closing, told)
        tree = make_connect(settings, connect, _A_DAEMON_WAITS, told)()
        closing.callback(tree.close)
        kit = JanitorKit(
            tree=tree,
            queues=make_queues(settings, aws),
            names=settings.queue_names,
            discoveries=make_discoveries(settings, aws, closing),
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
def open_scheduler(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Scheduler]:
    """A scheduler; it connects when it runs, and waits for ZooKeeper as long as it must. Raises `UsageError`."""
    from taskerman.scheduler import Scheduler  # noqa: PLC0415
    from taskerman.scheduler.kit import Kit as SchedulerKit  # noqa: PLC0415
    from taskerman.scheduler.writing import writer  # noqa: PLC0415

    key = settings.scheduler_key_file
    if key is not None:
        _signed(key, settings.scheduler_key_id, {})  # one that cannot be used is said now, not when something is due
    with ExitStack() as closing:
        aws = make_aws(closing, told)
        tree = make_connect(settings, connect, _A_DAEMON_WAITS, told)()
        closing.callback(tree.close)
        kit = SchedulerKit(
            tree=tree,
            queues=make_queues(settings, aws),
            names=settings.queue_names,
            sources=make_sources(settings, aws, closing),
            clock=SystemClock(),
            emit=emit,
            body_of=writer(None if key is None else partial(_signed, key, settings.scheduler_key_id)),
            by=f"scheduler@{socket.gethostname()}:{os.getpid()}",
            pulse=told.pulse if told else Pulse(),
        )
        yield Scheduler(kit)


def _signed(key: Path, key_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return sign_document(document, key, key_id)


@contextmanager
def open_agent(
    settings: Settings, emit: Listener, *, connect: Connect | None = None, told: Told | None = None
) -> Iterator[Agent]:
    """The agent of this node, with its journal locked; it connects when it has work.

    Raises `UsageError` when the settings do not say which node this is, `LockedByAnother`, `StopNow`.
    """
    profile = make_profile(settings)
    with ExitStack() as closing:
        aws = make_aws(closing, told)
        journal = closing.enter_context(JournalFile(settings.state_dir, profile.node))
        yield Agent(
            profile,
            journal,
            connect=make_connect(settings, connect, _A_DAEMON_WAITS, told, node=profile.node),
            queues=make_queues(settings, aws),
            names=settings.queue_names,
            catalog=InstalledRunners(),
            clock=SystemClock(),
            emit=emit,
            pulse=told.pulse if told else None,
            isolation=detect(settings.cgroup, journal.now.uuid),
        )


def open_exclusive(settings: Settings, say: Callable[[str], None], *, connect: Connect | None = None) -> ExclusiveKit:
    """What a command under a slot needs on this host. Nothing is reached yet. Raises `UsageError`."""
    from taskerman.exclusive import Kit as ExclusiveKit  # noqa: PLC0415
    from taskerman.exclusive.host import this_host  # noqa: PLC0415
    from taskerman.model.command import host_called  # noqa: PLC0415

    name = settings.node_id or socket.gethostname()
    host = host_called(name)
    if not host:
        raise UsageError(f"No host can be called {name!r}.", next_step="Set TASKERMAN_NODE_ID.")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return ExclusiveKit(
        connect=make_connect(settings, connect, _A_PERSON_WAITS, node=settings.node_id),
        clock=SystemClock(),
        host=this_host(host, settings.boot_id_file),
        by=settings.operator,
        notes=(settings.state_dir, state / "taskerman"),
        say=say,
        path=os.environ.get("PATH", os.defpath),
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


@contextmanager
def open_schedule_store(settings: Settings) -> Iterator[ScheduleStore]:
    """Schedules that people declare: they are in the database of the history. Raises `UsageError`."""
    from taskerman.adapters.sql import SqlScheduleStore  # noqa: PLC0415

    store = SqlScheduleStore(settings.history, upgrades=settings.history_upgrade)
    try:
        yield store
    finally:
        store.close()


def read_mapping(raw: bytes, place: str) -> dict[str, JsonValue]:
    """The one mapping that a file of YAML or JSON holds. `place`: its name. Raises `SchedulesInvalid`."""
    from taskerman.adapters.schedules.one_mapping import read_mapping as read  # noqa: PLC0415

    return read(raw, place)


@contextmanager
def open_schedule_files(settings: Settings, named: str | None = None) -> Iterator[ScheduleFiles]:
    """Files of schedules, for people. `named`: a folder, a file or s3://bucket/prefix; absent: as the settings say,
    else `configs/tasks` where one stands. Raises `UsageError` where there is nothing of that name."""
    from taskerman.adapters.schedules import DeclaredFiles, Folder  # noqa: PLC0415

    with ExitStack() as closing:
        place = named or settings.schedules or str(_WHERE_SCHEDULES_ARE)
        if place.startswith("s3://"):
            at = settings.model_copy(update={"schedules": place})
            found = make_schedule_files(at, make_aws(closing))
            assert found is not None
            yield found
            return
        path = Path(place).absolute()
        if not path.exists():
            raise UsageError(f"There is no folder or file {place}.", next_step="Name one, or set TASKERMAN_SCHEDULES.")
        yield DeclaredFiles(Folder(path) if path.is_dir() else Folder(path.parent, only=path.name))


def guide() -> Guide:
    """What can be told of the installed actions. Nothing is reached, and nothing imported that is not asked for."""
    return InstalledRunners()


def shipped_schedules() -> ScheduleFiles | None:
    """The examples beside this program, in `configs/tasks`; None where it was installed without them."""
    from taskerman.adapters.schedules import DeclaredFiles, Folder  # noqa: PLC0415

    folder = Path(__file__).parents[2] / _WHERE_SCHEDULES_ARE
    return DeclaredFiles(Folder(folder)) if (folder.parent / "schedule.schema.json").exists() else None


def schedule_text(definition: JsonValue) -> str:
    """A schedule's definition as a file has it."""
    from taskerman.adapters.schedules.writing import schedule_text as text  # noqa: PLC0415

    return text(definition)


def collect_schedules(folder: Path, out: Path | None, *, installed_at: str | None, check: bool) -> Collected:
    """The schedules that scripts in `folder` carry, as one file; it is written to `out`, if that is given and `check`
    is not. Raises what `adapters.schedules.collecting` raises."""
    from taskerman.adapters.schedules.collecting import collect  # noqa: PLC0415

    return collect(folder, out, installed_at=installed_at, check=check)


def upgrade_history(settings: Settings) -> HistoryUpgraded:
    """Make the history's tables, or bring them up to date. Idempotent, and safe while others write or upgrade too.

    Raises `HistorySchema` (a newer build made them), `HistoryUnavailable`, `NotPermitted`, `UsageError`.
    """
    from taskerman.adapters.sql import upgrade  # noqa: PLC0415
    from taskerman.control.history import HistoryUpgraded  # noqa: PLC0415

    return HistoryUpgraded(place=masked(settings.history), revision=upgrade(settings.history))


def sign_document(document: Mapping[str, Any], file: Path, key: str) -> dict[str, Any]:
    """`document` with its signature by the private key in `file`. Raises `UsageError`."""
    from taskerman.adapters.signatures import sign  # noqa: PLC0415

    return sign(document, file, key)


def upload_program(settings: Settings, file: Path, to: str | None, *, name: str, key: Path | None) -> Uploaded:
    """Put a program below `to`, else where the settings say. Raises what `adapters.uploads.upload` raises."""
    from taskerman.adapters.uploads import upload  # noqa: PLC0415

    place = to or settings.uploads
    if not place:
        raise UsageError("Nothing says where to.", next_step="Name it: --to s3://bucket/prefix, or TASKERMAN_UPLOADS.")
    with ExitStack() as closing:
        return upload(make_aws(closing), file, place, name=name, key=key)


def generate_key(file: Path) -> Path:
    """Make a key pair, `file` and `.pub` beside it; the path of that. Raises `UsageError`."""
    from taskerman.adapters.signatures import generate_key as generate  # noqa: PLC0415

    return generate(file)


def identity_digest(user: str, password: str) -> str:
    """What ZooKeeper knows of a user and a password."""
    return Credential(user, password).digest
