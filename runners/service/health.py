"""How a service is asked how it is: by HTTP, by a TCP connection, or by a command.

One question, one answer, within its time. It never asks twice, never by way of a proxy, and follows no redirect: the
question is to this very service. What an answer means for a cluster is not said here.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from taskerman import CommandFailed, Context

__all__ = ["HealthCheck", "Pattern", "ask_http", "ill"]

MOST_BYTES = 64 * 1024


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} is no http:// or https:// address")
    if parts.username or parts.password:
        raise ValueError("an address carries no password; put it into headers")
    _ = parts.port  # raises ValueError for what is no port
    return value


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{value!r} is not host:port")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_regex)]
"""A regular expression, which is known to be one."""


class HealthCheck(BaseModel):
    """One question. Exactly one of `http`, `tcp` and `command`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    http: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None, description="An address that is asked with GET."
    )
    status: int = Field(default=200, ge=100, le=599, description="The HTTP status that it must answer with.")
    body: Pattern | None = Field(
        default=None, description="A regular expression that must be found in the first 64 KiB of the answer."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with the question.")
    ca_file: str | None = Field(default=None, description="Whose certificates an https:// address may show.")
    tcp: Annotated[str, AfterValidator(_host_port)] | None = Field(
        default=None, description="host:port that must take a connection."
    )
    command: tuple[str, ...] | None = Field(default=None, min_length=1, description="A command that must end with 0.")
    timeout_s: float = Field(default=2.0, gt=0, le=30, description="How long the whole answer may take.")

    @model_validator(mode="after")
    def _one_question(self) -> HealthCheck:
        if sum(each is not None for each in (self.http, self.tcp, self.command)) != 1:
            raise ValueError("a check is one of http, tcp and command")
        return self


def ill(check: HealthCheck, ctx: Context) -> str:
    """Why the service that `check` asks is not well, in words; "" when it is."""
    if check.command is not None:
        try:
            ctx.command(check.command, timeout=timedelta(seconds=check.timeout_s))
        except CommandFailed as failed:
            return str(failed)
        return ""
    if check.tcp is not None:
        host, _, port = check.tcp.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=check.timeout_s):
                return ""
        except OSError as error:
            return f"{check.tcp} takes no connection: {error}"
    assert check.http is not None
    return ask_http(check.http, check)


def ask_http(url: str, check: HealthCheck, *, status: int | None = None, body: str | None = None) -> str:
    """The same of an HTTP address. `status`, `body`: what is wanted, when not what `check` says."""
    wanted, pattern = status or check.status, body if body is not None or status is not None else check.body
    parts = urlsplit(url)
    give_up_at = time.monotonic() + check.timeout_s
    connection: http.client.HTTPConnection | None = None
    try:
        connection = _connection(parts.scheme, str(parts.hostname), parts.port, check)
        connection.request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")), headers=check.headers)
        answer = connection.getresponse()
        if answer.status != wanted:
            return f"{url} answers {answer.status}, not {wanted}"
        if pattern is None:
            return ""
        text = _read(answer, connection, give_up_at).decode(errors="replace")
        return "" if re.search(pattern, text) else f"{url} answers without {pattern!r}: {text.strip()[:100]!r}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error or type(error).__name__}"
    finally:
        if connection is not None:
            connection.close()


def _connection(scheme: str, host: str, port: int | None, check: HealthCheck) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=check.timeout_s)
    trust = ssl.create_default_context(cafile=check.ca_file)
    return http.client.HTTPSConnection(host, port, timeout=check.timeout_s, context=trust)


def _read(answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, give_up_at: float) -> bytes:
    """The beginning of the body. One that trickles has the time of one answer, not of each of its bytes."""
    found = b""
    while len(found) < MOST_BYTES:
        left = give_up_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("its answer took too long")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = answer.read1(MOST_BYTES - len(found))
        if not chunk:
            break
        found += chunk
    return found
