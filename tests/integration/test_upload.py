"""`taskerman upload`: a program stands under its hash, and what is printed is what a node takes."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.command.fetched import signed_text
from taskerman import bootstrap
from taskerman.adapters import uploads
from taskerman.adapters.aws import Aws
from taskerman.adapters.signatures import generate_key, sign_program
from taskerman.adapters.uploads import Uploaded, upload
from taskerman.errors import NotFound, NotPermitted, ObjectsUnavailable, RefusedByState, UsageError
from taskerman.model.schedule import Binary
from taskerman.settings import Settings
from tests.support.aws import LocalCloud, aws, local_cloud, unique
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet

__all__ = ["aws", "local_cloud"]

SOON = timedelta(seconds=0.3)
CONTENT = b"#!/bin/sh\necho hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def client(local_cloud: LocalCloud) -> Iterator[Any]:
    with local_cloud.client("s3") as client:
        yield client


@pytest.fixture
def bucket(client: Any) -> str:
    name = unique("uploads")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    return name


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = tmp_path / "my tool"
    made.write_bytes(CONTENT)
    return made


def keys(client: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.mark.parametrize(("to", "key"), [("s3://{}", ""), ("s3://{}/", ""), ("s3://{}/a/b/", "a/b/")])
def test_a_program_stands_under_its_hash_once(
    aws: Aws, client: Any, bucket: str, program: Path, to: str, key: str
) -> None:
    done = upload(aws, program, to.format(bucket))
    assert done == Uploaded(
        url=f"s3://{bucket}/{key}{SHA256}", sha256=SHA256, size=len(CONTENT), name="my-tool", new=True, signed=False
    )
    before = client.head_object(Bucket=bucket, Key=f"{key}{SHA256}")
    again = upload(aws, program, to.format(bucket), name="another")
    assert again == done.model_copy(update={"new": False, "name": "another"})
    assert client.head_object(Bucket=bucket, Key=f"{key}{SHA256}")["LastModified"] == before["LastModified"]
    assert before["Metadata"] == {"name": "my-tool"}
    assert keys(client, bucket) == [f"{key}{SHA256}"]
    assert client.get_object(Bucket=bucket, Key=f"{key}{SHA256}")["Body"].read() == CONTENT


def test_something_else_in_its_place_is_put_right(aws: Aws, client: Any, bucket: str, program: Path) -> None:
    client.put_object(Bucket=bucket, Key=SHA256, Body=b"half")
    assert upload(aws, program, f"s3://{bucket}").new
    assert client.get_object(Bucket=bucket, Key=SHA256)["Body"].read() == CONTENT


def test_who_signs_vouches_for_this_content(aws: Aws, client: Any, bucket: str, program: Path, tmp_path: Path) -> None:
    key = tmp_path / "release.pem"
    generate_key(key)
    assert upload(aws, program, f"s3://{bucket}").signed is False
    done = upload(aws, program, f"s3://{bucket}", key=key)
    assert (done.new, done.signed) == (False, True)
    assert client.get_object(Bucket=bucket, Key=f"{SHA256}.sig")["Body"].read() == sign_program(SHA256, key)
    assert signed_text(SHA256) == f"taskerman binary {SHA256}".encode(), "as the runner reads it"


def test_a_key_that_is_none_is_said_before_anything_is_sent(aws: Aws, client: Any, bucket: str, program: Path) -> None:
    with pytest.raises(UsageError, match="Ed25519 private key"):
        upload(aws, program, f"s3://{bucket}", key=program)
    assert keys(client, bucket) == []


def test_a_bucket_that_is_not_there_is_named(aws: Aws, program: Path) -> None:
    with pytest.raises(NotFound, match="There is no bucket no-such-bucket-anywhere"):
        upload(aws, program, "s3://no-such-bucket-anywhere/x")


@pytest.mark.parametrize(
    ("operations", "refused"), [(["HeadObject"], False), (["PutObject"], True), (["HeadObject", "PutObject"], True)]
)
def test_a_missing_right_to_write_is_named_and_one_to_look_is_not_needed(
    aws: Aws, bucket: str, program: Path, operations: list[str], refused: bool
) -> None:
    """S3 tells 403 of what is not there to whoever may not list. The local cloud lets everybody do everything."""

    def refuse(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        parsed.clear()
        parsed["Error"] = {"Code": "403", "Message": "Forbidden"}
        parsed["ResponseMetadata"] = {"HTTPStatusCode": 403}
        http_response.status_code = 403

    door = aws.client("s3", read_timeout=timedelta(seconds=60))
    for operation in operations:
        door.meta.events.register(f"after-call.s3.{operation}", refuse)
    if refused:
        with pytest.raises(NotPermitted, match=rf"write s3://{bucket}/{SHA256}"):
            upload(aws, program, f"s3://{bucket}")
    else:
        assert upload(aws, program, f"s3://{bucket}").new


def test_an_s3_that_is_away_is_said_after_some_patience(aws: Aws, program: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = Aws(endpoint_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ObjectsUnavailable, match=r"Cannot look at s3://bucket/"):
            upload(away, program, "s3://bucket", patience=SOON)
    away.close()


def test_what_is_too_large_or_empty_is_refused(
    aws: Aws, bucket: str, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", len(CONTENT) - 1)
    with pytest.raises(UsageError, match=f"more than {len(CONTENT) - 1} bytes"):
        upload(aws, program, f"s3://{bucket}")
    program.write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        upload(aws, program, f"s3://{bucket}")


def test_what_is_no_file_is_not_waited_for(aws: Aws, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="is no file"):
        upload(aws, tmp_path / "fifo", "s3://bucket")


def test_a_file_that_is_written_meanwhile_is_not_called_uploaded(
    aws: Aws, client: Any, bucket: str, program: Path
) -> None:
    def writes(**_: Any) -> None:
        program.write_bytes(CONTENT.replace(b"hello", b"olleh"))

    door = aws.client("s3", read_timeout=timedelta(seconds=60))
    door.meta.events.register("after-call.s3.HeadObject", writes)
    with pytest.raises(RefusedByState, match="was written while it was uploaded"):
        upload(aws, program, f"s3://{bucket}")


def test_the_settings_say_where_to_and_what_is_typed_stands_above_them(
    aws: Aws, client: Any, bucket: str, program: Path
) -> None:
    settings = Settings(uploads=f"s3://{bucket}/x")
    assert bootstrap.upload_program(settings, program, None, name="", key=None).url == f"s3://{bucket}/x/{SHA256}"
    typed = bootstrap.upload_program(settings, program, f"s3://{bucket}/y", name="", key=None)
    assert typed.url == f"s3://{bucket}/y/{SHA256}"
    assert len(keys(client, bucket)) == 2
    with pytest.raises(ValueError, match="uploads"):
        Settings(uploads="/srv")


@pytest.fixture
def taskerman(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], local_cloud: LocalCloud
) -> CommandLine:
    typed = CommandLine(Fleet(), monkeypatch, capsys)
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    return typed


def test_what_is_printed_is_what_a_schedule_and_a_node_take(taskerman: CommandLine, bucket: str, program: Path) -> None:
    said = taskerman("upload", str(program), "--to", f"s3://{bucket}/bin", "--name", "tool")
    assert (said.code, said.err) == (0, "")
    assert "tool was uploaded" in said.out
    lines = said.out.splitlines()
    schedule = lines[
        lines.index("In a schedule:") + 1 : next(k for k, line in enumerate(lines) if "settings file" in line)
    ]
    declared = yaml.safe_load("\n".join(schedule))["binary"]
    assert Binary.model_validate_json(json.dumps(declared)).sha256 == SHA256
    node = tomllib.loads("\n".join(lines[next(k for k, line in enumerate(lines) if "[[" in line) :]))
    assert node["runners"]["command_task"]["binaries"] == [{"sha256": SHA256}]
    assert (
        "tool was there already"
        in taskerman("upload", str(program), "--to", f"s3://{bucket}/bin", "--name", "tool").out
    )
    again = taskerman("upload", str(program), "--to", f"s3://{bucket}/bin", "--json").json
    assert (again["new"], again["url"]) == (False, f"s3://{bucket}/bin/{SHA256}")
