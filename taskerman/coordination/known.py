"""What never changes once it was read, kept by whoever reads again and again: open tasks' headers, places in queues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from taskerman.coordination import layout
from taskerman.coordination.answers import as_record
from taskerman.model.base import Noun
from taskerman.model.plan import OpenTask, ScopePlace
from taskerman.ports.tree import Get, Reader

__all__ = ["Known"]

N = TypeVar("N", bound=Noun)


@dataclass(slots=True)
class Known:
    """By path. What is gone is forgotten."""

    headers: dict[str, OpenTask] = field(default_factory=dict)
    places: dict[str, ScopePlace] = field(default_factory=dict)

    def read_headers(self, tree: Reader, parent: str, names: Iterable[str]) -> dict[str, OpenTask]:
        """The headers of these children of `parent`, in their order; what is gone since is left out."""
        return _read(tree, OpenTask, self.headers, parent, names)

    def read_places(self, tree: Reader, parent: str, names: Iterable[str]) -> dict[str, ScopePlace]:
        """The same of places in a queue."""
        return _read(tree, ScopePlace, self.places, parent, names)


def _read(tree: Reader, kind: type[N], cache: dict[str, N], parent: str, names: Iterable[str]) -> dict[str, N]:
    paths = [f"{parent}/{name}" for name in names]
    wanted = set(paths)
    for path in [path for path in cache if path.startswith(f"{parent}/") and path not in wanted]:
        del cache[path]
    missing = [path for path in paths if path not in cache]
    for path, answer in zip(missing, tree.read(*(Get(path) for path in missing)), strict=True):
        record = as_record(answer)
        if record is not None:
            cache[path] = layout.decode(kind, record, path)
    return {path: cache[path] for path in paths if path in cache}
