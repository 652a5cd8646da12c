"""What a fault test needs to know of ZooKeeper from the outside: which sessions there are."""

from __future__ import annotations

import re
import socket

__all__ = ["sessions"]


def sessions(port: int) -> frozenset[str]:
    """The sessions that the ZooKeeper on 127.0.0.1:`port` keeps alive."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall(b"dump")
        text = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
    global_part = text.partition("Sessions with Ephemerals")[0].partition("Connections dump")[0]
    return frozenset(re.findall(r"0x[0-9a-f]+", global_part))
