"""What only S3 has: pages, prefixes, versions by ETag, and AWS's errors in our words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.schedules import Bucket, DeclaredFiles
from taskerman.adapters.schedules.composing import MAX_FILE_BYTES
from taskerman.bootstrap import parts
from taskerman.errors import NotPermitted, SchedulesInvalid, SchedulesUnavailable, UsageError
from taskerman.settings import Settings
from tests.support.aws import LocalCloud, unique
from tests.support.schedules import names, one

SOON = timedelta(seconds=0.3)


@pytest.fixture
def client(local_cloud: LocalCloud) -> Iterator[Any]:
    with local_cloud.client("s3") as client:
        yield client


@pytest.fixture
def bucket(client: Any) -> str:
    name = unique("schedules")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    return name


def test_every_page_of_a_listing_counts(aws: Aws, client: Any, bucket: str) -> None:
    for n in range(7):
        client.put_object(Bucket=bucket, Key=f"t/{n}.yaml", Body=one(f"s-{n}").encode())
    source = DeclaredFiles(Bucket(aws, f"s3://{bucket}/t", page=3))
    assert names(source) == [f"s-{n}" for n in range(7)]


@pytest.mark.parametrize("address", ["s3://{}/tasks", "s3://{}/tasks/"])
def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(aws: Aws, client: Any, bucket: str, address: str) -> None:
    client.put_object(Bucket=bucket, Key="tasks/a.yaml", Body=one("a").encode())
    client.put_object(Bucket=bucket, Key="tasks-old/b.yaml", Body=one("b").encode())
    client.put_object(Bucket=bucket, Key="tasks.yaml", Body=one("c").encode())
    source = DeclaredFiles(Bucket(aws, address.format(bucket)))
    assert names(source) == ["a"]
    assert source.place == f"s3://{bucket}/tasks"


def test_a_whole_bucket_may_be_named(aws: Aws, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a.yaml", Body=one("a").encode())
    assert names(DeclaredFiles(Bucket(aws, f"s3://{bucket}"))) == ["a"]


def test_another_version_than_was_listed_is_not_read(aws: Aws, client: Any, bucket: str) -> None:
    shelf = Bucket(aws, f"s3://{bucket}")
    client.put_object(Bucket=bucket, Key="a.yaml", Body=one("a").encode())
    stamps = shelf.stamps()
    client.put_object(Bucket=bucket, Key="a.yaml", Body=one("b").encode())
    with pytest.raises(SchedulesUnavailable, match="changed while it was read"):
        shelf.fetch("a.yaml", stamps["a.yaml"])
    client.delete_object(Bucket=bucket, Key="a.yaml")
    with pytest.raises(SchedulesUnavailable, match="changed while it was read"):
        shelf.fetch("a.yaml", stamps["a.yaml"])


def test_an_object_that_is_too_large_is_a_fault_and_is_not_fetched_whole(aws: Aws, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a.yaml", Body=b"#" * (MAX_FILE_BYTES + 5000))
    shelf = Bucket(aws, f"s3://{bucket}")
    ((name, stamp),) = shelf.stamps().items()
    assert len(shelf.fetch(name, stamp)) == MAX_FILE_BYTES + 1
    with pytest.raises(SchedulesInvalid, match="split it"):
        DeclaredFiles(shelf).read()


def test_a_bucket_that_is_not_there_is_not_one_without_schedules(aws: Aws) -> None:
    source = DeclaredFiles(Bucket(aws, f"s3://{unique('nobodys')}/tasks", patience=SOON))
    with pytest.raises(SchedulesUnavailable, match="NoSuchBucket"):
        source.read()
    assert source.changed()


def test_an_s3_that_is_away_is_not_one_without_schedules(
    aws: Aws, client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put_object(Bucket=bucket, Key="a.yaml", Body=one("a").encode())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = Aws(endpoint_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        source = DeclaredFiles(Bucket(away, f"s3://{bucket}", patience=SOON))
        with pytest.raises(SchedulesUnavailable, match=r"Cannot list s3://"):
            source.read()
    away.close()


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject"])
def test_a_right_that_is_missing_is_named_by_what_was_tried(aws: Aws, client: Any, bucket: str, operation: str) -> None:
    """The local cloud lets everybody do everything, so that the refusal is put into its answer."""
    client.put_object(Bucket=bucket, Key="a.yaml", Body=one("a").encode())

    def refuse(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        if "Body" in parsed:
            parsed["Body"].close()  # what streams is whoever's who drops it
        parsed.clear()
        parsed["Error"] = {"Code": "AccessDenied", "Message": "no"}
        parsed["ResponseMetadata"] = {"HTTPStatusCode": 403}
        http_response.status_code = 403

    door = aws.client("s3", read_timeout=timedelta(seconds=20))
    door.meta.events.register(f"after-call.s3.{operation}", refuse)
    with pytest.raises(NotPermitted, match="list s3://" if operation == "ListObjectsV2" else r"read s3://.*a\.yaml"):
        DeclaredFiles(Bucket(aws, f"s3://{bucket}", patience=SOON)).read()


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "/etc", "https://bucket/x"])
def test_what_is_no_address_is_refused(aws: Aws, address: str) -> None:
    with pytest.raises(UsageError, match="s3://bucket/prefix"):
        Bucket(aws, address)


def test_the_settings_say_which_place_it_is(aws: Aws, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="x/a.yaml", Body=one("a").encode())
    made = parts.make_schedule_files(Settings(schedules=f"s3://{bucket}/x"), aws)
    assert made is not None
    assert names(made) == ["a"]
