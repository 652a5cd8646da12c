"""One question to one server over HTTP, and its answer as JSON. What is no answer is an error, never an empty one."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from runners.elasticsearch.config import ElasticsearchConfig

__all__ = ["Client", "NotUnderstood", "Refused", "Unreachable"]

MOST_BYTES = 64 * 1024 * 1024


class Unreachable(Exception):
    """No answer. `refuses`: nobody listens there, as when the server is down."""

    def __init__(self, url: str, why: str, *, refuses: bool = False) -> None:
        super().__init__(f"{url} does not answer: {why}")
        self.refuses = refuses


class Refused(Exception):
    """The server answered with an error. `status`: of HTTP. `kind`: its own name for it."""

    def __init__(self, url: str, path: str, status: int, kind: str, reason: str) -> None:
        hint = {401: "; check username, password or api_key", 403: "; check the user's rights"}.get(status, "")
        super().__init__(f"{url} answers {status} to {path.partition('?')[0]}: {kind} {reason[:300]}".strip() + hint)
        self.status = status
        self.kind = kind


class NotUnderstood(Exception):
    """An answer that is not what this version of the API says."""


class Client:
    """Asks one server. Each question has a connection of its own."""

    def __init__(self, url: str, config: ElasticsearchConfig, *, timeout_s: float | None = None) -> None:
        self.url = url
        self._timeout_s = timeout_s or config.timeout_s
        self._headers = {"Accept": "application/json"}
        if config.api_key:
            self._headers["Authorization"] = f"ApiKey {config.api_key}"
        elif config.username:
            pair = base64.b64encode(f"{config.username}:{config.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._ca_file = config.ca_file

    def get(self, path: str) -> Any:
        """See `ask`."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The parsed answer. Raises `Unreachable`, `Refused`, `NotUnderstood`; after the first of them, of a question
        that changes something, nobody knows whether it did."""
        headers = dict(self._headers)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            raw = answer.read(MOST_BYTES + 1)
        except ConnectionRefusedError as error:
            raise Unreachable(self.url, "it refuses connections", refuses=True) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if len(raw) > MOST_BYTES:
            raise NotUnderstood(f"{self.url} answers {path.partition('?')[0]} with more than {MOST_BYTES:,} bytes")
        return self._parsed(path, answer.status, raw)

    def _parsed(self, path: str, status: int, raw: bytes) -> Any:
        try:
            said = json.loads(raw)
        except ValueError:
            said = None
        if status >= 400:
            error = said.get("error", {}) if isinstance(said, dict) else {}
            kind, reason = (error.get("type", ""), error.get("reason", "")) if isinstance(error, dict) else ("", error)
            raise Refused(self.url, path, status, str(kind), str(reason or raw[:200].decode(errors="replace")))
        if said is None:
            raise NotUnderstood(f"{self.url} answers {path.partition('?')[0]} with what is no JSON: {raw[:80]!r}")
        return said

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=self._ca_file or None)
            except OSError as error:
                raise Unreachable(self.url, f"ca_file {self._ca_file}: {error}") from error
            return http.client.HTTPSConnection(host, port or 9200, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, port or 9200, timeout=self._timeout_s)
