"""The node's configuration of `redis_task`, the same for all its operations: where its server and its peers answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from runners.objects import ObjectStore
from runners.redis.view import Access, Address

__all__ = ["RedisConfig"]


def _address(value: str) -> Address:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{value!r:.100} is not host:port")
    return host, int(port)


def _is_address(value: str) -> str:
    _address(value)
    return value


def _is_bucket(value: str) -> str:
    if value:
        ObjectStore(value)
    return value


Bucket = Annotated[str, AfterValidator(_is_bucket)]
HostPort = Annotated[str, AfterValidator(_is_address)]


class RedisConfig(BaseModel):
    """`[runners.redis_task]` of a node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="where this node's server answers")
    port: int = Field(default=6379, ge=1, le=65535, description="its port")
    announced: HostPort | None = Field(
        default=None, description="what its peers call it, `host:port`, when that is another address"
    )
    peers: tuple[HostPort, ...] = Field(
        default=(), description="other servers, `host:port` each: who is asked while the own one is down"
    )
    restart: tuple[str, ...] = Field(
        default=("systemctl", "restart", "redis-server"),
        min_length=1,
        description="the command that asks the machine's service manager for a restart",
    )
    username: str | None = Field(default=None, description="of the ACL user; none: the default user")
    password: SecretStr | None = Field(default=None, description="keep the file readable by the agent's user alone")
    backups: Bucket = Field(default="", description="where backups go, `s3://bucket/prefix`")
    timeout_s: float = Field(default=2.0, gt=0, le=60, description="how long a server may take for one answer")

    @property
    def own_address(self) -> Address:
        """Of this node's server."""
        return self.host, self.port

    @property
    def known_as(self) -> Address | None:
        """What its peers call it."""
        return None if self.announced is None else _address(self.announced)

    @property
    def peer_addresses(self) -> list[Address]:
        """Of whoever is asked while the own server is down."""
        return [_address(peer) for peer in self.peers]

    @property
    def access(self) -> Access:
        """How servers are asked."""
        password = None if self.password is None else self.password.get_secret_value()
        return Access(self.username, password, self.timeout_s)
