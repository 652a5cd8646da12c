"""A command of this host under a slot: it begins when its scope has room, and its slot outlives whatever dies here.

Knows nothing of tasks but that their slots are in the same scopes. Frees a slot only when the command is known to have
ended; a clock never frees one.
"""

from __future__ import annotations

from taskerman.exclusive.kit import Kit, Order
from taskerman.exclusive.whole import run_exclusively

__all__ = ["Kit", "Order", "run_exclusively"]
