"""What a node's settings file allows: `[runners.fault_task]`. What is not named there is not done.

Only declared here. Every list is empty unless somebody wrote it: a node without a section takes no harm.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runners.service.config import Command, Peer
from runners.service.health import HealthCheck, Pattern

__all__ = ["Disk", "FaultConfig", "FaultService", "Network", "Processes", "Switch"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FaultService(_Section):
    """A service that may be stopped. With `unit` all of the rest has a default of systemctl's."""

    unit: str | None = Field(default=None, pattern=r"^[^-].*", description="Its systemd unit.")
    stop: Command | None = Field(default=None, description="Stops it. Default: `systemctl stop UNIT`.")
    start: Command | None = Field(
        default=None, description="Starts it; must do no harm when it runs. Default: `systemctl start UNIT`."
    )
    running: Command | None = Field(
        default=None, description="Ends with 0 only while it runs. Default: `systemctl is-active --quiet UNIT`."
    )

    @model_validator(mode="after")
    def _whole(self) -> FaultService:
        if self.unit is None and None in (self.stop, self.start, self.running):
            raise ValueError("name its unit, or all of stop, start and running")
        return self

    def verb(self, name: str) -> Command:
        """The command of that name."""
        given: Command | None = getattr(self, name)
        if given is not None:
            return given
        assert self.unit is not None
        words = ("is-active", "--quiet") if name == "running" else (name,)
        return ("systemctl", *words, self.unit)


class Processes(_Section):
    """Processes that may be killed or paused. One of `pattern`, `pid_file` and `pid_command` says which they are."""

    pattern: Pattern | None = Field(
        default=None, description="A regular expression that is found in the command line, words joined by spaces."
    )
    pid_file: str | None = Field(default=None, description="A file with the number.")
    pid_command: Command | None = Field(default=None, description="Prints the numbers.")
    most: int = Field(default=1, ge=1, le=100, description="Refuse when more than so many are meant.")
    start: Command | None = Field(
        default=None,
        description="Starts them again when they were killed; must do no harm when they run. Absent: what supervises "
        "them does.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Processes:
        if sum(each is not None for each in (self.pattern, self.pid_file, self.pid_command)) != 1:
            raise ValueError("say which processes by one of pattern, pid_file and pid_command")
        return self


class Disk(_Section):
    """A folder whose file system may be filled."""

    path: str = Field(pattern=r"^/", description="A folder on that file system, in which a file may be made.")
    min_free_bytes: int = Field(ge=1, description="So much stays free at least, whatever a task asks for.")


class Network(_Section):
    """What of the network may be disturbed."""

    interfaces: tuple[str, ...] = Field(default=(), description="On these interfaces only.")
    ports: tuple[int, ...] = Field(default=(), description="TCP ports of this node whose packets may be lost.")
    max_loss_percent: float = Field(default=0.0, ge=0, le=100, description="At most so many packets in a hundred.")
    max_latency_ms: int = Field(default=0, ge=0, le=60_000, description="At most so much delay, with its jitter.")
    tables: tuple[str, ...] = Field(default=("iptables",), min_length=1, description="Add ip6tables where it is used.")
    namespace: str | None = Field(
        default=None, pattern=r"^[^-].*", description="The network namespace of the interfaces (`ip netns`)."
    )

    @property
    def within(self) -> tuple[str, ...]:
        """What a command begins with, so that it is run where the interfaces are."""
        return () if self.namespace is None else ("ip", "netns", "exec", self.namespace)


class Switch(_Section):
    """A timer that runs a command when nothing of ours is there to do so. `{name}` and `{seconds}` are put in."""

    arm: Command = Field(
        default=(
            "systemd-run",
            "--unit={name}",
            "--on-active={seconds}",
            "--timer-property=AccuracySec=500ms",
            "--collect",
            "--quiet",
            "--",
        ),
        description="Begins the time; the words of the command follow. What it starts must not be a child of it.",
    )
    disarm: Command = Field(default=("systemctl", "stop", "{name}.timer"), description="Ends the time.")


class FaultConfig(_Section):
    """What may be done to this node, where, and for how long."""

    clusters: tuple[str, ...] = Field(default=(), description="The clusters in which faults are allowed, by full name.")
    hosts: tuple[str, ...] = Field(
        default=(), description="The hosts on which they are: names or node ids, with * and ? as in file names."
    )
    max_duration_s: float = Field(default=300.0, gt=0, le=86400, description="The longest fault.")
    state_folder: str = Field(
        default="/var/lib/taskerman/fault_task",
        description="Where it is written what is to be undone; must survive a reboot, and be on none of `disks`.",
    )
    services: dict[str, FaultService] = Field(default_factory=dict, description="Services that may be stopped.")
    processes: dict[str, Processes] = Field(default_factory=dict, description="Processes that may be harmed.")
    disks: dict[str, Disk] = Field(default_factory=dict, description="File systems that may be filled.")
    network: Network = Field(default_factory=Network, description="What of the network may be disturbed.")
    checks: tuple[HealthCheck, ...] = Field(
        min_length=1, description="All must pass before a fault and after it; as in service_task."
    )
    peers: dict[str, Peer] = Field(
        default_factory=dict, description="The other nodes, by node id; an entry for this node is left out."
    )
    without_peers: bool = Field(
        default=False, description="A task on several nodes may act although this node names no peers."
    )
    switch: Switch = Field(default_factory=Switch, description="What undoes a fault when all of ours is dead.")
    unguarded: bool = Field(
        default=False, description="Do also what nothing but our own processes can undo: there is no switch."
    )
