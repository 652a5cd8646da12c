"""`kafka_task:config_reload`: sets and removes dynamic settings of the node's broker, without a restart.

What the broker takes only with a restart it refuses itself, all of it at once and before anything changed; that answer
fails the action by the setting's name.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runners.kafka.answers import NotUnderstood
from runners.kafka.operation import Operation, waited_for
from runners.kafka.tools import CannotAsk, MayNotAsk
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, Wait, steadily

__all__ = ["ConfigReload"]

_STATIC = "Cannot update these configs dynamically"


class NotTaken(Exception):
    """The broker did not take the settings; the text says which, and why."""


class ConfigReload(Operation):
    """Compares before and after; what is so already is skipped, and what the tool does not confirm has not happened."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        set: dict[str, str] = Field(default_factory=dict, description="dynamic settings of the broker, by name")
        remove: tuple[str, ...] = Field(
            default=(), description="dynamic settings that are removed, so that the file or the default counts again"
        )

        @field_validator("set")
        @classmethod
        def _can_be_said(cls, value: dict[str, str]) -> dict[str, str]:
            for name, one in value.items():
                if any(mark in name + one for mark in "[]\n\r") or "=" in name or "," in name:
                    raise ValueError(f"{name}: brackets and line ends cannot be said to kafka-configs")
            return value

        @model_validator(mode="after")
        def _something(self) -> ConfigReload.Args:
            if not self.set and not self.remove:
                raise ValueError("name a setting in set or remove")
            if both := sorted({*self.set} & {*self.remove}):
                raise ValueError(f"{both[0]} is in set and in remove")
            return self

    args: Args
    description = "sets and removes dynamic settings of the node's broker"
    when_lost = "retry"
    soft = timedelta(minutes=5)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when the broker answers, knows the settings, and has other values."""
        return self.answered(self._compare)

    def execute_action(self) -> None:
        """Note what was, then change all of it in one request. Raises `NotTaken`, `CommandFailed`."""
        there = self.tools.settings()
        names = [*self.args.set, *self.args.remove]
        self.ctx.save(before={name: there[name].dynamic if name in there else None for name in names}, asked=True)
        words = ["--alter", "--entity-type", "brokers", "--entity-name", str(self.config.node_id)]
        if self.args.set:
            words += ["--add-config", ",".join(f"{name}={_said(value)}" for name, value in self.args.set.items())]
        if removed := [name for name in self.args.remove if name in there and there[name].dynamic is not None]:
            words += ["--delete-config", ",".join(removed)]
        if not self.args.set and not removed:
            return
        try:
            answer = self.tools.do("configs", *words)
        except CommandFailed as failed:
            if _STATIC in failed.tail:
                line = next(line for line in failed.tail.splitlines() if _STATIC in line)
                raise NotTaken(f"{line.strip()[:300]}; set it in server.properties and restart") from None
            raise
        if f"Completed updating config for broker {self.config.node_id}." not in answer.output:
            raise NotTaken(f"kafka-configs did not confirm it: {answer.output.strip()[-300:]}")
        self.ctx.save(confirmed=True)

    def post_check(self) -> Check:
        """The broker itself says the new values, and its peers have it registered."""
        return steadily(self.ctx, waited_for(self.answered(self._taken)), over_s=2.0)

    def recover(self) -> Recovered:
        """Compare what is with what was noted before, and with what is wanted."""
        before = self.ctx.saved.get("before")
        if not self.ctx.saved.get("asked") or not isinstance(before, dict):
            return Recovered.NOT_DONE
        try:
            there = self.tools.settings()
        except (CannotAsk, MayNotAsk, NotUnderstood) as error:
            self.ctx.log("does not know", why=str(error))
            return Recovered.UNKNOWN
        now = {name: there[name].dynamic if name in there else None for name in before}
        if now == self._wanted():
            return Recovered.DONE
        return Recovered.NOT_DONE if now == before else Recovered.UNKNOWN

    # --- the parts ---------------------------------------------------------------------------------------

    def _wanted(self) -> dict[str, str | None]:
        return {**self.args.set, **dict.fromkeys(self.args.remove)}

    def _compare(self) -> Check:
        own = self.tools.brokers().get(self.config.node_id)
        if own is None or own.trouble or own.fenced:
            return Wait(f"broker {self.config.node_id} is not registered, or does not answer")
        there = self.tools.settings()
        if unknown := [name for name in self.args.set if name not in there]:
            return Refuse(f"the broker does not know {', '.join(unknown)}")
        if secret := [name for name in self.args.set if there[name].sensitive]:
            return Refuse(
                f"{', '.join(secret)} is secret: it cannot be compared, and should not stand in a task; set it by hand"
            )
        wanted = self._wanted()
        if all((there[name].dynamic if name in there else None) == value for name, value in wanted.items()):
            return Skip("the broker has these settings already")
        return Go()

    def _taken(self) -> Check:
        own = self.tools.brokers().get(self.config.node_id)
        if own is None or own.trouble or own.fenced:
            return Wait(f"broker {self.config.node_id} is not registered, or does not answer")
        there = self.tools.settings()
        if not self.ctx.saved.get("asked"):
            return Go()  # nothing was changed
        now = {name: there[name].dynamic if name in there else None for name in self._wanted()}
        wrong = [f"{name} is {now[name]}, not {value}" for name, value in self._wanted().items() if now[name] != value]
        if wrong and (self.ctx.saved.get("confirmed") or now != self.ctx.saved.get("before")):
            return Wait(f"not as it was set: {'; '.join(wrong)}")
        return Go()


def _said(value: str) -> str:
    """A value with commas stands in brackets."""
    return f"[{value}]" if "," in value else value
