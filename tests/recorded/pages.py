"""The pages of states in docs/reference/, by the name of their file: each store's table, with the reasons that its
runner really gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.recorded import cassandra_states, elasticsearch_states, kafka_states

__all__ = ["PAGES"]

PAGES: Mapping[str, Callable[[], str]] = {
    "states-cassandra.md": cassandra_states.page,
    "states-elasticsearch.md": elasticsearch_states.page,
    "states-kafka.md": kafka_states.page,
}
