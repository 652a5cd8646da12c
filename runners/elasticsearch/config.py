"""The node's configuration of `elasticsearch_task`, the same for all its operations."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ElasticsearchConfig"]

Words = Annotated[tuple[str, ...], Field(min_length=1)]
Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]


class ElasticsearchConfig(BaseModel):
    """`[runners.elasticsearch_task]` of a node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = Field(default="http://127.0.0.1:9200", description="where this node's server answers")
    peers: tuple[Url, ...] = Field(
        default=(), description="other servers of the cluster, asked how this node is; name two or three"
    )
    expected_nodes: int | None = Field(
        default=None, ge=1, description="how many nodes the cluster has; absent: as many as are in it now"
    )
    username: str = Field(default="", description="with `password`; empty: nobody is asked for")
    password: str = Field(default="", repr=False, description="of `username`")
    api_key: str = Field(default="", repr=False, description="instead of a user: the encoded key")
    ca_file: str = Field(default="", description="whose signature on a server's certificate is believed")
    timeout_s: float = Field(default=10, gt=0, le=120, description="how long a server may take for one answer")
    restart: Words = Field(
        default=("systemctl", "restart", "elasticsearch"), description="has the service manager restart the server"
    )
    stop: Words = Field(default=("systemctl", "stop", "elasticsearch"), description="of an upgrade: stops it")
    start: Words = Field(default=("systemctl", "start", "elasticsearch"), description="of an upgrade: starts it")
    upgrade: tuple[str, ...] = Field(
        default=(),
        description="of an upgrade: installs the version that stands for `{version}`; may be repeated. Empty: there is "
        "no upgrade here",
    )
