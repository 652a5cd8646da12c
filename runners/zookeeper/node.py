"""One node's ZooKeeper as its operations need it: its configuration, its ensemble, which start of it runs."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import realpath

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from runners.listening import start_of
from runners.zookeeper import rules
from runners.zookeeper.view import Layout, View, look, read_layout
from runners.zookeeper.wire import Address, Door, NotServing, Unlisted
from taskerman import Context

__all__ = ["Ensemble", "ZookeeperConfig"]


class ZookeeperConfig(BaseModel):
    """`[runners.zookeeper_task]` of the node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="where this node's server answers clients")
    port: int = Field(default=2181, ge=1, le=65535, description="its client port, without TLS")
    peers: list[str] = Field(
        default=[],
        description='all other members, ["host:port", ...]; empty: as the server\'s conf names them, while it answers',
    )
    admin_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="of every member's AdminServer, which is asked where mntr is forbidden",
    )
    restart: list[str] = Field(
        default=["systemctl", "restart", "zookeeper"],
        min_length=1,
        description="the command that asks the machine's service manager",
    )
    data_dir: str = Field(default="", description="the folder that has version-2 in it; empty: as conf says")
    log_dir: str = Field(default="", description="the same of the transaction logs, when it is another than data_dir")
    backups: str = Field(default="", description="where backups go, s3://bucket/prefix")
    max_lag_transactions: int = Field(default=1000, ge=0, description="how far behind its leader a member is in step")
    max_outstanding: int = Field(default=100, ge=0, description="requests that may wait in a server that is well")
    timeout_s: float = Field(default=2.0, gt=0, le=60, description="how long a server may take for one answer")

    @field_validator("peers")
    @classmethod
    def _addresses(cls, peers: list[str]) -> list[str]:
        for peer in peers:
            _address(peer)
        return peers


class Ensemble:
    """The node's server and its fellows."""

    def __init__(self, ctx: Context, config: ZookeeperConfig) -> None:
        self._ctx, self._config = ctx, config
        self.own: Address = (config.host, config.port)
        self.door = Door(config.timeout_s, config.admin_port)
        self.bounds = rules.Bounds(config.max_lag_transactions, config.max_outstanding)

    def look(self) -> View:
        """Everybody's answers. Raises `Unlisted`, and `ValueError` for an ensemble that is not known how to judge."""
        return look(self.own, self._others(), self.door)

    def layout(self) -> Layout:
        """Where the data is: as the configuration says, or else as `conf`.

        Raises `Unlisted`, `NotServing`, `OSError` when neither does, `ValueError` when they do not say the same.
        """
        try:
            found = read_layout(self.own, self.door)
        except (Unlisted, NotServing, OSError):
            if not self._config.data_dir:
                raise
            found = None
        data, log = self._config.data_dir, self._config.log_dir or self._config.data_dir
        told = Layout(f"{data}/version-2", f"{log}/version-2") if data else found
        assert told is not None
        if found is not None and (realpath(told.data), realpath(told.log)) != (
            realpath(found.data),
            realpath(found.log),
        ):
            raise ValueError(
                f"the server keeps its data in {found.data} and {found.log}, and this node's configuration says "
                f"{told.data} and {told.log}: correct data_dir and log_dir"
            )
        return told

    def start(self) -> str | None:
        """Which start of the server listens; None when none does or the machine does not say."""
        return start_of(self.own[1], self._ctx.boot_id)

    def _others(self) -> Sequence[Address]:
        """Those of the configuration; or of `conf`, which is remembered for when the server is down."""
        if self._config.peers:
            return [_address(peer) for peer in self._config.peers]
        try:
            layout = read_layout(self.own, self.door)
        except Unlisted as error:
            raise ValueError(f"{error}; or name all other members in peers") from error
        except (NotServing, OSError):
            remembered: JsonValue = self._ctx.saved.get("others")
            return [_address(str(each)) for each in remembered] if isinstance(remembered, list) else []
        if layout.weighted:
            raise ValueError("the ensemble has groups or weights (conf): this runner counts votes, and one is one")
        names: list[JsonValue] = [f"{host}:{port}" for host, port in layout.others]
        if self._ctx.saved.get("others") != names:
            self._ctx.save(others=names)
        return layout.others


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{text!r:.100} is not host:port")
    return host.strip("[]"), int(port)
