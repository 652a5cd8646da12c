"""Addresses with a password in them, as they may be shown: in listings, logs and errors.

Nothing here decides whether an address is right. What cannot be read with certainty is hidden whole: a word too few in
an error is a nuisance, a password in a log is there for ever.
"""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "masked", "scrubbed"]

HIDDEN = "***"

_SECRET_OPTION = re.compile(r"([?&;][^=&;]*(?:pass|secret|token)[^=&;]*=)[^&;]*", re.IGNORECASE)
_PLAIN_PLACE = re.compile(r"[^:@]*(:[0-9]*)?(,[^:@]*(:[0-9]*)?)*\Z|\[[0-9A-Fa-f:.]*\](:[0-9]*)?\Z")


def masked(url: str) -> str:
    """`scheme://user:***@place/...`: the address without its password, and without passwords among its options.

    A password may hold an @ or a / that somebody forgot to encode: all up to the last @ is taken for it.
    """
    scheme, found, rest = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return HIDDEN
    who, at, place = _SECRET_OPTION.sub(rf"\1{HIDDEN}", rest).rpartition("@")
    if at:
        user, colon, _ = who.partition(":")
        shown = f"{user}:{HIDDEN}@" if colon else f"{user}@"
    else:
        shown = ""
        authority = re.split(r"[/?#]", place, maxsplit=1)[0]
        if not _PLAIN_PLACE.match(authority):
            return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{shown}{place}"


def scrubbed(text: str, *secrets: str | None) -> str:
    """`text`, in which none of the secrets is left. For words that were written by others."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
