from collections.abc import Callable

from kazoo.exceptions import KazooException

class RetryFailedError(KazooException): ...

class KazooRetry:
    def __init__(
        self,
        max_tries: int = ...,
        delay: float = ...,
        backoff: float = ...,
        max_jitter: float = ...,
        max_delay: float = ...,
        ignore_expire: bool = ...,
        sleep_func: Callable[[float], object] = ...,
        deadline: float | None = ...,
        interrupt: Callable[[], bool] | None = ...,
    ) -> None: ...
    def copy(self) -> KazooRetry: ...
    def reset(self) -> None: ...
