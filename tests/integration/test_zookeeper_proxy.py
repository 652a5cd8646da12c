"""The wire that loses answers is a witness too: what it holds back is late, and never lost to a clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman.errors import AnswerUnknown
from taskerman.ports.tree import Create, Link
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.tcp_proxy import ZookeeperProxy
from tests.support.waiting import until
from tests.support.zookeeper import OpenTree

SHORT = timedelta(seconds=1)


def test_what_is_held_back_arrives_in_its_session_however_long_it_takes(
    open_tree: OpenTree, zookeeper: ZookeeperServer, zookeeper_proxy: ZookeeperProxy
) -> None:
    """A client that falls silent after it loses its session first: so long is longer than a session's patience."""
    with ZookeeperProxy(zookeeper.port) as wire:
        witness = open_tree()
        tree, silent = (open_tree(proxy.hosts, session_timeout=SHORT) for proxy in (zookeeper_proxy, wire))
        session = tree.session
        silent.commit([Create("/silent", ephemeral=True)])
        held = zookeeper_proxy.hold_next_request()
        with pytest.raises(AnswerUnknown):
            tree.commit([Create("/late", ephemeral=True)])
        wire.cut()
        until(lambda: witness.get("/silent") is None, "the session of who is silent ends")
        assert held.deliver() == 0
        zookeeper_proxy.heal()
        until(lambda: tree.link is Link.UP, "the client is back")
        record = witness.get("/late")
        assert record is not None
        assert (record.stat.owner, tree.session) == (session, session)
