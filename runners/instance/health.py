"""Whether the node is well, by the commands that its configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from taskerman import CommandFailed
from taskerman.runner import Context

__all__ = ["why_ill"]

CHECK_TIMEOUT = timedelta(seconds=20)


def why_ill(ctx: Context, checks: Sequence[Sequence[str]]) -> str:
    """What failed; empty when every check passes. Each may take 20 s."""
    for words in checks:
        try:
            ctx.command(words, timeout=CHECK_TIMEOUT)
        except CommandFailed as failed:
            return str(failed)
    return ""
