"""A runner whose import hangs, once, in the one process that is told so: a loop that imports it hangs with it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.scripted import Scripted

__all__ = ["Hanging"]

_mark = os.environ.get("TEST_HANG_ONCE")
if _mark and not Path(_mark).exists():
    Path(_mark).touch()
    time.sleep(3600)


class Hanging(Scripted):
    """As scripted, once it is imported."""
