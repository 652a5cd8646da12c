"""An address is shown without its password, also when it is written wrongly."""

from __future__ import annotations

import pytest

from taskerman.masking import masked, scrubbed


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:hush@db:5432/past?sslmode=require", "postgresql://ada:***@db:5432/past?sslmode=require"),
        ("postgresql://ada@db/past", "postgresql://ada@db/past"),
        ("postgresql://ada:hush@/past?host=/run/pg", "postgresql://ada:***@/past?host=/run/pg"),
        ("postgresql://a1:5432,a2:5432/past", "postgresql://a1:5432,a2:5432/past"),
        ("postgresql://[::1]:5432/past", "postgresql://[::1]:5432/past"),
        ("postgresql://ada:hu/s?h@h#ush@db/past", "postgresql://ada:***@db/past"),
        ("postgresql://:hush@db/past", "postgresql://:***@db/past"),
        ("postgresql://ada:hush/past", "postgresql://***"),
        ("postgresql://db/past?user=ada&password=hush&sslmode=require",
         "postgresql://db/past?user=ada&password=***&sslmode=require"),
        ("postgresql://db/past?PassWord=hush", "postgresql://db/past?PassWord=***"),
        ("sqlite:////var/lib/taskerman/history.db", "sqlite:////var/lib/taskerman/history.db"),
        ("hush", "***"),
        ("ada:hush@db", "***"),
        ("", "***"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert "hush" not in shown


def test_a_secret_in_the_words_of_others_is_taken_out() -> None:
    assert scrubbed("bad dsn 'ada:hush-hush@db' (hush)", "hush", "hush-hush", None, "") == "bad dsn 'ada:***@db' (***)"
