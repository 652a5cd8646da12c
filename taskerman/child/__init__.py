"""The process that runs one attempt, and goes on without its agent once the action has begun.

There are two processes in it. The **keeper** leads the session, adopts every orphan, enforces the timeouts, owns the
output and writes the result; it never runs a line of a runner's code, so that nothing a runner does can disarm it.
The **worker** is forked from it, imports the runner and runs one hook at a time. Neither knows queues, slots or
policy: the agent tells the keeper what to do next, over a pipe, and is told what came of it.

This package is imported once an attempt by the child, so it imports little; see `keeper` for the promises.
"""

from __future__ import annotations

import signal

__all__ = ["ABORT_SECONDS", "ABORT_SIGNAL", "IMPORT_SECONDS"]

ABORT_SECONDS = 30.0
"""How long a runner's `abort()` may take in a fresh process, after its action had to be killed."""

IMPORT_SECONDS = 60.0
"""How long it may take to import a runner, before a hook is asked."""

ABORT_SIGNAL = signal.SIGUSR1
"""Tells the keeper what the command "abort" does: an agent that adopted a child has no pipe to it."""
