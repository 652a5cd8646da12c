"""The ring of a keyspace: which nodes keep which range of tokens, and what of it a node repairs. Pure.

`nodetool describering` is believed only when its ranges close to a whole ring: one that lacks a range would let a
repair leave it out, or a check not see who keeps it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runners.cassandra.answers import NotUnderstood

__all__ = ["Piece", "TokenRange", "digest", "parse_ring", "pieces"]

_RANGE = re.compile(
    r"TokenRange\(start_token:(-?\d+), end_token:(-?\d+), endpoints:\[(.*?)\], rpc_endpoints:\[.*?\], "
    r"endpoint_details:\[(.*)\]\)"
)
_DETAIL = re.compile(r"EndpointDetails\(host:([^,]+), datacenter:([^,)]+)(?:, rack:([^)]+))?\)")
_RING = 2**64
_LOWEST = -(2**63)


@dataclass(frozen=True, slots=True)
class TokenRange:
    """(start, end], and who keeps it: the first of `endpoints` is its primary. `dcs`: where each of them is."""

    start: int
    end: int
    endpoints: Sequence[str]
    dcs: Mapping[str, str]

    @property
    def width(self) -> int:
        """How many tokens."""
        return (self.end - self.start) % _RING or _RING


@dataclass(frozen=True, slots=True)
class Piece:
    """What one repair command does."""

    keyspace: str
    start: int
    end: int
    endpoints: Sequence[str]

    def __str__(self) -> str:
        return f"{self.keyspace} ({self.start}, {self.end}]"


def parse_ring(text: str) -> list[TokenRange]:
    """`describering KEYSPACE`. Raises `NotUnderstood`."""
    lines = text.splitlines()
    if len(lines) < 3 or not lines[0].startswith("Schema Version:") or lines[1].strip() != "TokenRange:":
        raise NotUnderstood("describering", text[:80])
    ranges: list[TokenRange] = []
    for line in filter(None, map(str.strip, lines[2:])):
        found = _RANGE.fullmatch(line)
        details = _DETAIL.findall(found[4]) if found else []
        endpoints = found[3].split(", ") if found else []
        if found is None or not endpoints[0] or {host for host, _, _ in details} != set(endpoints):
            raise NotUnderstood("describering", line)
        ranges.append(TokenRange(int(found[1]), int(found[2]), endpoints, {host: dc for host, dc, _ in details}))
    # Each range ends where another begins, and together they go round once.
    if {one.start for one in ranges} != {one.end for one in ranges} or sum(one.width for one in ranges) != _RING:
        raise NotUnderstood("describering", "its ranges do not close to a ring")
    return sorted(ranges, key=lambda one: one.start)


def pieces(rings: Mapping[str, Sequence[TokenRange]], address: str, parts: int) -> list[Piece]:
    """What the node at `address` repairs: of each keyspace the ranges whose primary it is, each in `parts`, in an
    order that depends on nothing else. When every node does so, each range is repaired once."""
    return [
        Piece(keyspace, start, end, tuple(one.endpoints))
        for keyspace in sorted(rings)
        for one in rings[keyspace]
        if one.endpoints[0] == address and len(one.endpoints) > 1
        for start, end in _cut(one, parts)
    ]


def digest(of: Sequence[Piece]) -> str:
    """The same for the same pieces, by which a later process knows that its count of them means the same."""
    return hashlib.sha256("\n".join(map(str, of)).encode()).hexdigest()[:16]


def _cut(one: TokenRange, parts: int) -> Iterator[tuple[int, int]]:
    bounds = [one.start + one.width * place // parts for place in range(parts + 1)]
    # The lowest token means "from the beginning" or "to the end" to Cassandra, so no cut is made there.
    inner = [bound for bound in bounds[1:-1] if _token(bound) != _LOWEST]
    cuts = [one.start, *(_token(bound) for bound in inner), one.end]
    for start, end in pairwise(cuts):
        if start != end or len(cuts) == 2:
            yield start, end


def _token(number: int) -> int:
    return (number - _LOWEST) % _RING + _LOWEST
