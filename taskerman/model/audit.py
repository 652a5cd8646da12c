"""Who changed what, when and why: written by the verb's own transaction, so that no change is without its entry."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from taskerman.model.base import Noun, Timestamp

__all__ = ["AuditEntry"]


class AuditEntry(Noun):
    """`/audit/<seq>`. `id`: drawn by the verb, to find out whether it happened. `by`: as claimed by the caller."""

    v: Literal[1] = 1
    id: str
    at: Timestamp
    by: str = Field(max_length=200)
    verb: str
    target: str
    why: str = ""
