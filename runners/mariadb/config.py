"""The node's configuration of `mariadb_task`: where its server and its peers answer, and with whose rights."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runners.mariadb.client import Address, Client
from runners.objects import ObjectStore

__all__ = ["MariadbConfig"]


def _is_address(value: str) -> str:
    Address.parse(value)
    return value


def _is_bucket(value: str) -> str:
    if value:
        ObjectStore(value)
    return value


HostPort = Annotated[str, AfterValidator(_is_address)]
Bucket = Annotated[str, AfterValidator(_is_bucket)]


class MariadbConfig(BaseModel):
    """`[runners.mariadb_task]` of a node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: str = Field(default="/run/mysqld/mysqld.sock", min_length=1, description="where this node's server answers")
    peers: tuple[HostPort, ...] = Field(
        min_length=1, description="the servers of all other members, `host:port` each, without arbitrators"
    )
    members: int | None = Field(
        default=None, ge=2, description="how many the cluster has, arbitrators included; none: the peers and one"
    )
    defaults_file: str | None = Field(
        default=None,
        description="options of the client (`[client]` with user and password, the same on every member), readable by "
        "the agent's user alone; none: the client's usual files",
    )
    restart: tuple[str, ...] = Field(
        default=("systemctl", "restart", "mariadb"),
        min_length=1,
        description="the command that asks the machine's service manager for a restart",
    )
    print_defaults: tuple[str, ...] = Field(
        default=("mariadbd", "--print-defaults"),
        min_length=1,
        description="the command that prints with which options the server will be started",
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="how long a server may take for one answer")
    backups: Bucket = Field(default="", description="where backups go, `s3://bucket/prefix`")

    @property
    def own(self) -> Address:
        """Of this node's server."""
        return Address(socket=self.socket)

    @property
    def others(self) -> tuple[Address, ...]:
        """Of the peers."""
        return tuple(Address.parse(peer) for peer in self.peers)

    @property
    def expected(self) -> int:
        """How many members the cluster has when all are there."""
        return self.members or len(self.peers) + 1

    @property
    def client(self) -> Client:
        """How servers are asked."""
        return Client(self.defaults_file, self.timeout_s)
