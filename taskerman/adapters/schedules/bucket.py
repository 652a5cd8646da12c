"""Files of schedules in S3, below a prefix of a bucket. A version of a file is what its ETag says.

Needs the rights `s3:ListBucket` on the bucket and `s3:GetObject` below the prefix, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from taskerman.adapters.aws import AWS_ERRORS, PATIENCE, Aws, Deadline, error_code, explain, persist
from taskerman.adapters.schedules.composing import MAX_FILE_BYTES
from taskerman.adapters.schedules.shelf import Stamp, shown
from taskerman.errors import SchedulesUnavailable, UsageError

__all__ = ["Bucket"]

_PAGE = 1000
_ANSWER_TIMEOUT = timedelta(seconds=20)
_CHANGED = ("PreconditionFailed", "NoSuchKey", "412", "404")


class Bucket:
    """The `Shelf` of `s3://bucket/prefix`."""

    def __init__(self, aws: Aws, address: str, *, patience: timedelta = PATIENCE, page: int = _PAGE) -> None:
        """`patience`: how long one request is repeated while S3 is away. `page`: keys a request, 1 to 1000.

        Raises `UsageError` for what is no address.
        """
        found = re.fullmatch(r"s3://([^/\s]+)(?:/(.*))?", address)
        if found is None:
            raise UsageError(f"{address!r:.80} is not s3://bucket/prefix.", next_step="See TASKERMAN_SCHEDULES.")
        self._aws = aws
        self._bucket = found[1]
        prefix = (found[2] or "").strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience = patience
        self._page = page

    @property
    def place(self) -> str:
        """See `Shelf.place`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def stamps(self) -> Mapping[str, Stamp]:
        """See `Shelf.stamps`."""
        found: dict[str, Stamp] = {}
        token: dict[str, str] = {}
        while True:
            answer = self._ask("list_objects_v2", Prefix=self._prefix, MaxKeys=self._page, **token)
            for one in answer.get("Contents", ()):
                name = str(one["Key"]).removeprefix(self._prefix)
                if shown(name):
                    found[name] = (str(one["ETag"]), int(one["Size"]))
            if not answer.get("IsTruncated"):
                return dict(sorted(found.items()))
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def fetch(self, name: str, stamp: Stamp) -> bytes:
        """See `Shelf.fetch`."""
        key = f"{self._prefix}{name}"
        some = f"bytes=0-{MAX_FILE_BYTES}"
        ranged = {"Range": some} if isinstance(stamp[1], int) and stamp[1] > MAX_FILE_BYTES else {}
        raw: bytes = self._ask("get_object", Key=key, IfMatch=stamp[0], **ranged)
        return raw

    def _ask(self, operation: str, **arguments: Any) -> Any:
        """One request, repeated while S3 is away; of an object, its content."""

        def call() -> Any:
            client = self._aws.client("s3", read_timeout=_ANSWER_TIMEOUT)
            answer = getattr(client, operation)(Bucket=self._bucket, **arguments)
            return answer["Body"].read() if "Body" in answer else answer

        what = f"s3://{self._bucket}/{arguments.get('Key', self._prefix)}"
        try:
            return persist(call, Deadline(self._patience))
        except AWS_ERRORS as error:
            if operation == "get_object" and error_code(error) in _CHANGED:
                raise SchedulesUnavailable(
                    f"{what} was changed while it was read.", next_step="It passes by itself when nobody writes there."
                ) from None
            doing = f"read {what}" if operation == "get_object" else f"list {what}"
            raise explain(error, doing=doing, unavailable=SchedulesUnavailable) from error
