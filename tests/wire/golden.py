"""Comparing with a document in this folder. With UPDATE_GOLDEN=1 it is written instead, to be reviewed in the diff."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_DRAWN = ((re.compile(r"\bh[0-9a-f]{6}\b"), "h000000"), (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "<uuid>"))


def settled(value: Any) -> Any:
    """The value with ids that are drawn anew each time replaced."""
    text = json.dumps(value)
    for pattern, stands_for in _DRAWN:
        text = pattern.sub(stands_for, text)
    return json.loads(text)


def check_golden(name: str, value: Any) -> None:
    """`value` is what `<name>.json` says, to the letter."""
    path = HERE / f"{name}.json"
    text = json.dumps(settled(value), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing: write it with UPDATE_GOLDEN=1, and read it before it is committed"
    assert text == path.read_text(encoding="utf-8")
