"""What `doctor` says of the history's database and of the keys of signatures: of each only where it is configured.

Nothing is written and no file is made; whether one may write is asked with statements that concern no row.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.subject import Subject
from taskerman.control.values import Finding
from taskerman.errors import HistorySchema, UsageError

__all__ = ["history_here", "keys_here"]


def history_here(subject: Subject) -> Sequence[Finding]:
    """Whether it is reached, has this build's schema, and may be written. Raises what looking at it raises."""
    if subject.history is None:
        return []
    seen = subject.history()
    if seen.there != seen.needed:
        return [_unfit(subject, seen.place, seen.there, seen.needed, behind=seen.behind)]
    text = f"{seen.place} answers, with schema {seen.there}"
    if seen.denied:
        step = "People may read it so; a janitor could not. Correct TASKERMAN_HISTORY_URL, or grant its user the right."
        return [Finding(what="history", level="warn", text=f"{text}. It cannot be written: {seen.denied}",
                        next_step=step)]  # fmt: skip
    return [Finding(what="history", level="ok", text=f"{text}, and may be written.")]


def _unfit(subject: Subject, place: str, there: str | None, needed: str, *, behind: bool) -> Finding:
    has = "has no tables yet" if there is None else f"has schema {there}, and this build needs {needed}"
    if not behind:
        text = f"{place} has schema {there}, made by a newer build; this one knows {needed}."
        return Finding(what="history", level="fail", text=text, next_step="Upgrade this build.",
                       exit_code=HistorySchema.exit_code)  # fmt: skip
    if subject.history_upgrade:
        step = "A janitor does that when it first records something; or `taskerman history upgrade`, now."
        return Finding(what="history", level="warn", text=f"{place} {has}.", next_step=step)
    return Finding(
        what="history",
        level="fail",
        text=f"{place} {has}, and TASKERMAN_HISTORY_UPGRADE forbids janitors to do that.",
        next_step="Run `taskerman history upgrade`.",
        exit_code=HistorySchema.exit_code,
    )


def keys_here(subject: Subject) -> Sequence[Finding]:
    """Whether each key that routers here would take can be read, and what becomes of an unsigned document."""
    found: list[Finding] = []
    read: list[str] = []
    for name, owners_of in sorted(subject.keys.items()):
        try:
            owners = owners_of()
        except UsageError as error:
            found.append(
                Finding(
                    what=f"signature key {name}",
                    level="fail",
                    text=f"{error.code}: {error.what} No router with these settings starts.",
                    next_step=error.next_step,
                    exit_code=error.exit_code,
                )
            )
        else:
            read.append(f"{name} (for {', '.join(owners) or 'anybody'})")
    if subject.signed_only and not subject.keys:
        text = "Documents must be signed, and no key is accepted: no router with these settings starts."
        step = "Name the keys in TASKERMAN_SIGNATURE_KEYS."
        found.append(
            Finding(what="signatures", level="fail", text=text, next_step=step, exit_code=UsageError.exit_code)
        )
    if read:
        others = "is refused" if subject.signed_only else "is taken as well (TASKERMAN_SIGNATURES_REQUIRED)"
        text = f"Routers here take the keys {', '.join(read)}. A document that is not signed {others}."
        found.append(Finding(what="signatures", level="ok", text=text))
    return found
