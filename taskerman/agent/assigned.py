"""What an attempt is about, as its agent found it, and what a child of it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from pydantic import JsonValue

from taskerman.agent.attempt_files import read_saved
from taskerman.agent.child_talk import ChildSpec
from taskerman.agent.kit import Kit
from taskerman.agent.machine import boot_id
from taskerman.errors import TaskermanError
from taskerman.model.attempt import Attempt
from taskerman.model.ids import AttemptId
from taskerman.model.plan import Plan
from taskerman.model.task import ActionTraits
from taskerman.policy.bounds import asked_by

__all__ = ["Assigned", "assigned", "child_spec", "directory_of"]


@dataclass(frozen=True, slots=True)
class Assigned:
    """`target`: the runner's class. `settings`: the node's configuration for it."""

    plan: Plan
    attempt: Attempt
    node: str
    target: str
    traits: ActionTraits
    settings: Mapping[str, JsonValue]


def assigned(kit: Kit, plan: Plan, attempt: Attempt) -> Assigned:
    """Look up what the action needs here. A build that does not know the action lets the child say what is missing."""
    action = plan.task.action
    try:
        target, traits = kit.catalog.target(action), kit.catalog.traits(action)
    except TaskermanError:
        target, traits = action, ActionTraits()
    return Assigned(plan, attempt, kit.node, target, traits, _settings(kit, action))


def child_spec(kit: Kit, plan: Plan, attempt: AttemptId, target: str, *, fence: int) -> ChildSpec:
    """What a child of `attempt` is given, with what earlier ones saved; its control group is made and bound.

    Raises `OSError`: there is no group to be had, or the boot id is not known.
    """
    task = plan.task
    bounds = kit.profile.bounds.tightened(asked_by(task.taskerman_params.timeout_args))
    return ChildSpec(
        attempt=attempt,
        assignment=plan.assignment(kit.node),
        node=kit.node,
        cluster=task.cluster_name,
        nodes=[planned.id for planned in plan.nodes],
        cap=plan.cap,
        fence=fence,
        boot_id=boot_id(kit.profile.boot_id_path),
        target=target,
        args=task.taskerman_params.action_args,
        settings=_settings(kit, task.action),
        saved=read_saved(directory_of(kit, attempt)),
        cgroup=kit.isolation.enclose(attempt, bounds),
        bounds=bounds,
        rlimit_memory_mb=kit.isolation.rlimit_memory_mb(bounds),
        log_form=kit.profile.log_form,
        accepted_at=plan.accepted.at.astimezone(UTC).isoformat(),
    )


def directory_of(kit: Kit, attempt: AttemptId) -> Path:
    """The attempt's own folder: its log, its result, what it saved."""
    return kit.journal.attempts() / attempt


def _settings(kit: Kit, action: str) -> Mapping[str, JsonValue]:
    return kit.profile.runners.get(action.partition(":")[0], {})
