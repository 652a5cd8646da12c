"""Of an object store that does not answer a backup waits; what a person must change is refused."""

from __future__ import annotations

import pytest

from runners.backups import Damaged, not_now
from runners.objects import NoSuchObject, StoreRefuses, StoreUnavailable
from taskerman import Check, Refuse, Wait


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StoreUnavailable("it does not answer"), Wait("it does not answer")),
        (StoreRefuses("the bucket is not there"), Refuse("the bucket is not there")),
        (NoSuchObject("there is no such object"), Refuse("there is no such object")),
        (Damaged("a part is missing"), Refuse("a part is missing")),
    ],
)
def test_what_passes_by_itself_is_waited_for(error: StoreUnavailable | Damaged, answer: Check) -> None:
    assert not_now(error) == answer
