"""The moves of a person: HOLD, CANCEL, RESUME, REDRIVE, DISCARD, RELEASE, SET SCOPE, SET GROUP, each audited.

The audit entry is in the move's own commit.

Each changes a record that every take checks, so an acknowledgement means that nothing is taken after it; what had
been taken before is read after the change, and named in the acknowledgement.
"""

from __future__ import annotations

from taskerman.coordination.belonging import AcceptVerbs
from taskerman.coordination.brackets import BracketVerbs
from taskerman.coordination.breakers import BreakerVerbs
from taskerman.coordination.groups import GroupVerbs
from taskerman.coordination.holds import HoldVerbs
from taskerman.coordination.letters import LetterVerbs
from taskerman.coordination.scopes import ScopeVerbs
from taskerman.coordination.slots import Released, SlotVerbs
from taskerman.coordination.tasks import TaskVerbs
from taskerman.coordination.verbs import Clock

__all__ = ["Clock", "OperatorMoves", "Released"]


class OperatorMoves(
    HoldVerbs,
    TaskVerbs,
    LetterVerbs,
    SlotVerbs,
    ScopeVerbs,
    BreakerVerbs,
    BracketVerbs,
    AcceptVerbs,
    GroupVerbs,
):
    """What a person does to the tree, as `by`. Keeps nothing; each verb may be repeated after an error.

    All raise `CoordinationUnavailable`, `RefusedByState` (nothing was changed), `NotFound`.
    """
