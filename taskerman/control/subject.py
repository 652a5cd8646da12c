"""What this machine is configured to be: what `doctor` compares with what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskerman.model.ids import ClusterName, NodeId

__all__ = ["Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What this machine is configured to be. `unknown`: variables that look like settings, and are none.

    `isolation`: how attempts are kept apart here, in words; `grouped`: by control groups; `unkept`: which of the limits
    that are set for this node cannot be kept on it. `aws`: boto3's own variables about how AWS is reached, none
    of them a secret.
    """

    node: NodeId | None = None
    clusters: tuple[ClusterName, ...] = ()
    actions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    isolation: str = ""
    grouped: bool = False
    unkept: tuple[str, ...] = ()
    aws: Mapping[str, str] = field(default_factory=dict)
