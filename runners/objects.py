"""Objects in S3, as runners need them: written whole or not at all, read as a stream, and never a secret in an error.

An upload is one multipart upload that is completed when its last byte was sent: until then there is no object, so that
whoever is killed half-way leaves nothing that looks like a backup. The parts that such a one leaves are removed by
`abort_unfinished`. Endpoint, region and identity are those of the environment, as for every AWS client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

__all__ = ["NoSuchObject", "ObjectStore", "StoreRefuses", "StoreUnavailable", "Stored"]

PART_BYTES = 8 * 1024 * 1024
MAX_PARTS = 10_000
RETRIES: Any = {"total_max_attempts": 5, "mode": "standard"}
GROWS_EVERY = 1500
"""Parts, after which the next ones are twice as large: an object may have terabytes, and a small one costs little."""
_DENIED = (
    *("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("AllAccessDisabled", "AccountProblem", "RequestTimeTooSkewed"),
)
_MISCONFIGURED = (
    NoCredentialsError, PartialCredentialsError, NoRegionError, InvalidRegionError, ProfileNotFound,
    ParamValidationError,
)  # fmt: skip
_USER_IN_ADDRESS = re.compile(r"(://)[^/\s\"']+@")


class StoreUnavailable(Exception):
    """The bucket cannot be used: it is not there, the rights are missing, or it does not answer. The text says which,
    and what to do."""


class StoreRefuses(StoreUnavailable):
    """The bucket is not there, or the rights are missing: it does not pass by itself."""


class NoSuchObject(StoreUnavailable):
    """There is no object of that name."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object. `key`: below the store's prefix. `sha256`: hex, known of what was written just now."""

    key: str
    size: int
    sha256: str = ""
    at: datetime | None = None


class _NoSuchUpload(StoreUnavailable):
    """What was begun is not there any more: completed, or removed."""


class ObjectStore:
    """What stands in one bucket below one prefix. Keys are relative to it."""

    def __init__(self, address: str, *, part_bytes: int = PART_BYTES, page: int = 1000) -> None:
        """`address`: s3://bucket/prefix. `part_bytes`: of an upload; 5 MiB or more. `page`: keys a request, 1 to 1000.
        Asks nobody anything.

        Raises `ValueError` for another address.
        """
        scheme, _, rest = address.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError(f"{address!r} is no address of objects; write s3://bucket/prefix")
        self.address = address.rstrip("/")
        self.bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._part_bytes = part_bytes
        self._page = page
        self._made: Any = None

    def close(self) -> None:
        """Close its connections. Idempotent; a later call opens new ones."""
        made, self._made = self._made, None
        if made is not None:
            made.close()

    # --- asking before anything is changed ---------------------------------------------------------------

    def check(self) -> None:
        """Raise `StoreUnavailable` when the bucket is not there or may not be listed."""
        self._call("list_objects_v2", f"list {self.address}", Prefix=self._prefix, MaxKeys=1)

    def list(self, below: str = "") -> Sequence[Stored]:
        """Every object whose key begins with `below`, by key. Raises `StoreUnavailable`."""
        found: list[Stored] = []
        more: dict[str, str] = {}
        while True:
            page = self._call(
                "list_objects_v2", f"list {self.address}", Prefix=self._prefix + below, MaxKeys=self._page, **more
            )
            found += [
                Stored(each["Key"][len(self._prefix) :], each["Size"], at=each["LastModified"])
                for each in page.get("Contents", ())
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def stat(self, key: str) -> Stored:
        """One object, without its content. Raises `NoSuchObject`, also where the bucket is not there, and
        `StoreUnavailable`."""
        found = self._call("head_object", f"look at {self._name(key)}", Key=self._prefix + key)
        return Stored(key, found["ContentLength"], at=found["LastModified"])

    # --- writing -----------------------------------------------------------------------------------------

    def put(self, key: str, chunks: Iterable[bytes]) -> Stored:
        """Write what `chunks` yields, of whatever length, as one object; it appears when all of it is there.

        Whatever interrupts it, an exception of `chunks` too, leaves no object. Raises `StoreUnavailable`.
        """
        doing = f"write {self._name(key)}"
        digest, size = hashlib.sha256(), 0
        parts: list[dict[str, Any]] = []
        begun = self._call("create_multipart_upload", doing, Key=self._prefix + key)
        upload = {"Key": self._prefix + key, "UploadId": begun["UploadId"]}
        try:
            for body in _in_parts(chunks, self._part_bytes):
                digest.update(body)
                size += len(body)
                number = len(parts) + 1
                if number > MAX_PARTS:
                    raise StoreUnavailable(f"{self._name(key)} is larger than S3 takes in {MAX_PARTS:,} parts")
                answer = self._call("upload_part", doing, Body=body, PartNumber=number, **upload)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._complete(upload, parts, size, doing)
        except BaseException:
            self._forget(upload)
            raise
        return Stored(key, size, digest.hexdigest(), datetime.now(UTC))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these; one that is not there is fine. Raises `StoreUnavailable`."""
        for key in keys:
            self._call("delete_object", f"delete {self._name(key)}", Key=self._prefix + key)

    def abort_unfinished(self, older_than: timedelta) -> int:
        """Remove the parts of uploads begun so long ago that nobody completes them any more; how many there were."""
        old: list[Mapping[str, str]] = []
        more: dict[str, str] = {}
        while True:
            page = self._call(
                "list_multipart_uploads", f"list {self.address}", Prefix=self._prefix, MaxUploads=self._page, **more
            )
            old += [
                {"Key": each["Key"], "UploadId": each["UploadId"]}
                for each in page.get("Uploads", ())
                if datetime.now(UTC) - each["Initiated"] > older_than
            ]
            if not page.get("IsTruncated"):
                break
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        for upload in old:
            self._forget(upload)
        return len(old)

    # --- reading -----------------------------------------------------------------------------------------

    def read(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> Iterator[bytes]:
        """The content of one object, in order. Raises `NoSuchObject`, `StoreUnavailable`."""
        doing = f"read {self._name(key)}"
        answer = self._call("get_object", doing, Key=self._prefix + key)
        with closing(answer["Body"]) as body:
            try:
                yield from body.iter_chunks(chunk_bytes)
            except BotoCoreError as error:
                raise _unavailable(doing, error) from error

    def read_all(self, key: str, *, most: int = 1024 * 1024) -> bytes:
        """A small object. Raises `StoreUnavailable` when it has more than `most` bytes, `NoSuchObject`."""
        content = b""
        for chunk in self.read(key):
            content += chunk
            if len(content) > most:
                raise StoreUnavailable(f"{self._name(key)} has more than {most:,} bytes")
        return content

    # --- one request -------------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._prefix}{key}"

    def _complete(self, upload: Mapping[str, str], parts: Sequence[Mapping[str, Any]], size: int, doing: str) -> None:
        """The object appears. An answer may be lost after that, and asking again finds no upload any more."""
        try:
            self._call("complete_multipart_upload", doing, MultipartUpload={"Parts": parts}, **upload)
        except _NoSuchUpload:
            there = self._call("head_object", doing, Key=upload["Key"])
            if there["ContentLength"] != size or not str(there["ETag"]).strip('"').endswith(f"-{len(parts)}"):
                raise

    def _forget(self, upload: Mapping[str, str]) -> None:
        try:
            self._client().abort_multipart_upload(Bucket=self.bucket, **upload)
        except (BotoCoreError, ClientError):
            return  # its parts are no object; a later `abort_unfinished` removes them

    def _call(self, operation: str, doing: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client(), operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404"):
                raise NoSuchObject(f"Cannot {doing}: there is no such object.") from None
            if code == "NoSuchBucket":
                raise StoreRefuses(
                    f"Cannot {doing}: the bucket {self.bucket} is not there. Correct its name, or create it."
                ) from None
            if code == "NoSuchUpload":
                raise _NoSuchUpload(f"Cannot {doing}: somebody removed what was uploaded so far.") from None
            if code in _DENIED:
                raise StoreRefuses(f"Cannot {doing}: {code}. Check this node's AWS identity and rights.") from None
            raise _unavailable(doing, error) from error
        except _MISCONFIGURED as error:
            raise StoreRefuses(f"Cannot {doing}: {error} Check this node's AWS settings and the address.") from error
        except BotoCoreError as error:
            raise _unavailable(doing, error) from error

    def _client(self) -> Any:
        if self._made is None:
            config = Config(retries=RETRIES, connect_timeout=10, read_timeout=60)
            try:
                self._made = boto3.client("s3", config=config)
            except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
                said = _USER_IN_ADDRESS.sub(r"\1***@", str(error))
                raise StoreRefuses(f"There is no AWS client: {said}. Check this node's AWS settings.") from error
        return self._made


def _in_parts(chunks: Iterable[bytes], size: int, *, grows_every: int = GROWS_EVERY) -> Iterator[bytes]:
    """`chunks` as pieces of `size` bytes, twice as large after each `grows_every`, and the rest; of nothing, one empty
    piece."""
    waiting = bytearray()
    sent = 0
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
            sent += 1
            if sent % grows_every == 0:
                size *= 2
    if waiting or not sent:
        yield bytes(waiting)


def _unavailable(doing: str, error: Exception) -> StoreUnavailable:
    # An address may carry a password, and the library's words carry the address.
    return StoreUnavailable(f"Cannot {doing}: {_USER_IN_ADDRESS.sub(lambda found: found[1] + '***@', str(error))}")
