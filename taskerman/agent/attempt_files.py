"""The folder of one attempt: where its log, its result and what its runner saved are, and reading them.

The child writes them, whole or not at all, so that they can be read after the death of anybody. Nothing is judged here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, ValidationError

from taskerman.model.attempt import Result

__all__ = ["log_path", "private", "read_result", "read_saved", "result_path"]


def result_path(directory: Path) -> Path:
    """Where the child of this attempt's directory leaves its result."""
    return directory / "result.json"


def log_path(directory: Path) -> Path:
    """Where everything that the attempt's processes print goes."""
    return directory / "output.log"


def private(path: str, flags: int) -> int:
    """An opener of files that only this user may read."""
    return os.open(path, flags, 0o600)


def read_result(directory: Path, attempt: str) -> Result | None:
    """What the child wrote of its action. None: there is no result of this attempt, so nobody knows; ask `recover`."""
    try:
        result = Result.model_validate_json(result_path(directory).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.attempt == attempt else None


def read_saved(directory: Path) -> Mapping[str, JsonValue]:
    """What the runner saved in any phase, durable as soon as `ctx.save` returned: for the next child's spec."""
    try:
        saved = json.loads((directory / "saved.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return saved if isinstance(saved, dict) else {}
