"""`elasticsearch_task:rollover`: a new index behind an alias when one of some conditions is met, and only once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runners.elasticsearch.config import ElasticsearchConfig
from runners.elasticsearch.http import Client, NotUnderstood, Refused, Unreachable
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait

__all__ = ["Rollover"]


class NotRolledOver(Exception):
    """The cluster did not do it."""


class Rollover(TaskRunner):
    """Asks the cluster whether it would, and then has it done."""

    class Args(BaseModel):
        """Of a rollover; at least one condition."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        alias: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,254}$", description="the write alias, or a data stream")
        max_age: str | None = Field(default=None, pattern=r"^\d+[dhms]$", description="of the index, such as 7d")
        max_docs: int | None = Field(default=None, ge=1, description="documents in the index")
        max_size: str | None = Field(default=None, pattern=r"^\d+(gb|mb|tb)$", description="of its primaries together")
        max_primary_shard_size: str | None = Field(
            default=None, pattern=r"^\d+(gb|mb|tb)$", description="of its largest primary"
        )

        @model_validator(mode="after")
        def _some_condition(self) -> Rollover.Args:
            if not self.conditions:
                raise ValueError("at least one condition is needed: without one every attempt would roll over")
            return self

        @property
        def conditions(self) -> dict[str, Any]:
            """As the API has them."""
            return {name: value for name, value in self.model_dump().items() if name != "alias" and value is not None}

    Config = ElasticsearchConfig
    args: Args
    config: ElasticsearchConfig
    description = "begins a new index behind an alias when a condition is met"
    soft = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when a condition is met now and no primary is missing."""
        try:
            would = self._roll(dry=True)
            health = self._client().get("/_cluster/health")["status"]
            met = [name for name, value in would["conditions"].items() if value]
            old = str(would["old_index"])
        except Unreachable as error:
            return Wait(str(error))
        except Refused as error:
            return Refuse(str(error)) if error.status < 500 else Wait(str(error))
        except (NotUnderstood, KeyError, TypeError, AttributeError) as error:
            return Refuse(f"an answer is not what was expected: {error}")
        if not met:
            return Skip(f"no condition is met for {old}")
        if health == "red":
            return Wait("the cluster is red: primaries are missing", of="cluster")
        self.ctx.save(old=old)
        return Go()

    def execute_action(self) -> None:
        """Roll over, under the same conditions: who was faster leaves nothing to do. Raises `NotRolledOver`."""
        self.ctx.save(asked=True)
        done = self._roll(dry=False)
        if done.get("rolled_over"):
            self.ctx.log("rolled over", old=done.get("old_index"), new=done.get("new_index"))
        elif self._write_index() == self.ctx.saved.get("old"):
            raise NotRolledOver(f"{self.args.alias} still writes to {self.ctx.saved.get('old')}")

    def post_check(self) -> Check:
        """Well when the alias has an index to write to and no primary is missing."""
        try:
            self._write_index()
            health = self._client().get("/_cluster/health")["status"]
        except (Unreachable, Refused, NotUnderstood, KeyError, TypeError) as error:
            return Wait(str(error))
        return Wait("the cluster is red: primaries are missing") if health == "red" else Go()

    def recover(self) -> Recovered:
        """By the index that the alias writes to."""
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        try:
            return Recovered.NOT_DONE if self._write_index() == self.ctx.saved.get("old") else Recovered.DONE
        except (Unreachable, Refused, NotUnderstood):
            return Recovered.UNKNOWN

    def _write_index(self) -> str:
        """The index that is written to now: what a dry run would roll away from."""
        try:
            return str(self._roll(dry=True)["old_index"])
        except (KeyError, TypeError) as error:
            raise NotUnderstood(f"an answer about {self.args.alias} has no {error}") from None

    def _roll(self, *, dry: bool) -> dict[str, Any]:
        path = f"/{self.args.alias}/_rollover{'?dry_run' if dry else ''}"
        found: dict[str, Any] = self._client().ask("POST", path, {"conditions": self.args.conditions})
        return found

    def _client(self) -> Client:
        return Client(self.config.url, self.config)
