"""One node's etcd as its operations need it: its configuration, its cluster, which start of it runs."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from runners.etcd.gateway import Access, Gateway
from runners.etcd.view import Server, View, look
from runners.listening import start_of
from taskerman import Context

__all__ = ["Cluster", "EtcdConfig"]


class EtcdConfig(BaseModel):
    """`[runners.etcd_task]` of the node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(default="http://127.0.0.1:2379", description="where this node's server answers clients")
    name: str = Field(
        default="",
        description="the member's name (--name); needed when its server is down and endpoint is not advertised",
    )
    endpoints: list[str] = Field(
        default=[], description="client addresses of other members, who are asked while the own one is down"
    )
    ca_file: str = Field(default="", description="of the authority that signs the servers' certificates")
    cert_file: str = Field(default="", description="of the client's certificate")
    key_file: str = Field(default="", description="of the client's key")
    username: str = Field(default="", description="with authentication on: a user with the role root")
    password: str = Field(default="", description="its password; keep the file readable by the agent's user alone")
    restart: list[str] = Field(
        default=["systemctl", "restart", "etcd"],
        min_length=1,
        description="the command that asks the machine's service manager",
    )
    data_dir: str = Field(default="", description="where the server keeps its data: its free space is looked at")
    backups: str = Field(default="", description="where snapshots go, s3://bucket/prefix")
    scratch: str = Field(default="/var/tmp", description="the folder in which a snapshot waits for its upload")  # noqa: S108
    snapshot_status: list[str] = Field(
        default=["etcdctl", "snapshot", "status"],
        min_length=1,
        description="checks a snapshot's file, whose name is put behind it; with 3.6: etcdutl snapshot status",
    )
    max_lag_entries: int = Field(default=1000, ge=0, description="how far behind in the raft log a member is in step")
    timeout_s: float = Field(default=2.0, gt=0, le=60, description="how long a server may take for one answer")

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, url: str) -> str:
        return _address(url)

    @field_validator("endpoints")
    @classmethod
    def _endpoints(cls, urls: list[str]) -> list[str]:
        return [_address(url) for url in urls]


class Cluster:
    """The node's server and its fellows."""

    def __init__(self, ctx: Context, config: EtcdConfig) -> None:
        self._ctx, self._config = ctx, config
        self._access = Access(
            timeout_s=config.timeout_s,
            ca_file=config.ca_file,
            cert_file=config.cert_file,
            key_file=config.key_file,
            username=config.username,
            password=config.password,
        )

    def look(self) -> View:
        """Everybody's answers. Raises `ValueError` for TLS files that cannot be used."""
        return look(self._config.endpoint, self._access, name=self._config.name, endpoints=self._config.endpoints)

    def own(self) -> Gateway:
        """The node's server. Raises `ValueError` like `look`."""
        return Gateway(self._config.endpoint, self._access)

    def start(self, view: View) -> str | None:
        """Which start of the server runs: as the kernel knows it, or else as its metrics say; None: neither."""
        if (known := start_of(urlsplit(self._config.endpoint).port or 80, self._ctx.boot_id)) is not None:
            return known
        if isinstance(view.own, Server) and view.own.metrics.started_at is not None:
            return f"started at {view.own.metrics.started_at:.2f}"
        return None


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError(f"{url!r:.100} is not an address such as https://127.0.0.1:2379")
    return url.rstrip("/")
