"""The node's configuration of `instance_task`, the same for all its operations."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["InstanceConfig"]

Words = Annotated[tuple[str, ...], Field(min_length=1)]


class InstanceConfig(BaseModel):
    """`[runners.instance_task]` of a node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reboot: Words = Field(
        default=("systemctl", "reboot"),
        description="the command that asks the machine to reboot; it must end with 0 when it has asked, and with "
        "another code only when it has not",
    )
    required_file: str = Field(
        default="/run/reboot-required",
        min_length=1,
        description="its presence says that a reboot is required (Debian's own; else make one)",
    )
    scheduled_file: str = Field(
        default="/run/systemd/shutdown/scheduled",
        min_length=1,
        description="its presence says that somebody has a shutdown scheduled: it is waited for",
    )
    checks: tuple[Words, ...] = Field(
        default=(),
        description="commands that must all end with 0 before the node counts as well, before as after; 20 s each",
    )
