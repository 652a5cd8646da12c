"""The sources of discovery that are installed: packages announce them as entry points, and what is not asked for is
neither imported nor built.

A document's `discovery` is the name of an entry point of the group `taskerman.discoveries`: a function that is given a
`Setup` and returns a `Discovery`. One that is broken hurts only the documents that name it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import JsonValue

from taskerman.errors import DiscoveryFailed, TaskermanError
from taskerman.ports.discovery import Discovery, Setup

__all__ = ["BUILT_IN", "GROUP", "InstalledDiscoveries"]

GROUP = "taskerman.discoveries"

BUILT_IN = {"aws_tags": "taskerman.adapters.ec2:discovery"}
"""Announced as an entry point like every other, and known all the same where the metadata of an older version lies."""


class InstalledDiscoveries(Mapping[str, Discovery]):
    """By name, as they were when it was first asked. Safe to use from several threads.

    A name that is not installed is a `KeyError`; one that cannot be built raises `DiscoveryFailed`, which is retried,
    or the `UsageError` of the source for settings that are wrong.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, JsonValue]], *, aws: Any = None, group: str = GROUP) -> None:
        """`settings`: of each source, by its name. `aws`: the process's door to AWS."""
        self._settings = settings
        self._aws = aws
        self._group = group
        self._lock = threading.Lock()
        self._built: dict[str, Discovery] = {}
        self._closing = ExitStack()

    def __getitem__(self, name: str) -> Discovery:
        with self._lock:
            if name not in self._built:
                self._built[name] = self._build(name, self._entries[name])
            return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        """Whether it is installed. Builds nothing."""
        return name in self._entries

    def close(self) -> None:
        """Close those that were built and can be closed. Idempotent."""
        with self._lock:
            self._built.clear()
            self._closing.close()

    @cached_property
    def _entries(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        found: dict[str, list[EntryPoint]] = defaultdict(list)
        if self._group == GROUP:
            for name, target in BUILT_IN.items():
                found[name].append(EntryPoint(name, target, self._group))
        for entry in entry_points(group=self._group):
            found[entry.name].append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    def _build(self, name: str, offers: tuple[EntryPoint, ...]) -> Discovery:
        if len({entry.value for entry in offers}) > 1:
            packages = ", ".join(sorted(entry.dist.name if entry.dist else "taskerman" for entry in offers))
            raise DiscoveryFailed(
                f"The discovery {name!r} is offered by more than one package: {packages}.",
                next_step="Uninstall all but one: nobody can say which is meant.",
            )
        try:
            make: Callable[[Setup], Discovery] = offers[0].load()
            built = make(Setup(settings=self._settings.get(name, {}), aws=self._aws))
        except TaskermanError:
            raise
        except Exception as error:  # whatever a foreign module does when it is imported or called
            raise DiscoveryFailed(
                f"The discovery {name!r} is installed as {offers[0].value}, which cannot be used: "
                f"{type(error).__name__}: {error}.",
                next_step="Correct that package.",
            ) from error
        close = getattr(built, "close", None)
        if callable(close):
            self._closing.callback(close)
        return built
