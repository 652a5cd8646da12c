"""What every real store of the tests offers, so that one house and one table of availability serve all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tests.support.stores.member import Member

__all__ = ["Store"]


class Store(Protocol):
    """A running cluster on loopback.

    `kind`: of its cluster's name, and `<kind>_task` is its runner. `members`: in the order in which a plan has them.
    """

    kind: str
    members: Sequence[Member]

    def settings(self, member: Member) -> Mapping[str, Any]:
        """`[runners.<kind>_task]` of the member's node: its restart command asks the supervisor."""
        ...

    def client(self) -> Callable[[], None]:
        """A client of its own, as a careful application has one: each call is one write that is read again, through
        whatever member serves it; it may try another member, at most for two seconds. Raises when it failed."""
        ...

    def wait_until_well(self) -> None:
        """Back when every member serves and is in step. Raises AssertionError, with what was seen, after a minute."""
        ...

    def close(self) -> None:
        """End all of it."""
        ...
