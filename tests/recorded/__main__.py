"""Writes the pages of states: `python -m tests.recorded docs/reference`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.recorded.pages import PAGES

for name, page in PAGES.items():
    (Path(sys.argv[1]) / name).write_text(page(), encoding="utf-8")
