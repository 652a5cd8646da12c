"""Objects on a local S3: there whole or not at all, whatever interrupts who writes them, and errors say what to do."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from runners import objects
from runners.objects import NoSuchObject, ObjectStore, StoreRefuses, StoreUnavailable, _in_parts
from taskerman import ActionInterrupted
from tests.support.aws import LocalCloud, local_cloud
from tests.support.s3 import OpenStore, bucket, open_store, s3, s3_client

__all__ = ["bucket", "local_cloud", "open_store", "s3", "s3_client"]

PART = 5 * 1024 * 1024
WHOLE = [b"a" * PART, b"b" * PART, b"c" * 10]


def keys(s3: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def unfinished(s3: Any, bucket: str) -> int:
    return len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


def refuse(store: ObjectStore, operation: str, code: str, status: int = 400) -> None:
    """S3 answers `operation` so from now on; the local one lets everybody do everything."""

    def answer(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        if "Body" in parsed:
            parsed["Body"].close()
        parsed.clear()
        parsed["Error"] = {"Code": code, "Message": "no"}
        parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
        http_response.status_code = status

    store._client().meta.events.register(f"after-call.s3.{operation}", answer)


# --- writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [[], [b""], [b"x"], WHOLE, [b"ab" * PART], [b"x"] * 1000], ids=len)
def test_what_is_written_is_what_is_read(open_store: OpenStore, chunks: list[bytes]) -> None:
    store = open_store(part_bytes=PART)
    stored = store.put("a/b", iter(chunks))
    content = b"".join(chunks)
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert b"".join(store.read("a/b", chunk_bytes=1000)) == content
    assert store.stat("a/b").size == len(content)
    [listed] = store.list()
    assert (listed.key, listed.size) == ("a/b", len(content))


class Broken(Exception):
    """Where the content comes from has failed."""


@pytest.mark.parametrize(
    ("after", "error"), [(0, Broken()), (1, ActionInterrupted()), (2, Broken()), (3, ActionInterrupted())]
)
def test_an_upload_whose_content_breaks_off_leaves_nothing(
    open_store: OpenStore, s3: Any, bucket: str, after: int, error: BaseException
) -> None:
    def content() -> Iterator[bytes]:
        yield from WHOLE[:after]
        raise error

    with pytest.raises(type(error)):
        open_store(part_bytes=PART).put("x", content())
    assert keys(s3, bucket) == []
    assert unfinished(s3, bucket) == 0


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_s3_breaks_off_leaves_nothing(
    open_store: OpenStore, s3: Any, bucket: str, operation: str
) -> None:
    store = open_store(part_bytes=PART)

    def breaks(**_: Any) -> None:
        raise BotoCoreError

    store._client().meta.events.register(f"before-call.s3.{operation}", breaks)
    with pytest.raises(StoreUnavailable, match=rf"Cannot write s3://{bucket}/p/x"):
        store.put("x", WHOLE)
    assert keys(s3, bucket) == []
    assert unfinished(s3, bucket) == 0


WRITER = """
import os, signal, sys
from runners.objects import ObjectStore
store = ObjectStore(sys.argv[1], part_bytes=5 * 1024 * 1024)
where, at, calls = sys.argv[2], int(sys.argv[3]), 0
def hook(**_):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
store._client().meta.events.register(where, hook)
store.put("x", [b"a" * (5 * 1024 * 1024)] * 2 + [b"c"])
print("whole")
"""


@pytest.mark.parametrize(
    ("where", "at", "is_there"),
    [
        ("after-call.s3.CreateMultipartUpload", 1, False),
        ("after-call.s3.UploadPart", 3, False),
        ("before-call.s3.CompleteMultipartUpload", 1, False),
        ("after-call.s3.CompleteMultipartUpload", 1, True),
        ("after-call.s3.CompleteMultipartUpload", 2, True),
    ],
)
def test_whoever_is_killed_while_writing_leaves_all_of_it_or_no_object(
    open_store: OpenStore, s3: Any, bucket: str, where: str, at: int, is_there: bool
) -> None:
    """kill -9. The parts that it leaves are no object, and are removed when they are old."""
    store = open_store()
    words = [sys.executable, "-c", WRITER, store.address, where, str(at)]
    done = subprocess.run(words, capture_output=True, env=dict(os.environ), check=False)
    killed = (where, at) != ("after-call.s3.CompleteMultipartUpload", 2)
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    assert keys(s3, bucket) == (["p/x"] if is_there else [])
    if is_there:
        assert store.stat("x").size == 2 * PART + 1
    left = unfinished(s3, bucket)

    def begun_now(parsed: dict[str, Any], **_: Any) -> None:
        """The local S3 says of every upload that it began in 2010."""
        for each in parsed.get("Uploads", ()):
            each["Initiated"] = datetime.now(UTC)

    store._client().meta.events.register("after-call.s3.ListMultipartUploads", begun_now)
    assert store.abort_unfinished(timedelta(hours=1)) == 0, "somebody may be at it"
    assert store.abort_unfinished(timedelta(seconds=-60)) == left
    assert unfinished(s3, bucket) == 0
    assert keys(s3, bucket) == (["p/x"] if is_there else [])


def no_such_upload(**_: Any) -> None:
    """What S3 says of an upload that was completed or removed; the local one breaks."""
    raise ClientError({"Error": {"Code": "NoSuchUpload", "Message": "no"}}, "CompleteMultipartUpload")


def test_a_whole_object_whose_last_answer_was_lost_is_written(open_store: OpenStore, monkeypatch: Any) -> None:
    """The request is repeated, and then there is no upload any more."""
    store = open_store(part_bytes=PART)
    complete = store._client().complete_multipart_upload

    def twice(**arguments: Any) -> None:
        complete(**arguments)
        no_such_upload()

    monkeypatch.setattr(store._client(), "complete_multipart_upload", twice)
    assert store.put("x", WHOLE).size == sum(map(len, WHOLE))
    assert store.stat("x").size == sum(map(len, WHOLE))


@pytest.mark.parametrize("older", [[b"an older one"], WHOLE, None], ids=["other", "as large, in other parts", "none"])
def test_an_upload_that_somebody_removed_meanwhile_is_not_called_written(
    open_store: OpenStore, s3: Any, bucket: str, older: list[bytes] | None, monkeypatch: Any
) -> None:
    store = open_store(part_bytes=PART)
    if older is not None:
        s3.put_object(Bucket=bucket, Key="p/x", Body=b"".join(older))
    monkeypatch.setattr(store._client(), "complete_multipart_upload", no_such_upload)
    with pytest.raises(StoreUnavailable):
        store.put("x", WHOLE)
    assert keys(s3, bucket) == ([] if older is None else ["p/x"])


def test_parts_grow_so_that_an_object_may_have_terabytes() -> None:
    pieces = list(_in_parts([b"x" * 100], 1, grows_every=10))
    assert [len(piece) for piece in pieces] == [1] * 10 + [2] * 10 + [4] * 10 + [8] * 3 + [6]
    most, size = 0, objects.PART_BYTES
    for part in range(objects.MAX_PARTS):
        most += size
        size *= 2 if (part + 1) % objects.GROWS_EVERY == 0 else 1
    assert most > 10**12


def test_more_parts_than_s3_takes_is_said_and_leaves_nothing(
    open_store: OpenStore, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MAX_PARTS", 1)
    with pytest.raises(StoreUnavailable, match="is larger than S3 takes in 1 parts"):
        open_store(part_bytes=PART).put("x", WHOLE)
    assert keys(s3, bucket) == []
    assert unfinished(s3, bucket) == 0


# --- looking -------------------------------------------------------------------------------------------------


def test_every_page_counts_of_objects_and_of_uploads(open_store: OpenStore, s3: Any, bucket: str) -> None:
    store = open_store(page=3)
    for number in range(10):
        s3.put_object(Bucket=bucket, Key=f"p/{number}", Body=b"x" * number)
        s3.create_multipart_upload(Bucket=bucket, Key=f"p/u{number}")
    s3.put_object(Bucket=bucket, Key="px", Body=b"of somebody else")
    s3.create_multipart_upload(Bucket=bucket, Key="px")
    assert [(each.key, each.size) for each in store.list()] == [(str(number), number) for number in range(10)]
    assert [each.key for each in store.list("7")] == ["7"]
    assert store.abort_unfinished(timedelta(seconds=-60)) == 10
    assert unfinished(s3, bucket) == 1, "and nobody else's"


def test_a_whole_bucket_may_be_a_store(open_store: OpenStore, s3: Any, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/")
    store.put("x", [b"1"])
    assert keys(s3, bucket) == ["x"]
    assert [each.key for each in store.list()] == ["x"]


@pytest.mark.parametrize("address", ["", "bucket", "s3://", "s3:///x", "/srv", "https://x/y"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        ObjectStore(address)


def test_what_is_not_there_is_told_from_what_cannot_be_asked(open_store: OpenStore) -> None:
    store = open_store()
    for ask in (lambda: list(store.read("none")), lambda: store.stat("none"), lambda: store.read_all("none")):
        with pytest.raises(NoSuchObject, match="no such object"):
            ask()
    store.delete(["none"])


def test_a_small_object_that_is_large_is_not_read_into_memory(open_store: OpenStore) -> None:
    store = open_store()
    store.put("x", [b"x" * 2000])
    assert len(store.read_all("x", most=2000)) == 2000
    with pytest.raises(StoreUnavailable, match="more than 1,999 bytes"):
        store.read_all("x", most=1999)


# --- what is said of what goes wrong -------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_named_with_the_next_step(open_store: OpenStore) -> None:
    store = open_store("s3://no-such-bucket-anywhere/x")
    for ask in (store.check, store.list, lambda: store.put("x", [b"1"])):
        with pytest.raises(StoreRefuses, match=r"the bucket no-such-bucket-anywhere is not there\. Correct its name"):
            ask()


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_missing_rights_and_wrong_credentials_are_refused_by_name(open_store: OpenStore, code: str) -> None:
    store = open_store()
    refuse(store, "ListObjectsV2", code, 403)
    refuse(store, "CreateMultipartUpload", code, 403)
    for ask in (store.check, lambda: store.put("x", [b"1"])):
        with pytest.raises(StoreRefuses, match=rf"{code}\. Check this node's AWS identity and rights"):
            ask()


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_REGION"])
def test_a_node_without_credentials_or_region_is_told_so(
    open_store: OpenStore, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(missing)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # as in a process of its own
    if missing == "AWS_REGION":
        monkeypatch.setenv("AWS_DEFAULT_REGION", "no such region")
    else:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefuses, match="Check this node's AWS settings"):
        open_store().check()


def test_a_name_that_no_bucket_can_have_is_refused_without_asking(open_store: OpenStore) -> None:
    with pytest.raises(StoreRefuses, match="Invalid bucket name"):
        open_store("s3://no bucket/x").check()


def test_an_endpoint_that_is_away_passes_by_itself_and_its_password_is_not_told(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RETRIES", {"total_max_attempts": 1, "mode": "standard"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:s3cret@127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StoreUnavailable) as caught:
            open_store().check()
    assert not isinstance(caught.value, StoreRefuses)
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:s3cret@[nonsense")
    with pytest.raises(StoreRefuses) as caught_too:
        open_store().check()
    assert "s3cret" not in str(caught_too.value)


def test_an_s3_that_breaks_off_in_the_middle_of_an_object_is_not_its_end(
    open_store: OpenStore, local_cloud: LocalCloud
) -> None:
    store = open_store()
    store.put("x", [b"x" * 1000])

    def cut(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        parsed["Body"]._content_length = "2000"

    store._client().meta.events.register("after-call.s3.GetObject", cut)
    with pytest.raises(StoreUnavailable, match="Cannot read"):
        list(store.read("x"))


def test_an_object_is_known_by_the_time_at_which_it_was_written(open_store: OpenStore) -> None:
    store = open_store()
    before = datetime.now(UTC) - timedelta(seconds=2)
    store.put("x", [b"1"])
    at = store.stat("x").at
    assert at is not None
    assert before <= at <= datetime.now(UTC) + timedelta(seconds=2)
