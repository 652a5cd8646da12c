"""Reading many records: in batches, because ten thousand questions at once would be one long silence."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination.snapshot import as_record
from taskerman.ports.tree import Get, Record, Tree

__all__ = ["BATCH", "get_each"]

BATCH = 500


def get_each(tree: Tree, paths: Sequence[str]) -> list[Record | None]:
    """The record at each path, in the order given. Not one snapshot. Raises `CoordinationUnavailable`."""
    found: list[Record | None] = []
    for start in range(0, len(paths), BATCH):
        found += [as_record(answer) for answer in tree.read(*(Get(path) for path in paths[start : start + BATCH]))]
    return found
