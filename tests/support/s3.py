"""A bucket of a test's own, and stores over it whose connections are closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runners.objects import ObjectStore
from tests.support.aws import LocalCloud, unique

__all__ = ["OpenStore", "bucket", "open_store", "s3", "s3_client"]

OpenStore = Callable[..., ObjectStore]


@pytest.fixture(scope="module")
def s3_client(local_cloud: LocalCloud) -> Iterator[Any]:
    """One for all tests of a module: making it takes longer than most of them."""
    with local_cloud.client("s3") as client:
        yield client


@pytest.fixture
def s3(s3_client: Any, local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A plain client, in an environment that knows no other cloud."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    return s3_client


@pytest.fixture
def bucket(s3: Any) -> str:
    """One that is empty."""
    name = unique("store")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    return name


@pytest.fixture
def open_store(bucket: str) -> Iterator[OpenStore]:
    """`open_store()`: over the bucket, below `p/`; `open_store(address, ...)`: as it is told."""
    made: list[ObjectStore] = []

    def opened(address: str = "", **how: Any) -> ObjectStore:
        made.append(ObjectStore(address or f"s3://{bucket}/p", **how))
        return made[-1]

    yield opened
    for store in made:
        store.close()
