"""Turning the allocation of shards off for a restart, and on again whatever happens. Both may be repeated."""

from __future__ import annotations

from runners.elasticsearch.config import ElasticsearchConfig
from runners.elasticsearch.http import Client, NotUnderstood, Refused, Unreachable
from runners.elasticsearch.view import ENABLE

__all__ = ["allocation_off", "allocation_on", "flush"]


def allocation_off(config: ElasticsearchConfig) -> None:
    """From now on no replica is given a place, so that none is built anew while a node restarts.

    Raises `Unreachable`, `Refused`, `NotUnderstood`.
    """
    Client(config.url, config).ask("PUT", "/_cluster/settings", {"persistent": {ENABLE: "primaries"}})


def allocation_on(config: ElasticsearchConfig) -> None:
    """As if it had never been turned off; asked of whichever server answers. Raises what the last one raised."""
    nothing = {"persistent": {ENABLE: None}, "transient": {ENABLE: None}}
    error: Exception | None = None
    for url in (config.url, *config.peers):
        try:
            Client(url, config).ask("PUT", "/_cluster/settings", nothing)
        except (Unreachable, Refused, NotUnderstood) as failed:
            error = failed
        else:
            return
    assert error is not None
    raise error


def flush(config: ElasticsearchConfig) -> str:
    """Have what is in memory written, so that shards come back sooner; what could not be flushed, or empty."""
    try:
        said = Client(config.url, config, timeout_s=60).ask("POST", "/_flush")
    except (Unreachable, Refused, NotUnderstood) as failed:
        return str(failed)
    failed_shards = said.get("_shards", {}).get("failed", 0)
    return f"{failed_shards} shards were not flushed" if failed_shards else ""
