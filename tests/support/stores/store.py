"""What every real store of the tests offers, so that one house and one table of availability serve all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Store", "Supervised"]


class Supervised(Protocol):
    """One server of a store, as tests use it; `Member` is one."""

    @property
    def name(self) -> str:
        """Of the server."""
        ...

    @property
    def pid(self) -> int | None:
        """Of the server; None while it is down."""
        ...

    def ask(self, verb: str) -> str:
        """The supervisor's answer, "ok ..." or "failed ..."."""
        ...

    def must(self, verb: str) -> None:
        """The same. Raises RuntimeError for "failed"."""
        ...


class Store(Protocol):
    """A running cluster on loopback.

    `kind`: of its cluster's name, and `<kind>_task` is its runner. `members`: in the order in which a plan has them.
    """

    kind: str

    @property
    def members(self) -> Sequence[Any]:
        """Each a `Supervised`; a store knows more of its own."""
        ...

    def settings(self, member: Any) -> Mapping[str, Any]:
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
