"""What `synchronous_standby_names` asks for: how many replicas must confirm a commit, and which count.

Pure. The syntax is that of the documentation of PostgreSQL: `[FIRST] n (names)`, `ANY n (names)`, or `names`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SyncNames", "parse"]

_FORM = re.compile(r"^\s*(?:(?:(?:FIRST|ANY)\s+)?(\d+)\s*\((.*)\)|(.*?))\s*$", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class SyncNames:
    """`needed`: how many must confirm; 0 when commits wait for nobody. `names`: in lower case; "*" is everybody."""

    needed: int
    names: tuple[str, ...]

    def count(self, standbys: Sequence[str]) -> int:
        """How many of `standbys` (names, also the same several times) may confirm."""
        return sum("*" in self.names or name.lower() in self.names for name in standbys)

    def satisfied_by(self, standbys: Sequence[str]) -> bool:
        """Whether commits go on with these."""
        return self.count(standbys) >= self.needed


def parse(text: str) -> SyncNames:
    """The setting, as a server accepts it. Raises `ValueError` for anything else."""
    if not text.strip():
        return SyncNames(0, ())
    found = _FORM.match(text)
    assert found is not None, "the last alternative takes everything"
    number, inside, plain = found.groups()
    listed = inside if number is not None else plain
    names: list[str] = []
    at = 0
    while at < len(listed):
        name = _NAME.match(listed, at)
        if name is None:
            raise ValueError(f"synchronous_standby_names cannot be read: {text!r:.200}")
        names.append((name[1].replace('""', '"') if name[1] is not None else name[2]).lower())
        at = name.end()
    if not names:
        raise ValueError(f"synchronous_standby_names cannot be read: {text!r:.200}")
    return SyncNames(int(number) if number is not None else 1, tuple(names))
