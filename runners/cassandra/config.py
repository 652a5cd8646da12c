"""What a node says of its Cassandra: how it is asked, restarted and backed up. It decides nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Config"]


class Config(BaseModel):
    """`[runners.cassandra_task]` of the node's settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(min_length=1, description="what `nodetool status` calls this node")
    nodetool: tuple[str, ...] = Field(
        default=("nodetool",), min_length=1, description="asks this node's server; options such as -u and -pwf go here"
    )
    peers: tuple[str, ...] = Field(
        default=(), max_length=5, description="other nodes that are asked how they see this one; name two or three"
    )
    ask_peer: tuple[str, ...] = Field(
        default=("nodetool", "-h", "{peer}"),
        min_length=1,
        description="asks the server of another node, whose address takes the place of {peer}; "
        'where JMX is local: ["ssh", "{peer}", "nodetool"]',
    )
    restart: tuple[str, ...] = Field(
        default=("systemctl", "restart", "cassandra"),
        min_length=1,
        description="asks the machine's service manager to restart it",
    )
    answer_s: float = Field(
        default=15.0, gt=0, le=50, description="how long one answer of nodetool may take; a check may take 60, seconds"
    )
    data_folders: tuple[str, ...] = Field(
        default=("/var/lib/cassandra/data",), min_length=1, description="data_file_directories of cassandra.yaml"
    )
    hints_folder: str = Field(default="/var/lib/cassandra/hints", description="hints_directory of cassandra.yaml")
    backup_to: str = Field(default="", description="where backups go, s3://bucket/prefix")
    describe_schema: tuple[str, ...] = Field(
        default=("cqlsh", "-e", "DESCRIBE SCHEMA"), min_length=1, description="prints the whole schema as CQL"
    )

    @model_validator(mode="after")
    def _can_be_used(self) -> Config:
        if not any("{peer}" in word for word in self.ask_peer):
            raise ValueError("ask_peer has no {peer}, so every peer would be this node")
        if self.address in self.peers:
            raise ValueError("peers has this node itself, which is no witness of its own")
        if self.backup_to:
            from runners.objects import ObjectStore  # noqa: PLC0415  (it costs a third of a second, and backups only)

            ObjectStore(self.backup_to)
        return self
