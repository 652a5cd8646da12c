"""One line in an attempt's log, for a person or for a program: the same ids in it whoever writes.

Imported by every attempt's process, so it imports next to nothing.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["log_line"]


def log_line(
    form: str, message: str, ids: Mapping[str, str], fields: Mapping[str, object], *, level: str = "info"
) -> bytes:
    """A whole line. `form`: `json`, as the agent's own log lines are, or else for a person, who finds task and node in
    the attempt's id. `ids`: task, node, attempt and phase; a field of such a name does not hide them."""
    now = time.time()
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    if form == "json":
        line: dict[str, object] = {"at": at, "level": level, "event": message, **ids}
        line |= {f"{name}_" if name in line else name: value for name, value in fields.items()}
        return json.dumps(line, default=str).encode() + b"\n"
    shown = {**{name: ids[name] for name in ("phase", "attempt") if ids[name]}, **fields}
    level = "" if level == "info" else f" {level}"
    text = " ".join([at + level, message, *(f"{key}={_shown(value)}" for key, value in shown.items())])
    return text.replace("\n", "\\n").encode(errors="replace") + b"\n"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text and not set(text) & set(' "=\n\t') else json.dumps(text) if isinstance(value, str) else text
