"""Whether a document was signed by somebody whose word this installation takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from taskerman.model.task import TaskDocument

__all__ = ["Signatures"]


class Signatures(Protocol):
    """Safe to use from several threads."""

    def check(self, document: TaskDocument, received: Mapping[str, Any]) -> None:
        """Return if `document` may be accepted as it is signed, or not signed.

        `received`: the JSON object as it came; what is signed is its canonical form without `signature`. Raises
        `SignatureRefused`. Depends on nothing but the arguments and the keys.
        """
        ...
