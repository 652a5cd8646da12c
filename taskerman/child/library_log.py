"""What the libraries of a runner say through the standard library's loggers, as lines of the attempt's log.

Only imported when something has imported `logging`: most attempts need not pay for it.
"""

from __future__ import annotations

import logging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.runner import Context

__all__ = ["hear_libraries"]


def hear_libraries(context: Context) -> None:
    """From now on, unless the runner has set up logging by itself. Idempotent."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_Forward(context))
        root.setLevel(logging.INFO)


class _Forward(logging.Handler):
    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["why"] = repr(record.exc_info[1])
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        self._context.log_as(level, record.getMessage(), fields)
