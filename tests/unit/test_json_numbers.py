"""A document that was parsed can be hashed and written again: no number in it breaks a daemon later."""

from __future__ import annotations

import pytest

from taskerman.errors import DocumentNotJson
from taskerman.model.base import canonical_json, parse_json_object


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 5000])
def test_a_number_that_cannot_be_written_again_is_refused_by_name(number: str) -> None:
    with pytest.raises(DocumentNotJson, match=r"number|integer"):
        parse_json_object(f'{{"x": {number}}}')


@pytest.mark.parametrize("number", ["1.2", "0", "-7", "1e308", "123456789012345678901234567890"])
def test_every_other_number_survives(number: str) -> None:
    assert canonical_json(parse_json_object(f'{{"x": {number}}}'))
