"""The janitor: does what nobody else is there to do. One leads, any number stand by; it keeps nothing but watches.

It never frees a slot by a clock, and never ends what acts without proof that its machine is terminated. Every move is
a transaction with its own conditions, so two leaders for a moment, or one that was frozen, do no harm.
"""

from __future__ import annotations

from taskerman.janitor.daemon import Janitor

__all__ = ["Janitor"]
