"""What is done to a daemon from inside, where a machine would do it from below; Python imports this at its start.

CHAOS_CLOCK_FILE: the time of day is wrong by the seconds in that file (absent: by none); monotonic clocks go on.
CHAOS_BREAKAGE: what agents forget, to show that the judge notices: `cap`, the slots of other nodes; `holds`, every
hold; `letters`, to send dead letters, which they then note as sent.
"""

# ruff: noqa: PLC0415  (only what is to be harmed is imported, and only then)
from __future__ import annotations

import os
from datetime import timedelta


def _wrong_clock(path: str) -> None:
    from taskerman.adapters.clock import SystemClock

    right = SystemClock.now

    def now(self):
        try:
            with open(path) as file:
                return right(self) + timedelta(seconds=float(file.read() or 0))
        except FileNotFoundError:
            return right(self)

    SystemClock.now = now  # type: ignore[method-assign]


def _broken(breakage: str) -> None:
    if breakage == "cap":
        from taskerman.policy.snapshot import Snapshot

        Snapshot.others = lambda self, slots: ()  # type: ignore[method-assign]
    elif breakage == "holds":
        from taskerman.model.hold import Hold

        Hold.stops = lambda self, *_: False  # type: ignore[method-assign]
    elif breakage == "letters":
        from taskerman.adapters.sqs import SqsQueues

        whole = SqsQueues.send

        def send(self, queue, body, *args, **kwargs):
            if not queue.endswith("-dead-letter"):
                whole(self, queue, body, *args, **kwargs)

        SqsQueues.send = send  # type: ignore[method-assign]


if "TASKERMAN_NODE_ID" in os.environ and "TASKERMAN_ATTEMPT" not in os.environ:
    if os.environ.get("CHAOS_CLOCK_FILE"):
        _wrong_clock(os.environ["CHAOS_CLOCK_FILE"])
    if os.environ.get("CHAOS_BREAKAGE"):
        _broken(os.environ["CHAOS_BREAKAGE"])
