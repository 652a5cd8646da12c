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
    drain: tuple[str, ...] = Field(
        default=(),
        description="before a replacement: the command that takes the node's work away; it ends with 0 when there is "
        "none left. Empty: nothing is drained",
    )
    undrain: tuple[str, ...] = Field(
        default=(), description="takes `drain` back, when the machine is not replaced after all; may be repeated"
    )
    refresh: tuple[str, ...] = Field(
        default=("apt-get", "-q", "update"), description="learns which packages there are; empty: it is not needed"
    )
    finish: tuple[str, ...] = Field(
        default=("dpkg", "--configure", "-a"), description="finishes an upgrade that was broken off; may be repeated"
    )
    upgrade: Words = Field(
        default=("apt-get", "-q", "-y", "-o", "Dpkg::Options::=--force-confold", "--with-new-pkgs", "upgrade"),
        description="upgrades the packages without asking anybody anything; may be repeated",
    )
    audit: tuple[str, ...] = Field(
        default=("dpkg", "--audit"), description="prints nothing when no package is half installed; empty: not asked"
    )
    lock_files: tuple[str, ...] = Field(
        default=("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"),
        description="while another process has one of them locked, packages are being installed: that is waited for",
    )
    room_in: tuple[str, ...] = Field(
        default=("/var/cache/apt/archives", "/usr", "/boot"), description="where an upgrade needs room"
    )
    room_mb: int = Field(default=300, ge=0, description="MiB that must be free in each of them")
