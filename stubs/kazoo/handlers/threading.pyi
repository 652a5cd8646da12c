import socket
import threading
from collections.abc import Callable

from kazoo.protocol.states import Callback

class KazooTimeoutError(Exception): ...

class SequentialThreadingHandler:
    def __init__(self) -> None: ...
    def spawn(self, func: Callable[..., object], *args: object, **kwargs: object) -> threading.Thread: ...
    def create_connection(
        self, address: tuple[str, int], *, timeout: float | None = ..., **options: object
    ) -> socket.socket: ...
    def select(
        self,
        rlist: list[socket.socket],
        wlist: list[socket.socket],
        xlist: list[socket.socket],
        timeout: float | None = ...,
        /,
    ) -> tuple[list[socket.socket], list[socket.socket], list[socket.socket]]: ...
    def dispatch_callback(self, callback: Callback) -> None: ...
