"""The identities of an installation: as which of four roles a process comes to ZooKeeper."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from taskerman.model.base import Noun

__all__ = ["Digest", "Identities", "Role"]

Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}:[A-Za-z0-9+/]{27}=\z")]
"""`user:base64(sha1(user:password))`, as ZooKeeper's digest scheme names an identity."""


class Role(StrEnum):
    """`control`: routers and people's verbs. `reader`: may look at everything and change nothing."""

    CONTROL = "control"
    JANITOR = "janitor"
    AGENT = "agent"
    READER = "reader"


class Identities(Noun):
    """`/rights`: who is who. Several identities of one role: while a password is being changed."""

    v: Literal[1] = 1
    control: tuple[Digest, ...] = Field(min_length=1)
    janitor: tuple[Digest, ...] = ()
    agent: tuple[Digest, ...] = ()
    reader: tuple[Digest, ...] = ()

    def of(self, role: Role) -> tuple[Digest, ...]:
        """The identities of a role."""
        found: tuple[Digest, ...] = getattr(self, role.value)
        return found
