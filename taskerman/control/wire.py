"""How AWS is reached, as boto3's own variables say: an authority of one's own, another address. Only looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from taskerman.control.subject import Subject
from taskerman.control.values import Finding
from taskerman.masking import masked

__all__ = ["AWS_VARIABLES", "aws_wire"]

_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
_ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_EC2")
AWS_VARIABLES = (*_BUNDLES, *_ADDRESSES)
_HERE = ("localhost", "127.0.0.1", "::1")


def aws_wire(subject: Subject) -> Sequence[Finding]:
    """What `doctor` says about it; nothing when nothing is set."""
    found = []
    for name in _BUNDLES:
        file = subject.aws.get(name, "")
        if file and not os.access(file, os.R_OK):
            text = f"{name} is {file}, which cannot be read: nothing of AWS can be reached."
            found.append(Finding(what="aws", level="fail", text=text, next_step="Correct it.", exit_code=2))
        elif file:
            found.append(Finding(what="aws", level="ok", text=f"{name} says who vouches for AWS: {file}."))
    for name in _ADDRESSES:
        address = subject.aws.get(name, "")
        if not address:
            continue
        clear = urlsplit(address).scheme == "http" and urlsplit(address).hostname not in _HERE
        text = f"{name} is {masked(address)}" + (": requests go in the clear." if clear else ".")
        step = "Use https." if clear else ""
        found.append(Finding(what="aws", level="warn" if clear else "ok", text=text, next_step=step))
    return found
