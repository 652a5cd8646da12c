"""The base class of every runner, how one is found, and how its arguments are checked.

A runner says how one thing is done to one node. It does not choose nodes, does not retry, does not wait for its turn
and does not decide what a failure means: all of that is done for it.
"""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod

from taskerman.errors import ActionArgsInvalid, ActionUnknown, RunnerMisconfigured
from taskerman.runner.checks import Check, Recovered, Refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import ClassVar, Literal, NoReturn

    from pydantic import BaseModel

    from taskerman.runner.context import Context

__all__ = ["ActionInterrupted", "TaskRunner", "load_runner", "validate_args", "validate_config"]


class ActionInterrupted(BaseException):
    """Raised inside `execute_action` when its soft timeout is over or a person stops it: clean up and let it pass.

    Not an `Exception`, so that `except Exception` in a runner does not swallow it. It is raised once; `finally`
    blocks may take until the hard timeout.
    """


class TaskRunner(ABC):
    """How one thing is done to one node. The hooks take no arguments: `self.ctx` and `self.args` have everything.

    The order is pre_check, execute_action, post_check; each may run in a process of its own, minutes apart, so what a
    later hook must know goes through `ctx.save`. A hook that raises has failed; nothing needs to be caught for us.

    Whatever the action starts has ended when the action ends: processes that are left over (in the background,
    daemonized, in a session of their own) are killed before post_check and named in the log. A service is therefore
    restarted through the machine's service manager (`systemctl restart ...`), never as a child of the action.
    """

    Args: ClassVar[type[BaseModel] | None] = None
    """The model of `action_args`. Unknown keys are refused. Declare `args: Args` beside it for the type checker."""

    Config: ClassVar[type[BaseModel] | None] = None
    """The model of this node's configuration for the runner, `[runners.<runner>]` of its settings file; one for all
    operations of a runner. Unknown keys are refused. None: `ctx.settings` is the runner's own affair. What does not
    fit is answered with `Refuse` in place of `pre_check`. Read it as `self.config`; declare `config: Config` beside it
    for the type checker."""

    when_lost: ClassVar[Literal["verify", "retry", "never"]] = "verify"
    """What to do when nobody can say whether the action happened: ask `recover` and then `post_check`; act again
    (only for actions that may be repeated); or ask nobody and leave it to a person."""

    reboots: ClassVar[bool] = False
    """The action ends by rebooting the machine: a changed boot id means that it happened."""

    replaces: ClassVar[bool] = False
    """The action ends by terminating the machine, and another one takes its place: the slot is held until enough of
    the cluster's machines serve again, which the janitor finds out, because nobody is left on the node to say so."""

    description: ClassVar[str] = ""
    """What the action does to a node, in one line, for people."""

    soft: ClassVar[timedelta | None] = None
    """How long the action may take where a task does not say (`timeout_args.soft_s`); None: as long as any."""

    settle: ClassVar[timedelta | None] = None
    """How long `post_check` is asked again where a task does not say (`timeout_args.settle_s`)."""

    scope: ClassVar[str] = ""
    """The named scope in which each of its attempts takes a place where a task names none: for what is heavy on
    something that many clusters share. One at a time, until somebody declares another capacity."""

    bracket: ClassVar[str] = ""
    """The name of what `cluster_begin` makes so and `cluster_end` undoes; two operations that say the same name share
    it. Empty: the runner's own name."""

    ctx: Context
    args: BaseModel | None
    config: BaseModel | None

    def __init__(self, ctx: Context) -> None:
        """`ctx`: this attempt. Do nothing slow here: it runs before the node's turn has come.

        Raises `ActionArgsInvalid` when the assignment's `action_args` do not fit `Args`.
        """
        self.ctx = ctx
        self.args = validate_args(type(self), ctx.args)
        self.misconfigured = ""
        """What is wrong with this node's configuration; then whoever reads `config` is told so."""
        try:
            self.config = validate_config(type(self), ctx.settings)
        except RunnerMisconfigured as error:
            self.misconfigured = error.what
            self.config = _Unusable(error)  # type: ignore[assignment]

    def look_before(self) -> Check:
        """`pre_check`, which only a node with a valid configuration is asked. What the engine and the harness call."""
        if self.misconfigured:
            return Refuse(self.misconfigured)
        return self.pre_check()

    @abstractmethod
    def pre_check(self) -> Check:
        """Whether to act on this node now. Looks, and changes nothing. May be asked many times."""

    @abstractmethod
    def execute_action(self) -> None:
        """Do it. Returning means done; raising means failed. `ActionInterrupted` may be raised at any point."""

    @abstractmethod
    def post_check(self) -> Check:
        """Whether the node is well now, whoever made it so: also asked after a failed action, and repeatedly.

        Looks, changes nothing, and must not sleep: answer `Wait` and be asked again.
        """

    def recover(self) -> Recovered:
        """Whether the action happened, asked when no end of it was recorded. "The node is well" is no answer."""
        return Recovered.UNKNOWN

    def abort(self) -> None:
        """Stop what goes on without the action's process (a job inside the datastore, a unit that systemd runs).

        Called after an action was interrupted and cleaned up, and, in a new process and for at most 30 s, after one
        that was killed. May be called when there is nothing to stop, and twice.
        """
        return

    def cluster_begin(self) -> None:
        """Make so in the whole cluster what must be while any of its nodes works: silence alerts, stop rebalancing.

        Called on the first node, after its pre_check said Go and before its action; no action begins before one such
        call has returned. Idempotent: it may be called when it is so already, on two nodes, and after a call that was
        killed at any point. Keep nothing with `ctx.save`: whoever undoes it is another attempt, on another node. What
        raises, or takes longer than two minutes, is a failed attempt that never acted.
        """
        return

    def cluster_end(self) -> None:
        """Undo `cluster_begin`. Called on one node after the last has ended, whatever its end, when its task was
        stopped, or when nobody came for long; if need be again and again, until it returns.

        Idempotent: there may be nothing to undo. The node may be one that is not well, or that never acted; nothing
        but `ctx`, `args` and `config` may be relied on.
        """
        return

    @classmethod
    def is_bracketed(cls) -> bool:
        """Whether the cluster is to be told before the first node acts, and after the last."""
        return cls.cluster_begin is not TaskRunner.cluster_begin or cls.cluster_end is not TaskRunner.cluster_end


class _Unusable:
    """In place of a configuration that does not fit. A hook after the action may meet it, where the node was configured
    anew in between: it fails with the reason, and is asked again."""

    def __init__(self, error: RunnerMisconfigured) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error


def load_runner(target: str) -> type[TaskRunner]:
    """The class that `target` (`module:Class`) names. What importing its module raises is passed on.

    Raises `ActionUnknown` when there is no such class, or it is not a `TaskRunner`.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise ActionUnknown(f"{target!r} does not name a runner.", next_step="Write module:Class.")
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or not issubclass(found, TaskRunner):
        what = "is not there" if found is None else "is not a TaskRunner"
        raise ActionUnknown(
            f"The runner {target!r} {what}.", next_step="Check the entry point under taskerman.runners."
        )
    return found


def validate_args(runner: type[TaskRunner], args: Mapping[str, object]) -> BaseModel | None:
    """`args` as an instance of the runner's `Args`, strictly from JSON; None for a runner without arguments.

    Raises `ActionArgsInvalid`, which names each field and what is wrong with it.
    """
    model = runner.Args
    if model is None:
        if args:
            raise _invalid(runner, [f"{key}: unknown argument; this action takes none" for key in sorted(args)])
        return None
    valid, problems = _validate(model, args, "argument", "action_args")
    if problems:
        raise _invalid(runner, problems)
    return valid


def validate_config(runner: type[TaskRunner], settings: Mapping[str, object]) -> BaseModel | None:
    """The node's `settings` for the runner as an instance of its `Config`, strictly; None for one without.

    Raises `RunnerMisconfigured`, which names each key and what is wrong with it.
    """
    model = runner.Config
    if model is None:
        return None
    valid, problems = _validate(model, settings, "key", "the configuration")
    if problems:
        raise RunnerMisconfigured(
            f"This node's configuration for the runner is not accepted: {'; '.join(problems[:20])}.",
            next_step=f"Correct it in the node's settings file. Known: {', '.join(model.model_fields) or 'no key'}.",
        )
    return valid


def _validate(
    model: type[BaseModel], given: Mapping[str, object], noun: str, whole: str
) -> tuple[BaseModel | None, list[str]]:
    """The instance, and what is wrong with `given`, a line each."""
    from pydantic import ValidationError  # noqa: PLC0415  (only a runner with a typed model pays for it)

    # Pydantic ignores unknown keys by default, and an argument with a typing error in its name must not be ignored.
    known = {n for name, field in model.model_fields.items() for n in (name, field.alias) if n is not None}
    unknown = [] if model.model_config.get("extra") == "allow" else sorted(set(given) - known)
    problems = [f"{key}: unknown {noun}" for key in unknown]
    try:
        return model.model_validate_json(json.dumps(dict(given)), strict=True), problems
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False):
            name = ".".join(str(part) for part in problem["loc"]) or whole
            if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
                continue  # said above, in the same words for every model
            message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
            problems.append(f"{name}: {'required, and missing' if problem['type'] == 'missing' else message}")
    return None, problems


def _invalid(runner: type[TaskRunner], problems: list[str]) -> ActionArgsInvalid:
    fields = ", ".join(runner.Args.model_fields) if runner.Args is not None else ""
    return ActionArgsInvalid(
        f"action_args are not accepted: {'; '.join(problems[:20])}.",
        next_step=f"Known arguments: {fields}." if fields else "Leave action_args empty.",
    )
