"""The one door to AWS: a shared session, the clients' timeouts, retrying for seconds, and what AWS's errors mean.

One session for a whole process, because each costs a twentieth of a second and megabytes, and a further client of the
same session almost nothing. botocore's own retries are off: two layers of retrying multiply. Region, credentials and
endpoint are boto3's business (the standard AWS variables); nothing here reads the environment.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the name that botocore gives it
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from taskerman.errors import NotFound, NotPermitted, TaskermanError, TransientError, UsageError

__all__ = ["AWS_ERRORS", "PATIENCE", "Aws", "Deadline", "Service", "error_code", "explain", "persist"]

T = TypeVar("T")

PATIENCE = timedelta(seconds=10)
"""How long an edge goes on by itself. Whatever lasts longer is the caller's to know."""

CONNECT_TIMEOUT_S = 3.0

AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
"""Everything that a call of a client raises for a reason outside this program."""

_UNREACHABLE = (ConnectionError, HTTPClientError, CredentialRetrievalError, ResponseParserError)
_MISCONFIGURED = (NoRegionError, InvalidRegionError, ProfileNotFound)
_WITHOUT_IDENTITY = (NoCredentialsError, PartialCredentialsError)

_USER_IN_ADDRESS = re.compile(r"(://)[^/\s\"']+@")
_THROTTLED = frozenset({
    "BandwidthLimitExceeded", "EC2ThrottledException", "KmsThrottled", "LimitExceededException", "OverLimit",
    "PriorRequestNotComplete", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown",
    "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
})  # fmt: skip
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "KmsAccessDenied", "OptInRequired",
    "RequestExpired", "SignatureDoesNotMatch", "UnauthorizedOperation", "UnrecognizedClientException", "403",
})  # fmt: skip
_MISSING = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
_TOO_EARLY = "QueueDeletedRecently"


Service = Literal["sqs", "ec2", "s3", "autoscaling"]


class Aws:
    """The clients of one process. Nothing is built, and nothing is asked, before the first is wanted."""

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        on_request: Callable[[str], None] | None = None,
        on_failure: Callable[[str, str], None] | None = None,
    ) -> None:
        """`endpoint_url`: instead of what the AWS variables say, for all services.

        `on_request`: told the operation ("SendMessage") of each request that goes out, repeats too, on the thread
        that sends it; it must be quick. `on_failure`: likewise told the operation and AWS's code of each that was
        refused, or the name of the error that came instead of an answer.
        """
        self._endpoint_url = endpoint_url
        self._on_request = on_request
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._clients: dict[tuple[str, float], Any] = {}

    def client(self, service: Service, *, read_timeout: timedelta, connections: int = 10) -> Any:
        """The client of `service` that waits `read_timeout` for an answer; the same one each time, for all threads.

        `connections`: how many it keeps open; more may be used at a time. Raises `UsageError` when boto3's settings
        are wrong.
        """
        seconds = read_timeout.total_seconds()
        with self._lock:
            if (service, seconds) not in self._clients:
                self._clients[service, seconds] = self._build(service, seconds, connections)
            return self._clients[service, seconds]

    def close(self) -> None:
        """Close every connection. Idempotent; a client wanted later is built anew."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
            self._session = None
        for client in clients:
            client.close()

    def _build(self, service: Service, read_timeout_s: float, connections: int) -> Any:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=connections,
            tcp_keepalive=True,
        )
        try:
            self._session = self._session or boto3.Session()
            client: Any = self._session.client(service, config=config, endpoint_url=self._endpoint_url)
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
            raise UsageError(
                f"The AWS settings are wrong: {_said(error)}",
                next_step="See AWS_REGION, AWS_PROFILE and AWS_ENDPOINT_URL.",
            ) from error
        if self._on_request is not None:
            client.meta.events.register(f"before-send.{service}", self._tell)
        if self._on_failure is not None:
            client.meta.events.register(f"after-call.{service}", self._tell_refusal)
            client.meta.events.register(f"after-call-error.{service}", self._tell_error)
        return client

    def _tell(self, event_name: str, **_: Any) -> None:
        assert self._on_request is not None
        self._on_request(event_name.rpartition(".")[2])

    def _tell_refusal(self, event_name: str, parsed: Mapping[str, Any], **_: Any) -> None:
        assert self._on_failure is not None
        if "Error" in parsed:
            self._on_failure(event_name.rpartition(".")[2], str(parsed["Error"].get("Code", "")))

    def _tell_error(self, event_name: str, exception: Exception, **_: Any) -> None:
        assert self._on_failure is not None
        self._on_failure(event_name.rpartition(".")[2], type(exception).__name__)


class Deadline:
    """The end of somebody's patience, which several calls may share."""

    def __init__(self, patience: timedelta) -> None:
        """`patience`: from now."""
        self._patience_s = patience.total_seconds()
        self._at = time.monotonic() + self._patience_s

    @property
    def passed(self) -> bool:
        """Whether nothing should be tried any more."""
        return time.monotonic() >= self._at

    def renew(self) -> None:
        """Somebody got an answer: whoever shares this deadline may go on as long again. From any thread."""
        self._at = max(self._at, time.monotonic() + self._patience_s)

    def comes_before(self, seconds: float) -> bool:
        """Whether a wait of `seconds` would outlast it."""
        return time.monotonic() + seconds >= self._at


def persist(call: Callable[[], T], deadline: Deadline) -> T:
    """Do `call`, again and again with growing jittered pauses while AWS is throttling or away, until `deadline`.

    `call` must be harmless to repeat: an answer may be lost after the deed. Raises what AWS raised last.
    """

    def stop(state: RetryCallState) -> bool:
        return deadline.comes_before(state.upcoming_sleep)

    retrying = Retrying(
        retry=retry_if_exception(_passes_by_itself),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop,
        reraise=True,
    )
    return retrying(call)


def error_code(error: Exception) -> str:
    """AWS's code in its short form, the same for both of SQS's protocols; empty when there was no answer."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", "")).removeprefix("AWS.SimpleQueueService.")


def explain(error: Exception, *, doing: str, unavailable: type[TransientError]) -> TaskermanError:
    """What an error of `AWS_ERRORS` means here, to be raised from it.

    `doing`: "send to the queue prod-tasks". `unavailable`: what means "not now" to this caller. An answer that nobody
    foresaw is one of those: it is not a no, and no reason for a daemon to end.
    """
    code, said = error_code(error), _said(error)
    if isinstance(error, _MISCONFIGURED):
        return UsageError(f"Cannot {doing}: {said}", next_step="See AWS_REGION and AWS_PROFILE.")
    if code in _MISSING:
        return NotFound(f"Cannot {doing}: there is no such queue.", next_step="Create it, or correct the prefix.")
    if code == _TOO_EARLY:
        return unavailable(
            f"Cannot {doing}: SQS does not create a queue within 60 s of deleting one of the same name.",
            next_step="Repeat it in 60 s.",
        )
    if _passes_by_itself(error):
        return unavailable(
            f"Cannot {doing}: {said}", next_step="It may work later; see AWS_ENDPOINT_URL if it never did."
        )
    if isinstance(error, _WITHOUT_IDENTITY) or code in _DENIED or _status(error) == 403:
        return NotPermitted(
            f"Not permitted to {doing}: {said}", next_step="Correct the credentials, or grant this identity the right."
        )
    return unavailable(
        f"Cannot {doing}: {said}", next_step="If this does not pass, the request or the queue is at fault."
    )


def _passes_by_itself(error: BaseException) -> bool:
    if isinstance(error, _UNREACHABLE):
        return True
    if not isinstance(error, ClientError):
        return False
    return error_code(error) in _THROTTLED or _status(error) == 429 or _status(error) >= 500


def _status(error: BaseException) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said(error: Exception) -> str:
    """AWS's own words, with its code, as one sentence."""
    text = str(error)
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message") or f"HTTP {_status(error)}"
        text = f"{message} ({error_code(error)})" if error_code(error) else message
    # An address may carry a password, and the library's words carry the address.
    text = _USER_IN_ADDRESS.sub(r"\1***@", text)
    return text.strip().rstrip(".") + "."
