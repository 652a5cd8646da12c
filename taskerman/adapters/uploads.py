"""Programs on their way into S3: each stands under the hash of its content, whole or not at all.

The same content is one object, however often it is sent and whatever it is called, so that nothing a schedule names is
ever changed by a later upload. Whether a node runs it is the node's affair.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from taskerman.adapters.aws import AWS_ERRORS, PATIENCE, Aws, Deadline, error_code, explain, persist
from taskerman.adapters.signatures import sign_program
from taskerman.errors import NotFound, ObjectsUnavailable, RefusedByState, UsageError
from taskerman.model.base import Noun

__all__ = ["MOST_BYTES", "Uploaded", "upload"]

MOST_BYTES = 1024**3
_ANSWER_TIMEOUT = timedelta(seconds=60)
_ABSENT = ("404", "NoSuchKey", "NotFound")
_OTHER_CONTENT = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "InvalidRequest")


class Uploaded(Noun):
    """A program that is there. `new`: it was not before. `signed`: its signature lies beside it, at `<url>.sig`."""

    url: str
    sha256: str
    size: int
    name: str
    new: bool
    signed: bool


def upload(
    aws: Aws, file: Path, to: str, *, name: str = "", key: Path | None = None, patience: timedelta = PATIENCE
) -> Uploaded:
    """Put the content of `file` below `to`, `s3://bucket/prefix`. Idempotent.

    `name`: for people; the file's when empty. `key`: the private key of who vouches for it. `patience`: how long one
    request is repeated while S3 is away.
    Raises `UsageError`, `NotFound` for a bucket that is not there, `NotPermitted`, `RefusedByState` for a file that was
    written meanwhile, `ObjectsUnavailable`.
    """
    found = re.fullmatch(r"s3://([^/\s]+)(?:/(\S*))?", to)
    if found is None:
        raise UsageError(f"{to!r:.100} is not s3://bucket/prefix.", next_step="See --to and TASKERMAN_UPLOADS.")
    name = name or re.sub(r"[^A-Za-z0-9._-]", "-", file.name)[:100]
    if re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) is None:
        raise UsageError(
            f"{name!r:.100} is no name for a program.", next_step="Letters, digits, `.`, `_` and `-`: --name."
        )
    bucket, prefix = found[1], (found[2] or "").strip("/")
    with _opened(file) as content:
        sha256, size = _measured(file, content)
        signature = None if key is None else sign_program(sha256, key)  # before anything is sent
        where = f"{prefix}/{sha256}" if prefix else sha256
        shelf = _Shelf(aws, bucket, patience)
        new = not shelf.has(where, size)
        if new:
            shelf.put(where, content, size, sha256, name)
            if _measured(file, content) != (sha256, size):  # told also where S3 does not compare
                raise _was_written(file)
    if signature is not None:
        shelf.put_bytes(f"{where}.sig", signature)
    url = f"s3://{bucket}/{where}"
    return Uploaded(url=url, sha256=sha256, size=size, name=name, new=new, signed=signature is not None)


class _Shelf:
    """Requests of one bucket, each repeated while S3 is away."""

    def __init__(self, aws: Aws, bucket: str, patience: timedelta) -> None:
        self._aws = aws
        self._bucket = bucket
        self._patience = patience

    def has(self, key: str, size: int) -> bool:
        """Whether it is there as it should be. Another size is another content, and is put right."""
        try:
            answer = self._ask("head_object", lambda: {"Key": key})
        except AWS_ERRORS as error:
            # Who may write and not list is told 403 of what is not there; what writing says is the truth.
            if error_code(error) in (*_ABSENT, "403"):
                return False
            raise self._explained(error, f"look at s3://{self._bucket}/{key}") from error
        return bool(answer["ContentLength"] == size)

    def put(self, key: str, content: BinaryIO, size: int, sha256: str, name: str) -> None:
        """S3 compares what it gets with the hash: other content never stands under this key."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()

        def again() -> dict[str, Any]:
            content.seek(0)
            return {
                "Key": key,
                "Body": content,
                "ContentLength": size,
                "ChecksumSHA256": checksum,
                "Metadata": {"name": name},
            }

        try:
            self._ask("put_object", again)
        except AWS_ERRORS as error:
            if error_code(error) in _OTHER_CONTENT:
                raise _was_written(Path(name)) from error
            raise self._explained(error, f"write s3://{self._bucket}/{key}") from error

    def put_bytes(self, key: str, content: bytes) -> None:
        """A small object, in place of another."""
        try:
            self._ask("put_object", lambda: {"Key": key, "Body": content})
        except AWS_ERRORS as error:
            raise self._explained(error, f"write s3://{self._bucket}/{key}") from error

    def _ask(self, operation: str, arguments: Callable[[], dict[str, Any]]) -> Any:
        def call() -> Any:
            client = self._aws.client("s3", read_timeout=_ANSWER_TIMEOUT)
            return getattr(client, operation)(Bucket=self._bucket, **arguments())

        return persist(call, Deadline(self._patience))

    def _explained(self, error: Exception, doing: str) -> Exception:
        if error_code(error) == "NoSuchBucket":
            return NotFound(
                f"There is no bucket {self._bucket}.", next_step="Create it, or correct --to or TASKERMAN_UPLOADS."
            )
        return explain(error, doing=doing, unavailable=ObjectsUnavailable)


def _was_written(file: Path) -> RefusedByState:
    return RefusedByState(
        f"{file} was written while it was uploaded; no node runs what came of it.",
        next_step="Do it again when it is whole.",
    )


def _opened(file: Path) -> BinaryIO:
    """To be read. What is no file is not waited for. Raises `UsageError`."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{file} cannot be read: {said}.", next_step="Check its path and rights.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError(f"{file} is no file.", next_step="Name the program itself.")
    return open(handle, "rb")


def _measured(file: Path, content: BinaryIO) -> tuple[str, int]:
    """Its hash, in hex, and its bytes. Raises `UsageError` for none, and for too many."""
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    while chunk := content.read(1024 * 1024):
        digest.update(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise UsageError(
                f"{file} has more than {MOST_BYTES:,} bytes.", next_step="Upload a program, and let it fetch its data."
            )
    if size == 0:
        raise UsageError(f"{file} is empty.", next_step="Name the program itself.")
    return digest.hexdigest(), size
