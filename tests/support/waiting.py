"""Waiting for a condition with a deadline: what stands in for every sleep in the tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["until"]

_T = TypeVar("_T")


def until(condition: Callable[[], _T], why: str, *, within_s: float = 15.0) -> _T:
    """Ask until the answer is truthy, and return it. Fails with `why` when it is not so in time."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {why}")
        time.sleep(0.005)
    return answer
