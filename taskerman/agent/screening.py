"""Whether an assignment is this node's to do at all: its clusters, its allow list, its build."""

from __future__ import annotations

from dataclasses import dataclass

from taskerman.agent.holding import Held
from taskerman.agent.profile import Profile
from taskerman.errors import ActionArgsInvalid, ActionForbidden, ActionUnknown, ClusterForeign
from taskerman.model.plan import Plan
from taskerman.ports.catalog import Catalog

__all__ = ["Defer", "Reject", "Screen"]

_UNKNOWN_WAIT_S = 600.0
_UNKNOWN_TIMES = 6


@dataclass(frozen=True, slots=True)
class Reject:
    """Never here. `code`: of the error that says why."""

    why: str
    code: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Not with this build; a newer one may come within the hour."""

    why: str
    wait_s: float


class Screen:
    """The questions that need neither ZooKeeper nor a slot."""

    def __init__(self, profile: Profile, catalog: Catalog, *, unknown_wait_s: float = _UNKNOWN_WAIT_S) -> None:
        """`unknown_wait_s`: how long to wait before asking again for an action that this build does not know."""
        self._profile = profile
        self._catalog = catalog
        self._unknown_wait_s = unknown_wait_s

    def judge(self, plan: Plan, held: Held, now: float) -> Reject | Defer | None:
        """None: it may go on. An unknown action is deferred for an hour: fleets are upgraded over hours.

        `now`: monotonic seconds.
        """
        task = plan.task
        if task.cluster_name not in self._profile.clusters:
            own = ", ".join(self._profile.clusters)
            return Reject(f"{self._profile.node} belongs to {own}, not to {task.cluster_name}.", ClusterForeign.code)
        if not self._profile.allows(task.action):
            return Reject(
                f"{task.action} is not among the actions that {self._profile.node} allows (TASKERMAN_ACTIONS).",
                ActionForbidden.code,
            )
        try:
            self._catalog.check_args(task.action, task.taskerman_params.action_args)
        except (ActionUnknown, ActionArgsInvalid) as error:
            held.unknown_since = now if held.unknown_since is None else held.unknown_since
            if now - held.unknown_since >= _UNKNOWN_TIMES * self._unknown_wait_s:
                return Reject(str(error), error.code)
            return Defer(f"{error} It looks again, in case this node is upgraded.", self._unknown_wait_s)
        held.unknown_since = None
        return None
