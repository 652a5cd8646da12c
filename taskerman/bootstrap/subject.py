"""What this machine is configured to be, for `doctor`: what can be told from the settings and from the disk.

What costs a look is handed over as a question, so that `doctor` asks it and no start of a daemon does.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from taskerman.agent.isolation import detect
from taskerman.masking import masked
from taskerman.model.ids import Owner
from taskerman.settings import Loaded, Settings, SignatureKey

if TYPE_CHECKING:  # what only some processes need is imported where it is opened: an agent at rest stays small
    from taskerman.control import Subject
    from taskerman.control.subject import HistorySeen

__all__ = ["subject_of"]


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
