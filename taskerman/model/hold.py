"""A person's stop sign, and the installation's control record that carries all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import ID, ClusterName, Owner

__all__ = ["LAYOUT", "MAX_ACCEPTS", "MAX_HOLDS", "Control", "Hold", "HoldTarget"]

LAYOUT = 1
MAX_HOLDS = 200
MAX_ACCEPTS = 50

HoldTarget = Annotated[
    str, StringConstraints(pattern=rf"^(\*|cluster:{ID}:{ID}|owner:[A-Za-z0-9][A-Za-z0-9_.@-]{{0,62}})\z")
]
"""`*`, `cluster:<kind>:<name>` or `owner:<owner>`."""


class Hold(Noun):
    """No attempt is taken where it stands; those that run go on. `until` None: until a person removes it."""

    id: str = Field(min_length=1, max_length=63)
    on: HoldTarget
    why: str = Field(min_length=1, max_length=300)
    by: str = Field(max_length=200)
    at: Timestamp
    until: Timestamp | None = None

    @property
    def target(self) -> str:
        """What it stands on, as people type it."""
        return "everything" if self.on == "*" else self.on

    def stops(self, cluster: ClusterName, owner: Owner) -> bool:
        """Whether it stands on this cluster's or this owner's tasks."""
        return self.on in ("*", f"cluster:{cluster}", f"owner:{owner}")


class Control(Noun):
    """`/control`: checked by every take, so a hold that is acknowledged stops what was not yet taken.

    `accepts`: the installations whose nodes a person let go on under this one, the latest last.
    """

    v: Literal[1] = 1
    layout: int = LAYOUT
    installation: str
    holds: tuple[Hold, ...] = ()
    accepts: tuple[str, ...] = ()
