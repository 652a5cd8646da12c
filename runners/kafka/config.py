"""What a node says of its Kafka: which broker it is, whom to ask, how it is restarted. It decides nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["Config"]


class Config(BaseModel):
    """`[runners.kafka_task]` of the node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_id: int = Field(ge=0, description="node.id, or broker.id, of server.properties")
    role: Literal["broker", "controller", "combined"] = Field(
        default="broker", description="process.roles of server.properties; with ZooKeeper: broker"
    )
    bootstrap: tuple[str, ...] = Field(
        min_length=1, description="who is asked: two or three other brokers, host:port, and not this one"
    )
    zookeeper: str = Field(
        default="", description="only in ZooKeeper mode: host:port and chroot, where the controller's name stands"
    )
    tools: str = Field(default="/opt/kafka/bin", description="folder of Kafka's admin tools")
    suffix: str = Field(default=".sh", description="how their names end")
    command_config: str = Field(default="", description="properties file for the tools: security, timeouts")
    answer_s: float = Field(
        default=20.0, gt=0, le=50, description="how long one answer may take; a check may take 60, seconds"
    )
    restart: tuple[str, ...] = Field(
        default=("systemctl", "restart", "kafka"),
        min_length=1,
        description="asks the machine's service manager to restart it; its stop is SIGTERM, so that leaders are moved",
    )
    started: tuple[str, ...] = Field(
        default=("systemctl", "show", "--property=MainPID,ActiveEnterTimestampMonotonic", "kafka"),
        min_length=1,
        description="prints something that differs after each start; MainPID=0 means that it does not run",
    )
    peer_started: tuple[str, ...] = Field(
        default=(),
        description="prints when the Kafka of {host} was started, seconds since 1970; without it the controller "
        "goes last by patience only",
    )

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            host, _, port = one.rpartition(":")
            if not host or not port.isdigit() or "," in one:
                raise ValueError(f"{one!r} is not host:port")
        return value

    @field_validator("peer_started")
    @classmethod
    def _of_a_host(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not any("{host}" in word for word in value):
            raise ValueError("peer_started has no {host}")
        return value
