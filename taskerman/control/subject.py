"""What this machine is configured to be: what `doctor` compares with what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from taskerman.model.ids import ClusterName, NodeId, Owner

__all__ = ["HistorySeen", "Subject"]


@dataclass(frozen=True, slots=True)
class HistorySeen:
    """How the history's database stands. `place`: without its password. `there`: the schema that it has, None: none
    yet; `needed`: this build's. `behind`: an upgrade would help. `denied`: why this machine cannot write there."""

    place: str
    there: str | None
    needed: str
    behind: bool
    denied: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What this machine is configured to be. `unknown`: variables that look like settings, and are none.

    `isolation`: how attempts are kept apart here, in words; `grouped`: by control groups; `unkept`: which of the limits
    that are set for this node cannot be kept on it. `aws`: boto3's own variables about how AWS is reached, none
    of them a secret.
    `history`: looks at its database; None: none is meant to be here. `history_upgrade`: a janitor here upgrades it.
    `keys`: of signatures, each with what reads it; `signed_only`: routers here refuse what is not signed.
    """

    node: NodeId | None = None
    clusters: tuple[ClusterName, ...] = ()
    actions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    isolation: str = ""
    grouped: bool = False
    unkept: tuple[str, ...] = ()
    aws: Mapping[str, str] = field(default_factory=dict)
    history: Callable[[], HistorySeen] | None = None
    history_upgrade: bool = True
    keys: Mapping[str, Callable[[], tuple[Owner, ...]]] = field(default_factory=dict)
    signed_only: bool = False
