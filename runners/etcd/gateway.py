"""Asking one etcd server over the JSON gateway of its client address (`/v3/...`), which 3.4 and later have.

No program is started for an answer, so nothing has to be installed, no secret stands in an argument list, and what a
server says is JSON of one form in all versions that are known: 64-bit numbers come as text, and what is zero is absent.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.error import HTTPError, URLError

__all__ = ["Access", "EtcdError", "Gateway", "NotEtcd", "Refused"]

MOST_BYTES = 16 * 1024 * 1024
_START = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)
_DEFRAGMENTED = re.compile(r"^etcd_disk_backend_defrag_duration_seconds_count (\S+)$", re.MULTILINE)
_INFLIGHT = re.compile(r"^etcd_disk_defrag_inflight (\S+)$", re.MULTILINE)
_QUOTA = re.compile(r"^etcd_server_quota_backend_bytes (\S+)$", re.MULTILINE)


class NotEtcd(OSError):
    """Whoever answers there does not answer as etcd does."""


class Refused(OSError):
    """Nobody listens there."""


class EtcdError(Exception):
    """The server's own "no". `code`: of gRPC; 7 and 16: rights, 14: it cannot now."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)

    @property
    def about_rights(self) -> bool:
        """Whoever asks may not, or is not known."""
        return self.code in (7, 16) or "authentication failed" in str(self) or "user name is empty" in str(self)


class Body(Protocol):
    """What is read of an answer."""

    def read(self, most: int = ...) -> bytes:
        """At most so many bytes."""
        ...

    def readline(self, most: int = ...) -> bytes:
        """At most so many bytes of one line."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """How servers are asked. `timeout_s`: for one answer. The files: of TLS; "" for none."""

    timeout_s: float = 2.0
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""

    def opener(self) -> urllib.request.OpenerDirector:
        """Raises `ValueError` for files that cannot be used. No proxy of the environment is used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"the TLS files cannot be used: {error}") from error
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """What only the metrics say. `started_at`: the process, seconds since 1970. `defragmented`: how often since then.
    `defragments`: it does so now. `quota_bytes`: of the database. None: not said."""

    started_at: float | None = None
    defragmented: int | None = None
    defragments: bool | None = None
    quota_bytes: int | None = None


class Gateway:
    """One server. `url`: of its clients."""

    def __init__(self, url: str, access: Access, opener: urllib.request.OpenerDirector | None = None) -> None:
        """Asks nobody anything. `opener`: of the access, when it is at hand. Raises `ValueError`, as `opener` does."""
        self.url = url.rstrip("/")
        self._access = access
        self._opener = opener or access.opener()
        self._token = ""

    def call(self, path: str, *, within_s: float | None = None, **body: object) -> Mapping[str, Any]:
        """One request to `/v3/<path>`. `within_s`: instead of the usual time. Raises `EtcdError`, `OSError`."""
        with self._open(path, body, within_s or self._access.timeout_s) as answer:
            try:
                said = json.loads(answer.read(MOST_BYTES))
            except ValueError as error:
                raise NotEtcd(f"{self.url}/v3/{path} does not answer in JSON") from error
        if not isinstance(said, dict):
            raise NotEtcd(f"{self.url}/v3/{path} does not answer with an object")
        return said

    def snapshot(self, *, within_s: float) -> Iterator[bytes]:
        """The database as it is now, and its sha256 behind it, in pieces. `within_s`: for each. As `call`."""
        with self._open("maintenance/snapshot", {}, within_s) as answer:
            while line := answer.readline(MOST_BYTES):
                said = json.loads(line)
                if "result" not in said:
                    raise _error(said)
                yield base64.b64decode(said["result"].get("blob", ""))

    def metrics(self) -> Metrics:
        """As far as the server tells them on this address. Raises `OSError`."""
        request = urllib.request.Request(f"{self.url}/metrics")  # noqa: S310  (the node's own configuration)
        with self._sent(request, self._access.timeout_s) as answer:
            text = answer.read(MOST_BYTES).decode(errors="replace")
        started, count, inflight, quota = (each.search(text) for each in (_START, _DEFRAGMENTED, _INFLIGHT, _QUOTA))
        return Metrics(
            started_at=float(started[1]) if started else None,
            defragmented=int(float(count[1])) if count else None,
            defragments=float(inflight[1]) > 0 if inflight else None,
            quota_bytes=int(float(quota[1])) if quota else None,
        )

    def _open(self, path: str, body: Mapping[str, object], timeout_s: float) -> Any:
        if self._access.username and not self._token and path != "auth/authenticate":
            said = self.call("auth/authenticate", name=self._access.username, password=self._access.password)
            self._token = str(said.get("token", ""))
        request = urllib.request.Request(  # noqa: S310  (the node's own configuration)
            f"{self.url}/v3/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        if self._token:
            request.add_header("Authorization", self._token)
        return self._sent(request, timeout_s)

    def _sent(self, request: urllib.request.Request, timeout_s: float) -> Any:
        try:
            return self._opener.open(request, timeout=timeout_s)
        except HTTPError as error:
            with error:
                raw = error.read(MOST_BYTES)
            try:
                raise _error(json.loads(raw)) from None
            except (ValueError, AttributeError):
                raise NotEtcd(f"{request.full_url}: HTTP {error.code}, and no answer of etcd's gateway") from None
        except URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                raise Refused("nobody listens there") from None
            raise OSError(str(error.reason)) from None


def _error(said: Mapping[str, Any]) -> EtcdError:
    inner = said.get("error")
    fields = inner if isinstance(inner, dict) else said
    text = fields.get("message") or inner or "an error without words"
    return EtcdError(int(fields.get("code") or fields.get("grpc_code") or 2), str(text).removeprefix("etcdserver: "))
