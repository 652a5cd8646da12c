"""What a node's settings file says of its services: `[runners.service_task]`.

Only declared here. A task names one of these services; it cannot bring a command, an address or a file of its own.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runners.service.health import HealthCheck, Pattern

__all__ = ["Command", "Peer", "Service", "ServiceConfig"]


def _program(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise ValueError("a command needs a program")
    return value


Command = Annotated[tuple[str, ...], AfterValidator(_program)]
"""A program and its arguments; no shell reads it."""


class Peer(HealthCheck):
    """How another node is asked how it is, and how it sees this one."""

    about: str | None = Field(
        default=None,
        description="A path at the address of `http` where the peer says how it sees a node; `{node}` is put in. "
        "It must answer 200.",
        pattern=r"^/",
    )
    about_body: Pattern | None = Field(
        default=None, description="A regular expression that must be found in that answer."
    )

    @model_validator(mode="after")
    def _about_needs_http(self) -> Peer:
        if self.about is not None and self.http is None:
            raise ValueError("about is a path at the address of http, and there is no http")
        if self.about_body is not None and self.about is None:
            raise ValueError("about_body is looked for in the answer of about, and there is no about")
        return self


class Service(BaseModel):
    """One service of this node. With `unit` every command has a default of systemctl's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^[^-].*",
        description="Its systemd unit: then all commands and `identity` have defaults.",
    )
    restart: Command | None = Field(default=None, description="Restarts it. Default: `systemctl restart UNIT`.")
    reload: Command | None = Field(default=None, description="Reloads it. Default: `systemctl reload UNIT`.")
    stop: Command | None = Field(default=None, description="Stops it. Default: `systemctl stop UNIT`.")
    start: Command | None = Field(default=None, description="Starts it. Default: `systemctl start UNIT`.")
    between: Command | None = Field(
        default=None, description="What `stop_start` does while it is stopped, and what must end with 0."
    )
    identity: Command | None = Field(
        default=None,
        description="Prints what is another after every start of it, and ends with 0 only while it runs. Default: "
        "what `systemctl show` says of the unit.",
    )
    identity_file: str | None = Field(
        default=None, description="A file whose content is another after every start, in place of `identity`."
    )
    pid_file: str | None = Field(
        default=None, description="A file with the number of its main process, in place of `identity`."
    )
    reload_mark: Command | None = Field(
        default=None,
        description="Prints what is another after every reload, and ends with 0. Without it a lost reload is unknown.",
    )
    checks: tuple[HealthCheck, ...] = Field(
        min_length=1, description="All must pass before the service on this node counts as well."
    )
    peers: dict[str, Peer] = Field(
        default_factory=dict, description="The other nodes, by node id; an entry for this node is left out."
    )
    at_least: int | None = Field(
        default=None, ge=1, description="So many peers must stay well. Absent: all but what the task itself took down."
    )
    without_peers: bool = Field(
        default=False, description="A task on several nodes may act although this node names no peers."
    )
    called: str | None = Field(default=None, description="What peers call this node (`{node}`). Default: its node id.")
    drain: Command | None = Field(default=None, description="Takes this node out of its load balancer.")
    undrain: Command | None = Field(default=None, description="Puts it back. Must do no harm when it is in already.")
    balanced: Command | None = Field(
        default=None,
        description="Ends with 0 once the load balancer sends clients here; then the next node may begin.",
    )
    undrain_unwell: bool = Field(
        default=False,
        description="Put it back also when the service is not well: for a load balancer that checks for itself.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Service:
        if (self.drain is None) != (self.undrain is None):
            raise ValueError("drain and undrain go together")
        told = [name for name in ("identity", "identity_file", "pid_file") if getattr(self, name) is not None]
        if len(told) > 1:
            raise ValueError(f"{' and '.join(told)}: only one of them can say which start runs")
        if not told and self.unit is None:
            raise ValueError("name its unit, or one of identity, identity_file, pid_file: which start of it runs?")
        return self

    def verb(self, name: str) -> Command | None:
        """The command that restarts, reloads, stops or starts it; None where neither it nor a unit is given."""
        given: Command | None = getattr(self, name)
        if given is not None or self.unit is None:
            return given
        return ("systemctl", name, self.unit)


class ServiceConfig(BaseModel):
    """The services of this node, by the names that tasks use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: dict[str, Service] = Field(description="By name: `[runners.service_task.services.NAME]`.")
    state_folder: str = Field(
        default="/var/lib/taskerman/service_task",
        description="Where it is noted which services are out of their load balancer; must survive a reboot.",
    )
