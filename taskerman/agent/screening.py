"""Whether an assignment is this node's to do at all: its clusters, its allow list, its build."""

from __future__ import annotations

from dataclasses import dataclass

from taskerman.agent.holding import Held
from taskerman.agent.profile import Profile
from taskerman.errors import (
    ActionArgsInvalid,
    ActionForbidden,
    ActionUnknown,
    ClusterForeign,
    ClusterMissing,
    LimitsNotKept,
    RefusedByState,
)
from taskerman.model.plan import Plan
from taskerman.model.task import TaskDocument
from taskerman.policy.bounds import asked_by
from taskerman.ports.catalog import Catalog

__all__ = ["Defer", "Reject", "Screen"]

_UNKNOWN_TIMES = 6


@dataclass(frozen=True, slots=True)
class Reject:
    """Never here. `code`: of the error that says why."""

    why: str
    code: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Not with this build; a newer one may come within the hour. `until`: monotonic seconds."""

    why: str
    until: float


class Screen:
    """The questions that need neither ZooKeeper nor a slot."""

    def __init__(self, profile: Profile, catalog: Catalog, kept: frozenset[str]) -> None:
        """As the node is configured, and what is installed on it. `kept`: the limits that this machine keeps."""
        self._profile = profile
        self._kept = kept
        self._catalog = catalog

    def judge(self, plan: Plan, held: Held, now: float) -> Reject | Defer | None:
        """None: it may go on. An unknown action is deferred, and rejected after an hour: upgrades of fleets take hours.

        `now`: monotonic seconds. Between two looks for an unknown action the first answer stands: looking imports the
        runner, and what fails to be imported may do anything else.
        """
        task = plan.task
        never = self._foreign(plan) or self._never(task)
        if never is not None:
            return never
        if now < held.unknown_until:
            return Defer(held.unknown_why, held.unknown_until)
        try:
            self._catalog.check_args(task.action, task.taskerman_params.action_args)
        except (ActionUnknown, ActionArgsInvalid) as error:
            wait_s = self._profile.unknown_action.total_seconds()
            held.unknown_since = now if held.unknown_since is None else held.unknown_since
            if now - held.unknown_since >= _UNKNOWN_TIMES * wait_s:
                return Reject(str(error), error.code)
            held.unknown_until = now + wait_s
            held.unknown_why = f"{error} It looks again, in case this node is upgraded."
            return Defer(held.unknown_why, held.unknown_until)
        held.unknown_since = None
        return self._unwatched(plan)

    def _foreign(self, plan: Plan) -> Reject | None:
        """A slot is taken in each cluster of the node: no more is done for a plan that knows fewer than for a foreign
        one."""
        profile, cluster = self._profile, plan.task.cluster_name
        if cluster not in profile.clusters:
            own = ", ".join(profile.clusters)
            return Reject(f"{profile.node} belongs to {own}, not to {cluster}.", ClusterForeign.code)
        planned = plan.node(profile.node)
        missing = sorted(set(profile.clusters) - set(planned.scopes)) if planned is not None else []
        if not missing:
            return None
        return Reject(
            f"{profile.node} is also of {', '.join(missing)}, where the plan takes no slot: that was not known when "
            "the task was planned. Submit the task again.",
            ClusterMissing.code,
        )

    def _unwatched(self, plan: Plan) -> Reject | None:
        """A machine is replaced only under a janitor that holds its slot until another one serves."""
        task, planned = plan.task, plan.node(self._profile.node)
        if not self._catalog.traits(task.action).replaces:
            return None
        if not plan.accepted.replaces:
            return Reject(
                f"{task.action} has its machine replaced, and the router that planned {task.task_id} did not know it, "
                "so nobody would wait for the successor. Upgrade the routers, and submit the task again.",
                RefusedByState.code,
            )
        if planned is not None and len(planned.clusters) > 1:
            return Reject(
                f"{planned.id} is of {', '.join(planned.clusters)}: whether a successor serves is known of one cluster "
                "only. Replace it by hand.",
                RefusedByState.code,
            )
        return None

    def _never(self, task: TaskDocument) -> Reject | None:
        """What no upgrade of this node changes."""
        node = self._profile.node
        if not self._profile.allows(task.action):
            return Reject(
                f"{task.action} is not among the actions that {node} allows (TASKERMAN_ACTIONS).", ActionForbidden.code
            )
        if unkept := asked_by(task.taskerman_params.timeout_args).names - self._kept:
            return Reject(
                f"{node} has no control groups that keep {' and '.join(sorted(unkept))}, which the task asks for: "
                "`taskerman doctor` on that node says why.",
                LimitsNotKept.code,
            )
        return None
