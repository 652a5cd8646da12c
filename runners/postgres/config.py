"""What a node is told about its PostgreSQL: one model for all operations. It says what is wrong before anything is
asked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

__all__ = ["Address", "PostgresConfig", "address_of", "shown"]

Address = tuple[str, int]
"""Host (or the folder of a socket) and port."""


class PostgresConfig(BaseModel):
    """`[runners.postgres_task]` of a node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        default="/var/run/postgresql", description="where this node's server answers: a host, or its socket's folder"
    )
    port: int = Field(default=5432, ge=1, le=65535, description="its port")
    user: str = Field(default="postgres", description="the role that asks, on every server of the cluster")
    password: SecretStr = Field(default=SecretStr(""), description="its password; better a passfile")
    passfile: str = Field(default="", description="a file in the form of ~/.pgpass, for all servers")
    database: str = Field(default="postgres", description="the database in which servers are asked about themselves")
    peers: tuple[str, ...] = Field(default=(), description='the cluster\'s other servers, "host:port"')
    programs: str = Field(default="", description="the folder of psql, pg_dump, ...; empty: PATH")
    run_as: str = Field(default="", description="the system's user as whom they run; empty: as the agent")
    timeout_s: float = Field(default=5.0, gt=0, le=120, description="how long a server may take for one answer")
    restart: tuple[str, ...] = Field(
        default=("systemctl", "restart", "postgresql"), min_length=1, description="asks the service manager for it"
    )
    stop: tuple[str, ...] = Field(
        default=("systemctl", "stop", "postgresql"), min_length=1, description="the same; cleanly, back when it is down"
    )
    start: tuple[str, ...] = Field(
        default=("systemctl", "start", "postgresql"), min_length=1, description="the same; back when it serves"
    )
    data: str = Field(default="", description="the server's data folder; needed for the built-in handover")
    handover: Literal["none", "command", "built_in"] = Field(
        default="none", description="how a primary gives its role away before it restarts"
    )
    switchover: tuple[str, ...] = Field(default=(), description='the command of handover = "command"')
    backups: str = Field(default="", description="where backups are, s3://bucket/prefix")
    scratch: str = Field(default="/var/tmp", description="where restore_check makes its server's folder")  # noqa: S108
    scratch_reserve_bytes: int = Field(
        default=1 << 30, ge=0, description="so much of that disk stays free, whatever is restored"
    )
    scratch_settings: dict[str, str] = Field(
        default_factory=dict, description="settings of the server that restore_check starts, say a preloaded library"
    )

    @field_validator("peers")
    @classmethod
    def _are_addresses(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            address_of(peer)
        return peers

    @field_validator("backups")
    @classmethod
    def _is_s3(cls, where: str) -> str:
        if where and not where.startswith("s3://"):
            raise ValueError(f"{where!r} is no address of objects; write s3://bucket/prefix")
        return where

    @model_validator(mode="after")
    def _handover_is_possible(self) -> PostgresConfig:
        if self.handover == "command" and not self.switchover:
            raise ValueError('handover = "command" needs switchover, the command')
        if self.handover == "built_in" and not self.data:
            raise ValueError('handover = "built_in" needs data, the server\'s data folder')
        return self

    @property
    def own(self) -> Address:
        """Of this node's server."""
        return self.host, self.port


def address_of(text: str) -> Address:
    """`host:port` as a pair. Raises `ValueError` for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{text!r:.100} is not host:port")
    return host.strip("[]"), int(port)


def shown(address: Address) -> str:
    """As it stands in a configuration."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
