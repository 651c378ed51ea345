from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.report.visible import columns, visible

BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card lost", "card lost"),
        ("two\nlines\tand  spaces", "two lines and spaces"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("abc\u202edcb", "abc\\u202edcb"),
        ("\ud800", "\\ud800"),
        ("مرحبا", "مرحبا"),
        (None, "None"),
        (12, "12"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: object, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    assert visible("a" * 9_999 + "z", 11) == "aaaaaaa…aaz"


@given(st.text(), st.integers(4, 100))
def test_no_text_is_longer_than_its_limit_or_gives_orders(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert len(shown) <= limit
    assert not set(shown) & set(BIDI)
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in shown)


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert columns("abc") == 3
    assert columns("失卡") == 4
    assert columns("e\u0301") == 1
