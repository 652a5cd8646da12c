"""Clients that go on asking while maintenance is done, and what they saw of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Availability", "Load"]


@dataclass(frozen=True, slots=True)
class Availability:
    """`longest_gap_s`: between two requests that succeeded, of any one client. `why`: errors, each once."""

    requests: int
    failed: int
    longest_gap_s: float
    why: tuple[str, ...]


@dataclass
class _Client:
    requests: int = 0
    failed: int = 0
    longest_gap_s: float = 0.0
    last_good: float = field(default_factory=time.monotonic)
    why: dict[str, None] = field(default_factory=dict)


class Load:
    """`clients` threads, each with a client of its own, a request every `every_s` seconds; as a context."""

    def __init__(self, client: Callable[[], Callable[[], None]], *, clients: int = 2, every_s: float = 0.02) -> None:
        """`client`: makes one client; a call of it is one request, which raises when it failed."""
        self._make = client
        self._every_s = every_s
        self._over = threading.Event()
        self._seen = [_Client() for _ in range(clients)]
        self._threads = [threading.Thread(target=self._ask, args=(seen,), daemon=True) for seen in self._seen]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client of the load hangs"

    @property
    def seen(self) -> Availability:
        """So far; a gap that lasts counts up to now."""
        now = time.monotonic()
        gaps = [max(each.longest_gap_s, now - each.last_good) for each in self._seen]
        return Availability(
            requests=sum(each.requests for each in self._seen),
            failed=sum(each.failed for each in self._seen),
            longest_gap_s=max(gaps),
            why=tuple(dict.fromkeys(why for each in self._seen for why in each.why)),
        )

    def _ask(self, seen: _Client) -> None:
        request = self._make()
        seen.last_good = time.monotonic()
        while not self._over.wait(self._every_s):
            seen.requests += 1
            try:
                request()
            except Exception as error:  # whatever a client's library raises is a failed request
                seen.failed += 1
                if len(seen.why) < 20:
                    seen.why[f"{type(error).__name__}: {error}"[:200]] = None
            else:
                now = time.monotonic()
                seen.longest_gap_s = max(seen.longest_gap_s, now - seen.last_good)
                seen.last_good = now
