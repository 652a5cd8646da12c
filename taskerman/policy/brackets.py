"""Brackets, decided: who may go in, who must begin it, who may end it. Pure functions of one record and its nodes.

What makes it safe is one rule: whoever goes in, begins or ends writes the bracket's own record at the version that
it read. So an attempt is inside before it acts, and nobody ends a bracket in which an attempt stands. Everything else
(whether a task is over, how long nobody was there) decides only when it is ended, never whether that is safe.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from taskerman.model.attempt import NodeRecord
from taskerman.model.bracket import Bracket, BracketClaim, BracketState
from taskerman.model.ids import ActionName, AttemptId, NodeId, TaskId

__all__ = [
    "HOOK_PATIENCE_S",
    "Begin",
    "Enter",
    "Entrant",
    "NotNow",
    "SeenBracket",
    "Stands",
    "after_begin",
    "after_end",
    "claimed",
    "dropped",
    "enter",
    "may_end",
    "release",
    "to_be_closed",
]

HOOK_PATIENCE_S = 240.0
"""So long one that opens it is waited for; then the next opens it as well, for hooks may be called again."""

_LONGEST_WHY = 1000


@dataclass(frozen=True, slots=True)
class SeenBracket:
    """A bracket and, read after it, the records of the nodes that it names. `age_s`: since it was last written."""

    bracket: Bracket
    nodes: Mapping[NodeId, NodeRecord | None] = field(default_factory=dict)
    age_s: float = 0.0

    def inside(self, but: AttemptId | None = None) -> dict[NodeId, AttemptId]:
        """The attempts that stand inside and have not ended, without `but`."""
        return {
            node: attempt
            for node, attempt in self.bracket.inside.items()
            if attempt != but and _acts(self.nodes.get(node), attempt)
        }

    def claim(self, but: BracketClaim | None = None) -> BracketClaim | None:
        """Who may be calling a hook of it now, unless that is `but` itself."""
        claim = self.bracket.claim
        if claim is None or (but is not None and _same(claim, but)):
            return None
        return claim if claim.stands(self.nodes.get(claim.node)) else None


def _acts(record: NodeRecord | None, attempt: AttemptId) -> bool:
    return record is not None and not record.gone and record.attempt is not None and record.attempt.id == attempt


def _same(one: BracketClaim, other: BracketClaim) -> bool:
    """An attempt outlives its agent: the next agent goes on with what the attempt claimed."""
    if one.attempt is not None or other.attempt is not None:
        return one.attempt == other.attempt
    return one == other


# --- going in --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entrant:
    """An attempt that would act."""

    claim: BracketClaim
    attempt: AttemptId
    task: TaskId
    action: ActionName

    @property
    def node(self) -> NodeId:
        """Whose attempt it is."""
        return self.claim.node


@dataclass(frozen=True, slots=True)
class Stands:
    """It is begun. `after`: what is to be written before the attempt is inside; None: it is already."""

    after: Bracket | None


@dataclass(frozen=True, slots=True)
class Begin:
    """It is to be begun by this attempt, when `after` is written."""

    after: Bracket


class NotNow(Enum):
    """Somebody else calls a hook of it."""

    BEING_OPENED = auto()
    BEING_CLOSED = auto()


Enter = Stands | Begin | NotNow


def enter(seen: SeenBracket, who: Entrant, going_on: Collection[TaskId], now: datetime) -> Enter:
    """What `who` must do before it acts. `going_on`: those of the bracket's tasks that are not over.

    Of a bracket that is being opened another attempt waits a while for the first; then it calls cluster_begin too: the
    first stands inside as long as it may, so its call cannot outlast the bracket. Of one that is being closed it
    waits as long as the closer may be at it: cluster_end must not come after cluster_begin.
    """
    bracket = seen.bracket
    inside = {**seen.inside(), who.node: who.attempt}
    tasks = tuple(dict.fromkeys([*(task for task in bracket.tasks if task in going_on), who.task]))
    other = seen.claim(but=who.claim)
    if bracket.state is BracketState.OPEN:
        if bracket.inside.get(who.node) == who.attempt and who.task in bracket.tasks:
            return Stands(None)
        return Stands(bracket.model_copy(update={"inside": inside, "tasks": tasks}))
    if bracket.state is BracketState.CLOSING and other is not None:
        return NotNow.BEING_CLOSED
    if bracket.state is BracketState.OPENING and other is not None and seen.age_s < HOOK_PATIENCE_S:
        return NotNow.BEING_OPENED
    opening = {
        "state": BracketState.OPENING,
        "tasks": tasks if bracket.state is not BracketState.CLOSED else (who.task,),
        "inside": inside,
        "claim": who.claim,
        "action": who.action,
        "since": now,
        "tries": 0,
        "why": "",
    }
    return Begin(bracket.model_copy(update=opening))


def after_begin(bracket: Bracket, who: Entrant, now: datetime) -> Bracket | None:
    """The bracket after cluster_begin of `who` has returned. None: it is not being opened with `who` inside."""
    if bracket.state is not BracketState.OPENING or bracket.inside.get(who.node) != who.attempt:
        return None
    claim = None if bracket.claim is not None and _same(bracket.claim, who.claim) else bracket.claim
    return bracket.model_copy(update={"state": BracketState.OPEN, "claim": claim, "since": now})


# --- ending it -------------------------------------------------------------------------------------------


def may_end(seen: SeenBracket, me: BracketClaim, going_on: Collection[TaskId]) -> bool:
    """Whether `me` may call cluster_end, once it is claimed: nobody else stands inside or calls a hook, and its tasks
    are over or a janitor found that nobody comes. `going_on`: as `me` knows it, its own task's end foreseen."""
    bracket = seen.bracket
    if bracket.state is BracketState.CLOSED or seen.inside(but=me.attempt) or seen.claim(but=me) is not None:
        return False
    return bracket.state is BracketState.CLOSING or not set(bracket.tasks) & set(going_on)


def claimed(bracket: Bracket, me: BracketClaim, now: datetime) -> Bracket:
    """The bracket, with `me` about to call cluster_end."""
    since = bracket.since if bracket.state is BracketState.CLOSING else now
    return bracket.model_copy(update={"state": BracketState.CLOSING, "claim": me, "since": since})


def after_end(
    bracket: Bracket, me: BracketClaim, now: datetime, failed: str | None, *, stopped: bool
) -> Bracket | None:
    """The bracket after cluster_end was called. `failed`: why it did, None: it has not. `stopped`: nothing of it runs.

    What cannot be stopped goes on calling: then the claim stands as long as that agent lives. None: it is not being
    closed by `me` any more.
    """
    if bracket.state is not BracketState.CLOSING or bracket.claim is None or not _same(bracket.claim, me):
        return None
    if failed is None and stopped:
        return release(bracket, now)
    claim = None if stopped else BracketClaim(node=me.node, epoch=me.epoch)
    why = failed or "cluster_end returned, and what it started could not be stopped"
    return bracket.model_copy(update={"claim": claim, "tries": bracket.tries + 1, "why": why[:_LONGEST_WHY]})


def release(bracket: Bracket, now: datetime, why: str = "") -> Bracket:
    """The bracket, closed."""
    closed: dict[str, object] = {"state": BracketState.CLOSED, "tasks": (), "inside": {}, "claim": None, "tries": 0}
    return bracket.model_copy(update={**closed, "why": why[:_LONGEST_WHY], "since": now})


# --- a janitor's ------------------------------------------------------------------------------------------


def to_be_closed(bracket: Bracket, now: datetime, why: str) -> Bracket:
    """The bracket, to be closed by whichever node is rung first; an attempt that comes before opens it again."""
    return bracket.model_copy(update={"state": BracketState.CLOSING, "claim": None, "since": now, "why": why})


def dropped(bracket: Bracket, why: str) -> Bracket:
    """The bracket, without the claim of a node that has said nothing for longer than a hook may take."""
    return bracket.model_copy(update={"claim": None, "tries": bracket.tries + 1, "why": why[:_LONGEST_WHY]})
