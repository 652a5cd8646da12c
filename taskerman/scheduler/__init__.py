"""The scheduler: turns declared schedules into task documents, on time. One leads, any number stand by.

It keeps no state but a copy of the records. Each firing is first committed to its schedule's record and then sent, so
that whoever takes over sends the same text under the same id; two leaders for a moment do no harm. It runs nothing,
and knows no cluster: what a document means is judged by routers.
"""

from __future__ import annotations

from taskerman.scheduler.daemon import Scheduler

__all__ = ["Scheduler"]
"""The daemon."""
