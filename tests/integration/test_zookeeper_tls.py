"""TLS to ZooKeeper: a real server that speaks nothing else on its port, with certificates of this test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman.adapters.zookeeper import Wire, ZookeeperTree
from taskerman.errors import CoordinationUnavailable, UsageError
from taskerman.ports.tree import Create
from taskerman.testing.zookeeper_server import ZookeeperServer, free_port
from tests.support.certificates import Authority
from tests.support.services import JAR_FOLDERS, require, zookeeper_classpath

pytestmark = [
    pytest.mark.real,
    # The library leaves the sockets of handshakes that failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

_JARS = ("netty-resolver.jar", "netty-codec.jar", "netty-transport-native-unix-common.jar")


@dataclass(frozen=True)
class Secured:
    """A server whose certificate names 127.0.0.1, and wants one of its clients."""

    port: int
    authority: Authority
    folder: Path

    def tree(self, wire: Wire | None, host: str = "127.0.0.1") -> ZookeeperTree:
        return ZookeeperTree(
            f"{host}:{self.port}",
            session_timeout=timedelta(seconds=4),
            open_timeout=timedelta(seconds=3 if wire is None or wire.cert is None else 10),
            wire=wire,
        )

    def wire(self, **changes: object) -> Wire:
        client = self.authority.vouch("client")
        return Wire(**{"ca": self.authority.cert, "cert": client.cert, "key": client.key, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require("zookeeper")
    jars = [next((f / name for f in JAR_FOLDERS if (f / name).exists()), None) for name in _JARS]
    if None in jars:
        pytest.skip(f"ZooKeeper's TLS needs {', '.join(_JARS)}: apt-get install libnetty-java")
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    authority = Authority(folder)
    server = authority.vouch("127.0.0.1")
    extra = (
        f"secureClientPort={port}",
        "secureClientPortAddress=127.0.0.1",
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"ssl.keyStore.location={server.both}",
        "ssl.keyStore.type=PEM",
        f"ssl.trustStore.location={authority.cert}",
        "ssl.trustStore.type=PEM",
        "ssl.clientAuth=need",
    )
    classpath = ":".join([zookeeper_classpath(), *map(str, jars)])
    with ZookeeperServer(classpath=classpath, extra=extra):
        yield Secured(port, authority, folder)


def test_everything_goes_by_tls(secured: Secured) -> None:
    """Reads, commits that weigh much, and watches: what a tree promises, it promises here."""
    tree = secured.tree(secured.wire())
    tree.open()
    try:
        heavy = bytes(400_000)
        tree.commit([Create("/a", heavy), Create("/b", heavy)])
        assert [len(record.data) for path in ("/a", "/b") if (record := tree.get(path))] == [400_000] * 2
        for number in range(200):
            tree.commit([Create(f"/a/{number}")])
        names = tree.children("/a")
        assert names is not None
        assert len(names.names) == 200
    finally:
        tree.close()


def test_a_key_with_a_password_is_opened_by_it(secured: Secured) -> None:
    client = secured.authority.vouch("sealed", password=b"open sesame")
    tree = secured.tree(secured.wire(cert=client.cert, key=client.key, key_password="open sesame"))
    tree.open()
    tree.close()


@pytest.mark.parametrize("wrong", ["in the clear", "another authority", "no certificate", "another host"])
def test_who_is_not_who_he_should_be_is_not_spoken_to(secured: Secured, tmp_path: Path, wrong: str) -> None:
    """Neither a server that nobody vouches for, nor one of another name, nor a client without a certificate."""
    match wrong:
        case "in the clear":
            tree = secured.tree(None)
        case "another authority":
            tree = secured.tree(secured.wire(ca=Authority(tmp_path, "other").cert, cert=None, key=None))
        case "no certificate":
            tree = secured.tree(secured.wire(cert=None, key=None))
        case _:
            tree = secured.tree(secured.wire(), host="localhost")
    with pytest.raises(CoordinationUnavailable):
        tree.open()


def test_the_name_of_the_server_may_be_left_unchecked(secured: Secured) -> None:
    """For servers behind another name; the authority still has to vouch for them."""
    tree = secured.tree(secured.wire(check_hostname=False), host="localhost")
    tree.open()
    tree.close()


def test_a_file_that_cannot_be_read_is_named_at_once(secured: Secured) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        secured.tree(secured.wire(ca=Path("/nowhere/ca.pem"))).open()
